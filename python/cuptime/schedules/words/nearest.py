"""What a refusal offers: the nearest form that is understood.

First what is often asked and cannot be meant (a day that moves, a single time), with its reason; then the text with its
misspelled words mended; then the example that looks most like it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from typing import Final

from cuptime.schedules.words.english_terms import NUMBERS, ORDINALS
from cuptime.schedules.words.scan import NotUnderstoodError

MENDED_WORDS_MAX: Final = 3
_ALIKE: Final = 0.75

_PARTS_ZH: Final = "凌晨|清晨|早上|早晨|早|上午|下午|午后|傍晚|晚上|晚间|夜里|深夜"
_KNOWN_TROUBLES: Final[tuple[tuple[str, str, str], ...]] = (
    (r"春节|除夕|元宵|清明|端午|中秋|重阳|七夕|农历|阴历|初[一二三四五六七八九十]|复活节|感恩节",
     "a day that moves from year to year is no rule; legal holidays are read", "节假日10点"),
    (r"明天|后天|今天|今晚|大后天|下个?(?:周|星期|月)|(?:秒|分钟|小时|天|周)后",
     "a single time is no schedule in words: use `at` or `after`", ""),
    (r"[单双]周", "whose weeks? write 隔周 and a weekday", "隔周三10:00"),
    (r"前一天|后一天|节前|节后", "of days before others only 月底前一天 is read: use ROLL and SHIFT",
     "每月月底前一天18点"),
    (r"第.{1,2}个工作日|前.个工作日", "counted are legal work days: 法定工作日", "每月第三个法定工作日9点"),
    (r"[\d一二两三四五六七八九十]次", "say the times of the day", "每天两次，9点和17点"),
    (rf"(?:{_PARTS_ZH})(?![\d一二两三四五六七八九十零])", "at which hour?", "每天早上8点"),
    (r"\b(?:easter|thanksgiving|spring festival|lunar|chinese new year|mid-autumn|dragon boat)\b",
     "a day that moves from year to year is no rule; legal holidays are read", "public holidays at 10:00"),
    (r"\b(?:tomorrow|today|tonight|next (?:week|month|\w+day)|in \w+ (?:seconds|minutes|hours|days))\b",
     "a single time is no schedule in words: use `at` or `after`", ""),
    (r"\b(?:bi-?weekly|bi-?monthly|semi-?monthly|bi-?annually)\b",
     "twice in that time, or each second one? say which", "every other wednesday at 10:00"),
    (r"\b(?:pst|pdt|est|edt|cst|cdt|mst|mdt|cet|cest|bst|ist|jst|kst|hkt|sgt|aest)\b",
     "an abbreviation stands for several zones: write the IANA name", "every day at noon in Asia/Shanghai"),
    (r"\b(?:mornings?|afternoons?|evenings?|night|business hours|end of day|eod)\b", "at which hour?",
     "every morning at 9"),
    (r"\bhalf (?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)\b",
     "half past, or half an hour before? say which", "every day at half past nine"),
    (r"\b(?:twice|\w+ times) a\b", "say the times", "twice a day at 9am and 5pm"),
    (r"\b(?:work(?:ing)?|business) ?days? of\b", "counted are legal workdays",
     "third legal workday of the month at 9am"),
    (r"\bthe day (?:before|after)\b", "days before and after others have no words: use ROLL and SHIFT", ""),
)  # fmt: skip
_TROUBLES: Final = tuple((re.compile(pattern), reason, meant) for pattern, reason, meant in _KNOWN_TROUBLES)

_WORDS: Final = sorted(
    {
        *"sunday monday tuesday wednesday thursday friday saturday sundays mondays tuesdays wednesdays thursdays fridays".split(),  # noqa: E501, SIM905
        *"saturdays january february march april may june july august september october november december".split(),  # noqa: SIM905
        *"every each day days daily week weeks weekly month months monthly quarter quarterly year yearly hour hours".split(),  # noqa: E501, SIM905
        *"hourly minute minutes second seconds weekday weekdays weekend weekends workday workdays holidays public".split(),  # noqa: E501, SIM905
        *"legal except between from until through other last first noon midnight half past quarter morning".split(),  # noqa: SIM905
        *"afternoon evening night nightly fortnight interval starting twice times".split(),  # noqa: SIM905
        *(word for word in NUMBERS if word.isalpha() and len(word) > 2),
        *(word for word in ORDINALS if word.isalpha()),
    }
)


def trouble(text: str) -> tuple[str, str]:
    """Why such a text is not read, and the nearest form; "" where nothing is known."""
    return next(((reason, meant) for pattern, reason, meant in _TROUBLES if pattern.search(text)), ("", ""))


def mended(text: str, read: Callable[[str], object]) -> str:
    """The text with misspelled English words written right, if it is then understood; "" else."""
    for _ in range(MENDED_WORDS_MAX):
        try:
            read(text)
        except NotUnderstoodError as fault:
            text = _better(text, fault.at)
            if not text:
                return ""
        except ValueError:
            return ""
        else:
            return text
    return ""


def _better(text: str, at: int) -> str:
    """With the first word from there on that is in no rule, but like one that is; "" where there is none."""
    for word in re.finditer(r"[a-z]{4,}", text[at:]):
        if word[0] in _WORDS:
            continue
        alike = [known for known in _WORDS if known[0] == word[0][0]]
        found = difflib.get_close_matches(word[0], alike, 1, _ALIKE)
        if found:
            return text[: at + word.start()] + found[0] + text[at + word.end() :]
    return ""


def likest(text: str, examples: Sequence[str]) -> str:
    """The example that looks most like it, "" when none does."""
    found = difflib.get_close_matches(text, examples, 1, 0.3)
    return found[0] if found else ""
