//! Properties: printing and parsing are inverse, nothing panics, leaves agree with the general evaluator.
use cuptime_rules::ast::{BinaryOp, Bind, Expr, ExprKind, Fold, FoldKind, Literal};
use cuptime_rules::{
    canonical, compile, compile_rule, parse, Facts, Limits, Mode, Options, Outcome, RuleSet, SlotSize, Span,
    Tally, Value,
};
use proptest::prelude::*;

mod made;
use made::{columns_of, conditions, config, rows, rule, schema, Row};

fn node(kind: ExprKind) -> Expr {
    Expr { kind, span: Span::default(), height: 1 }
}

fn boxed(expr: Expr) -> Box<Expr> {
    Box::new(expr)
}

fn names() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b1", "_x", "order", "user", "size2"]).prop_map(str::to_string)
}

fn fields() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["sku", "time_slot", "if", "content-type", "a b", "null"])
        .prop_map(str::to_string)
}

fn literals() -> impl Strategy<Value = Expr> {
    prop_oneof![
        Just(Literal::Null),
        any::<bool>().prop_map(Literal::Bool),
        any::<i64>().prop_map(Literal::Int),
        any::<u64>().prop_map(Literal::Uint),
        any::<f64>().prop_filter("CEL has no literal for these", |v| v.is_finite()).prop_map(Literal::Double),
        any::<String>().prop_map(Literal::Str),
        prop::collection::vec(any::<u8>(), 0..8).prop_map(Literal::Bytes),
    ]
    .prop_map(|literal| node(ExprKind::Literal(literal)))
}

fn operators() -> impl Strategy<Value = BinaryOp> {
    use BinaryOp::{Add, Div, Eq, Ge, Gt, In, Le, Lt, Mod, Mul, Ne, Sub};
    prop::sample::select(vec![Eq, Ne, Lt, Le, Gt, Ge, In, Add, Sub, Mul, Div, Mod])
}

/// Any tree the grammar can produce.
fn trees() -> impl Strategy<Value = Expr> {
    let leaf = prop_oneof![literals(), names().prop_map(|n| node(ExprKind::Ident(n)))];
    leaf.prop_recursive(5, 48, 4, |inner| {
        let some = |least| prop::collection::vec(inner.clone(), least..4);
        let folds = (0..8usize, inner.clone(), names(), prop::option::of(inner.clone()), inner.clone());
        prop_oneof![
            some(2).prop_map(|terms| node(ExprKind::And(terms))),
            some(2).prop_map(|terms| node(ExprKind::Or(terms))),
            inner.clone().prop_map(|e| node(ExprKind::Not(boxed(e)))),
            inner.clone().prop_map(|e| node(ExprKind::Negate(boxed(e)))),
            (operators(), inner.clone(), inner.clone()).prop_map(|(op, l, r)| node(ExprKind::Binary {
                op,
                left: boxed(l),
                right: boxed(r)
            })),
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(c, t, o)| {
                node(ExprKind::Conditional { condition: boxed(c), then: boxed(t), otherwise: boxed(o) })
            }),
            (inner.clone(), fields())
                .prop_map(|(t, field)| node(ExprKind::Select { target: boxed(t), field })),
            (inner.clone(), fields()).prop_map(|(t, field)| node(ExprKind::Has { target: boxed(t), field })),
            (inner.clone(), inner.clone())
                .prop_map(|(t, i)| node(ExprKind::Index { target: boxed(t), index: boxed(i) })),
            (prop::option::of(inner.clone()), some(0)).prop_map(|(target, args)| {
                node(ExprKind::Call { target: target.map(boxed), name: "size".into(), args })
            }),
            some(0).prop_map(|elements| node(ExprKind::List(elements))),
            prop::collection::vec((any::<bool>(), inner.clone()), 0..4).prop_map(|elements| {
                let maybe = |(maybe, e)| if maybe { node(ExprKind::Maybe(boxed(e))) } else { e };
                node(ExprKind::List(elements.into_iter().map(maybe).collect()))
            }),
            (inner.clone(), fields())
                .prop_map(|(t, field)| node(ExprKind::OptSelect { target: boxed(t), field })),
            (inner.clone(), inner.clone())
                .prop_map(|(t, i)| node(ExprKind::OptIndex { target: boxed(t), index: boxed(i) })),
            (names(), inner.clone(), inner.clone())
                .prop_map(|(var, init, body)| node(ExprKind::Bind(Box::new(Bind { var, init, body })))),
            (names(), inner.clone(), inner.clone(), any::<bool>()).prop_map(|(var, init, body, flat)| {
                node(ExprKind::OptMap { bind: Box::new(Bind { var, init, body }), flat })
            }),
            (some(1), inner.clone()).prop_map(|(values, body)| node(ExprKind::Block(values, boxed(body)))),
            (fields(), inner.clone()).prop_map(|(field, value)| {
                node(ExprKind::Message {
                    name: "google.protobuf.Int64Value".into(),
                    fields: vec![(field, value)],
                })
            }),
            prop::collection::vec((inner.clone(), inner.clone()), 0..3).prop_map(|e| node(ExprKind::Map(e))),
            folds.prop_map(|(kind, target, var, filter, body)| {
                use FoldKind::{
                    All, Exists, ExistsOne, Filter, Map, TransformList, TransformMap, TransformMapEntry,
                };
                let all =
                    [All, Exists, ExistsOne, Map, Filter, TransformList, TransformMap, TransformMapEntry];
                let (kind, transforms) = (all[kind], kind >= 5);
                // A filter in front of all() and its like stands for "with two variables" here.
                let two = transforms || (filter.is_some() && !matches!(kind, Map | Filter));
                let filter = filter.filter(|_| kind == Map || transforms);
                let second = two.then(|| format!("{var}2"));
                node(ExprKind::Fold(Box::new(Fold { kind, target, var, second, filter, body })))
            }),
        ]
    })
}

