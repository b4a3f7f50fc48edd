//! Rules and facts made at random, shared by the tests of this crate.
#![allow(dead_code)] // Each test file uses its own part.
use cuptime_rules::{Action, Columns, RuleSource, Schema, Type};
use proptest::prelude::*;

pub fn schema() -> Schema {
    let types = [
        ("i", "int"),
        ("d", "double"),
        ("b", "bool"),
        ("s", "string"),
        ("l", "list(string)"),
        ("m", "string?"),
        ("o.p", "string"),
    ];
    Schema::new(types.iter().map(|(n, t)| ((*n).to_string(), Type::parse(t).unwrap())).collect())
}

/// Conditions over the schema that always compile.
pub fn conditions() -> impl Strategy<Value = String> {
    let relation = || prop::sample::select(vec!["==", "!=", "<", "<=", ">", ">="]);
    let word = || prop::sample::select(vec!["", "a", "ab", "b", "咖啡"]);
    let whole = || prop::sample::select(vec![i64::MIN, -1, 0, 1, 7, i64::MAX]);
    let double = prop::sample::select(vec!["-1.5", "0.0", "-0.0", "7.0", "1e300"]);
    let leaf = prop_oneof![
        (relation(), whole()).prop_map(|(op, v)| format!("i {op} {v}")),
        (relation(), whole()).prop_map(|(op, v)| format!("{v} {op} i")),
        (relation(), double).prop_map(|(op, v)| format!("d {op} {v}")),
        (relation(), word()).prop_map(|(op, v)| format!("s {op} '{v}'")),
        (prop::sample::select(vec!["==", "!="]), word()).prop_map(|(op, v)| format!("m {op} '{v}'")),
        prop::collection::vec(word(), 0..4).prop_map(|all| format!("s in ['{}']", all.join("', '"))),
        prop::collection::vec(word(), 1..4).prop_map(|all| format!("m in ['{}']", all.join("', '"))),
        prop::collection::vec(whole(), 0..4).prop_map(|all| format!("i in {all:?}")),
        (prop::sample::select(vec!["startsWith", "endsWith", "contains", "matches"]), word())
            .prop_map(|(f, v)| format!("s.{f}('{v}')")),
        Just("b".to_string()),
        Just("b == false".to_string()),
        Just("has(o.p)".to_string()),
        Just("o.p > s".to_string()),
        Just("m == null".to_string()),
        Just("1 / i > 0".to_string()),
        Just("l.exists(x, x == s)".to_string()),
        Just("s in l".to_string()),
        Just("true".to_string()),
        Just("has(o.p) && o.p.endsWith('b')".to_string()),
        (relation(), word()).prop_map(|(op, v)| format!("o.p {op} '{v}'")),
        prop::sample::select(vec!["a", "ab", "咖"]).prop_map(|v| format!("o.p.startsWith('{v}')")),
        prop::collection::vec(prop::sample::select(vec!["7.0", "0.0", "-1.5"]), 1..3)
            .prop_map(|all| format!("d in [{}]", all.join(", "))),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(|all| format!("({})", all.join(" && "))),
            prop::collection::vec(inner.clone(), 2..4).prop_map(|all| format!("({})", all.join(" || "))),
            inner.clone().prop_map(|e| format!("!({e})")),
            (inner.clone(), inner.clone(), inner).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
        ]
    })
}

pub type Row = (
    Option<i64>,
    Option<f64>,
    Option<bool>,
    Option<&'static str>,
    Option<Vec<&'static str>>,
    Option<&'static str>,
);

pub fn rows() -> impl Strategy<Value = Row> {
    let word = || prop::option::of(prop::sample::select(vec!["", "a", "ab", "b", "咖啡", "z"]));
    (
        prop::option::of(prop::sample::select(vec![i64::MIN, -1, 0, 1, 7, i64::MAX])),
        prop::option::of(prop::sample::select(vec![-1.5, 0.0, 7.0, f64::NAN, f64::INFINITY])),
        prop::option::of(any::<bool>()),
        word(),
        prop::option::of(prop::collection::vec(prop::sample::select(vec!["a", "咖啡"]), 0..3)),
        word(),
    )
}

pub fn columns_of(row: &Row) -> Columns {
    let mut columns = Columns::new(&schema());
    push(&mut columns, row);
    columns
}

/// Adds a row.
pub fn push(columns: &mut Columns, row: &Row) {
    row.0.iter().for_each(|v| columns.push_int(0, *v));
    row.1.iter().for_each(|v| columns.push_double(1, *v));
    row.2.iter().for_each(|v| columns.push_bool(2, *v));
    row.3.iter().for_each(|v| columns.push_str(3, v));
    row.3.iter().for_each(|v| columns.push_str(6, v));
    row.4.iter().for_each(|v| columns.push_str_list(4, v.iter().copied()));
    row.5.iter().for_each(|v| columns.push_str(5, v));
    columns.end_row();
}

pub fn rule(condition: &str) -> RuleSource {
    RuleSource {
        id: "r".into(),
        name: String::new(),
        priority: 0,
        enabled: true,
        valid_from_ms: None,
        valid_to_ms: None,
        condition: condition.into(),
        actions: vec![Action { kind: String::new(), value: String::new() }],
        ..RuleSource::default()
    }
}

/// `PROPTEST_CASES` asks for more.
pub fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(600);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}
