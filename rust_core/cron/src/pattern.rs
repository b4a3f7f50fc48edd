//! A compiled expression: bit masks, and the days of a month that fit them.
//!
//! The day masks of a month are made when the search ([`crate::search`]) reaches it: bit d is day d. Weekday rules
//! become day masks by one rotation and one multiplication, so a month costs the same whatever its rules are.

use crate::civil::{day_of, is_leap, month_length, weekday_of, YEAR_MAX, YEAR_MIN};

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

/// Every day of every year fits.
pub const EVERY_DAY: u16 = 1 << 7;
/// The weekday alone decides.
pub const BY_WEEK: u16 = 1 << 8;

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
            flags: ANY_DAY | ANY_WEEKDAY | EVERY_DAY,
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

    /// All 24 hours.
    #[must_use]
    pub fn has_every_hour(&self) -> bool {
        self.hours == (1 << 24) - 1
    }

    /// No date fits.
    #[must_use]
    pub fn never(&self) -> bool {
        self.flags & NEVER != 0
    }

    pub(crate) fn has_year(&self, year: i32) -> bool {
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
    pub(crate) fn year_range(&self) -> (i32, i32) {
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

    /// Notes what is known of the days once all fields are read: whether any date fits at all, and whether the search
    /// may go by day or by week without looking at months.
    pub fn settle(&mut self) {
        const ALL_MONTHS: u16 = 0x1ffe;
        let plain = self.years.is_none() && self.months == ALL_MONTHS;
        match self.flags & (ANY_DAY | ANY_WEEKDAY) {
            any if any == ANY_DAY | ANY_WEEKDAY && plain => self.flags |= EVERY_DAY,
            ANY_DAY if plain && self.flags & SPECIAL_DAYS == 0 && self.weekdays != 0 => self.flags |= BY_WEEK,
            _ if self.has_date() => {}
            _ => self.flags |= NEVER,
        }
    }

    fn has_date(&self) -> bool {
        let Some(years) = &self.years else { return self.months != 0 && self.has_date_without_year() };
        YEAR_KINDS.iter().zip(&YEARS_OF_KIND).any(|(&kind, of_kind)| {
            years.iter().zip(of_kind).any(|(asked, there)| asked & there != 0) && self.has_date_in(kind)
        })
    }

    /// Over the years a month begins on each weekday, so a month of each length on each weekday stands for all.
    fn has_date_without_year(&self) -> bool {
        const LONG: u16 = 1 << 1 | 1 << 3 | 1 << 5 | 1 << 7 | 1 << 8 | 1 << 10 | 1 << 12;
        const SHORT: u16 = 1 << 4 | 1 << 6 | 1 << 9 | 1 << 11;
        const FEBRUARY: u16 = 1 << 2;
        let by_weekday = self.flags & ANY_WEEKDAY == 0 || self.nearest | self.lasts_nearest != 0;
        let starts = if by_weekday { 7 } else { 1 };
        [(LONG, 31), (SHORT, 30), (FEBRUARY, 29), (FEBRUARY, 28)].iter().any(|&(months, length)| {
            self.months & months != 0 && (0..starts).any(|first| self.month_days(first, length) != 0)
        })
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

/// By kind of year, the years of the year field that are like it.
const YEARS_OF_KIND: [Years; 14] = {
    let mut years = [[0; 4]; 14];
    let mut year = FIELD_YEAR_MIN;
    while year <= FIELD_YEAR_MAX {
        let mut kind = 0;
        while is_leap(YEAR_KINDS[kind]) != is_leap(year)
            || weekday_of(day_of(YEAR_KINDS[kind], 1, 1)) != weekday_of(day_of(year, 1, 1))
        {
            kind += 1;
        }
        let bit = (year - FIELD_YEAR_MIN) as usize;
        years[kind][bit / 64] |= 1 << (bit % 64);
        year += 1;
    }
    years
};

/// The weekdays from `first_weekday` on as seven bits.
pub(crate) fn rotated(weekdays: u8, first_weekday: u32) -> u32 {
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
}