/// Pieces of the language, well-formed and not, to be strung together.
fn soup() -> impl Strategy<Value = String> {
    let pieces = vec![
        "i",
        "d",
        "b",
        "s",
        "l",
        "m",
        "x",
        "1",
        "1u",
        "2.5",
        "'a'",
        "b'a'",
        "\"",
        "'''",
        "r'",
        "\\",
        "&&",
        "||",
        "!",
        "==",
        "!=",
        "<",
        "<=",
        ">",
        ">=",
        "in",
        "+",
        "-",
        "*",
        "/",
        "%",
        "?",
        ":",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ".",
        ",",
        "`",
        "has(",
        ".all(x,",
        ".map(x,",
        ".exists(x,",
        ".filter(x,",
        ".size()",
        "size(",
        ".matches('a*')",
        "int(",
        "string(",
        "true",
        "false",
        "null",
        "timestamp(",
        "duration('1h')",
        ".getHours()",
        "//",
        "\n",
        "咖",
        "é",
        "\u{0}",
        "dyn(",
        "-9223372036854775808",
        "type(",
        ".a",
        "[0]",
        "{1: 2}",
        "[1, 2]",
        "1e400",
        "0x",
        ".?",
        "[?",
        "optional.of(",
        "optional.none()",
        ".orValue(",
        ".optMap(x,",
        "cel.bind(x,",
        "cel.block([1],",
        "cel.index(0)",
        "cel.iterVar(0, 0)",
        ".all(i, v,",
        ".transformMap(k, v,",
        ".transformMapEntry(k, v,",
        "'%s %.3f %x'",
        ".format([",
        ".substring(",
        ".lastIndexOf(",
        ".split('')",
        ".replace('', 'ab')",
        ".reverse()",
        "math.greatest(",
        "math.bitShiftLeft(1, ",
        "sets.contains(",
        "lists.range(",
        ".flatten(",
        ".sort()",
        "ip('::1')",
        "cidr('10.0.0.0/8')",
        ".containsIP(",
        "base64.decode(",
        "google.protobuf.Int64Value{value:",
        "geo.distance_m(",
        "time.in_window(0, '09:00', '10:00', 'UTC')",
    ];
    prop::collection::vec(prop::sample::select(pieces), 0..40).prop_map(|p| p.join(" "))
}

