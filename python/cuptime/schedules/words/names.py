"""Names with one meaning: cities that stand for their zone, and days of the year that have a name.

Only days with a fixed date. What moves (春节, 中秋, Easter) is not a cron text and is refused.
"""

from __future__ import annotations

from typing import Final

CITIES_ZH: Final = {
    "北京": "Asia/Shanghai", "上海": "Asia/Shanghai", "中国": "Asia/Shanghai", "香港": "Asia/Hong_Kong",
    "台北": "Asia/Taipei", "东京": "Asia/Tokyo", "首尔": "Asia/Seoul", "新加坡": "Asia/Singapore",
    "纽约": "America/New_York", "洛杉矶": "America/Los_Angeles", "伦敦": "Europe/London", "巴黎": "Europe/Paris",
    "柏林": "Europe/Berlin", "悉尼": "Australia/Sydney", "莫斯科": "Europe/Moscow", "迪拜": "Asia/Dubai",
}  # fmt: skip
CITIES_EN: Final = {
    "beijing": "Asia/Shanghai", "shanghai": "Asia/Shanghai", "china": "Asia/Shanghai", "hong kong": "Asia/Hong_Kong",
    "taipei": "Asia/Taipei", "tokyo": "Asia/Tokyo", "seoul": "Asia/Seoul", "singapore": "Asia/Singapore",
    "new york": "America/New_York", "los angeles": "America/Los_Angeles", "london": "Europe/London",
    "paris": "Europe/Paris", "berlin": "Europe/Berlin", "sydney": "Australia/Sydney", "moscow": "Europe/Moscow",
    "dubai": "Asia/Dubai",
}  # fmt: skip

MonthDay = tuple[int, int]
DAYS_ZH: Final[dict[str, MonthDay]] = {
    "元旦": (1, 1), "情人节": (2, 14), "妇女节": (3, 8), "三八节": (3, 8), "植树节": (3, 12), "劳动节": (5, 1),
    "五一": (5, 1), "青年节": (5, 4), "儿童节": (6, 1), "六一": (6, 1), "教师节": (9, 10), "国庆节": (10, 1),
    "国庆": (10, 1), "双十一": (11, 11), "双11": (11, 11), "双十二": (12, 12), "双12": (12, 12), "平安夜": (12, 24),
    "圣诞节": (12, 25), "圣诞": (12, 25),
}  # fmt: skip
DAYS_EN: Final[dict[str, MonthDay]] = {
    "new year's day": (1, 1), "new year": (1, 1), "valentine's day": (2, 14), "may day": (5, 1), "labour day": (5, 1),
    "halloween": (10, 31), "singles' day": (11, 11), "singles day": (11, 11), "christmas eve": (12, 24),
    "christmas day": (12, 25), "christmas": (12, 25), "boxing day": (12, 26), "new year's eve": (12, 31),
}  # fmt: skip
