//! The index answers as the plain scan does: the same matches, hits and faults, in both modes, at any time.
use cuptime_rules::{Columns, Limits, Matches, Mode, RuleSet, RuleSource, Tally};
use proptest::prelude::*;

mod made;
use made::{columns_of, conditions, config, push, rows, rule, schema, Row};

/// Rules of a few conditions each used more than once, with priorities, windows and disabled ones among them.
fn rules() -> impl Strategy<Value = Vec<RuleSource>> {
    let one = (conditions(), 0..4i32, 0..10u8, prop::option::of(0..5i64), prop::option::of(5..9i64));
    prop::collection::vec(one, 1..60).prop_map(|all| {
        let source = |(i, (condition, priority, switch, from, to)): (usize, (String, i32, u8, _, _))| {
            let windowed = switch < 3;
            RuleSource {
                id: format!("r{i}"),
                priority,
                enabled: switch != 9,
                valid_from_ms: if windowed { from } else { None },
                valid_to_ms: if windowed { to } else { None },
                ..rule(&condition)
            }
        };
        all.into_iter().enumerate().map(source).collect()
    })
}

fn set(rules: Vec<RuleSource>, index_rules_min: usize) -> RuleSet {
    // What a random condition may cost is not the question here; now and then one is dearer than is allowed.
    let unbounded = Limits { cost_max: u64::MAX, set_cost_max: u64::MAX, ..Limits::default() };
    let limits = Limits { index_rules_min, ..unbounded };
    RuleSet::compile(rules, &schema(), &limits).unwrap_or_else(|d| panic!("{d:?}"))
}

/// Asks both twins about every row, and gives how many pairs of rule and order that were.
fn both_agree(indexed: &RuleSet, batch: &[Row]) -> Result<usize, TestCaseError> {
    let columns: Vec<Columns> = batch.iter().map(columns_of).collect();
    for mode in [Mode::Collect, Mode::First] {
        let (mut by_index, mut by_scan) = (Tally::new(indexed), Tally::new(indexed));
        for now_ms in [0, 4, 7, 20] {
            for (columns, row) in columns.iter().zip(batch) {
                let (mut found, mut wanted) = (Vec::new(), Vec::new());
                indexed.evaluate(columns, 0, now_ms, mode, &mut found, &mut by_index);
                indexed.scan(columns, 0, now_ms, mode, &mut wanted, &mut by_scan);
                if found != wanted {
                    let differ: Vec<&str> = indexed
                        .rules()
                        .iter()
                        .enumerate()
                        .filter(|(rank, _)| {
                            found.contains(&(*rank as u32)) != wanted.contains(&(*rank as u32))
                        })
                        .map(|(_, rule)| rule.source().condition.as_str())
                        .collect();
                    return Err(TestCaseError::fail(format!("{differ:?} on {row:?} at {now_ms}")));
                }
            }
        }
        prop_assert_eq!(by_index.rules(), by_scan.rules());
    }
    Ok(8 * batch.len() * indexed.len())
}

/// A whole batch at once, by whichever way the set takes, against the scan row by row.
fn the_batch_agrees(set: &RuleSet, batch: &[Row]) -> Result<(), TestCaseError> {
    let mut columns = Columns::new(&schema());
    for row in batch {
        push(&mut columns, row);
    }
    let (mut matches, mut by_batch) = (Matches::default(), Tally::new(set));
    for mode in [Mode::Collect, Mode::First] {
        let mut by_scan = Tally::new(set);
        for now_ms in [0, 4, 7, 20] {
            set.evaluate_batch(&columns, now_ms, mode, &mut matches, &mut by_batch);
            prop_assert_eq!(matches.rows(), batch.len());
            for (row, facts) in batch.iter().enumerate() {
                let mut wanted = Vec::new();
                set.scan(&columns, row, now_ms, mode, &mut wanted, &mut by_scan);
                prop_assert_eq!(matches.of(row), &wanted, "{:?} at {}", facts, now_ms);
            }
        }
        prop_assert_eq!(by_batch.rules(), by_scan.rules());
        by_batch.clear();
    }
    Ok(())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_batch_is_the_scan_with_and_without_an_index(
        rules in rules(),
        batch in prop::collection::vec(rows(), 1..8),
        times in prop_oneof![6 => 1..3usize, 1 => 12..30usize],
    ) {
        // More than one chunk of orders now and then, and texts that repeat.
        let batch: Vec<Row> = batch.iter().cycle().take(batch.len() * times).cloned().collect();
        for index_rules_min in [0, usize::MAX] {
            the_batch_agrees(&set(rules.clone(), index_rules_min), &batch)?;
        }
    }

    #[test]
    fn the_index_is_the_scan(rules in rules(), batch in prop::collection::vec(rows(), 1..8)) {
        both_agree(&set(rules, 0), &batch)?;
    }
}

#[test]
fn large_sets_with_many_values_agree_too() {
    // Enough distinct values that rows are no longer kept whole, and more than one word of summary.
    let source = |i: usize| RuleSource {
        id: format!("r{i:06}"),
        priority: (i % 5) as i32,
        ..rule(&match i % 4 {
            0 => format!("i >= {} && i < {}", i * 3, i * 3 + 40_000),
            1 => format!("s == 's{i}' || i == {i}"),
            2 => format!("d > {}.5 && s in ['s{}', 's{}']", i % 9_000, i % 700, i % 301),
            _ => format!("s.startsWith('s{}') && i != {}", i % 97, i * 2),
        })
    };
    let indexed = set((0..40_000).map(source).collect(), 17);
    assert!(indexed.index_bytes() > 0);
    let mut columns = indexed.columns();
    for i in 0..60i64 {
        columns.push_int(0, i * 2_003);
        if i % 7 != 0 {
            columns.push_double(1, i as f64 * 170.25);
        }
        columns.push_str(3, &format!("s{}", i * 13));
        columns.end_row();
    }
    let (mut by_index, mut by_scan) = (Tally::new(&indexed), Tally::new(&indexed));
    let mut batch = [Matches::default(), Matches::default()];
    for (mode, matches) in [Mode::Collect, Mode::First].into_iter().zip(&mut batch) {
        indexed.evaluate_batch(&columns, 0, mode, matches, &mut Tally::new(&indexed));
    }
    for row in 0..columns.rows() {
        for (mode, matches) in [Mode::Collect, Mode::First].into_iter().zip(&batch) {
            let (mut found, mut wanted) = (Vec::new(), Vec::new());
            indexed.evaluate(&columns, row, 0, mode, &mut found, &mut by_index);
            indexed.scan(&columns, row, 0, mode, &mut wanted, &mut by_scan);
            assert_eq!(found, wanted, "row {row}");
            assert_eq!(matches.of(row), wanted, "row {row}");
        }
    }
    assert_eq!(by_index.rules(), by_scan.rules());
    assert!(by_index.rules().iter().any(|c| c.errors > 0) && by_index.rules().iter().any(|c| c.hits > 0));
}
