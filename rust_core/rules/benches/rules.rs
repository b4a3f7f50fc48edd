//! Nanoseconds per order of the matcher, native, by shape and number of rules; compile time, index size, explanations.
//! One thread; the best of many slices, because a shared machine only ever adds time. With `CUPTIME_BENCH_JSON` set
//! the figures are also written there.
//!
//! `cargo bench -p cuptime-rules`; `make bench-rules` prints these beside the peers. With an argument
//! `count:SHAPE:RULES:MODE` it only evaluates a fixed number of orders, for an instruction counter.
use std::fmt::Write as _;
use std::time::Instant;

use cuptime_rules::{Action, Columns, Limits, Matches, Mode, RuleSet, RuleSource, Schema, Tally, Type};

const ROWS: usize = 1_000;
const SLICES: usize = 30;
const SLICES_LARGE: usize = 8;

const SLOTS: [&str; 4] = ["morning", "noon", "evening", "night"];
const TIERS: [&str; 5] = ["new", "bronze", "silver", "gold", "black"];
const KINDS: [&str; 3] = ["COFFEE", "TEA", "JUICE"];

fn schema() -> Schema {
    let names = [
        ("user.credit_score", Type::Int),
        ("order.time_slot", Type::String),
        ("user.tier", Type::String),
        ("order.amount_cents", Type::Int),
        ("order.quantity", Type::Int),
        ("user.city", Type::String),
        ("shop.code", Type::String),
        ("order.kind", Type::String),
        ("order.distance_m", Type::Double),
    ];
    Schema::new(names.into_iter().map(|(name, ty)| (name.to_string(), ty)).collect())
}

/// The conditions of a shape; numbers vary with `i` so that few rules are alike.
fn condition(shape: &str, i: usize) -> String {
    let (slot, tier, kind) = (SLOTS[i % 4], TIERS[i / 3 % 5], KINDS[i / 7 % 3]);
    let (shop, city) = (i * 7 % 200, i * 3 % 20);
    match shape {
        "equality" => format!(
            "user.tier == '{tier}' && user.city == 'c{city}' && shop.code == 's{shop}' && order.time_slot == '{slot}'"
        ),
        "ranges" => format!("user.credit_score >= {} && order.time_slot == '{slot}'", 600 + i * 13 % 400),
        _ => match i * 37 % 20 {
            0..=5 => {
                format!("user.credit_score >= {} && order.time_slot == '{slot}'", 800 + i * 13 % 200)
            }
            6..=10 => format!(
                "user.tier == '{tier}' && user.city == 'c{city}' && order.amount_cents >= {}",
                i * 17 % 100 * 100
            ),
            11..=14 => format!(
                "shop.code in ['s{shop}', 's{}', 's{}'] && order.time_slot == '{slot}'",
                (shop + 11) % 200,
                (shop + 57) % 200
            ),
            15..=17 => format!(
                "order.quantity >= {} && order.quantity < {} && order.kind == '{kind}' && order.distance_m < {}.0",
                i % 10,
                i % 10 + 3,
                i % 30 * 100
            ),
            _ => format!(
                "(user.tier == '{tier}' || user.credit_score >= {}) && shop.code == 's{shop}'",
                800 + i * 13 % 200
            ),
        },
    }
}

fn rules(shape: &str, count: usize) -> Vec<RuleSource> {
    let one = |i: usize| RuleSource {
        id: format!("r{i:06}"),
        name: String::new(),
        priority: (i % 7) as i32,
        enabled: true,
        valid_from_ms: None,
        valid_to_ms: None,
        condition: condition(shape, i),
        actions: vec![Action { kind: "assign_rider_priority".into(), value: "1".into() }],
        ..RuleSource::default()
    };
    (0..count).map(one).collect()
}

fn fill(columns: &mut Columns) {
    columns.clear();
    // A multiplicative walk, so that neighbours are unlike each other and the branches cannot be learnt.
    let mut state = 12_345usize;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for _ in 0..ROWS {
        columns.push_int(0, 550 + next(450) as i64);
        columns.push_str(1, SLOTS[next(4)]);
        columns.push_str(2, TIERS[next(5)]);
        columns.push_int(3, next(10_000) as i64);
        columns.push_int(4, next(14) as i64);
        columns.push_str(5, &format!("c{}", next(20)));
        columns.push_str(6, &format!("s{}", next(200)));
        columns.push_str(7, KINDS[next(3)]);
        columns.push_double(8, next(3_000) as f64);
        columns.end_row();
    }
}

