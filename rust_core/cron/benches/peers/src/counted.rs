//! A fixed piece of work in functions of their own, for a tool that counts instructions: the same binary gives the
//! same counts on a busy machine. A number of its own keeps each function from being folded into its twin.
//! `benches/cron.py --only counts` runs it under callgrind.

use std::hint::black_box;

use crate::peers::{Ours, Peer};
use crate::work::{compiled, read_all, walk, EXPRESSIONS, FROM_MS, NEVER};

/// Operations of each function.
const OPERATIONS: usize = 20_000;

type Compiled = <Ours as Peer>::Compiled;
type Place = <Ours as Peer>::Place;

fn each(compiled: &[Compiled]) {
    walk::<Ours>(compiled, &FROM_MS, OPERATIONS / compiled.len());
}

#[inline(never)]
pub fn counted_next_utc(compiled: &[Compiled]) {
    black_box(1);
    each(compiled);
}

#[inline(never)]
pub fn counted_next_shanghai(compiled: &[Compiled]) {
    black_box(2);
    each(compiled);
}

#[inline(never)]
pub fn counted_next_new_york(compiled: &[Compiled]) {
    black_box(3);
    each(compiled);
}

#[inline(never)]
pub fn counted_parse(texts: &[String], place: &Place) {
    black_box(4);
    read_all::<Ours>(texts, place, OPERATIONS / texts.len());
}

#[inline(never)]
pub fn counted_never(texts: &[String], place: &Place) {
    black_box(5);
    read_all::<Ours>(texts, place, OPERATIONS / texts.len());
}

#[inline(never)]
pub fn counted_replan(compiled: &[Compiled]) {
    for schedule in compiled {
        black_box(Ours::next(schedule, &FROM_MS));
    }
}

pub fn run() {
    let placed = |zone: &str| {
        let (place, _) = Ours::place(zone).expect("zone data");
        (compiled::<Ours>("ours", &EXPRESSIONS, zone, &place), place)
    };
    let (utc, place) = placed("UTC");
    counted_next_utc(&utc);
    counted_next_shanghai(&placed("Asia/Shanghai").0);
    counted_next_new_york(&placed("America/New_York").0);
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    counted_parse(&owned(&EXPRESSIONS), &place);
    // A multiple of three expressions: 4 operations fewer in 20,000.
    counted_never(&owned(&NEVER), &place);
    let texts: Vec<String> =
        (0..OPERATIONS).map(|k| format!("{} {} * * {}", k % 60, k / 60 % 24, k % 7)).collect();
    let many: Vec<&str> = texts.iter().map(String::as_str).collect();
    counted_replan(&compiled::<Ours>("ours", &many, "Asia/Shanghai", &placed("Asia/Shanghai").1));
}
