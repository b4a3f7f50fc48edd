//! A compiled expression: bit masks, and the next or previous wall clock time that fits them.
//!
//! Wall clock times are seconds since 1970-01-01 00:00 on the wall clock ("local seconds"). The day masks of a month
//! are made when the search reaches it: bit d is day d. Weekday rules become day masks by one rotation and one
//! multiplication, so a month costs the same whatever its rules are.

use crate::civil::{date_of, day_of, month_length, weekday_of, DAY_S, YEAR_MAX, YEAR_MIN};

/// First year of a year field.
pub const FIELD_YEAR_MIN: i32 = 1970;
/// Last year of a year field.
pub const FIELD_YEAR_MAX: i32 = 2199;

/// The years of a year field, bit 0 is 1970.
pub type Years = [u64; 4];

/// Both day rules must hold (else one of them suffices).
pub const DAYS_AND: u16 = 1;
/// Every day of the month fits.
pub const ANY_DAY: u16 = 1 << 1;
/// Every weekday fits.
pub const ANY_WEEKDAY: u16 = 1 << 2;
/// A second, minute or hour that begins with `*`.
pub const STAR_TIME: u16 = 1 << 3;
/// A second, minute or hour given as range or steps.
pub const INTERVAL_TIME: u16 = 1 << 4;
/// No date fits: known since it was read.
pub const NEVER: u16 = 1 << 5;
/// Something beyond plain days and weekdays: `L`, `W` or `#`.
pub const SPECIAL_DAYS: u16 = 1 << 6;

/// Leap or not, by each weekday of 1 January: every year is like one of these.
const YEAR_KINDS: [i32; 14] =
    [2024, 2001, 2008, 2002, 2020, 2003, 2004, 2009, 2016, 2010, 2000, 2005, 2012, 2006];
const EACH_WEEK: u64 = 1 | 1 << 7 | 1 << 14 | 1 << 21 | 1 << 28;

/// One expression, compiled: 64 bytes, and 32 more with a year field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// Bit s is second s.
    pub seconds: u64,
    /// Bit m is minute m.
    pub minutes: u64,
    /// Bit h is hour h.
    pub hours: u32,
    /// Bits 1 to 31.
    pub days: u32,
    /// Bit n is `L-n`: n days before the last.
    pub lasts: u32,
    /// Bit d is `dW`: the weekday nearest to day d, in its month.
    pub nearest: u32,
    /// Bit n is `L-nW`.
    pub lasts_nearest: u32,
    /// Bits 1 to 12.
    pub months: u16,
    /// The constants of this module.
    pub flags: u16,
    /// Bit 0 is Sunday.
    pub weekdays: u8,
    /// By which of its kind in the month (first to fifth, last): the weekdays.
    pub nth: [u8; 6],
    /// Only these years.
    pub years: Option<Box<Years>>,
}

impl Pattern {
    /// Every second.
    #[must_use]
    pub fn always() -> Self {
        Self {
            seconds: (1 << 60) - 1,
            minutes: (1 << 60) - 1,
            hours: (1 << 24) - 1,
            days: 0xffff_fffe,
            lasts: 0,
            nearest: 0,
            lasts_nearest: 0,
            months: 0x1ffe,
            flags: ANY_DAY | ANY_WEEKDAY,
            weekdays: 0x7f,
            nth: [0; 6],
            years: None,
        }
    }

    /// A leading star in second, minute or hour.
    #[must_use]
    pub fn has_star_time(&self) -> bool {
        self.flags & STAR_TIME != 0
    }

    /// A range or steps in second, minute or hour.
    #[must_use]
    pub fn has_interval_time(&self) -> bool {
        self.flags & INTERVAL_TIME != 0
    }

    /// One second, one minute, one hour.
    #[must_use]
    pub fn is_single_time(&self) -> bool {
        self.seconds.count_ones() == 1 && self.minutes.count_ones() == 1 && self.hours.count_ones() == 1
    }

    /// No date fits.
    #[must_use]
    pub fn never(&self) -> bool {
        self.flags & NEVER != 0
    }

