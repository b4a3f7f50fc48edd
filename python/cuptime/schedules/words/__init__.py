"""Plain words to a cron text and back, in Chinese and English: closed grammars, no model, the same answer every time.

    words_to_cron("每周三10:00", today)             -> "0 10 * * 3"
    words_to_cron("every weekday at 9am", today)    -> "0 9 * * 1-5"

What is not understood is refused with the nearest form that is. `today` (a wall clock date) anchors what counts in
weeks or days, like 「隔周三」.
"""

from __future__ import annotations

import re
from datetime import date
from types import ModuleType
from typing import Final

from cuptime.schedules.words.describe import describe
from cuptime.schedules.words.draft import WordsError
from cuptime.schedules.words.scan import TEXT_CHARS_MAX, NotUnderstoodError, scan

__all__ = ["WordsError", "describe", "is_chinese", "words_to_cron"]

_PARTS: Final = re.compile(r"[;；]")
_FRONT: Final = re.compile(r"(?:[A-Z_]+=\S+ )*")
_HAN: Final = re.compile(r"[\u4e00-\u9fff〇]")


def is_chinese(text: str) -> bool:
    """Has it a Chinese character?"""
    return _HAN.search(text) is not None


def words_to_cron(text: str, today: date) -> str:
    """The canonical cron text. Raises WordsError with the nearest understood form."""
    language = _language(text)
    if len(text) > TEXT_CHARS_MAX:
        raise WordsError(f"longer than {TEXT_CHARS_MAX} characters", "")
    plain = language.plain(text)
    try:
        return _read(plain, language, today)
    except WordsError as fault:
        raise _explained(fault, plain, language, today) from fault


def _read(plain: str, language: ModuleType, today: date) -> str:
    parts = [part for part in _PARTS.split(plain) if part.strip()]
    drafts = [draft for part in parts or [plain] for draft in scan(part, language.RULES, language.SKIPPED)]
    return _joined([draft.text(today) for draft in drafts])


def _explained(fault: WordsError, plain: str, language: ModuleType, today: date) -> WordsError:
    """The same refusal with a reason, where one is known, and with the nearest understood form."""
    # Imported when somebody is refused: no start waits for it.
    from cuptime.schedules.words.nearest import likest, mended, trouble

    message, meant = fault.args
    if meant:
        return fault
    known = isinstance(fault, NotUnderstoodError) or "times a day" in message
    reason, meant = trouble(plain) if known else ("", "")
    if reason:
        return WordsError(f"{message}: {reason}", meant or likest(plain, language.EXAMPLES))
    mend = mended(plain, lambda text: _read(text, language, today)) if plain.isascii() else ""
    return WordsError(message, mend or likest(plain, language.EXAMPLES))


def _language(text: str) -> ModuleType:
    """The grammar of the text's language. Imported when it is first spoken: compiling the rules of both takes as long
    as everything else that stands between a crash and the first trigger."""
    if is_chinese(text):
        from cuptime.schedules.words import chinese

        return chinese
    from cuptime.schedules.words import english

    return english


def _joined(texts: list[str]) -> str:
    """Several texts as one; what stands in front must be the same."""
    fronts = [(_FRONT.match(text) or [""])[0] for text in texts]
    if len(set(fronts)) > 1:
        raise WordsError("one zone and one kind of days for all parts", "")
    return fronts[0] + " | ".join(text[len(front) :] for text, front in zip(texts, fronts, strict=True))
