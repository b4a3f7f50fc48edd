# ruff: noqa: E501, SIM905, F541 - rules stand one a line, each beside its like
"""Chinese: a closed grammar, no guessing. 「每周三10:00」「每月最后一天18:00」「每天9点到21点每半小时」."""

from __future__ import annotations

import re
from typing import Final

from cuptime.schedules.words.chinese_terms import (
    ALONE,
    AND,
    NUM,
    PERIOD,
    TIME,
    TO,
    WD,
    WEEK,
    clock,
    expand,
    inherited,
    number,
    weekday,
)
from cuptime.schedules.words.draft import Draft, WordsError
from cuptime.schedules.words.names import CITIES_ZH, DAYS_ZH
from cuptime.schedules.words.scan import Rule
from cuptime.schedules.zone_files import zone_names


# --- what each rule does ----------------------------------------------------------------------------------------------
def _set_step(draft: Draft, value: int, unit: str) -> None:
    if value < 1:
        raise WordsError("间隔不能是零", "")
    order = "s m h d w mo q hy y".split()
    if draft.step is None:
        draft.step = (value, unit)
        return
    if draft.step[0] != 1 and value != 1:
        raise WordsError("有两个间隔", "")
    draft.step = min((draft.step, (value, unit)), key=lambda step: order.index(step[1]))


_UNITS: Final = {"秒": "s", "分": "m", "小": "h", "钟": "h", "天": "d", "日": "d", "周": "w", "星": "w", "礼": "w",
                 "月": "mo", "季": "q", "年": "y"}  # fmt: skip


def _step(draft: Draft, match: re.Match[str]) -> None:
    value = number(match["n"]) if match["n"] else 1
    unit = match["unit"]
    if unit.startswith("刻"):
        _set_step(draft, 15 * value, "m")
    elif match["half"] or match.groupdict().get("h2"):
        _set_step(draft, (60 * value if match["n"] else 0) + 30, "m")
    else:
        _set_step(draft, value, _UNITS[unit[0]])


def _and_a_half(draft: Draft, match: re.Match[str]) -> None:
    _set_step(draft, 60 * number(match["n"]) + 30, "m")


def _other(draft: Draft, match: re.Match[str]) -> None:
    _set_step(
        draft,
        2,
        "d" if "天" in match[0] or "日" in match[0] else "w" if match["wd"] or "周" in match[0] else "mo",
    )
    if match["wd"]:
        draft.weekdays.add(weekday(match["wd"]))


def _weeks(draft: Draft, match: re.Match[str]) -> None:
    _set_step(draft, number(match["n"]), "w")
    if match["wd"]:
        draft.weekdays.add(weekday(match["wd"]))


def _week(draft: Draft, match: re.Match[str]) -> None:
    _set_step(draft, 1, "w")
    draft.week_begins = 1


def _weekdays(draft: Draft, match: re.Match[str]) -> None:
    for first, last in re.findall(rf"({WD}|末)(?:{TO}{WEEK}?({WD}))?", match["days"]):
        if first == "末":
            draft.weekdays |= {0, 6}
        elif last:
            draft.weekdays |= {day % 7 for day in expand(weekday(first) or 7, weekday(last) or 7, 1, 7)}
        else:
            draft.weekdays.add(weekday(first))


def _workdays(draft: Draft, match: re.Match[str]) -> None:
    if "法定" in match[0]:
        draft.days_are = "workday"
    else:
        draft.weekdays |= {1, 2, 3, 4, 5}


def _restdays(draft: Draft, match: re.Match[str]) -> None:
    draft.days_are = "holiday" if "节" in match[0] else "restday"


def _month(draft: Draft, match: re.Match[str]) -> None:
    _set_step(draft, 1, "mo")


def _half_year(draft: Draft, match: re.Match[str]) -> None:
    _set_step(draft, 1, "hy")


def _months(draft: Draft, match: re.Match[str]) -> None:
    for first, last in re.findall(rf"({NUM})\s*月?份?(?:{TO}({NUM})\s*月份?)?", match["months"]):
        low, high = number(first), number(last) if last else number(first)
        if not 1 <= low <= 12 or not 1 <= high <= 12:
            raise WordsError("月份是一到十二", "")
        draft.months |= set(expand(low, high, 1, 12))


