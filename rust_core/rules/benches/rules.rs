//! Nanoseconds per order, per rule compiled, per row filled. One thread; the best of many slices, because a shared machine
//! only ever adds time. The targets are in the issue; today's matcher is a scan, so the cost grows with the rules.
use std::time::Instant;

use cuptime_rules::{Action, Columns, Limits, Mode, RuleSet, RuleSource, Schema, Tally, Type};

const ROWS: usize = 1_000;
const SLICES: usize = 20;

fn schema() -> Schema {
    let names = [
        ("user.credit_score", Type::Int),
        ("order.time_slot", Type::String),
        ("user.tier", Type::String),
        ("order.amount_cents", Type::Int),
        ("group.size", Type::Int),
    ];
    Schema::new(names.into_iter().map(|(name, ty)| (name.to_string(), ty)).collect())
}

/// Four shapes in turn: a range and an equality, two slots, a membership, a disjunction.
fn condition(i: usize) -> String {
    let slot = ["morning", "noon", "evening"][i % 3];
    match i % 4 {
        0 => format!("user.credit_score >= {} && order.time_slot == '{slot}'", 90 + i % 10),
        1 => format!("user.tier == 't{}' && order.amount_cents >= {}", i % 50, i * 37 % 10_000),
        2 => format!("order.time_slot in ['s{}', 'noon'] && group.size > {}", i % 20, i % 40),
        _ => format!("(user.tier == 't{}' || user.credit_score >= 99) && group.size == {}", i % 50, i % 40),
    }
}

fn rules(count: usize) -> Vec<RuleSource> {
    let one = |i: usize| RuleSource {
        id: format!("r{i:06}"),
        name: String::new(),
        priority: (i % 7) as i32,
        enabled: true,
        valid_from_ms: None,
        valid_to_ms: None,
        condition: condition(i),
        action: Action { kind: "assign_rider_priority".into(), value: "1".into() },
    };
    (0..count).map(one).collect()
}

fn fill(columns: &mut Columns) {
    columns.clear();
    for i in 0..ROWS as i64 {
        columns.push_int(0, 80 + i % 21);
        columns.push_str(1, ["morning", "noon", "evening"][(i % 3) as usize]);
        columns.push_str(2, ["t1", "t7", "t30", "t45"][(i % 4) as usize]);
        columns.push_int(3, i * 97 % 10_000);
        columns.push_int(4, i % 40);
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

fn main() {
    let (schema, limits) = (schema(), Limits::default());
    println!(
        "{:>7} {:>12} {:>14} {:>11} {:>13} {:>12} {:>14}",
        "rules", "first ns", "collect ns", "hits/order", "compile us", "fill ns/row", "explain us"
    );
    for count in [1, 10, 100, 1_000, 10_000] {
        let slices = if count > 1_000 { 3 } else { SLICES };
        let compile = best(3, || drop(RuleSet::compile(rules(count), &schema, &limits))) / 1e3 / count as f64;
        let Ok(set) = RuleSet::compile(rules(count), &schema, &limits) else { return };
        let mut columns = set.columns();
        let filled = best(SLICES, || fill(&mut columns)) / ROWS as f64;
        let (mut tally, mut matches, mut hits) = (Tally::new(&set), Vec::new(), 0);
        let mut per_order = |mode| {
            best(slices, || {
                hits = 0;
                for row in 0..ROWS {
                    matches.clear();
                    set.evaluate(&columns, row, 0, mode, &mut matches, &mut tally);
                    hits += matches.len();
                }
            }) / ROWS as f64
        };
        let (first, collect) = (per_order(Mode::First), per_order(Mode::Collect));
        let explain = best(3, || drop(set.explain(&columns, 0, 0))) / 1e3;
        let hits = hits as f64 / ROWS as f64;
        println!("{count:>7} {first:>12.0} {collect:>14.0} {hits:>11.2} {compile:>13.2} {filled:>12.0} {explain:>14.0}");
    }
}
