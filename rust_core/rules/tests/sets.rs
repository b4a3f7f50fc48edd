//! Rule sets: order, modes, validity, counters, explanation, identity.
use std::sync::Arc;

use cuptime_rules::{
    Action, Code, Columns, Limits, Mode, Oddity, Outcome, RuleSet, RuleSource, Schema, Tally, Type,
};

const NOW_MS: i64 = 1_795_392_000_000;

fn schema() -> Schema {
    Schema::new(vec![
        ("user.credit_score".into(), Type::Int),
        ("order.time_slot".into(), Type::String),
        ("order.ice_level".into(), Type::nullable(Type::String)),
        ("group.fill".into(), Type::Double),
        ("user.is_new".into(), Type::Bool),
        ("order.tags".into(), Type::list(Type::String)),
    ])
}

fn rule(id: &str, priority: i32, condition: &str) -> RuleSource {
    RuleSource {
        id: id.into(),
        name: id.to_uppercase(),
        priority,
        enabled: true,
        valid_from_ms: None,
        valid_to_ms: None,
        condition: condition.into(),
        actions: vec![Action { kind: "assign_rider_priority".into(), value: "1".into() }],
        ..RuleSource::default()
    }
}

fn set(rules: Vec<RuleSource>) -> RuleSet {
    RuleSet::compile(rules, &schema(), &Limits::default()).unwrap_or_else(|d| panic!("{d:?}"))
}

/// One row: score 88, morning, no ice level, half full, a new user, tags hot and new.
fn row(set: &RuleSet) -> Columns {
    let mut columns = set.columns();
    columns.push_int(0, 88);
    columns.push_str(1, "morning");
    columns.push_double(3, 0.5);
    columns.push_bool(4, true);
    columns.push_str_list(5, ["hot", "new"]);
    columns.end_row();
    columns
}

fn matching(set: &RuleSet, mode: Mode) -> Vec<String> {
    let (mut matches, mut tally) = (Vec::new(), Tally::new(set));
    set.evaluate(&row(set), 0, NOW_MS, mode, &mut matches, &mut tally);
    matches.iter().map(|at| set.rules()[*at as usize].source().id.clone()).collect()
}

#[test]
fn rank_is_priority_then_identifier_whatever_the_order_of_the_file() {
    let rules =
        vec![rule("b", 5, "true"), rule("z", 1, "true"), rule("a", 5, "true"), rule("n", -3, "false")];
    let mut reversed = rules.clone();
    reversed.reverse();
    let (one, other) = (set(rules), set(reversed));
    assert_eq!(matching(&one, Mode::Collect), ["z", "a", "b"]);
    assert_eq!(matching(&other, Mode::Collect), ["z", "a", "b"]);
    assert_eq!(matching(&one, Mode::First), ["z"]);
    assert_eq!(one.digest(), other.digest());
    assert_eq!(one.rules()[1].source_index(), 1);
}

#[test]
fn validity_is_half_open_and_disabled_rules_never_match() {
    let mut windowed = rule("w", 1, "true");
    windowed.valid_from_ms = Some(NOW_MS);
    windowed.valid_to_ms = Some(NOW_MS + 1);
    let mut disabled = rule("d", 1, "true");
    disabled.enabled = false;
    let set = set(vec![windowed, disabled]);
    let columns = row(&set);
    for (now_ms, wanted) in [(NOW_MS - 1, 0), (NOW_MS, 1), (NOW_MS + 1, 0)] {
        let (mut matches, mut tally) = (Vec::new(), Tally::new(&set));
        set.evaluate(&columns, 0, now_ms, Mode::Collect, &mut matches, &mut tally);
        assert_eq!(matches.len(), wanted, "{}", now_ms - NOW_MS);
        assert_eq!(set.explain(&columns, 0, now_ms)[0].outcome, Outcome::Inactive);
    }
}

#[test]
fn counters_tell_hits_faults_and_how_often_a_rule_was_asked() {
    let set = set(vec![
        rule("a_fault", 1, "1 / (user.credit_score - 88) > 0"),
        rule("b_miss", 2, "user.credit_score > 90"),
        rule("c_hit", 3, "user.credit_score == 88"),
        rule("d_behind", 4, "true"),
    ]);
    let columns = row(&set);
    let (mut batch, mut total) = (Tally::new(&set), Tally::new(&set));
    let mut matches = Vec::new();
    set.evaluate(&columns, 0, NOW_MS, Mode::First, &mut matches, &mut batch);
    set.evaluate(&columns, 0, NOW_MS, Mode::Collect, &mut matches, &mut batch);
    assert_eq!(matches, [2, 2, 3]);
    total.fold(&mut batch);
    let counted: Vec<_> = total.rules().iter().map(|c| (c.evaluated, c.hits, c.errors)).collect();
    assert_eq!(counted, [(2, 0, 2), (2, 0, 0), (2, 2, 0), (2, 1, 0)]);
    assert!(batch.rules().iter().all(|c| c.evaluated == 0));
}

