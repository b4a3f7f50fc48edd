//! One engine per process: tab-separated figures on standard output.
//!
//!     cron-peers figures PEER STEPS     next by zone, parse, never, re-plan, bytes; STEPS of each walk
//!     cron-peers counted                a fixed piece of work of ours, to be run under callgrind
//!
//! `CUPTIME_ZONES` names the folder of TZif files. `benches/cron.py` runs it and prints the table.

mod counted;
mod memory;
mod peers;
mod work;

use work::figures;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |at: usize| arguments.get(at).map_or("", String::as_str);
    let steps = argument(2).parse::<usize>().unwrap_or(2_000).max(2);
    match (argument(0), argument(1)) {
        ("figures", "ours") => figures::<peers::Ours>("ours", steps),
        ("figures", "croner") => figures::<peers::Croner>("croner", steps),
        ("figures", "cron") => figures::<peers::CronCrate>("cron", steps),
        ("figures", "saffron") => figures::<peers::Saffron>("saffron", steps),
        ("figures", "cronexpr") => figures::<peers::CronExpr>("cronexpr", steps),
        ("counted", _) => counted::run(),
        _ => panic!("see the source for the arguments"),
    }
}
