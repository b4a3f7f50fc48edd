//! Namespaces: hit policies, variables, what a fault means, and the proof that at most one rule matches.
use cuptime_rules::{
    Action, Code, Columns, HitPolicy, Limits, Matches, Mode, Namespace, Oddity, OnError, Open, Outcome,
    PairRules, RuleSet, RuleSource, Schema, Sides, Tally, Type, Variable,
};
use proptest::prelude::*;

mod made;
use made::{columns_of, conditions, config, rows, rule, schema};

fn named(id: &str, namespace: usize, condition: &str) -> RuleSource {
    let actions = vec![Action { kind: "tag".into(), value: id.into() }];
    RuleSource { id: id.into(), namespace, actions, ..rule(condition) }
}

fn space(name: &str, hit_policy: HitPolicy, variables: &[(&str, &str)]) -> Namespace {
    let variable =
        |(name, text): &(&str, &str)| Variable { name: (*name).into(), expression: (*text).into() };
    Namespace { name: name.into(), hit_policy, variables: variables.iter().map(variable).collect() }
}

fn compiled(
    namespaces: Vec<Namespace>,
    rules: Vec<RuleSource>,
) -> Result<RuleSet, Vec<(Code, usize, String)>> {
    compiled_under(namespaces, rules, &Limits::default())
}

fn compiled_under(
    namespaces: Vec<Namespace>,
    rules: Vec<RuleSource>,
    limits: &Limits,
) -> Result<RuleSet, Vec<(Code, usize, String)>> {
    RuleSet::compile_namespaces(None, namespaces, rules, &schema(), limits)
        .map_err(|found| found.into_iter().map(|d| (d.code, d.rule.unwrap_or(99), d.message)).collect())
}

fn acting(set: &RuleSet, columns: &Columns) -> (Vec<String>, Vec<String>) {
    let (mut matches, mut tally) = (Vec::new(), Tally::new(set));
    set.evaluate(columns, 0, 0, Mode::Policy, &mut matches, &mut tally);
    let ids = |ranks: &[u32]| ranks.iter().map(|r| set.rules()[*r as usize].source().id.clone()).collect();
    (ids(&matches), ids(tally.faults()))
}

fn seven() -> Columns {
    columns_of(&(Some(7), Some(7.0), Some(true), Some("a"), None, None))
}

#[test]
fn each_namespace_has_its_own_policy() {
    let spaces = vec![space("one", HitPolicy::First, &[]), space("two", HitPolicy::Collect, &[])];
    let rules = vec![
        named("a", 0, "i == 0"),
        named("b", 0, "i == 7"),
        named("c", 0, "true"),
        named("d", 1, "i == 7"),
        named("e", 1, "true"),
    ];
    let set = compiled(spaces, rules).unwrap();
    assert_eq!(acting(&set, &seven()).0, ["b", "d", "e"]);
    let outcomes: Vec<Outcome> = set.explain(&seven(), 0, 0).into_iter().map(|v| v.outcome).collect();
    assert_eq!(
        outcomes[1..],
        [Outcome::Matched, Outcome::Shadowed { by: 1 }, Outcome::Matched, Outcome::Matched]
    );
}

#[test]
fn a_fault_that_is_not_passed_over_takes_the_place_of_a_match() {
    let broken = |on_error| RuleSource { on_error, ..named("a", 0, "1 / (i - 7) > 0") };
    for policy in [HitPolicy::First, HitPolicy::Collect] {
        let set =
            |on_error| compiled(vec![space("", policy, &[])], vec![broken(on_error), named("b", 0, "true")]);
        let of = |on_error| acting(&set(on_error).unwrap(), &seven());
        assert_eq!(of(OnError::Skip), (vec!["b".to_string()], vec![]));
        let behind: Vec<String> = if policy == HitPolicy::First { vec![] } else { vec!["b".into()] };
        assert_eq!(of(OnError::Refuse), (behind.clone(), vec!["a".to_string()]));
        assert_eq!(of(OnError::Fail), (behind, vec!["a".to_string()]));
    }
}