/// The best time of one call of `work`, in ns.
fn best(slices: usize, mut work: impl FnMut()) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..slices {
        let start = Instant::now();
        work();
        best = best.min(start.elapsed().as_nanos() as f64);
    }
    best
}

/// All orders once; how many rules matched.
fn ask(set: &RuleSet, columns: &Columns, mode: Mode, matches: &mut Matches, tally: &mut Tally) -> usize {
    set.evaluate_batch(columns, 0, mode, matches, tally);
    matches.ranks().len()
}

fn measure(shape: &str, count: usize, json: &mut String) {
    let (schema, limits) = (schema(), Limits::default());
    let slices = if count > 1_000 { SLICES_LARGE } else { SLICES };
    let compile_us = best(2, || drop(RuleSet::compile(rules(shape, count), &schema, &limits))) / 1e3;
    let Ok(set) = RuleSet::compile(rules(shape, count), &schema, &limits) else { return };
    let reload = best(2, || {
        let mut changed = rules(shape, count);
        changed[0].condition.push_str(" && user.credit_score != 7");
        drop(RuleSet::compile_after(Some(&set), changed, &schema, &limits));
    }) / 1e6;
    let mut columns = set.columns();
    fill(&mut columns);
    let filled = best(3, || fill(&mut columns)) / ROWS as f64;
    let (mut tally, mut matches, mut hits) = (Tally::new(&set), Matches::default(), 0);
    let per_row = ROWS as f64;
    let first = best(slices, || {
        ask(&set, &columns, Mode::First, &mut matches, &mut tally);
    }) / per_row;
    let collect =
        best(slices, || hits = ask(&set, &columns, Mode::Collect, &mut matches, &mut tally)) / per_row;
    let explain = best(3, || drop(set.explain(&columns, 0, 0))) / 1e3;
    let (hits, compile) = (hits as f64 / per_row, compile_us / count as f64);
    let index_kb = set.index_bytes() as f64 / 1024.0;
    println!(
        "{shape:<9}{count:>8}{first:>10.0}{collect:>12.0}{hits:>12.2}{compile:>13.2}{:>12.1}{reload:>11.1}{index_kb:>10.0}{explain:>12.0}",
        compile_us / 1e3
    );
    let _ = writeln!(
        json,
        "{{\"shape\":\"{shape}\",\"rules\":{count},\"first_ns\":{first:.1},\"collect_ns\":{collect:.1},\"hits\":{hits:.3},\
         \"compile_us_per_rule\":{compile:.3},\"load_ms\":{:.3},\"reload_one_changed_ms\":{reload:.3},\"fill_ns\":{filled:.1},\"index_kb\":{index_kb:.1},\"explain_us\":{explain:.1}}}",
        compile_us / 1e3
    );
}

/// `SHAPE:RULES:MODE`: evaluates 20 batches, for an instruction counter.
fn count(wanted: &str) {
    let parts: Vec<&str> = wanted.split(':').collect();
    let [shape, count, mode] = parts.as_slice() else { return println!("count:SHAPE:RULES:first|collect") };
    let Ok(set) =
        RuleSet::compile(rules(shape, count.parse().unwrap_or(1_000)), &schema(), &Limits::default())
    else {
        return;
    };
    let mode = if *mode == "first" { Mode::First } else { Mode::Collect };
    let mut columns = set.columns();
    fill(&mut columns);
    let (mut tally, mut matches) = (Tally::new(&set), Matches::default());
    let hits: usize = (0..20).map(|_| ask(&set, &columns, mode, &mut matches, &mut tally)).sum();
    println!("{} rules, {} orders, {hits} hits", set.len(), 20 * ROWS);
}

fn main() {
    if let Some(wanted) = std::env::args().find_map(|a| a.strip_prefix("count:").map(str::to_string)) {
        return count(&wanted);
    }
    println!(
        "{:<9}{:>8}{:>10}{:>12}{:>12}{:>13}{:>12}{:>11}{:>10}{:>12}",
        "shape",
        "rules",
        "first ns",
        "collect ns",
        "hits/order",
        "us per rule",
        "load ms",
        "reload ms",
        "index KB",
        "explain us"
    );
    let mut json = String::new();
    for shape in ["mixed", "equality", "ranges"] {
        for count in [1, 10, 100, 1_000, 10_000, 100_000] {
            measure(shape, count, &mut json);
        }
    }
    if let Ok(path) = std::env::var("CUPTIME_BENCH_JSON") {
        if let Err(error) = std::fs::write(&path, json) {
            println!("{path}: {error}");
        }
    }
}
