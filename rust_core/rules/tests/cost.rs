//! What conditions can cost at most, and that too much is refused. That no evaluation costs more is a property: see
//! `properties.rs`.
use cuptime_rules::{compile_rule, Code, Limits, RuleSet, RuleSource, SlotSize};

mod made;
use made::{rule, schema};

#[test]
fn a_condition_that_could_cost_too_much_is_refused_where_it_multiplies() {
    let schema = schema();
    let cost = |condition: &str| compile_rule(condition, &schema, &Limits::default()).map(|p| p.cost.steps);
    assert!(cost("i > 3 && s == 'a'").unwrap() < 10);
    // 256 elements are declared by default, each costs its body.
    let (one, two) = (cost("l.all(x, x == s)").unwrap(), cost("l.all(x, x == s && x != 'b')").unwrap());
    assert!(two - one >= 256 * 3 && two < 256 * 100, "{one} {two}");
    let small = schema.clone().with_sizes(|_| Some(SlotSize { text_bytes: 8, elements: 2 }));
    assert!(compile_rule("l.all(x, l.all(y, l.all(z, x == y + z)))", &small, &Limits::default()).is_ok());
    let found = cost("i > 3 && l.all(x, l.all(y, l.all(z, x == y + z)))").unwrap_err();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].code, found[0].position.line, found[0].position.column), (Code::LimitCost, 1, 28));
    assert!(found[0].message.contains("at most 100000") && !found[0].hint.is_empty());
}

#[test]
fn a_set_that_could_cost_too_much_is_refused_whole() {
    let limits = Limits { set_cost_max: 20, ..Limits::default() };
    let rules =
        |count: usize| (0..count).map(|i| RuleSource { id: format!("r{i}"), ..rule("i > 3") }).collect();
    let good = RuleSet::compile(rules(5), &schema(), &limits).unwrap();
    assert_eq!(good.rules().iter().map(|rule| rule.cost_steps()).sum::<u64>(), 10);
    let found = RuleSet::compile(rules(11), &schema(), &limits).unwrap_err();
    assert_eq!((found[0].code, found[0].rule), (Code::LimitCost, None));
}
