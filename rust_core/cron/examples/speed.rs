//! Nanoseconds of the core alone: `cargo run --release -p cuptime-cron --example speed -- FILE...`, each FILE a TZif file.
//!
//! Prints `name<TAB>nanoseconds` (or bytes), the middle of seven rounds; `benches/cron.py` puts them into its table.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use cuptime_cron::{compile, DstPolicy, Firing, Options, Schedule, Zone};

const EXPRESSIONS: [&str; 20] = [
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
const FROM_MS: i64 = 1_795_392_000_000;
const ROUNDS: usize = 7;

fn middle(mut figure: impl FnMut() -> f64) -> f64 {
    let mut rounds: Vec<f64> = (0..ROUNDS).map(|_| figure()).collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

fn schedules(zone: &Arc<Zone>) -> Vec<Schedule> {
    let read = |text: &&str| compile(text, Options::default(), Arc::clone(zone), None).ok();
    EXPRESSIONS.iter().filter_map(read).collect()
}

/// The next firing of each of 20 expressions, walking on from where it fired.
fn next_ns(zone: &Arc<Zone>) -> f64 {
    let schedules = schedules(zone);
    middle(|| {
        let steps = 2_000;
        let begun = Instant::now();
        for schedule in &schedules {
            let mut at_ms = FROM_MS;
            for _ in 0..steps {
                match black_box(schedule).next(0, at_ms) {
                    // The leap day would walk out of the calendar: it begins again.
                    Firing::At(next_ms) if next_ms < FROM_MS + 200_000_000_000 => at_ms = next_ms,
                    _ => at_ms = FROM_MS,
                }
            }
            black_box(at_ms);
        }
        begun.elapsed().as_nanos() as f64 / (steps * schedules.len()) as f64
    })
}

fn parse_ns(expressions: &[&str]) -> f64 {
    let zone = Arc::new(Zone::utc());
    middle(|| {
        let times = 20_000 / expressions.len();
        let begun = Instant::now();
        for _ in 0..times {
            for text in expressions {
                let _ = black_box(compile(black_box(text), Options::default(), Arc::clone(&zone), None));
            }
        }
        begun.elapsed().as_nanos() as f64 / (times * expressions.len()) as f64
    })
}

fn replan_ms(zone: &Arc<Zone>) -> f64 {
    const COUNT: usize = 1_000_000;
    let many: Vec<Schedule> = (0..COUNT)
        .filter_map(|k| {
            let text = format!("{} {} * * {}", k % 60, k / 60 % 24, k % 7);
            compile(&text, Options { policy: DstPolicy::Vixie, ..Options::default() }, Arc::clone(zone), None)
                .ok()
        })
        .collect();
    let mut rounds: Vec<f64> = (0..3)
        .map(|_| {
            let begun = Instant::now();
            let sum = many.iter().fold(0i64, |sum, schedule| match schedule.next(0, FROM_MS) {
                Firing::At(at_ms) => sum.wrapping_add(at_ms),
                _ => sum,
            });
            black_box(sum);
            begun.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[1]
}

fn main() {
    println!("next UTC ns\t{:.0}", next_ns(&Arc::new(Zone::utc())));
    for path in std::env::args().skip(1) {
        let name = path.rsplit('/').next().unwrap_or_default().to_owned();
        let Some(zone) = std::fs::read(&path).ok().and_then(|bytes| Zone::read(&bytes).ok()) else {
            println!("unreadable {path}\t0");
            continue;
        };
        let zone = Arc::new(zone);
        println!("next {name} ns\t{:.0}", next_ns(&zone));
        println!("replan 1 M {name} ms\t{:.0}", replan_ms(&zone));
    }
    println!("parse ns\t{:.0}", parse_ns(&EXPRESSIONS));
    println!("never ns\t{:.0}", parse_ns(&["0 0 31 2 *", "0 0 31 4,6,9,11 *", "0 0 30 2 *"]));
    println!("schedule bytes\t{}", size_of::<Schedule>());
}