#[test]
fn variables_are_known_in_their_namespace_in_any_order() {
    let variables = [
        ("near", "variables.size < 10 && has(o.p)"),
        ("size", "i + int(d)"),
        ("gold", "s == 'a'"),
        ("word", "s + '!'"),
    ];
    let spaces = vec![space("x", HitPolicy::Collect, &variables), space("y", HitPolicy::Collect, &[])];
    let rules = vec![
        named("a", 0, "variables.gold && variables.size == 14"),
        named("b", 0, "variables.near"),
        named("c", 0, "variables.word == 'a!' && [1, 2].all(x, variables.size > x)"),
    ];
    let set = compiled(spaces.clone(), rules.clone()).unwrap();
    assert_eq!(acting(&set, &seven()).0, ["a", "c"]);
    // What a leaf found is told of the facts, and the leaf is what the condition says.
    let other = columns_of(&(Some(7), Some(7.0), None, Some("b"), None, None));
    let Outcome::NotMatched { leaf, value, wanted, .. } = &set.explain(&other, 0, 0)[0].outcome else {
        panic!()
    };
    assert_eq!((leaf.as_str(), value.as_str(), wanted.as_str()), ("variables.gold", "s = 'b'", "== 'a'"));
    let unread = columns_of(&(None, None, None, Some("a"), None, None));
    let Outcome::Error { message, .. } = &set.explain(&unread, 0, 0)[0].outcome else { panic!() };
    assert_eq!(message, "absent in variables.size");
    // Another namespace does not know them, and a slip is told.
    let wrong = vec![
        named("a", 1, "variables.gold"),
        named("b", 0, "variables.glod"),
        named("c", 0, "variables.word"),
    ];
    let found = compiled(spaces, wrong).unwrap_err();
    let codes: Vec<(Code, usize)> = found.iter().map(|(code, rule, _)| (*code, *rule)).collect();
    assert_eq!(codes, [(Code::UnknownName, 0), (Code::UnknownName, 1), (Code::TypeMismatch, 2)]);
}

#[test]
fn what_is_wrong_with_variables_is_told_behind_the_rules() {
    let variables = [
        ("a", "variables.b > 1"),
        ("b", "variables.c ? 1 : 2"),
        ("c", "variables.a"),
        ("d", "1 +"),
        ("e", "zz"),
    ];
    let spaces =
        vec![space("x", HitPolicy::Collect, &[("ok", "1")]), space("y", HitPolicy::Collect, &variables)];
    let found = compiled(spaces, vec![named("r", 1, "variables.a && variables.e")]).unwrap_err();
    let told: Vec<(Code, usize)> = found.iter().map(|(code, rule, _)| (*code, *rule)).collect();
    // One rule and one variable stand before the second namespace's.
    assert!(told.contains(&(Code::VariableCycle, 2)), "{found:?}");
    assert!(found.iter().any(|(_, _, message)| message.ends_with("a -> b -> c -> a")), "{found:?}");
    assert!(told.contains(&(Code::Syntax, 5)) && told.contains(&(Code::UnknownName, 6)), "{found:?}");
    // A chain as deep as conditions may be is refused, and never evaluated.
    let chain: Vec<(String, String)> = (0..100)
        .map(|n| {
            (format!("v{n}"), if n == 0 { "i * 2".into() } else { format!("(variables.v{} + 1) * 2", n - 1) })
        })
        .collect();
    let chain: Vec<(&str, &str)> = chain.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let found = compiled(vec![space("", HitPolicy::Collect, &chain)], vec![]).unwrap_err();
    assert!(found.iter().all(|(code, ..)| *code == Code::LimitDepth) && !found.is_empty());
}