    fn has_year(&self, year: i32) -> bool {
        match &self.years {
            None => true,
            Some(_) if !(FIELD_YEAR_MIN..=FIELD_YEAR_MAX).contains(&year) => false,
            Some(years) => {
                let bit = (year - FIELD_YEAR_MIN) as usize;
                years[bit / 64] >> (bit % 64) & 1 == 1
            }
        }
    }

    /// The first and the last year with a firing.
    fn year_range(&self) -> (i32, i32) {
        let Some(years) = &self.years else { return (YEAR_MIN, YEAR_MAX) };
        let first = years.iter().enumerate().find(|(_, word)| **word != 0);
        let last = years.iter().enumerate().rev().find(|(_, word)| **word != 0);
        match (first, last) {
            (Some((low, first)), Some((high, last))) => (
                FIELD_YEAR_MIN + (low * 64) as i32 + first.trailing_zeros() as i32,
                FIELD_YEAR_MIN + (high * 64 + 63) as i32 - last.leading_zeros() as i32,
            ),
            _ => (YEAR_MAX + 1, YEAR_MIN - 1),
        }
    }

    /// The days that fit, as bits, in a month of this length whose first day is this weekday.
    #[must_use]
    pub fn month_days(&self, first_weekday: u32, length: u32) -> u32 {
        let all = u32::MAX >> (31 - length) & !1;
        let both = ANY_DAY | ANY_WEEKDAY;
        if self.flags & both == both {
            return all;
        }
        let by_week = spread(self.weekdays, first_weekday);
        if self.flags & SPECIAL_DAYS == 0 {
            return self.joined(self.days, by_week) & all;
        }
        let mut by_day = self.days & all;
        each_bit(self.lasts, |offset| by_day |= bit_if(offset < length, length.wrapping_sub(offset)));
        each_bit(self.nearest, |day| {
            by_day |= bit_if(day <= length, nearest_weekday(day.min(length), first_weekday, length));
        });
        each_bit(self.lasts_nearest, |offset| {
            if offset < length {
                by_day |= 1 << nearest_weekday(length - offset, first_weekday, length);
            }
        });
        let mut by_week = by_week;
        for (week, &weekdays) in self.nth[..5].iter().enumerate() {
            by_week |= rotated(weekdays, first_weekday) << (7 * week + 1);
        }
        let last_week = length - 6;
        by_week |= rotated(self.nth[5], (first_weekday + last_week - 1) % 7) << last_week;
        self.joined(by_day, by_week) & all
    }

    fn joined(&self, by_day: u32, by_week: u32) -> u32 {
        match (self.flags & ANY_DAY != 0, self.flags & ANY_WEEKDAY != 0) {
            (true, true) => u32::MAX,
            (true, false) => by_week,
            (false, true) => by_day,
            (false, false) if self.flags & DAYS_AND != 0 => by_day & by_week,
            (false, false) => by_day | by_week,
        }
    }