fn values_of(row: &Row) -> Vec<Option<Value>> {
    vec![
        row.0.map(Value::Int),
        row.1.map(Value::Double),
        row.2.map(Value::Bool),
        row.3.map(Value::str),
        row.4.as_ref().map(|all| Value::List(all.iter().map(|v| Value::str(v)).collect())),
        Some(row.5.map_or(Value::Null, Value::str)),
        row.3.map(Value::str),
    ]
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_is_printed_reads_back_the_same(tree in trees()) {
        let limits = Limits::default();
        let text = tree.to_string();
        let again = parse(&text, &limits).map_err(|d| TestCaseError::fail(format!("{text}: {d:?}")))?;
        prop_assert_eq!(&again, &tree, "{}", text);
        prop_assert_eq!(again.to_string(), text);
    }

    #[test]
    fn what_a_formatter_writes_is_the_same_tree_and_stays(text in prop_oneof![conditions(), soup()]) {
        let limits = Limits::default();
        if let Some(written) = canonical(&text, &limits) {
            prop_assert_eq!(parse(&written, &limits).unwrap(), parse(&text, &limits).unwrap(), "{}", written);
            prop_assert!(!written.contains('\n'));
            prop_assert_eq!(canonical(&written, &limits), Some(written));
        }
    }

    #[test]
    fn no_text_panics(text in prop_oneof![any::<String>(), soup(), any::<Vec<u8>>().prop_map(|b| String::from_utf8_lossy(&b).into_owned())]) {
        let (limits, schema) = (Limits::default(), schema());
        if let Err(found) = compile_rule(&text, &schema, &limits) {
            prop_assert!(!found.is_empty());
            for d in &found {
                prop_assert!(d.position.line >= 1 && d.position.column >= 1 && d.span.start as usize <= text.len());
                prop_assert!(!d.message.is_empty());
            }
        }
        // Without checking more gets through to the evaluator.
        if let Ok(tree) = parse(&text, &limits) {
            let options = Options { check: false, ..Options::default() };
            if let Ok(program) = compile(&tree, &text, &schema, &options, &limits) {
                let values: Vec<Option<Value>> = vec![Some(Value::Int(1)), None, Some(Value::Bool(true)), Some(Value::str("a"))];
                let _ = program.value(Facts::Values(&values), &limits);
            }
        }
    }

    #[test]
    fn no_tree_panics_when_evaluated_unchecked(tree in trees()) {
        let (limits, schema) = (Limits::default(), schema());
        let text = tree.to_string();
        let tree = parse(&text, &limits).unwrap();
        for check in [true, false] {
            let options = Options { check, ..Options::default() };
            if let Ok(program) = compile(&tree, &text, &schema, &options, &limits) {
                let _ = program.value(Facts::Values(&[]), &limits);
            }
        }
    }

    #[test]
    fn columns_and_leaves_agree_with_loose_values(condition in conditions(), row in rows()) {
        // Three ways to one answer: leaves on columns, leaves on values, and the unspecialised evaluator.
        let (limits, schema) = (Limits::default(), schema());
        let program = compile_rule(&condition, &schema, &limits).map_err(|d| TestCaseError::fail(format!("{condition}: {d:?}")))?;
        let tree = parse(&condition, &limits).unwrap();
        let plain = compile(&tree, &condition, &schema, &Options { check: false, ..Options::default() }, &limits).unwrap();
        let (columns, values) = (columns_of(&row), values_of(&row));
        let show = |r: Result<Value, cuptime_rules::Fault>| r.map(|v| v.to_string()).map_err(|f| f.kind);
        let on_columns = show(program.value(Facts::Row { columns: &columns, row: 0 }, &limits));
        let on_values = show(program.value(Facts::Values(&values), &limits));
        let general = show(plain.value(Facts::Row { columns: &columns, row: 0 }, &limits));
        prop_assert_eq!(&on_columns, &on_values, "{}", condition);
        prop_assert_eq!(&on_columns, &general, "{}", condition);
        // And the explanation agrees with the match.
        let set = RuleSet::compile(vec![rule(&condition)], &schema, &limits).unwrap();
        let (mut matches, mut tally) = (Vec::new(), Tally::new(&set));
        set.evaluate(&columns, 0, 0, Mode::Collect, &mut matches, &mut tally);
        let outcome = set.explain(&columns, 0, 0).remove(0).outcome;
        match on_columns.as_deref() {
            Ok("true") => { prop_assert_eq!(matches.len(), 1); prop_assert_eq!(outcome, Outcome::Matched) }
            Ok(_) => {
                let not_matched = matches!(outcome, Outcome::NotMatched { .. });
                prop_assert!(matches.is_empty() && not_matched);
            }
            Err(_) => {
                let is_error = matches!(outcome, Outcome::Error { .. });
                prop_assert!(is_error && tally.rules()[0].errors == 1);
            }
        }
    }

    #[test]
    fn no_condition_costs_more_than_was_said_of_it(tree in trees(), condition in conditions(), row in rows()) {
        let limits = Limits { cost_max: u64::MAX, ..Limits::default() };
        let schema = schema().with_sizes(|_| Some(SlotSize { text_bytes: 6, elements: 2 }));
        let (columns, values) = (columns_of(&row), values_of(&row));
        for text in [tree.to_string(), condition] {
            let tree = parse(&text, &limits).unwrap();
            for check in [true, false] {
                let options = Options { check, ..Options::default() };
                let Ok(program) = compile(&tree, &text, &schema, &options, &limits) else { continue };
                for facts in [Facts::Row { columns: &columns, row: 0 }, Facts::Values(&values)] {
                    let (value, steps) = program.value_and_cost(facts, &limits);
                    prop_assert!(steps <= program.cost.steps, "{steps} > {}: {text}: {value:?}", program.cost.steps);
                }
            }
        }
    }

    #[test]
    fn no_list_costs_more_than_was_said_of_it(parts in prop::collection::vec(heavy(), 1..4), row in rows()) {
        let limits = Limits { cost_max: u64::MAX, macro_depth_max: 64, ..Limits::default() };
        let schema = schema().with_sizes(|_| Some(SlotSize { text_bytes: 6, elements: 2 }));
        let text = parts.join(" && ");
        let tree = parse(&text, &limits).unwrap();
        let program = compile(&tree, &text, &schema, &Options::default(), &limits)
            .map_err(|d| TestCaseError::fail(format!("{text}: {d:?}")))?;
        let (value, steps) = program.value_and_cost(Facts::Row { columns: &columns_of(&row), row: 0 }, &limits);
        prop_assert!(steps <= program.cost.steps, "{steps} > {}: {text}: {value:?}", program.cost.steps);
    }
}