#[test]
fn variables_that_name_another_twice_cost_no_more_than_their_sum() {
    let chain: Vec<(String, String)> = (0..40)
        .map(|n| {
            let before = format!("variables.v{}", n.max(1) - 1);
            (format!("v{n}"), if n == 0 { "i * 2".into() } else { format!("{before} - {before} + i") })
        })
        .collect();
    let chain: Vec<(&str, &str)> = chain.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let rules = vec![named("a", 0, "variables.v39 == 7 || variables.v39 > 7")];
    let set = compiled(vec![space("", HitPolicy::Collect, &chain)], rules).unwrap();
    assert_eq!(acting(&set, &seven()).0, ["a"]);
    assert_eq!(set.rules()[0].slots(), [0]);
    assert!(set.findings().is_empty() && set.rules()[0].cost_steps() < 100);
    let dear = [("x", "[1, 2, 3].map(a, l.map(b, l.map(c, l.map(d, d + c))))")];
    let found = compiled(vec![space("", HitPolicy::Collect, &dear)], vec![]).unwrap_err();
    assert_eq!(
        found.iter().map(|(code, rule, _)| (*code, *rule)).collect::<Vec<_>>(),
        [(Code::LimitCost, 0)]
    );
}

#[test]
fn a_reload_takes_over_conditions_only_where_they_mean_the_same() {
    let set = |text: &str, previous: Option<&RuleSet>| {
        let spaces = vec![space("", HitPolicy::Collect, &[("limit", text)])];
        let rules = vec![named("a", 0, "i > variables.limit"), named("b", 0, "i > 3")];
        RuleSet::compile_namespaces(previous, spaces, rules, &schema(), &Limits::default()).unwrap()
    };
    let low = set("3 + int(d)", None);
    assert_eq!(acting(&low, &seven()).0, ["b"]);
    let high = set("int(d) - 3", Some(&low));
    assert_eq!(acting(&high, &seven()).0, ["a", "b"]);
    assert_ne!(low.digest(), high.digest());
    assert_eq!(set("int(d) - 3", Some(&high)).digest(), high.digest());
}

#[test]
fn what_is_odd_is_found_under_each_policy() {
    let oddities = |policy, rules: Vec<RuleSource>, variables: &[(&str, &str)]| {
        let set = compiled(vec![space("", policy, variables)], rules).unwrap();
        set.findings().into_iter().map(|f| (f.oddity, f.rule, f.other)).collect::<Vec<_>>()
    };
    let rules =
        || vec![named("a", 0, "i > 3"), named("b", 0, "i > 5 && s == 'a'"), named("c", 0, "1 / 0 > 2")];
    let broken = (Oddity::AlwaysFault, 2, None);
    assert_eq!(oddities(HitPolicy::First, rules(), &[]), [(Oddity::Shadowed, 1, Some(0)), broken]);
    let mut other_kind = rules();
    other_kind[1].actions[0].kind = "refuse".into();
    assert_eq!(oddities(HitPolicy::Collect, other_kind, &[]), [broken]);
    let never = vec![named("a", 0, "i > 3 && 1 / 0 > 2"), named("b", 0, "i > 3 || 1 / 0 > 2")];
    assert_eq!(oddities(HitPolicy::Collect, never, &[]), [(Oddity::NeverTrue, 0, None)]);
    let read = vec![named("a", 0, "variables.x > 3")];
    let variables = [("x", "variables.y + i"), ("y", "1 + i"), ("z", "i - 1")];
    assert_eq!(oddities(HitPolicy::Collect, read, &variables), [(Oddity::UnusedVariable, 2, None)]);
}

fn unique(conditions: &[&str]) -> Vec<(usize, String)> {
    let rules = conditions.iter().enumerate().map(|(i, c)| named(&format!("r{i}"), 0, c)).collect();
    match compiled(vec![space("", HitPolicy::Unique, &[])], rules) {
        Ok(_) => Vec::new(),
        Err(found) => found
            .into_iter()
            .map(|(code, rule, message)| {
                assert_eq!(code, Code::NotUnique);
                (rule, message)
            })
            .collect(),
    }
}