def _month_days(draft: Draft, match: re.Match[str]) -> None:
    for first, last in re.findall(rf"({NUM})(?:号|日|天)?(?:{TO}({NUM}|最后一天|月底|月末))?", match["days"]):
        low = _day(first)
        if not last:
            draft.days.append(str(low))
        elif not re.fullmatch(NUM, last):
            draft.days.append(f"{low}-L")
        else:
            draft.days.append(f"{low}-{_day(last)}")


def _day(text: str) -> int:
    value = number(text)
    if not 1 <= value <= 31:
        raise WordsError(f"「{text}」不是一个月里的日子", "")
    return value


def _date(draft: Draft, match: re.Match[str]) -> None:
    value = number(match["month"])
    if not 1 <= value <= 12:
        raise WordsError("月份是一到十二", "")
    first = str(_day(match["day"]))
    if match["to_month"] and number(match["to_month"]) != value:
        raise WordsError(f"「{match[0]}」跨月了：每个月分开说", "每年6月到8月每天9点")
    draft.dates.append((value, f"{first}-{_day(match['last'])}" if match["last"] else first))


def _last_day(draft: Draft, match: re.Match[str]) -> None:
    if _of_quarter(draft):
        draft.whole_quarters = "last"
    elif _of_year(draft):
        draft.months, draft.days = {12}, ["31"]
    else:
        draft.days.append("L")


def _first_day(draft: Draft, match: re.Match[str]) -> None:
    if _of_quarter(draft):
        draft.whole_quarters = "first"
    elif _of_year(draft):
        draft.months, draft.days = {1}, ["1"]
    else:
        draft.days.append("1")


def _edge(draft: Draft, match: re.Match[str]) -> None:
    """「每月底」「每季度末」「每年初」."""
    _set_step(draft, 1, _UNITS[match["unit"][0]])
    (_first_day if match["edge"] == "初" else _last_day)(draft, match)


def _named_day(draft: Draft, match: re.Match[str]) -> None:
    in_month, of_month = DAYS_ZH[match["name"]]
    draft.dates.append((in_month, str(of_month)))


def _except(draft: Draft, match: re.Match[str]) -> None:
    if match["kind"] and "假" in match["kind"]:
        if draft.days_are:
            raise WordsError("日子只能有一种", "")
        draft.days_are = "not_holiday"
        return
    if match["kind"]:
        draft.not_weekdays |= {1, 2, 3, 4, 5}
        return
    named = Draft()
    _weekdays(named, match)
    draft.not_weekdays |= named.weekdays


def _both_halves(draft: Draft, match: re.Match[str]) -> None:
    """「早晚8点」."""
    hour, minute, second = clock(match["time"])
    if not 5 <= hour <= 11:
        raise WordsError(f"「{match[0]}」不是早晚", "")
    draft.times += [(hour, minute, second), (hour + 12, minute, second)]


def _middle(draft: Draft, match: re.Match[str]) -> None:
    draft.days.append("15")


def _counted(draft: Draft, match: re.Match[str]) -> None:
    """「每天三次，8点、12点和18点」."""
    _set_step(draft, 1, "d")
    draft.times_counted = number(match["n"])


def _last_days(draft: Draft, match: re.Match[str]) -> None:
    count = number(match["n"])
    if not 1 <= count <= 28:
        raise WordsError("最后几天：一到二十八", "")
    draft.days += [f"L-{n}" if n else "L" for n in range(count)]


def _first_days(draft: Draft, match: re.Match[str]) -> None:
    last = _day(match["n"])
    if last < 2:
        raise WordsError(f"「{match[0]}」是哪一天？", "每月1号和15号9点")
    draft.days.append(f"1-{last}")


def _before_the_last(draft: Draft, match: re.Match[str]) -> None:
    draft.days.append("L-1")


def _parity(draft: Draft, match: re.Match[str]) -> None:
    """「单号」「双月」."""
    odd = match["odd"] is not None
    if match["unit"] == "月":
        draft.months |= set(range(1 if odd else 2, 13, 2))
    else:
        draft.days.append("1-31/2" if odd else "2-30/2")


def _month_of_quarter(draft: Draft, match: re.Match[str]) -> None:
    first = {"一": 1, "1": 1, "二": 2, "2": 2, "三": 3, "3": 3}.get(
        match["n"] or "", 3 if match["last"] else 1
    )
    draft.months |= set(range(first, 13, 3))


def _from_on(draft: Draft, match: re.Match[str]) -> None:
    """「从2点开始每6小时」."""
    draft.starts = clock(match["time"])


