"""Calendars of work days and holidays: versioned files, read at start and again whenever they change.

A calendar is a JSON file, `<name>.json`: the days of a plain work week (0 is Sunday), and for each year the holidays
and the days that are worked nevertheless, as `MM-DD` or `MM-DD..MM-DD`. `cn` comes with the package (the legal holidays
of China); a folder of the operator's own adds to it and may replace it, with a newer year for example. A bad file
replaces nothing.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from cuptime.core import CronCalendar
from cuptime.rules.reading import content_of

FILE_BYTES_MAX: Final = 262_144
CALENDARS_MAX: Final = 1_000
YEARS_MAX: Final = 400
BUILT_IN: Final = Path(__file__).parent / "calendar_files"

_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_SPAN: Final = re.compile(r"(\d\d)-(\d\d)(?:\.\.(\d\d)-(\d\d))?")
_FIELDS: Final = frozenset({"name", "version", "source", "notes", "workweek", "open_ended", "years"})


class CalendarError(ValueError):
    """A file that is no calendar, its text for people."""


class CalendarFile(Struct, frozen=True):
    """A calendar as read. `week` are the work days of a plain week (0 is Sunday), `known` the years with data, `digest`
    is of the file's bytes."""

    name: str
    version: str
    source: str
    calendar: CronCalendar
    week: frozenset[int]
    known: frozenset[int]
    open_ended: bool
    digest: bytes


class Calendars:
    """All calendars, by name. `revision` grows when any of them changes."""

    def __init__(self, folder: Path | None = None) -> None:
        """Reads the package's own calendars and then the folder's. What is bad is in `faults`."""
        self._folder = folder
        self._files: dict[str, CalendarFile] = {}
        self.revision = 0
        self.faults: dict[str, str] = {}
        """By file name: why it was not taken."""
        self.reload()

    def get(self, name: str) -> CalendarFile:
        """Raises KeyError."""
        return self._files[name]

    def names(self) -> list[str]:
        """All, sorted."""
        return sorted(self._files)

    def reload(self) -> list[str]:
        """Reads all files again; the names of what changed. What is bad keeps its last good version."""
        found = dict(self._files)
        self.faults = {}
        for folder in (BUILT_IN, self._folder):
            if folder is None:
                continue
            for path in sorted(folder.glob("*.json"))[:CALENDARS_MAX]:
                try:
                    file = read_calendar(_bytes_of(path), path.stem)
                except (CalendarError, OSError) as fault:
                    self.faults[path.name] = str(fault)
                    continue
                before = self._files.get(file.name)
                # By its bytes: days that change under an old version are not overlooked.
                same = before is not None and before.digest == file.digest
                found[file.name] = before if same and before is not None else file
        changed = [name for name, file in found.items() if self._files.get(name) is not file]
        if changed:
            self._files = found
            self.revision += 1
        return sorted(changed)


def _bytes_of(path: Path) -> bytes:
    raw = content_of(path, FILE_BYTES_MAX)
    if len(raw) > FILE_BYTES_MAX:
        raise CalendarError(f"it is larger than {FILE_BYTES_MAX} bytes")
    return raw


def read_calendar(raw: bytes, stem: str) -> CalendarFile:
    """A calendar from the bytes of its file. Raises CalendarError."""
    try:
        fields = json.loads(raw)
    except (ValueError, RecursionError) as fault:
        raise CalendarError(f"it is not JSON: {fault}") from fault
    if not isinstance(fields, dict):
        raise CalendarError("an object is wanted")
    if unknown := sorted(fields.keys() - _FIELDS):
        raise CalendarError(f"{unknown[0]!r} is not a field; those are {', '.join(sorted(_FIELDS))}")
    name = fields.get("name", stem)
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name != stem:
        raise CalendarError(f"name must be the file's, of the form {_NAME.pattern}")
    version = fields.get("version")
    if not isinstance(version, str) or not version:
        raise CalendarError("version is wanted, a text that changes when the calendar does")
    week = fields.get("workweek", [1, 2, 3, 4, 5])
    if not isinstance(week, list) or not all(isinstance(day, int) and 0 <= day <= 6 for day in week):
        raise CalendarError("workweek is a list of days, 0 (Sunday) to 6")
    open_ended = fields.get("open_ended", False)
    years = fields.get("years", {})
    if not isinstance(open_ended, bool) or not isinstance(years, dict) or len(years) > YEARS_MAX:
        raise CalendarError("open_ended is true or false, years an object")
    rows = [_year(year, days) for year, days in years.items()]
    mask = sum(1 << day for day in set(week))
    calendar = CronCalendar(mask, open_ended, rows)
    known = frozenset(year for year, _, _ in rows)
    digest = hashlib.blake2b(raw, digest_size=16).digest()
    return CalendarFile(
        name, version, str(fields.get("source", "")), calendar, frozenset(week), known, open_ended, digest
    )


def _year(text: str, days: Any) -> tuple[int, list[int], list[int]]:
    if not re.fullmatch(r"[12]\d{3}", text) or not isinstance(days, Mapping):
        raise CalendarError(f"{text!r} is not a year")
    if unknown := sorted(days.keys() - {"holidays", "worked"}):
        raise CalendarError(f"{text}: {unknown[0]!r} is not holidays or worked")
    year = int(text)
    holidays, worked = _days(year, days.get("holidays", [])), _days(year, days.get("worked", []))
    if both := sorted(set(holidays) & set(worked)):
        day = date.fromordinal(date(year, 1, 1).toordinal() + both[0])
        raise CalendarError(f"{day} is both holiday and worked")
    return year, holidays, worked


def _days(year: int, spans: Any) -> list[int]:
    """Days of the year, 0 is 1 January."""
    if not isinstance(spans, list):
        raise CalendarError(f"{year}: a list of days is wanted")
    first = date(year, 1, 1).toordinal()
    found: list[int] = []
    for span in spans:
        match = _SPAN.fullmatch(span) if isinstance(span, str) else None
        try:
            if match is None:
                raise ValueError("write MM-DD or MM-DD..MM-DD")
            low = date(year, int(match[1]), int(match[2])).toordinal() - first
            high = date(year, int(match[3]), int(match[4])).toordinal() - first if match[3] else low
            if high < low:
                raise ValueError("it ends before it begins")
        except ValueError as fault:
            raise CalendarError(f"{year}: {str(span)[:32]!r}: {fault}") from fault
        found += range(low, high + 1)
    return found
