//! The next and the previous day and time that fit a pattern, on the wall clock.
//!
//! Wall clock times are seconds since 1970-01-01 00:00 on the wall clock ("local seconds"). Where neither months nor
//! years restrict a pattern, and its days are all or go by the week, the calendar is not asked at all. Else the search
//! goes from month to month that the pattern names, and takes a month's days as one mask.

use crate::civil::{date_of, day_of, month_length, weekday_of, DAY_S, YEAR_MAX, YEAR_MIN};
use crate::pattern::{rotated, Pattern, BY_WEEK, EVERY_DAY};

const FIRST_DAY: i64 = day_of(YEAR_MIN, 1, 1);
const LAST_DAY: i64 = day_of(YEAR_MAX, 12, 31);
/// The longest way to a day of the week.
const WEEK: i64 = 7;

/// Day and second of the day of a wall clock time.
#[inline]
pub(crate) const fn split(local: i64) -> (i64, u32) {
    let day = local.div_euclid(DAY_S);
    (day, (local - day * DAY_S) as u32)
}

impl Pattern {
    /// The first wall clock time that fits, not before `from`; `None` when there is none up to the year 2499.
    #[inline]
    #[must_use]
    pub fn next(&self, from: i64) -> Option<i64> {
        let (day, time) = split(from);
        let today = self.next_time(time);
        let found = self.next_day(day + i64::from(today.is_none()))?;
        let time = match today {
            Some(time) if found == day => time,
            _ => self.first_time(),
        };
        Some(found * DAY_S + i64::from(time))
    }

    /// The first day that fits, not before `from`; `None` when there is none up to the year 2499.
    #[inline]
    #[must_use]
    pub fn next_day(&self, from: i64) -> Option<i64> {
        if self.flags & (EVERY_DAY | BY_WEEK) != 0 && (FIRST_DAY..=LAST_DAY - WEEK).contains(&from) {
            if self.flags & EVERY_DAY != 0 {
                return Some(from);
            }
            return Some(from + i64::from(rotated(self.weekdays, weekday_of(from)).trailing_zeros()));
        }
        self.next_day_by_month(from)
    }

    fn next_day_by_month(&self, from: i64) -> Option<i64> {
        if self.never() {
            return None;
        }
        let (first_year, last_year) = self.year_range();
        let from = from.max(if self.years.is_none() { FIRST_DAY } else { day_of(first_year, 1, 1) });
        let (mut year, mut month, day) = date_of(from);
        let mut first = from - i64::from(day) + 1;
        let mut cut = u32::MAX << day;
        while year <= last_year {
            let asked = self.has_year(year);
            if asked && self.months >> month & 1 == 1 {
                let days = self.month_days(weekday_of(first), month_length(year, month)) & cut;
                if days != 0 {
                    return Some(first + i64::from(days.trailing_zeros()) - 1);
                }
            }
            cut = u32::MAX;
            let later = if asked { self.months >> month >> 1 } else { 0 };
            if later == 0 {
                (year, month) = (year + 1, self.months.trailing_zeros());
            } else {
                month += 1 + later.trailing_zeros();
            }
            first = day_of(year, month, 1);
        }
        None
    }

    /// The last day that fits, not after `from`.
    #[must_use]
    pub fn previous_day(&self, from: i64) -> Option<i64> {
        if self.never() || from < FIRST_DAY {
            return None;
        }
        if self.flags & EVERY_DAY != 0 {
            return Some(from.min(LAST_DAY));
        }
        let (first_year, last_year) = self.year_range();
        let from = from.min(if self.years.is_none() { LAST_DAY } else { day_of(last_year, 12, 31) });
        let (mut year, mut month, day) = date_of(from);
        let mut first = from - i64::from(day) + 1;
        let mut cut = u32::MAX >> (31 - day);
        while year >= first_year {
            let asked = self.has_year(year);
            if asked && self.months >> month & 1 == 1 {
                let days = self.month_days(weekday_of(first), month_length(year, month)) & cut;
                if days != 0 {
                    return Some(first + i64::from(31 - days.leading_zeros()) - 1);
                }
            }
            cut = u32::MAX;
            let earlier = if asked { self.months & ((1 << month) - 1) } else { 0 };
            if earlier == 0 {
                (year, month) = (year - 1, 15 - self.months.leading_zeros());
            } else {
                month = 15 - earlier.leading_zeros();
            }
            first = day_of(year, month, 1);
        }
        None
    }