#[test]
fn an_explanation_names_the_leaf_the_value_and_the_wish() {
    let cases = [
        (
            "user.credit_score >= 90 && order.time_slot == 'morning'",
            "user.credit_score >= 90",
            "user.credit_score = 88",
            ">= 90",
        ),
        (
            "order.time_slot == 'noon' || user.credit_score < 10",
            "user.credit_score < 10",
            "user.credit_score = 88",
            "< 10",
        ),
        (
            "!(user.credit_score > 80 || user.is_new)",
            "user.credit_score > 80",
            "user.credit_score = 88",
            "not > 80",
        ),
        ("user.is_new && !user.is_new", "!user.is_new", "user.is_new = true", "== false"),
        (
            "order.time_slot in ['noon', 'evening']",
            "order.time_slot in ['noon', 'evening']",
            "order.time_slot = 'morning'",
            "in ['evening', 'noon']",
        ),
        ("order.ice_level == 'LESS'", "order.ice_level == 'LESS'", "order.ice_level = absent", "== 'LESS'"),
        ("has(order.ice_level)", "has(order.ice_level)", "order.ice_level is absent", "present"),
        (
            "order.time_slot.matches('^n')",
            "order.time_slot.matches('^n')",
            "order.time_slot = 'morning'",
            "matches '^n'",
        ),
        (
            "user.credit_score * 2 > 200",
            "user.credit_score * 2 > 200",
            "user.credit_score * 2 = 176",
            "> 200",
        ),
        (
            "user.is_new ? user.credit_score > 99 : true",
            "user.credit_score > 99",
            "user.credit_score = 88",
            "> 99",
        ),
        (
            "order.tags.exists(t, t == 'cold')",
            "order.tags.exists(t, t == 'cold')",
            "false; order.tags = ['hot', 'new']",
            "true",
        ),
        ("group.fill > 0.75", "group.fill > 0.75", "group.fill = 0.5", "> 0.75"),
    ];
    for (condition, leaf, value, wanted) in cases {
        let set = set(vec![rule("r", 1, condition)]);
        let verdicts = set.explain(&row(&set), 0, NOW_MS);
        let Outcome::NotMatched { leaf: got_leaf, span, value: got_value, wanted: got_wanted } =
            &verdicts[0].outcome
        else {
            panic!("{condition}: {:?}", verdicts[0]);
        };
        assert_eq!(
            (got_leaf.as_str(), got_value.as_str(), got_wanted.as_str()),
            (leaf, value, wanted),
            "{condition}"
        );
        assert_eq!(span.text(condition), leaf);
    }
}

#[test]
fn a_condition_that_always_faults_is_found() {
    let faulty = [
        "1 / 0 > 2",
        "int('x') == 3",
        "user.credit_score > 3 && 1 / 0 > 2",
        "[1][3] == 1",
        "size('a')[0] == 1",
    ];
    let always = |condition: &str| {
        let Ok(set) = RuleSet::compile(vec![rule("a", 1, condition)], &schema(), &Limits::default()) else {
            return None;
        };
        Some(set.findings().iter().any(|found| found.oddity == Oddity::AlwaysFault))
    };
    assert_eq!(faulty.map(always), [Some(true), Some(true), Some(false), Some(true), None]);
    assert_eq!(always("(1 / 0 > 2 ? 'a' : 'b') == order.time_slot"), Some(true));
    // A fault that something absorbs, or that some orders do not meet.
    for fine in ["1 / 0 > 2 || user.is_new", "order.tags.all(t, 1 / 0 > 2)", "user.is_new ? 1 / 0 > 2 : true"]
    {
        assert_eq!(always(fine), Some(false), "{fine}");
    }
}

#[test]
fn a_fault_is_explained_with_its_place() {
    let set = set(vec![
        rule("r", 1, "user.credit_score > 1 && 1 / (user.credit_score - 88) > 0"),
        rule("s", 2, "true"),
    ]);
    let verdicts = set.explain(&row(&set), 0, NOW_MS);
    let Outcome::Error { kind, message, span } = &verdicts[0].outcome else { panic!("{verdicts:?}") };
    assert_eq!((*kind, span.start), ("divide_by_zero", 25));
    assert_eq!(message, "divide by zero in 1 / (user.credit_score - 88)");
    assert_eq!(verdicts[1].outcome, Outcome::Matched);
}

#[test]
fn every_wrong_rule_is_reported_with_its_index() {
    let mut bad_window = rule("w", 1, "true");
    bad_window.valid_from_ms = Some(2);
    bad_window.valid_to_ms = Some(2);
    let rules = vec![
        rule("a", 1, "user.credit_scor > 1"),
        rule("b", 1, "true"),
        rule("b", 1, "1 +"),
        rule("", 1, "order.time_slot"),
        bad_window,
    ];
    let found = RuleSet::compile(rules, &schema(), &Limits::default()).unwrap_err();
    let told: Vec<_> = found.iter().map(|d| (d.rule, d.code)).collect();
    assert_eq!(
        told,
        [
            (Some(0), Code::UnknownName),
            (Some(2), Code::BadRuleId),
            (Some(2), Code::Syntax),
            (Some(3), Code::BadRuleId),
            (Some(3), Code::TypeMismatch),
            (Some(4), Code::BadValidity),
        ]
    );
    let limits = Limits { rules_max: 1, ..Limits::default() };
    let found =
        RuleSet::compile(vec![rule("a", 1, "true"), rule("b", 1, "true")], &schema(), &limits).unwrap_err();
    assert_eq!(found[0].code, Code::LimitRules);
}