#[test]
fn at_most_one_is_proved_on_intervals_and_sets() {
    assert_eq!(unique(&["i < 3", "i >= 3 && i <= 9", "i > 9"]), []);
    assert_eq!(unique(&["s in ['a', 'b']", "s == 'c'", "!(s in ['a', 'b', 'c'])"]), []);
    assert_eq!(unique(&["b", "!b && d > 1.0", "!b && d <= 1.0"]), []);
    assert_eq!(unique(&["i > 3 && i < 5 && s == 'a'", "i == 5 || i == 3", "i == 4 && s == 'b'"]), []);
    assert_eq!(unique(&["has(o.p) && l.size() > 3", "!has(o.p) && 1 / i > 3"]), []);
    // A NaN is neither below nor above, and is not equal to anything: it is in none of the first two.
    assert_eq!(unique(&["d < 1.0", "d >= 1.0"]), []);
    assert_eq!(
        unique(&["!(d < 1.0)", "!(d >= 1.0)"]),
        [(1, "`r1` and `r0` both match d = NaN, with different actions".to_string())]
    );
    assert_eq!(
        unique(&["i >= 3", "i <= 3 && s == 'a'"]),
        [(1, "`r1` and `r0` both match i = 3, s = 'a', with different actions".to_string())]
    );
    assert_eq!(
        unique(&["s.startsWith('a')", "s.endsWith('b') && i > 7"]),
        [(
            1,
            "it is not proved that `r1` and `r0` never both match; their actions are different".to_string()
        )]
    );
    let told = unique(&["s.startsWith('a')", "s.contains('a') && i > 7"]);
    assert_eq!(told[0].1, "`r1` and `r0` both match i = 8, s = 'a', with different actions");
}

#[test]
fn rules_that_are_never_active_together_may_overlap() {
    let window =
        |id: &str, from, to| RuleSource { valid_from_ms: from, valid_to_ms: to, ..named(id, 0, "true") };
    let set =
        |rules| compiled(vec![space("", HitPolicy::Unique, &[])], rules).map(|_| ()).map_err(|f| f.len());
    assert_eq!(
        set(vec![window("a", None, Some(5)), window("b", Some(5), Some(9)), window("c", Some(9), None)]),
        Ok(())
    );
    assert_eq!(set(vec![window("a", None, Some(6)), window("b", Some(5), None)]), Err(1));
    assert_eq!(
        set(vec![window("a", None, None), RuleSource { enabled: false, ..window("b", None, None) }]),
        Ok(())
    );
}

/// Random conditions may be dearer than those people write.
fn any_cost() -> Limits {
    Limits { cost_max: u64::MAX, set_cost_max: u64::MAX, ..Limits::default() }
}

/// Conditions of the size of those people write, so that pairs of them are now and then apart.
fn plain_conditions() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        (prop::sample::select(vec!["==", "!=", "<", "<=", ">", ">="]), -1..8i64)
            .prop_map(|(op, v)| format!("i {op} {v}")),
        (prop::sample::select(vec!["==", "!="]), prop::sample::select(vec!["a", "ab", "b"]))
            .prop_map(|(op, v)| format!("s {op} '{v}'")),
        Just("b".to_string()),
        Just("m == 'a'".to_string()),
        Just("m != 'a'".to_string()),
        Just("has(o.p)".to_string()),
        prop::sample::select(vec!["d < 0.0", "d >= 0.0", "d in [7.0, 0.0]"]).prop_map(str::to_string),
        Just("s.startsWith('a')".to_string()),
    ];
    let term = (leaf, any::<bool>()).prop_map(|(leaf, not)| if not { format!("!({leaf})") } else { leaf });
    let all = prop::collection::vec(term, 1..4).prop_map(|terms| terms.join(" && "));
    prop::collection::vec(all, 1..3).prop_map(|any| any.join(" || "))
}

