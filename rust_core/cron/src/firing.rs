//! From wall clock times to instants.
//!
//! A zone is a row of spans with one offset each. In a span, instant and wall clock differ by a constant, so the search
//! runs on the wall clock inside it; between two spans the policy decides about the times that the change skipped, and
//! about those that it brings again.

use crate::civil::DAY_S;
use crate::line::{Found, Line};
use crate::zone::{Zone, BEGINNING};

/// A firing, or why there is none. Instants are UTC seconds here, UTC milliseconds in [`crate::schedule`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firing {
    /// At this instant.
    At(i64),
    /// None.
    Never,
    /// The calendar has no data for this year.
    UnknownYear(i32),
}

/// What the policy says about one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Times in a gap run right after it.
    pub shifts: bool,
    /// Times that come twice run at the first only.
    pub once: bool,
    /// Looking back, a time in a gap is named as it stands, with the offset behind the gap.
    pub unmoved_back: bool,
}

/// Wall clock times farther ahead than this need not be looked for span by span.
const NEAR_S: i64 = 3 * DAY_S;

/// The first firing after an instant; with `inclusive` not before it. A run that a gap moved to the instant belongs to
/// what came before it.
#[inline]
#[must_use]
pub fn next(line: &Line<'_>, zone: &Zone, change: Change, after: i64, inclusive: bool) -> Firing {
    let from = after + i64::from(!inclusive);
    if zone.spans() == 1 {
        let offset = zone.offset_of(0);
        return match line.next(from + offset) {
            Found::At(local) => Firing::At(local - offset),
            Found::Never => Firing::Never,
            Found::UnknownYear(year) => Firing::UnknownYear(year),
        };
    }
    let mut span = zone.span_of(after);
    let mut from = from;
    loop {
        let offset = zone.offset_of(span);
        let mut local = from + offset;
        if change.once && span > 0 {
            // Up to here the wall clock shows what it showed before.
            local = local.max(zone.start_of(span) + zone.offset_of(span - 1).max(offset));
        }
        let found = match line.next(local) {
            Found::At(found) => found,
            Found::Never => return Firing::Never,
            Found::UnknownYear(year) => return Firing::UnknownYear(year),
        };
        let end = zone.end_of(span);
        if found < end + offset {
            return Firing::At(found - offset);
        }
        span += 1;
        if span >= zone.spans() {
            return Firing::Never;
        }
        let next_offset = zone.offset_of(span);
        if change.shifts && found < end + next_offset {
            return Firing::At(end);
        }
        from = end;
        let near = found - NEAR_S - next_offset;
        if near > end && end + next_offset >= local && near >= zone.end_of(span) {
            span = zone.span_of(near);
            from = zone.start_of(span);
        }
    }
}

/// The last firing before an instant.
#[must_use]
pub fn previous(line: &Line<'_>, zone: &Zone, change: Change, before: i64) -> Firing {
    let mut span = zone.span_of(before - 1);
    let mut until = before - 1;
    loop {
        let offset = zone.offset_of(span);
        let start = zone.start_of(span);
        let mut lowest = if start == BEGINNING { i64::MIN / 2 } else { start + offset };
        if change.once && span > 0 {
            lowest = lowest.max(start + zone.offset_of(span - 1));
        }
        let found = match line.previous(until + offset) {
            Found::At(found) => found,
            Found::Never => return Firing::Never,
            Found::UnknownYear(year) => return Firing::UnknownYear(year),
        };
        if found >= lowest {
            return Firing::At(found - offset);
        }
        if span == 0 {
            return Firing::Never;
        }
        if change.shifts && zone.offset_of(span - 1) < offset {
            let gap_start = start + zone.offset_of(span - 1);
            if let Found::At(skipped) = line.previous(start + offset - 1) {
                if skipped >= gap_start {
                    return Firing::At(if change.unmoved_back { skipped - offset } else { start });
                }
            }
        }
        until = start - 1;
        span -= 1;
    }
}
