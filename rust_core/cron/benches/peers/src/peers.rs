//! One trait, five engines: read an expression for a zone, step to the next firing.

use std::sync::Arc;

use chrono::{DateTime, TimeZone, Utc};
use chrono_tz::Tz;
use cuptime_cron::{compile, Firing, Options, Schedule, Zone};

use crate::work::{zone_file, FROM_MS};

pub trait Peer {
    type Place;
    type Compiled;
    type At: Clone;

    /// The zone and the instant where walks begin; `None` when this engine does not know the zone.
    fn place(zone: &str) -> Option<(Self::Place, Self::At)>;
    fn read(text: &str, place: &Self::Place) -> Option<Self::Compiled>;
    fn next(compiled: &Self::Compiled, at: &Self::At) -> Option<Self::At>;
    /// UTC seconds.
    fn instant(at: &Self::At) -> i64;
}

pub struct Ours;

impl Peer for Ours {
    type Place = Arc<Zone>;
    type Compiled = Schedule;
    type At = i64;

    fn place(zone: &str) -> Option<(Arc<Zone>, i64)> {
        let read = || Zone::read(&std::fs::read(zone_file(zone)).ok()?).ok();
        let zone = if zone == "UTC" { Zone::utc() } else { read()? };
        Some((Arc::new(zone), FROM_MS))
    }
    fn read(text: &str, zone: &Arc<Zone>) -> Option<Schedule> {
        compile(text, Options::default(), Arc::clone(zone), None).ok()
    }
    fn next(schedule: &Schedule, at_ms: &i64) -> Option<i64> {
        match schedule.next(0, *at_ms) {
            Firing::At(at_ms) => Some(at_ms),
            _ => None,
        }
    }
    fn instant(at_ms: &i64) -> i64 {
        at_ms / 1_000
    }
}

fn chrono_place(zone: &str) -> Option<(Tz, DateTime<Tz>)> {
    let zone: Tz = zone.parse().ok()?;
    Some((zone, zone.timestamp_opt(FROM_MS / 1_000, 0).single()?))
}

pub struct Croner;

impl Peer for Croner {
    type Place = Tz;
    type Compiled = croner::Cron;
    type At = DateTime<Tz>;

    fn place(zone: &str) -> Option<(Tz, DateTime<Tz>)> {
        chrono_place(zone)
    }
    fn read(text: &str, _: &Tz) -> Option<croner::Cron> {
        text.parse().ok()
    }
    fn next(cron: &croner::Cron, at: &DateTime<Tz>) -> Option<DateTime<Tz>> {
        cron.find_next_occurrence(at, false).ok()
    }
    fn instant(at: &DateTime<Tz>) -> i64 {
        at.timestamp()
    }
}

/// Seconds first and Sunday is 1: names instead of numbers.
fn with_names(text: &str) -> String {
    let (rest, weekday) = text.rsplit_once(' ').unwrap_or((text, "*"));
    let named: String = weekday
        .chars()
        .map(|c| match c.to_digit(7) {
            Some(day) => ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"][day as usize].to_owned(),
            None => c.to_string(),
        })
        .collect();
    format!("{rest} {named}")
}

pub struct CronCrate;

impl Peer for CronCrate {
    type Place = Tz;
    type Compiled = cron::Schedule;
    type At = DateTime<Tz>;

    fn place(zone: &str) -> Option<(Tz, DateTime<Tz>)> {
        chrono_place(zone)
    }
    fn read(text: &str, _: &Tz) -> Option<cron::Schedule> {
        text.parse().ok()
    }
    fn next(schedule: &cron::Schedule, at: &DateTime<Tz>) -> Option<DateTime<Tz>> {
        schedule.after(at).next()
    }
    fn instant(at: &DateTime<Tz>) -> i64 {
        at.timestamp()
    }
}

pub struct Saffron;

impl Peer for Saffron {
    type Place = ();
    type Compiled = saffron::Cron;
    type At = DateTime<Utc>;

    fn place(zone: &str) -> Option<((), DateTime<Utc>)> {
        (zone == "UTC").then_some(((), Utc.timestamp_opt(FROM_MS / 1_000, 0).single()?))
    }
    fn read(text: &str, (): &()) -> Option<saffron::Cron> {
        text.parse().ok()
    }
    fn next(cron: &saffron::Cron, at: &DateTime<Utc>) -> Option<DateTime<Utc>> {
        cron.next_after(*at)
    }
    fn instant(at: &DateTime<Utc>) -> i64 {
        at.timestamp()
    }
}

pub struct CronExpr;

impl Peer for CronExpr {
    type Place = String;
    type Compiled = cronexpr::Crontab;
    type At = i64;

    fn place(zone: &str) -> Option<(String, i64)> {
        Some((zone.to_owned(), FROM_MS))
    }
    fn read(text: &str, _: &String) -> Option<cronexpr::Crontab> {
        cronexpr::parse_crontab(text).ok()
    }
    fn next(crontab: &cronexpr::Crontab, at_ms: &i64) -> Option<i64> {
        let at = cronexpr::MakeTimestamp::from_millisecond(*at_ms).ok()?;
        Some(crontab.find_next(at).ok()?.timestamp().as_millisecond())
    }
    fn instant(at_ms: &i64) -> i64 {
        at_ms / 1_000
    }
}

/// An expression as this engine writes it.
pub fn written(peer: &str, text: &str, zone: &str) -> String {
    match peer {
        "cron" => format!("0 {}", with_names(text)),
        "saffron" => with_names(text),
        "cronexpr" => format!("{text} {zone}"),
        _ => text.to_owned(),
    }
}
