"""One recorded day, in the format of the public meal-delivery instances: tab-separated, minutes and metres."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from cuptime.domain.errors import CuptimeError, Reason


@dataclass(frozen=True, slots=True)
class DayOrder:
    """An order: what a group of one would be. Minutes."""

    name: str
    x_m: float
    y_m: float
    placed_min: int
    shop: str
    ready_min: int


@dataclass(frozen=True, slots=True)
class DayRider:
    """A rider with a shift. Minutes."""

    name: str
    x_m: float
    y_m: float
    on_min: int
    off_min: int


@dataclass(frozen=True, slots=True)
class Day:
    """Everything that is known of a day."""

    name: str
    orders: tuple[DayOrder, ...]
    riders: tuple[DayRider, ...]
    shops: dict[str, tuple[float, float]]
    speed_m_per_min: float
    pickup_service_min: int
    dropoff_service_min: int
    target_min: int
    maximum_min: int


def _table(folder: Path, name: str) -> list[dict[str, str]]:
    path = folder / name
    if not path.is_file():
        raise CuptimeError(
            Reason.FIELD_INVALID,
            f"{folder} has no {name}; a day has orders.txt, couriers.txt, restaurants.txt, instance_parameters.txt",
            field=name,
        )
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def read(folder: Path) -> Day:
    """Raises FIELD_INVALID that names the file, line and column at fault."""
    parameters = _table(folder, "instance_parameters.txt")[0]
    current = ""
    try:
        current = "restaurants.txt"
        shops = {row["restaurant"]: (float(row["x"]), float(row["y"])) for row in _table(folder, current)}
        current = "couriers.txt"
        riders = tuple(
            DayRider(
                row["courier"], float(row["x"]), float(row["y"]), int(row["on_time"]), int(row["off_time"])
            )
            for row in _table(folder, current)
        )
        current = "orders.txt"
        orders = tuple(
            DayOrder(
                row["order"],
                float(row["x"]),
                float(row["y"]),
                int(row["placement_time"]),
                row["restaurant"],
                int(row["ready_time"]),
            )
            for row in _table(folder, current)
        )
        current = "instance_parameters.txt"
        day = Day(
            folder.name,
            orders,
            riders,
            shops,
            float(parameters["meters_per_minute"]),
            int(parameters["pickup service minutes"]),
            int(parameters["dropoff service minutes"]),
            int(parameters["target click-to-door"]),
            int(parameters["maximum click-to-door"]),
        )
    except (KeyError, ValueError, TypeError) as error:
        raise CuptimeError(
            Reason.FIELD_INVALID, f"{current} cannot be read: {error}", field=current
        ) from None
    for order in day.orders:
        if order.shop not in day.shops:
            raise CuptimeError(
                Reason.FIELD_INVALID,
                f"orders.txt: {order.name} names the unknown restaurant {order.shop}",
                field="orders.txt",
            )
    return day
