//! Firing times of cron expressions, exact and fast.
//!
//! A field is a bit mask, a month's days are one 32-bit mask made from all of its day rules, and a zone is a flat list
//! of transitions. The next firing is found with a few bit operations for each field, first on the wall clock and then
//! on the line of instants ([`firing`]). Nothing here reads a clock, a file or the environment: zone data and calendars
//! come in as bytes and plain values.
//!
//! - [`dialect`]: what each family of cron reads, as data; [`parse`] reads it; [`pattern`] is what comes out.
//! - [`zone`]: TZif bytes to transitions, with the POSIX rule of the far future.
//! - [`dst`]: what happens to a wall clock time that is skipped or comes twice.
//! - [`schedule`]: several expressions less exclusions, `@every`, calendars; [`firing`] computes.
pub mod calendar;
pub mod civil;
mod days;
pub mod dialect;
pub mod dst;
pub mod element;
pub mod error;
pub mod every;
pub mod firing;
pub mod line;
pub mod parse;
pub mod pattern;
mod posix;
pub mod schedule;
mod search;
pub mod zone;

pub use calendar::{Calendar, DayCondition, DayRule, Roll, UnknownYear};
pub use dialect::Dialect;
pub use dst::DstPolicy;
pub use error::ParseError;
pub use firing::Firing;
pub use pattern::Pattern;
pub use schedule::{compile, Options, Schedule};
pub use zone::{Zone, ZoneError};