def _half_hours(draft: Draft, match: re.Match[str]) -> None:
    _set_step(draft, 60 * int(match["n"]) + 30, "m")


def _nth_legal(draft: Draft, match: re.Match[str]) -> None:
    """「每月第三个法定工作日」「每月倒数第二个法定工作日」: so many legal work days from an end of the month."""
    from_end = match["last"] is not None or match["back"] is not None
    count = number(match["n"] or match["back"] or "1")
    if not 1 <= count <= 15 or (draft.step or (1, "mo")) != (1, "mo"):
        raise WordsError("一个月里的第一到第十五个法定工作日", "每月最后一个法定工作日18点")
    draft.days.append("L" if from_end else "1")
    draft.roll = ("before" if from_end else "after", 1 - count if from_end else count - 1)


def _either(draft: Draft, match: re.Match[str]) -> None:
    raise WordsError(f"「{match[0]}」: 两种日子并列，调休的周末算不算？", "休息日10点")


def _hours_and_minutes(draft: Draft, match: re.Match[str]) -> None:
    raise WordsError(f"「{match[0]}」: 是间隔，还是每次的第几分？", "每隔150分钟")


def _offset(draft: Draft, match: re.Match[str]) -> None:
    """UTC+8 is the zone Etc/GMT-8: there the sign is turned round."""
    hours = int(match["hours"])
    if hours > (12 if match["sign"] == "-" else 14):
        raise WordsError(f"「{match[0]}」不是时区", "")
    draft.zone = f"Etc/GMT{'-' if match['sign'] == '+' else '+'}{hours}" if hours else "UTC"


def _of_quarter(draft: Draft) -> bool:
    return draft.step == (1, "q")


def _of_year(draft: Draft) -> bool:
    return draft.step == (1, "y") and not draft.months


def _before_last(draft: Draft, match: re.Match[str]) -> None:
    count = number(match["n"])
    if not 1 <= count <= 31:
        raise WordsError("一个月最多三十一天", "")
    draft.days.append(f"L-{count - 1}" if count > 1 else "L")


def _nth_weekday(draft: Draft, match: re.Match[str]) -> None:
    for which in re.findall(rf"最后一?|{NUM}", match["which"]):
        for day in re.findall(WD, match["days"]):
            if which.startswith("最后"):
                draft.nth.append(f"{weekday(day)}L")
            elif not 1 <= number(which) <= 5:
                raise WordsError("一个月最多有五个同样的星期几", "")
            else:
                draft.nth.append(f"{weekday(day)}#{number(which)}")


def _nth_workday(draft: Draft, match: re.Match[str]) -> None:
    if "最后" in match[0]:
        draft.days.append("LW")
        draft.whole_quarters = "last" if _of_quarter(draft) else ""
    else:
        draft.days.append("1W")
        draft.whole_quarters = "first" if _of_quarter(draft) else ""


def _nearest_workday(draft: Draft, match: re.Match[str]) -> None:
    if match["before"]:
        draft.days.append(f"L-{number(match['before']) - 1}W")
    else:
        draft.days.append(f"{_day(match['day'])}W" if match["day"] else "LW")


def _times(draft: Draft, match: re.Match[str]) -> None:
    draft.times += inherited(re.findall(TIME, match["times"]))


def _window(draft: Draft, match: re.Match[str]) -> None:
    a, b = inherited([match["a"], match["b"]])
    if b < a < (12, 0, 0) and re.match(PERIOD, match["a"]) and not re.match(PERIOD, match["b"]):
        raise WordsError(f"「{match[0]}」到上午还是下午？", "每天早上9点到晚上9点每小时")
    draft.windows.append((a, b))


def _minutes(draft: Draft, match: re.Match[str]) -> None:
    draft.minutes += _marked(match["marks"])


def _seconds(draft: Draft, match: re.Match[str]) -> None:
    draft.seconds += _marked(match["marks"])


def _marked(text: str) -> list[int]:
    """「1、5到9」."""
    found: list[int] = []
    for first, last in re.findall(rf"({NUM})(?:{TO}({NUM}))?", text):
        low, high = number(first), number(last or first)
        if not low <= high <= 59:
            raise WordsError(f"「{text}」要从小到大，且小于六十", "")
        found += range(low, high + 1)
    return found


def _hours(draft: Draft, match: re.Match[str]) -> None:
    draft.hours |= {time[0] for time in inherited(re.findall(TIME, match["hours"]))}


