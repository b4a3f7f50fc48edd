"""Settings: defaults that work, each overridden by `CUPTIME_…` in the environment or an option of `cuptime serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

PORT_MAX: Final = 65_535
TICK_MS_MAX: Final = 50


def _known_zone(name: str) -> str:
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


class Settings(BaseSettings):
    """One node. Every field is an environment variable: `listen` is CUPTIME_LISTEN."""

    model_config = SettingsConfigDict(env_prefix="CUPTIME_", extra="forbid", frozen=True)

    data: Path = Field(default=Path("var"), description="Folder of the database; made when absent.")
    listen: Annotated[str, AfterValidator(_address)] = Field(
        default="127.0.0.1:7000", description="Address of the gRPC door; port 0 takes a free one."
    )
    metrics: Annotated[str, AfterValidator(_address_or_none)] = Field(
        default="127.0.0.1:7001",
        description="Address of the HTTP door: /metrics and /v1/cron; empty turns it off.",
    )
    rules: Path | None = Field(
        default=None, description="Folder of rule files (*.yaml), watched; none by default."
    )
    calendars: Path | None = Field(
        default=None, description="Folder of calendars (*.json), watched; the legal one of China is built in."
    )
    redis: str = Field(
        default="", description="URL of Redis for the live counters; empty keeps them in process."
    )
    node: str = Field(default="node-1", description="Name of this node, for the ownership of the shard.")
    origin_latitude: float = Field(
        default=31.0250, ge=-89, le=89, description="Where the park is; distances are flat around it."
    )
    origin_longitude: float = Field(default=121.4330, ge=-180, le=180)
    time_zone: Annotated[str, AfterValidator(_known_zone)] = Field(
        default="UTC", description="IANA name of the park's time zone: days of capacity begin and end there."
    )
    credit_min: int = Field(
        default=85, ge=0, le=1_000, description="Orders of users with less credit are refused."
    )
    purchase_limit: int = Field(
        default=2, ge=1, le=1_000, description="Orders of one user in a group, by default."
    )
    radius_m: int = Field(default=3_000, ge=1, description="Shop to rider at most.")
    delivery_radius_m: int = Field(default=5_000, ge=1, description="Shop to drop-off at most.")
    reoptimise_every_s: int = Field(
        default=60, ge=0, le=3_600, description="Decisions not yet committed are improved so often; 0 never."
    )
    improve_gain_min_m: int = Field(
        default=200,
        ge=1,
        description="A better assignment must gain so many metres, or as much in other terms.",
    )
    leave_early_s: int = Field(
        default=60,
        ge=0,
        le=3_600,
        description="An assignment is committed so long before its rider must leave.",
    )
    shop_begins_before_s: int = Field(
        default=480, ge=0, le=86_400, description="So long before pack-out an order stays with its shop."
    )
    tick_ms: Annotated[int, AfterValidator(_tick)] = Field(
        default=1, ge=1, le=TICK_MS_MAX, description="Base tick of the timing wheel."
    )
    reflection: bool = Field(default=True, description="Serve gRPC reflection.")
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$")
    drain_grace_s: float = Field(
        default=5.0, ge=0, le=300, description="Calls under way may last so long at a stop."
    )
