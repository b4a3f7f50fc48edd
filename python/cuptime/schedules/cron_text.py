"""What may stand before a cron expression: settings, `NAME=value` each, in any order.

    CRON_TZ=Asia/Shanghai DST=skip_once DIALECT=quartz SEED=report-7 0 H 9 ? * MON-FRI

`CRON_TZ` (or `TZ`) overrides the zone of the schedule; `DIALECT` and `DST` name one of `cron_names()`; `SEED` decides
what `H` becomes. `DAYS` (workday, restday, holiday, not_holiday), `ROLL` (before, after) and `SHIFT` (work days) ask
the `CALENDAR` (cn); in a year without data `UNKNOWN_YEAR` decides (error, weekday_fallback, hold). The rest of the text
is the expression itself.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from cuptime.core import cron_names

DIALECTS: Final = dict(cron_names()[0])
"""By name, the DST policy of the dialect's own engine."""
DST_POLICIES: Final = tuple(cron_names()[1])
CONDITIONS: Final = ("workday", "restday", "holiday", "not_holiday")
UNKNOWN_YEARS: Final = ("error", "weekday_fallback", "hold")
SETTINGS: Final = (
    "CRON_TZ", "DIALECT", "DST", "SEED", "CALENDAR", "DAYS", "ROLL", "SHIFT", "UNKNOWN_YEAR",
)  # fmt: skip
SETTINGS_MAX: Final = len(SETTINGS)
SHIFT_MAX: Final = 366

_HASHED: Final = re.compile(r"(?<![A-Za-z0-9@])[Hh](?![A-Za-z])")
"""An `H` of its own: not that of THU, of 6h or of @hourly."""
_SETTING: Final = re.compile(r"([A-Z_]+)=(\S*)[ \t]+")


class CronText(Struct, frozen=True):
    """A text taken apart. `body_at` is where the expression begins, in characters."""

    body: str
    body_at: int = 0
    time_zone: str = ""
    dialect: str = "ocps"
    dst: str = "vixie"
    seed: str = ""
    days_are: str = ""
    """`workday`, `restday`, `holiday`, `not_holiday`: by the calendar."""
    calendar: str = "cn"
    roll: str = "stay"
    shift: int = 0
    unknown_year: str = "error"

    @property
    def needs_calendar(self) -> bool:
        """Does any setting ask it?"""
        return bool(self.days_are or self.shift) or self.roll != "stay"


def read_text(text: str, dst: str = "vixie") -> CronText:
    """Takes the settings off; `dst` holds without a setting. Raises ValueError, its text for people."""
    at = len(text) - len(text.lstrip(" \t"))
    found = CronText("", dst=dst)
    for _ in range(SETTINGS_MAX):
        setting = _SETTING.match(text, at)
        if setting is None:
            break
        at = setting.end()
        found = _with(found, setting[1], setting[2])
    return replace(found, body=text[at:], body_at=at)


def seeded(text: str, seed: str) -> str:
    """The text, with `SEED=` in front when it has an `H` and no seed of its own: what is stored says what fires.
    `text` is one that was read already."""
    if not _HASHED.search(text):  # Nearly all; and a zone's name, which could be found here, has none either.
        return text
    found = read_text(text)
    return text if found.seed or not _HASHED.search(found.body) else f"SEED={seed} {text}"


def _with(found: CronText, name: str, value: str) -> CronText:
    if name in ("CRON_TZ", "TZ"):
        return replace(found, time_zone=value)
    if name == "DIALECT":
        return replace(found, dialect=_one_of(name, value, tuple(DIALECTS)))
    if name == "DST":
        return replace(found, dst=_one_of(name, value, DST_POLICIES))
    if name == "SEED":
        return replace(found, seed=value)
    if name == "DAYS":
        return replace(found, days_are=_one_of(name, value, CONDITIONS))
    if name == "CALENDAR":
        return replace(found, calendar=value)
    if name == "ROLL":
        return replace(found, roll=_one_of(name, value, ("before", "after")))
    if name == "SHIFT":
        if not re.fullmatch(r"[+-]?\d{1,3}", value) or abs(int(value)) > SHIFT_MAX:
            raise ValueError(f"SHIFT={value[:32]} is not -{SHIFT_MAX} to {SHIFT_MAX} work days")
        return replace(found, shift=int(value))
    if name == "UNKNOWN_YEAR":
        return replace(found, unknown_year=_one_of(name, value, UNKNOWN_YEARS))
    raise ValueError(f"{name}= is not a setting; those are {', '.join(SETTINGS)}")


def _one_of(name: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise ValueError(f"{name}={value[:32]} is not known; write one of {', '.join(known)}")
    return value