def _whole_hour(draft: Draft, match: re.Match[str]) -> None:
    _set_step(draft, 1, "h")
    if "半点" in match[0]:
        draft.minutes.append(30)


def _evening(draft: Draft, match: re.Match[str]) -> None:
    _set_step(draft, 1, "d")
    draft.times += inherited([match["period"] + match["time"]])


def _city(draft: Draft, match: re.Match[str]) -> None:
    draft.zone = CITIES_ZH[match["city"]]


def _zone(draft: Draft, match: re.Match[str]) -> None:
    known = {name.casefold(): name for name in zone_names()}
    draft.zone = known.get(match["zone"].casefold(), "")
    if not draft.zone:
        raise WordsError(f"「{match['zone']}」不是 IANA 时区", "")


def _both(draft: Draft, match: re.Match[str]) -> None:
    draft.both = True


def _years(draft: Draft, match: re.Match[str]) -> None:
    draft.years |= {int(word) for word in re.findall(r"\d{4}", match[0])}


def _interval(draft: Draft, match: re.Match[str]) -> None:
    draft.interval = match["interval"] + (f" from {match['day']} {match['time']}" if match["day"] else "")


def _nothing(draft: Draft, match: re.Match[str]) -> None:
    """Words that change nothing."""


_EVERY = r"(?:每个?|每逢|每隔|每间隔|间隔|隔)"
_WD_PART = rf"(?:{WEEK}?(?:{WD}|末)(?:{TO}{WEEK}?{WD})?)"
_DAY_PART = rf"{NUM}(?:号|日)(?:{TO}(?:{NUM}(?:号|日)|最后一天|月底|月末))?"
_RULES: Final = (
    (rf"每?隔(?:一个?)?(?:天|日)(?P<wd>(?!))?|每?隔(?:一个?)?{WEEK}(?:的)?(?:{WEEK})?(?P<wd2>(?!))?", _other),
    (rf"每?隔一?个?(?:{WEEK}的?)?{WEEK}(?P<wd>{WD})", _other),
    (rf"(?:每隔?|每间隔|间隔|隔)(?P<half>半)?(?:(?P<n>{NUM}))?个?(?(half)|(?P<h2>半)?)(?P<unit>秒钟?|分钟?|小时|钟头|刻钟)", _step),
    (rf"(?:每隔?|每间隔|间隔)(?P<n>{NUM})个?半小时", _and_a_half),
    (rf"(?:每隔?|每间隔|间隔)(?:(?P<n>{NUM}))?个?(?P<half>(?!))?(?P<unit>天|日|年|月|季度?)", _step),
    (r"每个?一?(?P<n>(?!))?(?P<half>(?!))?(?P<unit>天|日|年|季度?)", _step),
    (r"天天|日日", lambda draft, match: _set_step(draft, 1, "d")),
    (rf"每隔?(?P<n>{NUM})(?:个)?(?:周|星期|礼拜)(?:的)?(?:{WEEK}(?P<wd>{WD}))?(?!{WD}(?!次))", _weeks),
    (rf"(?:每个?|每逢|逢|在)?{WEEK}(?P<days>(?:{WD}|末)(?:{TO}{WEEK}?{WD})?(?:(?:{AND})?{_WD_PART})*)", _weekdays),
    (rf"每个?{WEEK}(?:一次)?", _week),
    (rf"(?:每个?|在)?(?:法定)?(?:工作日|上班日|平日)(?:里)?", _workdays),
    (rf"每?(?:个|逢)?(?:法定)?(?:节假日|节日|假日|休息日|非工作日|放假)", _restdays),
    (r"每个?月(?:份)?", _month),
    (rf"每?隔一个月|每隔月|隔月", lambda draft, match: _set_step(draft, 2, "mo")),
    (r"每半年", _half_year),
    (rf"(?:每年)?(?:的|在)?(?P<months>{NUM}月份?(?:(?:{AND}|{TO}){NUM}月份?)*|{NUM}(?:{AND}{NUM})+月份?|{NUM}{TO}{NUM}月份?)", _months),
    (rf"(?:每月|每个月)?(?:的|在)?(?:第)?(?P<days>{_DAY_PART}(?:{AND}{_DAY_PART})*|{NUM}(?:{AND}{NUM})+(?:号|日)|{NUM}{TO}{NUM}(?:号|日))", _month_days),
    (rf"(?:的|在)?(?:第一天|第1天|首日|(?:月初|季初|年初)(?!的?第))(?:的?[1一](?:号|日))?", _first_day),
    (rf"每个?(?P<unit>月|季度?|年)(?P<edge>(?:底|末)(?!的?(?:最后|倒数))|初(?!的?第))(?:的?[1一](?:号|日))?", _edge),
    (rf"(?:每年)?(?:的|在)?(?P<name>{'|'.join(sorted(DAYS_ZH, key=len, reverse=True))})(?:当天|那天)?", _named_day),
    (rf"除了?(?:{WEEK}(?P<days>(?:{WD}|末)(?:{TO}{WEEK}?{WD})?(?:(?:{AND})?{_WD_PART})*)|(?P<kind>工作日|(?:法定)?节?假日))(?:以外|之外|外)?", _except),
    (rf"{WEEK}(?P<days>(?:{WD}|末)(?:{TO}{WEEK}?{WD})?(?:(?:{AND})?{_WD_PART})*)(?P<kind>(?!))?(?:除外|以外|之外)", _except),
    (rf"(?P<kind>(?:法定)?(?:工作日|节?假日))(?P<days>(?!))?(?:除外|以外|之外)", _except),
    (rf"早晚(?:各)?(?:一次)?(?P<time>{NUM}[点时](?:半|整)?)", _both_halves),
    (rf"(?:的|在)?第(?P<days>{NUM})天", _month_days),
    (rf"(?:每年)?(?:的)?(?P<month>{NUM})月(?:的)?(?P<day>{NUM})(?:(?:号|日)?{TO}(?:(?P<to_month>{NUM})月)?(?P<last>{NUM})(?:号|日)|号|日)?", _date),
    (rf"(?:的|在)?(?:最后一天|最后1天|最末一天|末日|(?:月底|月末|季末|年底|年末)(?!的?(?:最后|倒数)))", _last_day),
    (r"月中", _middle),
    (rf"(?:的|在)?倒数第(?P<n>{NUM})天", _before_last),
    (rf"(?:的|在)?(?:第)?(?P<which>(?:最后一?|{NUM})个?(?:(?:{AND})第?(?:最后一?|{NUM})个?)*)个?(?:的)?{WEEK}(?P<days>{WD}(?:{AND}{WEEK}?{WD})*)", _nth_weekday),
    (rf"(?:的|在)?(?:第一个?|首个|最后一?个?)工作日", _nth_workday),
    (rf"(?:每月|每个月)?(?:的|离|在)?(?:(?P<day>{NUM})(?:号|日)|倒数第(?P<before>{NUM})天|最后一天)最近的工作日", _nearest_workday),
    (rf"(?:在|于|的)?(?P<times>{TIME}(?:{AND}?{TIME})*)", _times),
    (rf"(?:在|从|于|的)?(?P<a>{TIME}){TO}(?P<b>{TIME})(?:之间|期间|内)?", _window),
    (rf"(?:在|从)?(?P<a>\d{{1,2}}){TO}(?P<b>\d{{1,2}}点)(?:之间|期间|内)?", lambda draft, match: draft.windows.append((clock(match['a'] + '点'), clock(match['b'])))),
    (rf"(?:的|在)?第?(?P<marks>{NUM}(?:分?(?:{AND}第?|{TO}){NUM})*)分钟?(?:时)?", _minutes),
    (rf"(?:的|在)?第(?P<marks>{NUM}(?:(?:{AND}第?|{TO}){NUM})*)秒钟?(?:时)?", _seconds),
    (rf"(?:在)?(?P<hours>{TIME}(?:{AND}{TIME})*)的(?=第|每)", _hours),
    (r"每个?(?:整点|半点)|整点|每小时(?:的)?(?:整点|半点)", _whole_hour),
    (rf"每(?:天|日)?(?P<period>早上?|晨|晚上?|天?早上|天?晚上|天?夜里|夜里?)(?P<time>{NUM}[点时](?:半|整|[一三]刻|{NUM}{ALONE}分?)?|\d{{1,2}}:\d\d)(?!半|整|[一三]刻|[点时:\d零〇一二两三四五六七八九十百]|{TO})", _evening),
    (rf"(?P<city>{'|'.join(CITIES_ZH)})(?:时间|时区)", _city),
    (r"(?P<zone>[A-Za-z]+/[\w+/-]+|UTC|utc|GMT)(?:时间|时区)?", _zone),
    (r"(?:并且|而且|同时|且)(?:是|为)", _both),
    (r"间隔(?P<interval>[0-9a-z]+?)(?:从(?P<day>\d{4}-\d\d-\d\d),?(?P<time>\d\d:\d\d(?::\d\d)?)|$)", _interval),
    (r"(?:在)?(?:19[7-9]|20|21)\d\d年(?:[、和](?:19[7-9]|20|21)\d\d年)*", _years),
    (rf"(?:每天|每日|一天|一日|天天)(?P<n>{NUM})次", _counted),
    (rf"(?:的|在)?最后(?P<n>{NUM})天", _last_days),
    (rf"(?<=月)(?:的)?前(?P<n>{NUM})天", _first_days),
    (r"(?:每个?月)?(?:的|在)?(?:月底|月末|底|末|最后一天)(?:的)?前(?:一|1)天", _before_the_last),
    (r"(?:每逢|逢)?(?:(?P<odd>单|奇数?)|双|偶数?)(?P<unit>月)份?", _parity),
    (r"(?:每逢|逢)?(?:(?P<odd>单|奇数?)|双|偶数?)(?P<unit>号|日)", _parity),
    (r"每个?季度?(?:的|里)?(?:第(?P<n>[一二三123])个月|首个?月|(?P<last>最后一个月|末月))(?:的)?", _month_of_quarter),
    (rf"(?:从)?(?P<time>{TIME})(?:开始|起)", _from_on),
    (r"(?:每隔?|每间隔|间隔|隔)(?P<n>\d{1,2})\.5个?小时", _half_hours),
    (rf"(?:的|在)?(?:(?P<last>最后一?个)|倒数第(?P<back>{NUM})个|首个|第(?P<n>{NUM})个)法定工作日", _nth_legal),
    (rf"(?:每个?|逢)?周末{AND}(?:法定)?节?假日|(?:法定)?节?假日{AND}(?:每个?)?周末", _either),
    (rf"(?:每隔?|每间隔|间隔|隔){NUM}个?小时{NUM}分钟?", _hours_and_minutes),
    (r"(?:UTC|GMT|utc|gmt)(?P<sign>[+-])(?P<hours>\d{1,2})(?:时间|时区)?", _offset),
    (r"[月季年]?(?:[底末](?=的?(?:最后|倒数))|初(?=的?第))", _nothing),
    (rf"过(?P<marks>{NUM})分钟?", _minutes),
    (r"非(?P<kind>(?:法定)?节?假日)(?P<days>(?!))?", _except),
    (r"和|与|及|以及|还有|各(?:一次)?|全天|整天|仅|只", _nothing),
    (r"的|在|于|时候?|请|都|就|里|当天|当日|内|执行|运行|触发|提醒我?|开始|一次|定时|准时|自动|为|是|到点|左右|（|）|\(|\)|或者?", _nothing),
)  # fmt: skip
RULES: Final[tuple[Rule, ...]] = tuple((re.compile(pattern), act) for pattern, act in _RULES)
SKIPPED: Final = re.compile(r"[\s,，、。;；]+")