proptest! {
    #![proptest_config(config())]

    /// What is called unique never has two matches for any order that was tried.
    #[test]
    fn what_is_proved_unique_is(
        conditions in prop::collection::vec(prop_oneof![3 => plain_conditions(), 1 => conditions()], 2..4),
        batch in prop::collection::vec(rows(), 1..40),
    ) {
        let rules: Vec<RuleSource> =
            conditions.iter().enumerate().map(|(i, c)| named(&format!("r{i}"), 0, c)).collect();
        let proved = compiled_under(vec![space("", HitPolicy::Unique, &[])], rules.clone(), &any_cost());
        let collect = compiled_under(vec![space("", HitPolicy::Collect, &[])], rules, &any_cost()).unwrap();
        let both = batch.iter().find(|row| acting(&collect, &columns_of(row)).0.len() > 1);
        prop_assert!(proved.is_err() || both.is_none(), "{conditions:?} on {both:?}");
        // An example that is shown was found by evaluating both conditions, so it needs no second look here.
    }

    /// A variable means what its expression in brackets means: matches and faults.
    #[test]
    fn variables_are_their_expressions(
        parts in prop::collection::vec(conditions(), 1..4), used in conditions(), row in rows(),
    ) {
        let names: Vec<String> = (0..parts.len()).map(|i| format!("v{i}")).collect();
        let variables: Vec<(&str, &str)> =
            names.iter().map(String::as_str).zip(parts.iter().map(String::as_str)).collect();
        let join = |terms: Vec<String>| format!("({}) && ({used}) || !({})", terms.join(" || "), terms[0]);
        let by_name = join(names.iter().map(|name| format!("variables.{name}")).collect());
        let written = join(parts.iter().map(|part| format!("({part})")).collect());
        let of = |text: &str, variables: &[(&str, &str)]| {
            let rules = vec![RuleSource { on_error: OnError::Refuse, ..named("r", 0, text) }];
            let limits = Limits { index_rules_min: 0, ..any_cost() };
            let spaces = vec![space("", HitPolicy::Collect, variables)];
            let set = RuleSet::compile_namespaces(None, spaces, rules, &schema(), &limits).unwrap();
            acting(&set, &columns_of(&row))
        };
        prop_assert_eq!(of(&by_name, &variables), of(&written, &[]));
    }

    /// Under policies too the index is the scan: matches, counters and faults.
    #[test]
    fn the_index_is_the_scan_under_policies(
        made in prop::collection::vec((conditions(), 0..3usize, 0..3u8, 0..4i32), 1..40),
        policies in prop::collection::vec(any::<bool>(), 3), batch in prop::collection::vec(rows(), 1..6),
    ) {
        let spaces = policies.iter().enumerate().map(|(i, first)| {
            space(&format!("n{i}"), if *first { HitPolicy::First } else { HitPolicy::Collect }, &[])
        });
        let rules = made.iter().enumerate().map(|(i, (text, namespace, on_error, priority))| RuleSource {
            priority: *priority,
            on_error: [OnError::Skip, OnError::Refuse, OnError::Fail][*on_error as usize],
            ..named(&format!("r{i:02}"), *namespace, text)
        });
        let limits = Limits { index_rules_min: 0, ..any_cost() };
        let set =
            RuleSet::compile_namespaces(None, spaces.collect(), rules.collect(), &schema(), &limits).unwrap();
        let (mut by_index, mut by_scan) = (Tally::new(&set), Tally::new(&set));
        for row in &batch {
            let columns = columns_of(row);
            let (mut found, mut wanted) = (Vec::new(), Vec::new());
            set.evaluate(&columns, 0, 0, Mode::Policy, &mut found, &mut by_index);
            set.scan(&columns, 0, 0, Mode::Policy, &mut wanted, &mut by_scan);
            prop_assert_eq!(&found, &wanted);
            prop_assert_eq!(by_index.faults(), by_scan.faults());
            // And the explanation says the same.
            let told: Vec<u32> = set.explain(&columns, 0, 0).into_iter()
                .filter(|v| v.outcome == Outcome::Matched).map(|v| v.rule).collect();
            prop_assert_eq!(&told, &found);
        }
        prop_assert_eq!(by_index.rules(), by_scan.rules());
        // All orders in one call, by the index and by masks, say the same.
        let few = Limits { index_rules_min: 1_000, ..any_cost() };
        let sources = set.rules().iter().map(|rule| rule.source().clone()).collect();
        let masked =
            RuleSet::compile_namespaces(None, set.namespaces().to_vec(), sources, &schema(), &few).unwrap();
        let mut together = Columns::new(&schema());
        for row in &batch {
            push(&mut together, row, 0);
            together.end_row();
        }
        for set in [&set, &masked] {
            let (mut all, mut by_batch, mut by_row) = (Matches::default(), Tally::new(set), Tally::new(set));
            set.evaluate_batch(&together, 0, Mode::Policy, &mut all, &mut by_batch);
            for at in 0..batch.len() {
                let mut wanted = Vec::new();
                set.scan(&together, at, 0, Mode::Policy, &mut wanted, &mut by_row);
                prop_assert_eq!(all.of(at), &wanted);
                prop_assert_eq!(all.faults_of(at).collect::<Vec<_>>(), by_row.faults());
            }
            prop_assert_eq!(by_batch.rules(), by_row.rules());
        }
    }

    /// What is hoisted out of pairs changes no answer: the rule for a pair is the condition on the facts of both.
    #[test]
    fn pairs_are_their_facts_together(
        order_part in conditions(), other_part in conditions(), shape in 0..4u8, left in rows(), right in rows(),
    ) {
        let names = |prefix: &str| schema().iter().map(|(n, t)| (format!("{prefix}.{n}"), t.clone())).collect::<Vec<_>>();
        let both: Vec<(String, Type)> = names("left").into_iter().chain(names("right")).collect();
        let both = Schema::new(both);
        let inside = |text: &str, prefix: &str| prefixed(text, prefix);
        let (a, b) = (inside(&order_part, "left"), inside(&other_part, "right"));
        let condition = match shape {
            0 => format!("({a}) && ({b})"),
            1 => format!("({a}) || ({b})"),
            2 => format!("({a}) && ({b}) && !({a})"),
            _ => format!("({b}) && ({a}) && ({b} || {a})"),
        };
        let limits = Limits { nodes_max: 100_000, source_bytes_max: 1 << 20, ..any_cost() };
        let rules = vec![named("r", 0, &condition)];
        let set = RuleSet::compile_namespaces(None, vec![Namespace::default()], rules, &both, &limits).unwrap();
        let half = schema().len();
        let (mut order, mut other, mut whole) = (set.columns(), set.columns(), set.columns());
        push(&mut order, &left, 0);
        push(&mut other, &right, half);
        push(&mut whole, &left, 0);
        push(&mut whole, &right, half);
        [&mut order, &mut other, &mut whole].into_iter().for_each(|columns| { columns.end_row(); });
        let pairs = PairRules::of(&set, half);
        let open: Vec<Open> = pairs.open(&set, (&order, 0), 0);
        let said = open.first().map_or(Ok(false), |open| {
            pairs.matches(&set, *open, Sides { order: (&order, 0), other: (&other, 0) }).map_err(|_| ())
        });
        let wanted = match &set.explain(&whole, 0, 0)[0].outcome {
            Outcome::Matched => Ok(true),
            Outcome::Error { .. } => Err(()),
            _ => Ok(false),
        };
        prop_assert_eq!(said, wanted, "{}", condition);
    }
}

