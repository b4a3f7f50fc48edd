"""Words at the door: what is said in Chinese or English becomes the cron text that is stored, and is told back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from msgspec import Struct

from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.values import Timing, TimingKind
from cuptime.schedules.words import WordsError, describe, words_to_cron
from cuptime.schedules.zone_files import ZoneError, zone_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Told(Struct, frozen=True):
    """A cron text and its words; words are empty where there are none."""

    cron: str
    chinese: str
    english: str


def cron_of(text: str, time_zone: str, now_ms: int, field: str) -> str:
    """The canonical cron text of words; "every second Wednesday" counts from today in the zone. Raises
    WORDS_NOT_UNDERSTOOD, with the nearest understood form, or TIME_ZONE_UNKNOWN."""
    try:
        local_s = zone_of(time_zone or "UTC").local_s(now_ms // 1_000)
    except ZoneError as fault:
        raise CuptimeError(
            Reason.TIME_ZONE_UNKNOWN, str(fault.args[0]), field=field.replace("text", "time_zone")
        ) from fault
    try:
        return words_to_cron(text, (_EPOCH + timedelta(seconds=local_s)).date())
    except WordsError as fault:
        message, meant = fault.args
        raise CuptimeError(
            Reason.WORDS_NOT_UNDERSTOOD,
            f"{message}" + (f"; understood is for example: {meant}" if meant else ""),
            field=field,
            metadata={"text": text[:100]} | ({"nearest": meant} if meant else {}),
        ) from fault


def told(timing: Timing) -> Told:
    """What a timing says, in both languages."""
    if timing.kind is not TimingKind.CRON:
        return Told("", "", "")
    spoken = []
    for language in ("zh", "en"):
        try:
            spoken.append(describe(timing.expression, language))
        except (WordsError, ValueError):
            spoken.append("")
    return Told(timing.expression, *spoken)