EXAMPLES: Final = (
    "每天9点；周末10点",
    "每天两次，9点和17点",
    "每月第三个法定工作日9点",
    "每年1月1日和7月1日0点",
    "每周三10:00",
    "工作日上午9点",
    "每月最后一天18:00",
    "每隔5分钟",
    "每天9点到21点每半小时",
    "每月第一个周一9点",
    "隔周三10:00",
    "每季度第一天8点",
    "每天10点和15点",
    "每周一、三、五8:30",
    "每月1号和15号9点",
    "每小时第15分",
    "每年1月1日0点",
    "每月最后一个周五17点",
    "每月最后一个工作日18点",
    "法定工作日9点",
    "周末10点",
)

_SIMPLER: Final = str.maketrans("點週號個後兩時鐘開", "点周号个后两时钟开")
_WIDE: Final = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 32}


def plain(text: str) -> str:
    """Full-width signs as plain ones; no space inside, and a comma between numbers that a space kept apart."""
    text = text.translate(_WIDE).translate(_SIMPLER).replace("廿", "二十").replace("卅", "三十")
    text = re.sub(r"(?<=[到至])\s*(?:次日|翌日|第二天)的?", "", text)
    return re.sub(r"\s+", "", re.sub(r"(?<=\d)\s+(?=\d)", ",", text))
