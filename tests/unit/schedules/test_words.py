"""Plain words: every phrase of the tables, refusals with what is near, and describing back to the same firings."""

from __future__ import annotations

import random
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuptime.core import Cron
from cuptime.schedules.cron_text import read_text
from cuptime.schedules.words import WordsError, describe, words_to_cron
from cuptime.schedules.zone_files import zone_of

TODAY = date(2026, 11, 23)
FOLDER = Path(__file__).parent
UTC_ZONE = zone_of("UTC")
FROM_MS = (1_795_392_000_000, 1_811_000_000_000, 1_830_000_000_000)
FOUR_YEARS_MS = 4 * 366 * 86_400_000


def phrases(language: str) -> list[tuple[str, str]]:
    lines = (FOLDER / f"phrases_{language}.tsv").read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines if not line.startswith("#")]
    return [(phrase, cron) for phrase, cron in rows]


@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_phrase_means_what_the_table_says(language: str) -> None:
    table = phrases(language)
    assert len({phrase for phrase, _ in table}) >= 300
    wrong = []
    for phrase, cron in table:
        try:
            found = words_to_cron(phrase, TODAY)
        except WordsError as fault:
            found = f"refused: {fault.args[0]}"
        if found != cron:
            wrong.append((phrase, found, cron))
    assert wrong == []


@pytest.mark.parametrize("language", ["zh", "en"])
def test_what_a_phrase_means_is_described_and_read_back(language: str) -> None:
    for _, text in phrases(language):
        if text.startswith(("DAYS=", "ROLL=", "@every")):
            continue
        for spoken in ("zh", "en"):
            words = describe(text, spoken)
            assert same(text, words_to_cron(words, TODAY)), (text, words)


@pytest.mark.parametrize(
    ("words", "near"),
    [
        ("每周八10:00", "每周三10:00"),
        ("每月最后一个周八17点", "每月最后一个周五17点"),
        ("every wednsday at 10:00", "every wednesday at 10:00"),
        ("every 5 minuts", "every 5 minutes"),
        ("first mondey of the month at 9:00", "first monday of the month at 9:00"),
        ("every 7 minuts on mondeys", "every 7 minutes on mondays"),
        ("evry day at 9", "every day at 9"),
        ("biweekly on friday", "every other wednesday at 10:00"),
        ("every third day at 9am", "every other day at 9:00"),
        ("every 3rd friday", "every other wednesday at 10:00"),
        ("every morning", "every morning at 9"),
        ("every day at 9am PST", "every day at noon in Asia/Shanghai"),
        ("easter monday at 9", "public holidays at 10:00"),
        ("every 36 hours", "interval 36h"),
        ("every day at 9, weekends at 10", "every day at 9am; weekends at 10am"),
        ("from 9am to 5 every hour", "every 30 minutes from 9am to 9pm"),
        ("3rd workday of the month", "third legal workday of the month at 9am"),
        ("春节后第一个工作日9点", "节假日10点"),
        ("每天早上", "每天早上8点"),
        ("单周周一9点", "隔周三10:00"),
        ("周末及节假日10点", "休息日10点"),
        ("法定节假日和周末10点", "休息日10点"),
        ("weekends and public holidays at 10", "rest days at 10:00"),
        ("holidays and weekends at 10", "rest days at 10:00"),
        ("每2小时30分", "每隔150分钟"),
        ("6月1日到7月30日每天9点", "每年6月到8月每天9点"),
        ("每天3次", "每天两次，9点和17点"),
        ("每月10号前一天", "每月月底前一天18点"),
        ("每月第5个工作日9点", "每月第三个法定工作日9点"),
        ("上午9点到3点每半小时", "每天早上9点到晚上9点每小时"),
        ("每天9点，周末10点", "每天9点；周末10点"),
    ],
)
def test_a_refusal_names_the_nearest_form(words: str, near: str) -> None:
    with pytest.raises(WordsError) as refused:
        words_to_cron(words, TODAY)
    assert refused.value.args[1] == near
    words_to_cron(near, TODAY)


@pytest.mark.parametrize(
    "words",
    [
        "",
        "every",
        "every day at 25:00",
        "every day at 13pm",
        "every morning at 9pm",
        "every hour from 9 to 5",
        "every second friday at 3pm",
        "biweekly on monday at 9am",
        "every month except sunday",
        "every day except monday to sunday at 9",
        "twice a day",
        "on weekdays at 9am and at 5pm on fridays",
        "工作日9点和18点、周五",
        "three times a day at 9 and 17",
        "every second day at 9am",
        "every 2 hours starting at 8am",
        "every 20 minutes starting at 9am",
        "first legal workday of the month and on fridays",
        "half nine every day",
        "每天三次，9点和17点",
        "从早上8点开始每2小时",
        "每月第一个法定工作日和15号9点",
        "晚上4点",
        "每天9点UTC+15",
        "tomorrow at 9am",
        "除了周一到周日每天9点",
        "每天两次",
        "双周周一9点",
        "早晚3点",
        "every blue moon",
        "tomorrow",
        "每天25点",
        "每月32号",
        "每月第六个周一",
        "每隔零分钟",
        "明天九点",
        "大概每天",
        "上午13点",
        "每天9点到18点",
        "x" * 1_000,
    ],
)
def test_what_is_not_understood_is_refused(words: str) -> None:
    with pytest.raises(WordsError):
        words_to_cron(words, TODAY)


@given(
    st.text(
        alphabet="每周月日一二三四五六天点半0123456789:上下午最后第个工作日到和、隔分钟小时秒", max_size=20
    )
)
def test_chinese_is_read_or_refused(words: str) -> None:
    try:
        text = words_to_cron(words, TODAY)
    except WordsError:
        return
    Cron(read_text(text).body, UTC_ZONE)