/// The condition over names with a prefix.
fn prefixed(text: &str, prefix: &str) -> String {
    let mut out = String::new();
    let mut quoted = false;
    let chars: Vec<char> = text.chars().collect();
    for (at, char) in chars.iter().enumerate() {
        quoted ^= *char == '\'';
        let before = at.checked_sub(1).map_or(' ', |b| chars[b]);
        let after = chars.get(at + 1).copied().unwrap_or(' ');
        let alone = !before.is_alphanumeric() && before != '.' && !after.is_alphanumeric() && after != '(';
        if !quoted && "idbslmo".contains(*char) && alone {
            out.push_str(prefix);
            out.push('.');
        }
        out.push(*char);
    }
    out
}

fn push(columns: &mut Columns, row: &made::Row, first: usize) {
    row.0.iter().for_each(|v| columns.push_int(first, *v));
    row.1.iter().for_each(|v| columns.push_double(first + 1, *v));
    row.2.iter().for_each(|v| columns.push_bool(first + 2, *v));
    row.3.iter().for_each(|v| columns.push_str(first + 3, v));
    row.3.iter().for_each(|v| columns.push_str(first + 6, v));
    row.4.iter().for_each(|v| columns.push_str_list(first + 4, v.iter().copied()));
    row.5.iter().for_each(|v| columns.push_str(first + 5, v));
}