/// Conditions of type bool that do a lot: macros over lists that were made on the way.
fn heavy() -> impl Strategy<Value = String> {
    let list = prop_oneof![
        Just("l".to_string()),
        (0..60i64).prop_map(|n| format!("lists.range({n}).map(n, string(n))")),
        Just("'a,b,c,d'.split(',')".to_string()),
        Just("[s, o.p, 'x', 'yy']".to_string()),
    ];
    let list = list.prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} + {b})")),
            inner.clone().prop_map(|a| format!("{a}.map(e, e + 'z')")),
            inner.clone().prop_map(|a| format!("{a}.filter(e, e != 'a')")),
            inner.clone().prop_map(|a| format!("{a}.distinct()")),
            inner.clone().prop_map(|a| format!("{a}.reverse()")),
            (inner.clone(), inner).prop_map(|(a, b)| format!("{a}.transformList(i, e, {b}.join('+'))")),
        ]
    });
    (list.clone(), list).prop_flat_map(|(a, b)| {
        prop::sample::select(vec![
            format!("{a}.all(x, x in {b})"),
            format!("{a}.exists_one(x, {b}.exists(y, x == y))"),
            format!("{a} == {b}"),
            format!("sets.contains({a}, {b})"),
            format!("sets.equivalent({a}, {b})"),
            format!("{a}.join('-').matches({b}.join('|'))"),
            format!("size({a}.map(x, {b}.filter(y, x < y))) > 3"),
            format!("cel.bind(v, {a}, v.all(x, v.exists(y, x == y + 'q' || y in {b})))"),
        ])
    })
}
