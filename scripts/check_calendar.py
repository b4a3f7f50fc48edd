"""The built-in calendar of China against two packages, day by day.

Run by `make check-calendar` in an environment of its own.
"""

from __future__ import annotations

import json
import sys
from datetime import date, timedelta
from pathlib import Path

import chinese_calendar
import holidays

FILE = Path(__file__).resolve().parents[1] / "python/cuptime/schedules/calendar_files/cn.json"


def _days(year: int, spans: list[str]) -> set[date]:
    found = set()
    for span in spans:
        ends = [date(year, *map(int, end.split("-"))) for end in span.split("..")]
        found |= {ends[0] + timedelta(days=k) for k in range((ends[-1] - ends[0]).days + 1)}
    return found


def main() -> int:
    """Prints each day on which anybody differs; fails when both packages differ from us."""
    years = {int(year): days for year, days in json.loads(FILE.read_text(encoding="utf-8"))["years"].items()}
    other = holidays.country_holidays("CN", years=list(years))
    days = against_one = against_both = 0
    for year, named in years.items():
        free, worked = _days(year, named["holidays"]), _days(year, named["worked"])
        day = date(year, 1, 1)
        while day.year == year:
            ours = day in worked or (day.weekday() < 5 and day not in free)
            theirs = (chinese_calendar.is_workday(day), other.is_working_day(day))
            differing = theirs.count(not ours)
            if differing:
                print(f"{day}: ours {ours}, chinesecalendar {theirs[0]}, holidays {theirs[1]}")
            days, against_one = days + 1, against_one + (differing == 1)
            against_both += differing == 2
            day += timedelta(days=1)
    print(f"{days} days: {against_one} differ from one package, {against_both} from both")
    return 1 if against_both else 0


if __name__ == "__main__":
    sys.exit(main())
