//! The line of wall clock times of one term of a schedule: a pattern under a day rule, or a grid of days.

use crate::calendar::{DayRule, RULE_DAYS_MAX};
use crate::civil::{DAY_S, YEAR_MAX};
use crate::pattern::Pattern;
use crate::search::split;

/// A wall clock time, or why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Local seconds.
    At(i64),
    /// None, ever.
    Never,
    /// The calendar has no data for this year.
    UnknownYear(i32),
}

/// What is computed with.
#[derive(Clone, Copy, Debug)]
pub enum Line<'a> {
    /// A cron pattern.
    Pattern(&'a Pattern, Option<&'a DayRule>),
    /// Every so many days from a wall clock time on.
    Grid(&'a Grid),
}

/// Every `days` days from `from` (local seconds) on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// At least 1.
    pub days: i64,
    /// The first time.
    pub from: i64,
}

impl Line<'_> {
    /// The first time not before `from`.
    #[inline]
    #[must_use]
    pub fn next(&self, from: i64) -> Found {
        match self {
            Self::Pattern(pattern, None) => pattern.next(from).map_or(Found::Never, Found::At),
            Self::Pattern(pattern, Some(rule)) => next_ruled(pattern, rule, from),
            Self::Grid(grid) => {
                let step = grid.days * DAY_S;
                let steps = (from - grid.from).max(0);
                Found::At(grid.from + (steps + step - 1).div_euclid(step) * step)
            }
        }
    }

    /// The last time not after `from`.
    #[must_use]
    pub fn previous(&self, from: i64) -> Found {
        match self {
            Self::Pattern(pattern, rule) => previous_time(pattern, *rule, from),
            Self::Grid(grid) if from < grid.from => Found::Never,
            Self::Grid(grid) => {
                let step = grid.days * DAY_S;
                Found::At(grid.from + (from - grid.from).div_euclid(step) * step)
            }
        }
    }
}

fn next_ruled(pattern: &Pattern, rule: &DayRule, from: i64) -> Found {
    let (day, time) = split(from);
    let first = match next_ruled_day(pattern, rule, day) {
        Ok(Some(first)) => first,
        Ok(None) => return Found::Never,
        Err(year) => return Found::UnknownYear(year),
    };
    if first == day {
        if let Some(time) = pattern.next_time(time) {
            return Found::At(day * DAY_S + i64::from(time));
        }
    }
    let later = if first == day { next_ruled_day(pattern, rule, day + 1) } else { Ok(Some(first)) };
    match later {
        Ok(Some(later)) => Found::At(later * DAY_S + i64::from(pattern.next_time(0).unwrap_or(0))),
        Ok(None) => Found::Never,
        Err(year) => Found::UnknownYear(year),
    }
}

/// The first day not before `from` on which a day of the pattern ends up, and which the rule lets fire.
fn next_ruled_day(pattern: &Pattern, rule: &DayRule, from: i64) -> Result<Option<i64>, i32> {
    let mut named = pattern.next_day(from);
    if rule.moves() {
        // Days before `from` may move to it or behind it.
        let mut before = pattern.previous_day(from - 1);
        while let Some(day) = before.filter(|day| from - day < RULE_DAYS_MAX) {
            // A year without data on the far side hides nothing: its days cannot be known to move here.
            if rule.moved(day).map_or(true, |at| at < from) {
                break;
            }
            named = Some(day);
            before = pattern.previous_day(day - 1);
        }
    }
    let limit = crate::civil::day_of(YEAR_MAX, 12, 31);
    while let Some(day) = named {
        let at = if rule.moves() { rule.moved(day)? } else { day };
        if at > limit {
            return Ok(None);
        }
        if at >= from && rule.holds(at)? {
            return Ok(Some(at));
        }
        named = pattern.next_day(day + 1);
    }
    Ok(None)
}

fn previous_time(pattern: &Pattern, rule: Option<&DayRule>, from: i64) -> Found {
    let (day, time) = split(from);
    let previous_day = |day: i64| match rule {
        None => Ok(pattern.previous_day(day)),
        Some(rule) => previous_ruled_day(pattern, rule, day),
    };
    let mut last = match previous_day(day) {
        Ok(Some(last)) => last,
        Ok(None) => return Found::Never,
        Err(year) => return Found::UnknownYear(year),
    };
    if last == day {
        if let Some(time) = pattern.previous_time(time) {
            return Found::At(day * DAY_S + i64::from(time));
        }
        last = match previous_day(day - 1) {
            Ok(Some(last)) => last,
            Ok(None) => return Found::Never,
            Err(year) => return Found::UnknownYear(year),
        };
    }
    Found::At(last * DAY_S + i64::from(pattern.previous_time(DAY_S as u32 - 1).unwrap_or(0)))
}

fn previous_ruled_day(pattern: &Pattern, rule: &DayRule, from: i64) -> Result<Option<i64>, i32> {
    let mut named = pattern.previous_day(from);
    if rule.moves() {
        let mut after = pattern.next_day(from + 1);
        while let Some(day) = after.filter(|day| day - from < RULE_DAYS_MAX) {
            if rule.moved(day).map_or(true, |at| at > from) {
                break;
            }
            named = Some(day);
            after = pattern.next_day(day + 1);
        }
    }
    while let Some(day) = named {
        let at = if rule.moves() { rule.moved(day)? } else { day };
        if at <= from && rule.holds(at)? {
            return Ok(Some(at));
        }
        named = pattern.previous_day(day - 1);
    }
    Ok(None)
}