    /// The first second of a day that fits.
    #[inline]
    fn first_time(&self) -> u32 {
        let (hour, minute, second) =
            (self.hours.trailing_zeros(), self.minutes.trailing_zeros(), self.seconds.trailing_zeros());
        hour * 3_600 + minute * 60 + second
    }

    /// The first second of the day that fits, not before `from` (0 to 86,399).
    #[inline]
    #[must_use]
    pub fn next_time(&self, from: u32) -> Option<u32> {
        let minute_of_day = from / 60;
        let (hour, minute, second) = (from / 3_600, minute_of_day % 60, from % 60);
        if self.hours >> hour & 1 == 1 {
            if self.minutes >> minute & 1 == 1 {
                let seconds = self.seconds >> second;
                if seconds != 0 {
                    return Some(from + seconds.trailing_zeros());
                }
            }
            // Shifted twice: the minute after 59 is out of the mask, and a shift by 64 is none.
            let minutes = self.minutes >> minute >> 1;
            if minutes != 0 {
                let minute_of_day = minute_of_day + 1 + minutes.trailing_zeros();
                return Some(minute_of_day * 60 + self.seconds.trailing_zeros());
            }
        }
        let hours = self.hours >> hour >> 1;
        if hours == 0 {
            return None;
        }
        let hour = hour + 1 + hours.trailing_zeros();
        Some(hour * 3_600 + self.minutes.trailing_zeros() * 60 + self.seconds.trailing_zeros())
    }

    /// The last second of the day that fits, not after `from`.
    #[must_use]
    pub fn previous_time(&self, from: u32) -> Option<u32> {
        let (hour, minute, second) = (from / 3_600, from / 60 % 60, from % 60);
        let last = |mask: u64| 63 - mask.leading_zeros();
        let below = |mask: u64, bit: u32| mask & ((1 << bit) - 1);
        if self.hours >> hour & 1 == 1 {
            if self.minutes >> minute & 1 == 1 {
                let seconds = below(self.seconds, second + 1);
                if seconds != 0 {
                    return Some(from - second + last(seconds));
                }
            }
            let minutes = below(self.minutes, minute);
            if minutes != 0 {
                return Some(hour * 3_600 + last(minutes) * 60 + last(self.seconds));
            }
        }
        let hours = below(u64::from(self.hours), hour);
        if hours == 0 {
            return None;
        }
        Some(last(hours) * 3_600 + last(self.minutes) * 60 + last(self.seconds))
    }

