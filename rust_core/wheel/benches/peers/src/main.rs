//! One measurement per process, so that no peer inherits another's memory: a line of JSON on standard output.
//!
//!     wheel-peers mix PEER TIMERS minute|day ROUNDS
//!     wheel-peers server PEER CONNECTIONS SECONDS
//!     wheel-peers counted            a fixed piece of work, to be run under callgrind
//!     wheel-peers machine            what a cache miss costs here
//!
//! `benches/wheel.py` runs them all and prints the table.

mod counted;
mod dice;
mod machine;
mod memory;
mod peers;
mod server;
mod workload;

use peers::Peer;
use workload::Mix;

fn mix<P: Peer>(timers: usize, mix: Mix, rounds: u64) {
    // The first round in a process also pays for its page faults; the best of all is read.
    let best =
        (0..rounds).map(|round| workload::run::<P>(timers, mix, 1 + round)).reduce(workload::Figures::best);
    println!("{{{}}}", best.unwrap_or_default().json());
}

fn server<P: Peer>(connections: usize, seconds: u64) {
    let outcome = server::run::<P>(connections, seconds);
    println!(
        "{{\"operations\":{},\"ns\":{:.2},\"fired\":{},\"digest\":{}}}",
        outcome.operations, outcome.ns_per_operation, outcome.fired, outcome.digest
    );
}

macro_rules! for_peer {
    ($name:expr, $call:ident, $($argument:expr),*) => {
        match $name {
            "ours" => $call::<peers::Ours>($($argument),*),
            "tokio-util" => $call::<peers::Tokio>($($argument),*),
            "binary heap" => $call::<peers::Heap>($($argument),*),
            "keyed heap" => $call::<peers::Keyed>($($argument),*),
            "hash wheel" => $call::<peers::HashWheel>($($argument),*),
            "nexus-timer" => $call::<peers::Nexus>($($argument),*),
            "slab-wheel" => $call::<peers::SlabWheel>($($argument),*),
            other => panic!("no such peer: {other}"),
        }
    };
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| arguments[at].parse::<u64>().expect("a number");
    match arguments.first().map(String::as_str) {
        Some("mix") => {
            let delays = if arguments[3] == "day" { Mix::Day } else { Mix::Minute };
            for_peer!(arguments[1].as_str(), mix, number(2) as usize, delays, number(4));
        }
        Some("server") => for_peer!(arguments[1].as_str(), server, number(2) as usize, number(3)),
        Some("counted") => counted::run(),
        Some("machine") => machine::print(),
        _ => panic!("see the source for the arguments"),
    }
}
