"""Settings: defaults that work, each overridden by `CUPTIME_…` in the environment or an option of `cuptime serve`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_origin
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Meta, Struct

from cuptime.domain.limits import RETAIN_DAYS_MAX

ENVIRONMENT_PREFIX: Final = "CUPTIME_"
BESIDE_SETTINGS: Final = frozenset({"address"})
"""Variables with the prefix that are of the other commands."""
PORT_MAX: Final = 65_535
TICK_MS_MAX: Final = 50
EARTH_M: Final = 20_000_000
"""No two places are further apart."""
NAME_LENGTH_MAX: Final = 64
_LIKE: Final = 0.85
"""RETAN_DAYS is meant to be RETAIN_DAYS, PORT is nothing."""
_SHOWN_MAX: Final = 200
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_HOST: Final = re.compile(r"[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\]", re.ASCII)
_PORT: Final = re.compile(r"[0-9]{1,5}", re.ASCII)
_REDIS: Final = re.compile(
    r"rediss?://([^\s/@]*@)?([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(:(?P<port>[0-9]{1,5}))?(/[0-9]{0,4})?"
    r"|unix://([^\s/@]*@)?/[^\s?]+",
    re.ASCII,
)


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
    node: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=NAME_LENGTH_MAX,
            pattern=r"^[!-~]+$",
            description="Name of this node, for the ownership of the shard.",
        ),
    ] = "node-1"
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
    radius_m: Annotated[int, Meta(ge=1, le=EARTH_M, description="Shop to rider at most.")] = 3_000
    delivery_radius_m: Annotated[int, Meta(ge=1, le=EARTH_M, description="Shop to drop-off at most.")] = 5_000
    reoptimise_every_s: Annotated[
        int,
        Meta(ge=0, le=3_600, description="Decisions not yet committed are improved so often; 0 never."),
    ] = 60
    improve_gain_min_m: Annotated[
        int,
        Meta(
            ge=1,
            le=EARTH_M,
            description="A better assignment must gain so many metres, or as much in other terms.",
        ),
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
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="debug, info, warning or error.")
    ] = "info"
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
    faults += _mistyped(known, environment)
    values: dict[str, Any] = {}
    for name, kind in known.items():
        said = given.get(name, environment.get(ENVIRONMENT_PREFIX + name.upper()))
        if said is None:
            continue
        try:
            if get_origin(kind) is Annotated and kind.__origin__ is int:
                _check_whole(said)
            value = msgspec.convert(said, kind, strict=False, dec_hook=_path)
            values[name] = _CHECKS[name](value) if name in _CHECKS else value
        except msgspec.ValidationError as fault:
            what = next((meta.description for meta in kind.__metadata__ if meta.description), "")
            faults.append(Fault(name, f"{fault}. It is: {what}" if what else str(fault), _shown(said)))
        except ValueError as fault:
            faults.append(Fault(name, str(fault), _shown(said)))
    if faults:
        raise SettingsError(faults)
    return Settings(**values)


def _mistyped(known: Mapping[str, object], environment: Mapping[str, str]) -> list[Fault]:
    """Variables that are all but a setting: one that is passed over in silence may cost what it was to keep. Others
    with the prefix are not ours to judge: Kubernetes makes CUPTIME_PORT of a service that is named cuptime."""
    faults: list[Fault] = []
    for variable, said in environment.items():
        name = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
        if not variable.upper().startswith(ENVIRONMENT_PREFIX) or name in BESIDE_SETTINGS:
            continue
        if variable == ENVIRONMENT_PREFIX + name.upper() and name in known:
            continue
        from difflib import get_close_matches  # only who has such a variable pays for its import

        meant = get_close_matches(variable.upper()[len(ENVIRONMENT_PREFIX) :].lower(), known, 1, _LIKE)
        if meant:
            wanted = ENVIRONMENT_PREFIX + meant[0].upper()
            message = f"no such setting; {wanted} is one. Give that, or leave this out"
            faults.append(Fault(variable, message, said))
    return faults


def _shown(said: object) -> object:
    """What was given, without the password of a URL, and not longer than a line or two."""
    if not isinstance(said, str):
        return said
    told = re.sub(r"//[^@\s]*@", "//…@", said)
    return told if len(told) <= _SHOWN_MAX else told[:_SHOWN_MAX] + "…"


def _check_whole(said: object) -> None:
    """msgspec reads 1e3 and 5.0 as whole numbers too; who writes that has something else in mind."""
    if isinstance(said, str) and not _WHOLE.fullmatch(said):
        raise ValueError("not a whole number; give up to 18 digits as in 30")


def _path(kind: type, said: object) -> Path:
    if kind is not Path or not isinstance(said, (str, Path)) or not str(said):
        raise ValueError("not a path")
    return Path(said)


def _folder(path: Path | None) -> Path | None:
    """A folder that is mistyped would else be one that is waited for."""
    try:
        there = path is None or path.is_dir()
    except OSError:  # a name that no folder can have
        there = False
    if not there:
        raise ValueError("no such folder; make it first, empty if need be, or leave the setting out")
    return path


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("no such time zone; give an IANA name as in Asia/Shanghai") from None
    return name


def _address(address: str) -> str:
    """gRPC would take port 99999 for 34463, and the HTTP door no host for all hosts."""
    host, _, port = address.rpartition(":")
    if not (_HOST.fullmatch(host) and _PORT.fullmatch(port) and int(port) <= PORT_MAX):
        raise ValueError(
            f"not an address; give host:port as in 127.0.0.1:7000 or [::1]:7000, the port 0 to {PORT_MAX}"
        )
    return address


def _address_or_none(address: str) -> str:
    return _address(address) if address else ""


def _redis_or_none(url: str) -> str:
    if not url:
        return ""
    parts = _REDIS.fullmatch(url)
    if parts is None or int(parts["port"] or 0) > PORT_MAX:
        raise ValueError("not the URL of a Redis; give one as in redis://127.0.0.1:6379/0, or nothing")
    return url


def _tick(tick_ms: int) -> int:
    if 1_000 % tick_ms:
        raise ValueError("the tick must divide a second; give for example 1, 5 or 10")
    return tick_ms


_CHECKS: Final[dict[str, Callable[[Any], Any]]] = {
    "listen": _address,
    "metrics": _address_or_none,
    "rules": _folder,
    "calendars": _folder,
    "redis": _redis_or_none,
    "time_zone": _zone,
    "tick_ms": _tick,
}
"""What a type does not say."""