@given(
    st.lists(
        st.sampled_from("every each day week monday mon at on the 1st last first 9am 10:00 of month 5 minutes from to noon and , in".split()),  # noqa: E501, SIM905
        max_size=9,
    ).map(" ".join)
)  # fmt: skip
def test_english_is_read_or_refused(words: str) -> None:
    try:
        text = words_to_cron(words, TODAY)
    except WordsError:
        return
    Cron(read_text(text).body, UTC_ZONE)


def same(one: str, other: str) -> bool:
    """The same zone, and the same firings in three stretches of four years."""
    a, b = read_text(one), read_text(other)
    left, right = Cron(a.body, UTC_ZONE), Cron(b.body, UTC_ZONE)
    return a.time_zone == b.time_zone and all(
        left.firings(at, at + FOUR_YEARS_MS, 40) == right.firings(at, at + FOUR_YEARS_MS, 40)
        for at in FROM_MS
    )


def _field(dice: random.Random, low: int, high: int) -> str:
    a, b = sorted((dice.randint(low, high), dice.randint(low, high)))
    several = ",".join(str(value) for value in sorted({dice.randint(low, high) for _ in range(3)}))
    return dice.choice(["*", "*", str(a), str(b), f"*/{dice.randint(1, high // 2 + 1)}", f"{a}-{b}", several])


def _expression(dice: random.Random) -> str:
    day = dice.choice(
        ["*", "*", _field(dice, 1, 31), "L", f"L-{dice.randint(1, 30)}", "LW", f"{dice.randint(1, 31)}W",
         f"L-{dice.randint(1, 30)}W", f"{dice.randint(1, 31)},L,{dice.randint(1, 31)}W"]
    )  # fmt: skip
    nth = f"{dice.randint(0, 6)}#{dice.randint(1, 5)}"
    week = dice.choice(
        ["*", "*", _field(dice, 0, 6), nth, f"{dice.randint(0, 6)}L", f"1,{nth},5L", f"+{nth}"]
    )
    text = f"{_field(dice, 0, 59)} {_field(dice, 0, 23)} {day} {_field(dice, 1, 12)} {week}"
    text = f"{_field(dice, 0, 59)} {text}" if dice.random() < 0.3 else text
    return f"{text} 2027-2029" if len(text.split()) == 6 and dice.random() < 0.3 else text


def test_any_expression_described_and_read_back_fires_the_same() -> None:
    dice = random.Random(20_261_123)
    for _ in range(400):
        text = _expression(dice)
        for language in ("zh", "en"):
            words = describe(text, language)
            assert same(text, words_to_cron(words, TODAY)), (text, words)


@pytest.mark.parametrize(
    ("text", "chinese", "english"),
    [
        ("0 10 * * 3", "每周三10:00", "on Wednesday at 10:00"),
        ("0 9 * * 1-5", "每周一到周五9:00", "on Monday to Friday at 9:00"),
        ("0 18 L * *", "每月最后一天18:00", "on the last day of the month at 18:00"),
        ("*/5 * * * *", "每5分钟", "every 5 minutes"),
        ("0 9 * * 5L", "每月最后一个周五9:00", "on the last Friday of the month at 9:00"),
        ("0 9 13 * +5", "每月13号且是周五9:00", "on the 13th of the month and only if it is Friday at 9:00"),
        ("DAYS=workday 0 9 * * *", "法定工作日9:00", "on legal workdays at 9:00"),
    ],
)
def test_descriptions(text: str, chinese: str, english: str) -> None:
    assert describe(text, "zh") == chinese
    assert describe(text, "en") == english


@pytest.mark.parametrize(
    "text",
    [
        "0 9 * * * ! * * 1 * *", "@every 6h/5h", "@reboot", "60 * * * *", "ROLL=before 0 18 L,15 * *",
        "ROLL=before CALENDAR=shop-7 0 18 L * *", "ROLL=after 0 18 L * *", "ROLL=after SHIFT=-1 0 9 1 * *",
        "ROLL=before 0 18 L * 5", "ROLL=before DAYS=workday 0 18 L * *", "SHIFT=-1 0 9 1 * *",
        "DAYS=workday CALENDAR=shop-7 0 9 * * *",
    ],
)  # fmt: skip
def test_what_has_no_words(text: str) -> None:
    with pytest.raises(WordsError):
        describe(text, "en")


@pytest.mark.parametrize("kind", ["workday", "restday", "holiday", "not_holiday"])
@pytest.mark.parametrize("rest", ["0 9 * * *", "30 9,18 * * 1-5", "*/5 * * * *", "0 9 1-10 3 *", "0 0 L * *"])
def test_days_of_the_legal_calendar_are_described_and_read_back(kind: str, rest: str) -> None:
    text = f"DAYS={kind} {rest}"
    for language in ("zh", "en"):
        words = describe(text, language)
        found = words_to_cron(words, TODAY)
        assert read_text(found).days_are == kind, words
        assert same(text, found), words


@pytest.mark.parametrize("text", [
    "ROLL=after 0 9 1 * *", "ROLL=after SHIFT=2 30 9,14 1 3 *", "ROLL=before 0 18 L * *",
    "ROLL=before SHIFT=-2 0 18 L * *",
])  # fmt: skip
def test_legal_work_days_of_a_month_are_described_and_read_back(text: str) -> None:
    for language in ("zh", "en"):
        assert words_to_cron(describe(text, language), TODAY) == text


@pytest.mark.parametrize("text", ["@every 1h30m", "@every 2w from 2026-11-25 10:00"])
def test_intervals_are_described_too(text: str) -> None:
    for language in ("zh", "en"):
        assert same(text, words_to_cron(describe(text, language), TODAY))