    /// Does this wall clock time fit? With `whole_minute` its second is not asked.
    #[must_use]
    pub fn fits(&self, local: i64, whole_minute: bool) -> bool {
        let (day, time) = split(local);
        (whole_minute || self.seconds >> (time % 60) & 1 == 1)
            && self.minutes >> (time / 60 % 60) & 1 == 1
            && self.hours >> (time / 3_600) & 1 == 1
            && self.next_day(day) == Some(day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::Dialect;
    use crate::parse::parse;

    const EXPRESSIONS: [&str; 22] = [
        "0 0 * * *",
        "0 0 * * 1-5",
        "0 0 * * 0",
        "0 0 1 * *",
        "0 0 31 * *",
        "0 0 29 2 *",
        "0 0 29 2 +1",
        "0 0 13 * 5",
        "0 0 13 * +5",
        "0 0 L * *",
        "0 0 L-3 * *",
        "0 0 LW * *",
        "0 0 15W 3,9 *",
        "0 0 * * 5#L",
        "0 0 * * 2#5",
        "0 0 * 12 *",
        "0 0 * 1 1",
        "0 0 0 31 12 * 2030",
        "0 0 0 * 2 * 1971,2199",
        "0 0 0 1 1 * 2000-2100/7",
        "0 0 30 4,6 *",
        "0 0 8-14 * *",
    ];

    fn of_a_day(pattern: &Pattern, day: i64) -> bool {
        let (year, month, of_month) = date_of(day);
        let first = day - i64::from(of_month) + 1;
        pattern.has_year(year)
            && pattern.months >> month & 1 == 1
            && pattern.month_days(weekday_of(first), month_length(year, month)) >> of_month & 1 == 1
    }

    /// Both searches beside a walk from day to day over 60 years and over both ends of the calendar.
    #[test]
    fn a_walk_from_day_to_day_finds_the_same_days() {
        let stretches = [
            (day_of(1968, 1, 1), day_of(2028, 3, 1)),
            (FIRST_DAY - 40, FIRST_DAY + 800),
            (LAST_DAY - 800, LAST_DAY + 40),
        ];
        for text in EXPRESSIONS {
            let pattern = parse(text, Dialect::Ocps, None, 0).unwrap();
            for (from, until) in stretches {
                let fits = |day: i64| (FIRST_DAY..=LAST_DAY).contains(&day) && of_a_day(&pattern, day);
                let mut next = (until..until + 3_000_000).find(|day| *day > LAST_DAY || fits(*day));
                next = next.filter(|day| fits(*day));
                for day in (from..until).rev() {
                    next = if fits(day) { Some(day) } else { next };
                    assert_eq!(pattern.next_day(day), next, "{text} from {day}");
                }
                let mut previous = (FIRST_DAY..from).rev().find(|day| fits(*day));
                for day in from..until {
                    previous = if fits(day) { Some(day) } else { previous };
                    assert_eq!(pattern.previous_day(day), previous, "{text} back from {day}");
                }
            }
        }
    }

    /// The short proof that nothing fits, beside a look at every year from 1970 to 2369, where all kinds of years are.
    #[test]
    fn never_is_never() {
        let days =
            ["*", "1", "29", "30", "31", "29-31", "L-28", "L-29", "L-30", "30W", "31W", "L-29W", "30,31"];
        let weekdays = ["*", "1", "+1", "+1#5", "2#5", "+0L", "+1-5"];
        for month in 1..=12 {
            for day in days {
                for weekday in weekdays {
                    for (year, years) in
                        [("", 1970..=2369), (" 2096-2104", 2096..=2104), (" 2027", 2027..=2027)]
                    {
                        let seconds = if year.is_empty() { "" } else { "0 " };
                        let text = format!("{seconds}0 0 {day} {month} {weekday}{year}");
                        let pattern = parse(&text, Dialect::Ocps, None, 0).unwrap();
                        let fires = years.clone().any(|year| {
                            let first = day_of(year, month, 1);
                            pattern.month_days(weekday_of(first), month_length(year, month)) != 0
                        });
                        assert_eq!(pattern.never(), !fires, "{text}");
                    }
                }
            }
        }
    }

    #[test]
    fn times_of_the_day_go_both_ways() {
        let mut pattern = Pattern::always();
        (pattern.seconds, pattern.minutes, pattern.hours) = (1, 1 << 30, 1 << 9 | 1 << 17);
        assert_eq!(pattern.next_time(0), Some(9 * 3_600 + 1_800));
        assert_eq!(pattern.next_time(9 * 3_600 + 1_801), Some(17 * 3_600 + 1_800));
        assert_eq!(pattern.next_time(17 * 3_600 + 1_801), None);
        assert_eq!(pattern.previous_time(86_399), Some(17 * 3_600 + 1_800));
        assert_eq!(pattern.previous_time(9 * 3_600 + 1_799), None);
    }
}
