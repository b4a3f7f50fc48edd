"""Time zones for the cron engine: TZif bytes from the `tzdata` package, or from the system where it is absent.

(`zoneinfo` looks the other way round, at the system first.) The Rust core takes the bytes; Python only finds them. The
version is that of the IANA database. A newer `tzdata` is used after :func:`forget` (or a restart), without a new build.
"""

from __future__ import annotations

import zoneinfo
from functools import cache, lru_cache
from importlib import import_module, resources
from pathlib import Path
from typing import Final

from cuptime.core import CronZone

ZONES_HELD_MAX: Final = 1_024
"""More than there are."""

_MEANT: Final = {
    "Asia/Beijing": "Asia/Shanghai",
    "Beijing": "Asia/Shanghai",
    "CST": "Asia/Shanghai",
    "China": "Asia/Shanghai",
    "GMT+8": "Asia/Shanghai",
    "UTC+8": "Asia/Shanghai",
    "EST5EDT": "America/New_York",
}


class ZoneError(ValueError):
    """`args` are (text for people, name that was perhaps meant or "")."""


@cache
def zone_names() -> frozenset[str]:
    """All IANA names."""
    return frozenset(zoneinfo.available_timezones())


@lru_cache(ZONES_HELD_MAX)
def zone_of(name: str) -> CronZone:
    """The zone of an IANA name. Raises :class:`ZoneError`."""
    if name not in zone_names():
        meant = nearest_zone(name)
        hint = f"; perhaps {meant}" if meant else ""
        raise ZoneError(f"{name[:64]!r} is not an IANA time zone{hint}", meant)
    return CronZone(zone_bytes(name))


def nearest_zone(name: str) -> str:
    """What was perhaps meant, "" when nothing is near."""
    if name in _MEANT:
        return _MEANT[name]
    wanted = name.strip().replace(" ", "_").casefold()
    for known in sorted(zone_names()):
        if known.casefold() == wanted or known.casefold().endswith(f"/{wanted}"):
            return known
    return ""


@cache
def zone_version() -> str:
    """The version of the zone data, like `2026b`; "system" when it does not say."""
    try:
        return str(import_module("tzdata").IANA_VERSION)
    except ImportError:
        return _system_version()


def forget() -> None:
    """Zones are read anew from now on; what was compiled keeps its own."""
    zone_names.cache_clear()
    zone_of.cache_clear()
    zone_version.cache_clear()


def _system_version() -> str:
    for folder in zoneinfo.TZPATH:
        for file, first in (("tzdata.zi", "# version "), ("+VERSION", "")):
            try:
                with (Path(folder) / file).open(encoding="ascii") as lines:
                    return lines.readline().removeprefix(first).strip()
            except OSError:
                continue
    return "system"


def zone_bytes(name: str) -> bytes:
    """The TZif file of an IANA name: the package's, so that the host's copy cannot change a schedule; else
    the host's."""
    package, _, file = ("tzdata.zoneinfo." + name.replace("/", ".")).rpartition(".")
    try:
        return resources.files(package).joinpath(file).read_bytes()
    except (ModuleNotFoundError, FileNotFoundError):
        pass
    for folder in zoneinfo.TZPATH:
        path = Path(folder) / name
        if path.is_file():
            return path.read_bytes()
    raise ZoneError(f"no data for the time zone {name!r}; install the tzdata package", "")