#[test]
fn the_digest_changes_with_anything_that_can_change_a_decision() {
    let base = || rule("r", 1, "true");
    let first = set(vec![base()]).digest().to_string();
    let mut variants: Vec<RuleSource> = vec![base(); 5];
    variants[0].condition = "true ".into();
    variants[1].priority = 2;
    variants[2].enabled = false;
    variants[3].valid_to_ms = Some(0);
    variants[4].actions[0].value = "2".into();
    for variant in variants {
        assert_ne!(set(vec![variant]).digest(), first);
    }
    let fewer = Schema::new(vec![("user.credit_score".into(), Type::Int)]);
    assert_ne!(RuleSet::compile(vec![base()], &fewer, &Limits::default()).unwrap().digest(), first);
    assert_eq!(first.len(), 64);
}

#[test]
fn a_row_that_is_not_there_is_a_fault_not_a_match() {
    let set = set(vec![rule("r", 1, "user.credit_score >= 0"), rule("s", 2, "order.ice_level != 'LESS'")]);
    let (mut matches, mut tally) = (Vec::new(), Tally::new(&set));
    set.evaluate(&set.columns(), 7, NOW_MS, Mode::Collect, &mut matches, &mut tally);
    assert_eq!((matches.as_slice(), tally.rules()[0].errors), (&[1][..], 1));
}

#[test]
fn a_set_is_shared_between_threads() {
    let set = Arc::new(set(vec![rule("r", 1, "order.time_slot.matches('^m') && user.credit_score > 80")]));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let set = Arc::clone(&set);
            std::thread::spawn(move || matching(&set, Mode::Collect))
        })
        .collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap(), ["r"]);
    }
}

#[test]
fn oddities_are_found_on_values_not_on_looks() {
    let all = set(vec![
        rule("a", 1, "user.credit_score >= 90"),
        rule("b", 2, "user.credit_score > 95 && order.time_slot == 'morning'"),
        rule("c", 3, "user.credit_score > 5 && user.credit_score < 6"),
        rule("d", 4, "user.credit_score  >= 90"),
        rule("e", 5, "order.time_slot != 'noon' || order.time_slot == 'noon'"),
        rule("f", 6, "user.credit_score == 80 || user.credit_score > 100 && order.time_slot in ['x']"),
        rule("g", 7, "order.time_slot == 'a' && order.time_slot == 'b' || false"),
        rule("h", 8, "true"),
    ]);
    let found: Vec<_> = all.findings().iter().map(|f| (f.rule, f.oddity, f.other)).collect();
    use Oddity::{AlwaysTrue, Duplicate, NeverTrue, Shadowed};
    assert_eq!(
        found,
        [
            (1, Shadowed, Some(0)),
            (2, NeverTrue, None),
            (3, Duplicate, Some(0)),
            (4, AlwaysTrue, None),
            (6, NeverTrue, None),
        ]
    );
}

#[test]
fn conditions_that_did_not_change_are_taken_over() {
    let first = set(vec![rule("a", 1, "user.credit_score > 90"), rule("b", 2, "user.credit_score > 80")]);
    let rules = vec![rule("x", 1, "user.credit_score > 80"), rule("y", 2, "user.credit_score > 70")];
    let (limits, schema) = (Limits::default(), first.schema().clone());
    let after = RuleSet::compile_after(Some(&first), rules.clone(), &schema, &limits).unwrap();
    assert_eq!(after.digest(), RuleSet::compile(rules, &schema, &limits).unwrap().digest());
    let columns = row(&after);
    let (mut matches, mut tally) = (Vec::new(), Tally::new(&after));
    after.evaluate(&columns, 0, NOW_MS, Mode::Collect, &mut matches, &mut tally);
    assert_eq!(matches, [0, 1]);
    // Another schema has other slots: nothing is taken over from it.
    let other = Schema::new(vec![("x".into(), Type::Int), ("user.credit_score".into(), Type::Int)]);
    let moved =
        RuleSet::compile_after(Some(&first), vec![rule("a", 1, "user.credit_score > 90")], &other, &limits);
    let mut columns = moved.as_ref().unwrap().columns();
    columns.push_int(0, 99);
    columns.push_int(1, 1);
    columns.end_row();
    let (set, mut matches) = (moved.unwrap(), Vec::new());
    set.evaluate(&columns, 0, NOW_MS, Mode::Collect, &mut matches, &mut Tally::new(&set));
    assert!(matches.is_empty());
}
