//! What every engine is asked: walks over twenty expressions, reading them, and what never fires.

use std::hint::black_box;
use std::path::PathBuf;

use crate::memory::taken;
use crate::peers::{written, Peer};

/// The same as in `benches/cron.py`.
pub const EXPRESSIONS: [&str; 20] = [
    "* * * * *",
    "*/5 * * * *",
    "0 * * * *",
    "0 9 * * *",
    "30 8 * * 1-5",
    "0 0 1 * *",
    "0 12 15 * *",
    "*/15 9-17 * * 1-5",
    "0 0 * * 0",
    "5,35 * * * *",
    "0 22 * * 5",
    "0 0 1 1 *",
    "0 6,18 * * *",
    "10 3 * * 6",
    "0 10 * * 3",
    "*/7 * * * *",
    "0 0 13 * 5",
    "23 0-20/2 * * *",
    "0 4 8-14 * *",
    "0 0 29 2 *",
];
pub const NEVER: [&str; 3] = ["0 0 31 2 *", "0 0 31 4,6,9,11 *", "0 0 30 2 *"];
/// Monday 2026-11-23 00:00 UTC.
pub const FROM_MS: i64 = 1_795_392_000_000;
/// A walk that comes so far begins again: not every engine knows later years.
const UNTIL_S: i64 = FROM_MS / 1_000 + 200_000_000;
const ROUNDS: usize = 7;

/// The TZif file of a zone, in the folder that `CUPTIME_ZONES` names.
pub fn zone_file(zone: &str) -> PathBuf {
    PathBuf::from(std::env::var_os("CUPTIME_ZONES").unwrap_or_else(|| "/usr/share/zoneinfo".into()))
        .join(zone)
}

/// Nanoseconds of processor time that this thread has used.
fn used_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one timespec, which is ours.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

fn since(begun_ns: u64) -> f64 {
    (used_ns() - begun_ns) as f64
}

/// The middle of several rounds, after one that is not counted.
fn middle(mut figure: impl FnMut() -> f64) -> f64 {
    figure();
    let mut rounds: Vec<f64> = (0..ROUNDS).map(|_| figure()).collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

/// Those of the texts that this engine reads.
pub fn compiled<P: Peer>(peer: &str, texts: &[&str], zone: &str, place: &P::Place) -> Vec<P::Compiled> {
    texts.iter().filter_map(|text| P::read(&written(peer, text, zone), place)).collect()
}

/// Steps of each, from firing to firing.
pub fn walk<P: Peer>(compiled: &[P::Compiled], start: &P::At, steps: usize) {
    for one in compiled {
        let mut at = start.clone();
        for _ in 0..steps {
            at = match P::next(black_box(one), &at) {
                Some(next) if P::instant(&next) < UNTIL_S => next,
                _ => start.clone(),
            };
        }
        black_box(P::instant(&at));
    }
}

pub fn read_all<P: Peer>(texts: &[String], place: &P::Place, times: usize) {
    for _ in 0..times {
        for text in texts {
            black_box(P::read(black_box(text), place));
        }
    }
}

/// Prints `measure<TAB>figure`, the middle of rounds in processor time.
pub fn figures<P: Peer>(peer: &str, steps: usize) {
    for zone in ["UTC", "Asia/Shanghai", "America/New_York"] {
        let Some((place, start)) = P::place(zone) else { continue };
        let all = compiled::<P>(peer, &EXPRESSIONS, zone, &place);
        let ns = middle(|| {
            let begun = used_ns();
            walk::<P>(&all, &start, steps);
            since(begun) / (steps * all.len()) as f64
        });
        println!("next {zone} ns\t{ns:.0}");
        println!("expressions of 20 read\t{}", all.len());
        if zone != "Asia/Shanghai" && peer != "saffron" {
            continue;
        }
        let texts: Vec<String> = EXPRESSIONS.iter().map(|text| written(peer, text, zone)).collect();
        println!("parse ns\t{:.0}", reading_ns::<P>(&texts, &place, steps));
        let never: Vec<String> = NEVER.iter().map(|text| written(peer, text, zone)).collect();
        println!("never ns\t{:.0}", never_ns::<P>(&never, &place, &start, (steps / 20).max(1)));
        println!("replan 1 M ms\t{:.0}", replan_ms::<P>(peer, zone, &place, &start, steps));
        println!("schedule bytes\t{:.0}", bytes::<P>(&texts, &place));
    }
}

fn reading_ns<P: Peer>(texts: &[String], place: &P::Place, times: usize) -> f64 {
    middle(|| {
        let begun = used_ns();
        read_all::<P>(texts, place, times / 2);
        since(begun) / (times / 2 * texts.len()) as f64
    })
}

/// Reading an expression and asking it once: some find out when they read it, some when they search.
fn never_ns<P: Peer>(texts: &[String], place: &P::Place, start: &P::At, times: usize) -> f64 {
    middle(|| {
        let begun = used_ns();
        for text in texts.iter().cycle().take(texts.len() * times) {
            if let Some(one) = P::read(text, place) {
                black_box(P::next(&one, start).is_some());
            }
        }
        since(begun) / (texts.len() * times) as f64
    })
}

/// A million schedules, each asked once. An engine of many microseconds is asked a tenth of them or less.
fn replan_ms<P: Peer>(peer: &str, zone: &str, place: &P::Place, start: &P::At, steps: usize) -> f64 {
    let count = if steps >= 2_000 { 1_000_000 } else { 50_000 };
    let many: Vec<P::Compiled> = (0..count)
        .filter_map(|k| {
            let text = format!("{} {} * * {}", k % 60, k / 60 % 24, k % 7);
            P::read(&written(peer, &text, zone), place)
        })
        .collect();
    let mut rounds: Vec<f64> = (0..3)
        .map(|_| {
            let begun = used_ns();
            let sum =
                many.iter().filter_map(|one| P::next(one, start)).map(|at| P::instant(&at)).sum::<i64>();
            black_box(sum);
            since(begun) / 1e6 * (1_000_000.0 / count as f64)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[1]
}

/// What one compiled expression holds, with what it points to; zones, which are shared, are not counted.
fn bytes<P: Peer>(texts: &[String], place: &P::Place) -> f64 {
    let before = taken();
    let mut kept: Vec<P::Compiled> = Vec::with_capacity(texts.len());
    kept.extend(texts.iter().filter_map(|text| P::read(text, place)));
    let bytes = (taken() - before) as f64 / kept.len() as f64;
    black_box(&kept);
    bytes
}