    /// The first day that fits, not before `from`; `None` when there is none up to the year 2499.
    #[must_use]
    pub fn next_day(&self, from: i64) -> Option<i64> {
        if self.never() {
            return None;
        }
        let (first_year, last_year) = self.year_range();
        let from = from.max(day_of(first_year, 1, 1));
        let (mut year, mut month, day) = date_of(from);
        let mut first = from - i64::from(day) + 1;
        let mut cut = u32::MAX << day;
        while year <= last_year {
            let length = month_length(year, month);
            if self.months >> month & 1 == 1 && self.has_year(year) {
                let days = self.month_days(weekday_of(first), length) & cut;
                if days != 0 {
                    return Some(first + i64::from(days.trailing_zeros()) - 1);
                }
            }
            cut = u32::MAX;
            first += i64::from(length);
            month += 1;
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
        None
    }

    /// The last day that fits, not after `from`.
    #[must_use]
    pub fn previous_day(&self, from: i64) -> Option<i64> {
        if self.never() {
            return None;
        }
        let (first_year, last_year) = self.year_range();
        let from = from.min(day_of(last_year, 12, 31));
        let (mut year, mut month, day) = date_of(from);
        let mut first = from - i64::from(day) + 1;
        let mut cut = u32::MAX >> (31 - day);
        while year >= first_year {
            if self.months >> month & 1 == 1 && self.has_year(year) {
                let days = self.month_days(weekday_of(first), month_length(year, month)) & cut;
                if days != 0 {
                    return Some(first + i64::from(31 - days.leading_zeros()) - 1);
                }
            }
            cut = u32::MAX;
            month -= 1;
            if month < 1 {
                (year, month) = (year - 1, 12);
            }
            first -= i64::from(month_length(year, month));
        }
        None
    }

    /// The first second of the day that fits, not before `from` (0 to 86,399).
    #[must_use]
    pub fn next_time(&self, from: u32) -> Option<u32> {
        let (hour, minute, second) = (from / 3_600, from / 60 % 60, from % 60);
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
                let minute = minute + 1 + minutes.trailing_zeros();
                return Some(hour * 3_600 + minute * 60 + self.seconds.trailing_zeros());
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
        let (day, time) = (local.div_euclid(DAY_S), local.rem_euclid(DAY_S) as u32);
        (whole_minute || self.seconds >> (time % 60) & 1 == 1)
            && self.minutes >> (time / 60 % 60) & 1 == 1
            && self.hours >> (time / 3_600) & 1 == 1
            && self.next_day(day) == Some(day)
    }

    /// Finds out whether any date fits, and notes it: 14 kinds of years, or the years of the year field.
    pub fn note_never(&mut self) {
        if self.flags & (ANY_DAY | ANY_WEEKDAY) == ANY_DAY | ANY_WEEKDAY && self.years.is_none() {
            return;
        }
        let (first_year, last_year) = self.year_range();
        let any = if self.years.is_some() {
            (first_year..=last_year).any(|year| self.has_year(year) && self.has_date_in(year))
        } else {
            YEAR_KINDS.iter().any(|&year| self.has_date_in(year))
        };
        if !any {
            self.flags |= NEVER;
        }
    }

    fn has_date_in(&self, year: i32) -> bool {
        let mut first_weekday = weekday_of(day_of(year, 1, 1));
        (1..=12).any(|month| {
            let length = month_length(year, month);
            let found = self.months >> month & 1 == 1 && self.month_days(first_weekday, length) != 0;
            first_weekday = (first_weekday + length) % 7;
            found
        })
    }
}

/// The weekdays from `first_weekday` on as seven bits.
fn rotated(weekdays: u8, first_weekday: u32) -> u32 {
    let twice = u32::from(weekdays) | u32::from(weekdays) << 7;
    twice >> first_weekday & 0x7f
}

/// The weekdays as days 1 to 31 (and some beyond).
fn spread(weekdays: u8, first_weekday: u32) -> u32 {
    ((u64::from(rotated(weekdays, first_weekday)) * EACH_WEEK) << 1) as u32
}

fn each_bit(mut mask: u32, mut visit: impl FnMut(u32)) {
    while mask != 0 {
        visit(mask.trailing_zeros());
        mask &= mask - 1;
    }
}

fn bit_if(holds: bool, bit: u32) -> u32 {
    if holds {
        1 << bit
    } else {
        0
    }
}

/// Monday to Friday nearest to a day, in the same month.
fn nearest_weekday(day: u32, first_weekday: u32, length: u32) -> u32 {
    match (first_weekday + day - 1) % 7 {
        6 if day == 1 => 3,
        6 => day - 1,
        0 if day == length => day - 2,
        0 => day + 1,
        _ => day,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_small() {
        assert!(size_of::<Pattern>() <= 64, "{}", size_of::<Pattern>());
    }

    #[test]
    fn weekdays_become_days() {
        // A month that begins on a Sunday: Mondays are 2, 9, 16, 23, 30.
        assert_eq!(spread(0b10, 0) & 0xffff_fffe, 1 << 2 | 1 << 9 | 1 << 16 | 1 << 23 | 1 << 30);
        // One that begins on a Saturday: Sundays are 2, 9, …
        assert_eq!(spread(0b1, 6) & 0xff, 1 << 2);
    }

    #[test]
    fn the_nearest_weekday_stays_in_its_month() {
        // The first is a Saturday: Monday the third, not Friday of the month before.
        assert_eq!(nearest_weekday(1, 6, 31), 3);
        // The last (31st) is a Sunday: Friday the 29th.
        assert_eq!(nearest_weekday(31, 5, 31), 29);
        assert_eq!(nearest_weekday(15, 0, 30), 16);
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
