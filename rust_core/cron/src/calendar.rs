//! Days that are work days and days that are holidays, and rules upon them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::civil::{date_of, day_of, weekday_of};

/// Days that are looked at before a rule is said to have none.
pub const RULE_DAYS_MAX: i64 = 3_660;

/// The days of one year, bit 0 is 1 January.
type YearBits = [u64; 6];

/// One year of a calendar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Year {
    workdays: YearBits,
    holidays: YearBits,
}

/// A calendar: years with data, and what a plain week looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calendar {
    /// Bit 0 is Sunday.
    week: u8,
    /// Years without data are plain weeks, by promise and not by want of data.
    open_ended: bool,
    years: BTreeMap<i32, Year>,
}

/// What to do in a year without data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownYear {
    /// Say so, and compute nothing beyond.
    #[default]
    Stop,
    /// Take the plain week.
    PlainWeek,
}

impl Calendar {
    /// A calendar whose plain week has these work days (bit 0 is Sunday).
    #[must_use]
    pub fn new(week: u8, open_ended: bool) -> Self {
        Self { week: week & 0x7f, open_ended, years: BTreeMap::new() }
    }

    /// Declares a year: days (1 January is 0) that are holidays (and free), and days that are worked nevertheless.
    pub fn set_year(&mut self, year: i32, holidays: &[u16], worked: &[u16]) {
        let first = day_of(year, 1, 1);
        let length = day_of(year + 1, 1, 1) - first;
        let mut days = Year::default();
        for of_year in 0..length {
            if self.week >> weekday_of(first + of_year) & 1 == 1 {
                set(&mut days.workdays, of_year as usize, true);
            }
        }
        for &day in holidays {
            set(&mut days.workdays, usize::from(day), false);
            set(&mut days.holidays, usize::from(day), true);
        }
        for &day in worked {
            set(&mut days.workdays, usize::from(day), true);
            set(&mut days.holidays, usize::from(day), false);
        }
        self.years.insert(year, days);
    }

    fn look(&self, day: i64, unknown: UnknownYear) -> Result<(bool, bool), i32> {
        let (year, _, _) = date_of(day);
        match self.years.get(&year) {
            Some(days) => {
                let of_year = (day - day_of(year, 1, 1)) as usize;
                Ok((is_set(&days.workdays, of_year), is_set(&days.holidays, of_year)))
            }
            None if self.open_ended || unknown == UnknownYear::PlainWeek => {
                Ok((self.week >> weekday_of(day) & 1 == 1, false))
            }
            None => Err(year),
        }
    }

    /// Is it worked on this day? `Err(year)` when the year has no data.
    ///
    /// # Errors
    /// The year.
    pub fn is_workday(&self, day: i64, unknown: UnknownYear) -> Result<bool, i32> {
        self.look(day, unknown).map(|(workday, _)| workday)
    }

    /// Is it a listed holiday?
    ///
    /// # Errors
    /// The year.
    pub fn is_holiday(&self, day: i64, unknown: UnknownYear) -> Result<bool, i32> {
        self.look(day, unknown).map(|(_, holiday)| holiday)
    }

    /// Has the year data, or is it open-ended?
    #[must_use]
    pub fn knows(&self, year: i32) -> bool {
        self.open_ended || self.years.contains_key(&year)
    }
}

fn set(bits: &mut YearBits, bit: usize, on: bool) {
    if let Some(word) = bits.get_mut(bit / 64) {
        *word = *word & !(1 << (bit % 64)) | u64::from(on) << (bit % 64);
    }
}

fn is_set(bits: &YearBits, bit: usize) -> bool {
    bits.get(bit / 64).is_some_and(|word| word >> (bit % 64) & 1 == 1)
}

/// Which days may fire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DayCondition {
    /// All.
    #[default]
    Any,
    /// Work days, those made up for included.
    Workday,
    /// Days that are not worked.
    Restday,
    /// Listed holidays.
    Holiday,
    /// All but listed holidays.
    NotHoliday,
}

/// Where a firing on a day that is not worked goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Roll {
    /// It stays.
    #[default]
    Stay,
    /// To the work day before.
    Before,
    /// To the work day after.
    After,
}

/// A calendar at work in a schedule: first `roll`, then `shift` by work days, then `condition`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DayRule {
    /// The calendar.
    pub calendar: Arc<Calendar>,
    /// Which days may fire.
    pub condition: DayCondition,
    /// Where a day that is not worked goes.
    pub roll: Roll,
    /// Work days later, or earlier when negative.
    pub shift: i32,
    /// Years without data.
    pub unknown: UnknownYear,
}

impl DayRule {
    /// Does it move days?
    #[must_use]
    pub fn moves(&self) -> bool {
        self.roll != Roll::Stay || self.shift != 0
    }

    /// May a firing be on this day?
    ///
    /// # Errors
    /// The year without data.
    pub fn holds(&self, day: i64) -> Result<bool, i32> {
        Ok(match self.condition {
            DayCondition::Any => true,
            DayCondition::Workday => self.calendar.is_workday(day, self.unknown)?,
            DayCondition::Restday => !self.calendar.is_workday(day, self.unknown)?,
            DayCondition::Holiday => self.calendar.is_holiday(day, self.unknown)?,
            DayCondition::NotHoliday => !self.calendar.is_holiday(day, self.unknown)?,
        })
    }

    /// Where a day goes. It never overtakes: of two days the earlier never goes behind the later.
    ///
    /// # Errors
    /// The year without data; also when no work day is near, as the year where the search ended.
    pub fn moved(&self, day: i64) -> Result<i64, i32> {
        let mut at = day;
        match self.roll {
            Roll::Stay => {}
            Roll::Before => at = self.workday_from(at, -1)?,
            Roll::After => at = self.workday_from(at, 1)?,
        }
        let step = i64::from(self.shift.signum());
        for _ in 0..self.shift.abs() {
            at = self.workday_from(at + step, step)?;
        }
        Ok(at)
    }

    fn workday_from(&self, day: i64, step: i64) -> Result<i64, i32> {
        let mut at = day;
        for _ in 0..RULE_DAYS_MAX {
            if self.calendar.is_workday(at, self.unknown)? {
                return Ok(at);
            }
            at += step;
        }
        Err(date_of(at).0)
    }
}
