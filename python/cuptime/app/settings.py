"""Settings: defaults that work, each overridden by `CUPTIME_…` in the environment or an option of `cuptime serve`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Meta, Struct

from cuptime.domain.limits import RETAIN_DAYS_MAX

ENVIRONMENT_PREFIX: Final = "CUPTIME_"
PORT_MAX: Final = 65_535
TICK_MS_MAX: Final = 50


class Settings(Struct, frozen=True, kw_only=True):
    """One node. Every field is an environment variable: `listen` is CUPTIME_LISTEN. `read` checks the values; made
    directly, as a replay does, they are taken as they are."""

    data: Annotated[Path, Meta(description="Folder of the database; made when absent.")] = Path("var")
    listen: Annotated[str, Meta(description="Address of the gRPC door; port 0 takes a free one.")] = (
        "127.0.0.1:7000"
    )
    metrics: Annotated[
        str, Meta(description="Address of the HTTP door: /metrics and /v1/cron; empty turns it off.")
    ] = "127.0.0.1:7001"
    rules: Annotated[
        Path | None, Meta(description="Folder of rule files (*.yaml), watched; none by default.")
    ] = None
    schedules: Annotated[
        Path | None,
        Meta(description="Folder, or file, of schedules (*.yaml), watched; none by default."),
    ] = None
    calendars: Annotated[
        Path | None,
        Meta(description="Folder of calendars (*.json), watched; the legal one of China is built in."),
    ] = None
    redis: Annotated[
        str, Meta(description="URL of Redis for the live counters; empty keeps them in process.")
    ] = ""
    node: Annotated[str, Meta(description="Name of this node, for the ownership of the shard.")] = "node-1"
    origin_latitude: Annotated[
        float, Meta(ge=-89, le=89, description="Where the park is; distances are flat around it.")
    ] = 31.0250
    origin_longitude: Annotated[float, Meta(ge=-180, le=180)] = 121.4330
    time_zone: Annotated[
        str,
        Meta(description="IANA name of the park's time zone: days of capacity begin and end there."),
    ] = "UTC"
    credit_min: Annotated[
        int, Meta(ge=0, le=1_000, description="Orders of users with less credit are refused.")
    ] = 85
    purchase_limit: Annotated[
        int, Meta(ge=1, le=1_000, description="Orders of one user in a group, by default.")
    ] = 2
    radius_m: Annotated[int, Meta(ge=1, description="Shop to rider at most.")] = 3_000
    delivery_radius_m: Annotated[int, Meta(ge=1, description="Shop to drop-off at most.")] = 5_000
    reoptimise_every_s: Annotated[
        int,
        Meta(ge=0, le=3_600, description="Decisions not yet committed are improved so often; 0 never."),
    ] = 60
    improve_gain_min_m: Annotated[
        int,
        Meta(ge=1, description="A better assignment must gain so many metres, or as much in other terms."),
    ] = 200
    leave_early_s: Annotated[
        int,
        Meta(ge=0, le=3_600, description="An assignment is committed so long before its rider must leave."),
    ] = 60
    shop_begins_before_s: Annotated[
        int, Meta(ge=0, le=86_400, description="So long before pack-out an order stays with its shop.")
    ] = 480
    tick_ms: Annotated[int, Meta(ge=1, le=TICK_MS_MAX, description="Base tick of the timing wheel.")] = 1
    retain_days: Annotated[
        int,
        Meta(
            ge=0,
            le=RETAIN_DAYS_MAX,
            description="Days that a group is kept after its end, with its orders and decisions; 0 for ever.",
        ),
    ] = 30
    retain_tasks_days: Annotated[
        int,
        Meta(
            ge=0,
            le=RETAIN_DAYS_MAX,
            description="Days that a task is kept after its end, and an unregistered schedule; 0 for ever.",
        ),
    ] = 7
    reflection: Annotated[bool, Meta(description="Serve gRPC reflection.")] = True
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    drain_grace_s: Annotated[
        float, Meta(ge=0, le=300, description="Calls under way may last so long at a stop.")
    ] = 5.0


class Fault(Struct, frozen=True):
    """A setting that cannot be."""

    name: str
    message: str
    given: object

    def __str__(self) -> str:
        return f"setting {self.name}: {self.message} (given {self.given!r})"


class SettingsError(Exception):
    """Every setting that cannot be, each with what was given."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("; ".join(map(str, faults)))
        self.faults = faults


def read(given: Mapping[str, object], environment: Mapping[str, str]) -> Settings:
    """The settings given by name, else by the environment, else the defaults. Raises SettingsError with all faults."""
    known = {field.name: field.type for field in msgspec.structs.fields(Settings)}
    faults = [Fault(name, "no such setting", given[name]) for name in given.keys() - known.keys()]
    values: dict[str, Any] = {}
    for name, kind in known.items():
        said = given.get(name, environment.get(ENVIRONMENT_PREFIX + name.upper()))
        if said is None:
            continue
        try:
            value = msgspec.convert(said, kind, strict=False, dec_hook=_path)
            values[name] = _CHECKS[name](value) if name in _CHECKS else value
        except ValueError as fault:  # msgspec's ValidationError is one too
            faults.append(Fault(name, str(fault), said))
    if faults:
        raise SettingsError(faults)
    return Settings(**values)


def _path(kind: type, said: object) -> Path:
    if kind is not Path or not isinstance(said, (str, Path)) or not str(said):
        raise ValueError("not a path")
    return Path(said)


def _folder(path: Path | None) -> Path | None:
    """A folder that is mistyped would else be one that is waited for."""
    if path is not None and not path.is_dir():
        raise ValueError("no such folder; make it first, empty if need be, or leave the setting out")
    return path


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("no such time zone; give an IANA name as in Asia/Shanghai") from None
    return name


def _address(address: str) -> str:
    """gRPC would take port 99999 for 34463."""
    _, colon, port = address.rpartition(":")
    if not (colon and port.isascii() and port.isdigit() and int(port) <= PORT_MAX):
        raise ValueError(f"not an address; give host:port as in 127.0.0.1:7000, the port 0 to {PORT_MAX}")
    return address


def _address_or_none(address: str) -> str:
    return _address(address) if address else ""


def _tick(tick_ms: int) -> int:
    if 1_000 % tick_ms:
        raise ValueError("the tick must divide a second; give for example 1, 5 or 10")
    return tick_ms


_CHECKS: Final[dict[str, Callable[[Any], Any]]] = {
    "listen": _address,
    "metrics": _address_or_none,
    "rules": _folder,
    "calendars": _folder,
    "time_zone": _zone,
    "tick_ms": _tick,
}
"""What a type does not say."""
