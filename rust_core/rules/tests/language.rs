//! The language as a user of the crate meets it: values, logic, faults, diagnostics. Expressions and what they
//! must give are ours; the outside suite is run from Python.
use std::sync::Arc;

use cuptime_rules::{
    compile, parse, Code, Diagnostic, Facts, FaultKind, Limits, Map, Options, Schema, Type, Value,
};

fn schema() -> Schema {
    Schema::new(vec![
        ("t".into(), Type::Bool),
        ("f".into(), Type::Bool),
        ("e".into(), Type::Bool),
        ("n".into(), Type::Int),
        ("d".into(), Type::Double),
        ("s".into(), Type::String),
        ("maybe".into(), Type::nullable(Type::String)),
        ("tags".into(), Type::list(Type::String)),
        ("order.time_slot".into(), Type::String),
        ("any".into(), Type::Dyn),
    ])
}

fn values() -> Vec<Option<Value>> {
    vec![
        Some(Value::Bool(true)),
        Some(Value::Bool(false)),
        None, // `e` is declared and absent: reading it is a fault
        Some(Value::Int(7)),
        Some(Value::Double(f64::NAN)),
        Some(Value::str("咖啡")),
        None, // `maybe` is nullable and absent: null
        Some(Value::List(Arc::from([Value::str("hot"), Value::str("new")]))),
        Some(Value::str("morning")),
        Some(Value::Int(3)),
    ]
}

fn eval(text: &str) -> Result<String, FaultKind> {
    let limits = Limits::default();
    let tree = parse(text, &limits).unwrap_or_else(|d| panic!("{text}: {d:?}"));
    let program = compile(&tree, text, &schema(), &Options::default(), &limits)
        .unwrap_or_else(|d| panic!("{text}: {d:?}"));
    program.value(Facts::Values(&values()), &limits).map(|v| v.to_string()).map_err(|f| f.kind)
}

fn refused(text: &str) -> Vec<Diagnostic> {
    let limits = Limits::default();
    match parse(text, &limits) {
        Err(found) => found,
        Ok(tree) => compile(&tree, text, &schema(), &Options::default(), &limits)
            .map(|p| panic!("{text} compiled to {}", p.ty))
            .unwrap_err(),
    }
}

#[test]
fn logic_has_three_values() {
    // Strong Kleene tables: T, F, and E for a fault, for every pair in both orders.
    let side = |v: char| match v {
        'T' => "t",
        'F' => "f",
        _ => "e",
    };
    for (a, b, and, or) in [
        ('T', 'T', 'T', 'T'),
        ('T', 'F', 'F', 'T'),
        ('T', 'E', 'E', 'T'),
        ('F', 'T', 'F', 'T'),
        ('F', 'F', 'F', 'F'),
        ('F', 'E', 'F', 'E'),
        ('E', 'T', 'E', 'T'),
        ('E', 'F', 'F', 'E'),
        ('E', 'E', 'E', 'E'),
    ] {
        for (operator, wanted) in [("&&", and), ("||", or)] {
            for text in [
                format!("{} {operator} {}", side(a), side(b)),
                // The same through parts that are not leaves.
                format!("[{}][0] {operator} (n == 7 ? {} : f)", side(a), side(b)),
            ] {
                let got = match eval(&text) {
                    Ok(v) if v == "true" => 'T',
                    Ok(_) => 'F',
                    Err(kind) => {
                        assert_eq!(kind, FaultKind::Absent);
                        'E'
                    }
                };
                assert_eq!(got, wanted, "{text}");
            }
        }
    }
    assert_eq!(eval("!e"), Err(FaultKind::Absent));
    assert_eq!(eval("e ? 1 : 2"), Err(FaultKind::Absent));
    assert_eq!(eval("t ? 1 : 1 / 0"), Ok("1".into()));
}

#[test]
fn arithmetic_never_wraps() {
    for (text, wanted) in [
        ("n + 1", Ok("8")),
        ("-7 / 2", Ok("-3")),
        ("-7 % 2", Ok("-1")),
        ("9223372036854775807 + n", Err(FaultKind::Overflow)),
        ("-(-9223372036854775808)", Err(FaultKind::Overflow)),
        ("-9223372036854775808 / -1", Err(FaultKind::Overflow)),
        ("-9223372036854775808 % -1", Err(FaultKind::Overflow)),
        ("1u - 2u", Err(FaultKind::Overflow)),
        ("n / 0", Err(FaultKind::DivideByZero)),
        ("n % 0", Err(FaultKind::ModulusByZero)),
        ("1.0 / 0.0 > 1e308", Ok("true")),
        ("int(9223372036854775807.0)", Err(FaultKind::Range)),
        ("uint(-1)", Err(FaultKind::Range)),
        ("int('12x')", Err(FaultKind::Conversion)),
    ] {
        assert_eq!(eval(text), wanted.map(str::to_string), "{text}");
    }
}

#[test]
fn a_nan_is_not_flipped_by_negation() {
    assert_eq!(eval("d >= 1.0"), Ok("false".into()));
    assert_eq!(eval("d < 1.0"), Ok("false".into()));
    assert_eq!(eval("!(d >= 1.0)"), Ok("true".into()));
    assert_eq!(eval("d == d"), Ok("false".into()));
    assert_eq!(eval("d != 1.0"), Ok("true".into()));
}

#[test]
fn texts_are_measured_in_code_points() {
    assert_eq!(eval("size(s)"), Ok("2".into()));
    assert_eq!(
        eval("s.size() == 2 && s.startsWith('咖') && !s.endsWith('x') && s.contains('啡')"),
        Ok("true".into())
    );
    assert_eq!(eval("s.matches('^咖.$')"), Ok("true".into()));
    assert_eq!(eval("b'咖'.size()"), Ok("3".into()));
}

#[test]
fn absence_is_loud_unless_the_name_is_nullable() {
    assert_eq!(eval("has(order.time_slot)"), Ok("true".into()));
    assert_eq!(eval("maybe == null"), Ok("true".into()));
    assert_eq!(eval("maybe == 'x'"), Ok("false".into()));
    assert_eq!(eval("maybe != 'x'"), Ok("true".into()));
    assert_eq!(eval("maybe in ['x']"), Ok("false".into()));
    assert_eq!(eval("maybe.startsWith('x')"), Err(FaultKind::NoOverload));
    assert_eq!(eval("maybe > 'x'"), Err(FaultKind::NoOverload));
    assert_eq!(eval("e == true"), Err(FaultKind::Absent));
}

#[test]
fn macros_absorb_as_the_logic_does() {
    assert_eq!(eval("tags.exists(x, x == 'hot')"), Ok("true".into()));
    assert_eq!(eval("[1, 2, 3].all(x, 6 / (2 - x) == 6)"), Ok("false".into()));
    assert_eq!(eval("[0, 1].exists(x, 1 / x == 1)"), Ok("true".into()));
    assert_eq!(eval("[0, 1].exists_one(x, 1 / x == 1)"), Err(FaultKind::DivideByZero));
    assert_eq!(eval("[1, 2, 3].filter(x, x > 1).map(y, y * n)"), Ok("[14, 21]".into()));
    assert_eq!(eval("[1, 2, 3].map(x, x > 1, [x].map(x, x + 1)[0])"), Ok("[3, 4]".into()));
    assert_eq!(eval("{'a': 1, 'b': 2}.all(k, k in ['a', 'b'])"), Ok("true".into()));
}

#[test]
fn literals_fold_and_membership_is_exact() {
    assert_eq!(eval("n in [1, 7, 3]"), Ok("true".into()));
    assert_eq!(eval("n in []"), Ok("false".into()));
    assert_eq!(eval("dyn(n) in [7.0]"), Ok("true".into()));
    assert_eq!(eval("s in ['咖啡', '茶'] && order.time_slot in ['morning']"), Ok("true".into()));
    assert_eq!(eval("{1: 'a', 'b': 2}[dyn(1.0)]"), Ok("'a'".into()));
    assert_eq!(eval("7 == n && 6 < n && 8 >= n && 7 <= n && 7 != n + 1"), Ok("true".into()));
}

#[test]
fn everything_wrong_is_said_at_once_with_its_place() {
    let text = "order.time_solt == 'morning' &&\n 咖啡 > 1";
    assert_eq!(refused(text)[0].code, Code::BadCharacter);
    let text = "order.time_solt == 'morning' &&\n  n == 'seven' && size(1) > 0 && startWith(s)";
    let found = refused(text);
    let at: Vec<_> = found.iter().map(|d| (d.code, d.position.line, d.position.column)).collect();
    assert_eq!(
        at,
        [
            (Code::UnknownName, 1, 1),
            (Code::NoOverload, 2, 3),
            (Code::NoOverload, 2, 19),
            (Code::UnknownFunction, 2, 34)
        ]
    );
    assert_eq!(found[0].hint, "did you mean order.time_slot?");
    assert_eq!(found[1].message, "int == string does not exist");
    assert_eq!(found[3].hint, "did you mean startsWith()?");
}

#[test]
fn columns_count_code_points() {
    let found = refused("s == '咖啡' && x");
    assert_eq!((found[0].position.column, found[0].span.start), (14, 18 - 1));
}

#[test]
fn each_mistake_has_its_code() {
    for (text, code) in [
        ("", Code::Syntax),
        ("n ==", Code::Syntax),
        ("n = 7", Code::BadCharacter),
        ("(n", Code::Syntax),
        ("n == 7 and t", Code::Syntax),
        ("if == 1", Code::ReservedWord),
        ("9223372036854775808", Code::BadNumber),
        ("'open", Code::BadString),
        ("n && t", Code::TypeMismatch),
        ("t ? 1 : 'a'", Code::TypeMismatch),
        ("n.x", Code::TypeMismatch),
        ("order", Code::UnknownName),
        ("tags.all(n.x, t)", Code::BadMacro),
        ("has(n)", Code::BadMacro),
        ("{1.5: 2}", Code::BadMapKey),
        ("{1: 2, 1: 3}", Code::BadMapKey),
        ("s.matches('(')", Code::BadRegex),
        ("s.matches('(?=x)')", Code::BadRegex),
        ("n == null", Code::NoOverload),
        ("1 + 1.0", Code::NoOverload),
    ] {
        let found = refused(text);
        assert_eq!(found[0].code, code, "{text}: {found:?}");
    }
}

#[test]
fn what_is_not_there_yet_is_refused_by_name() {
    for text in [
        "Order{id: 1}",
        "google.protobuf.Any{}",
        "google.protobuf.Value{number_value: 1.0}",
        "[1].sortBy(x, x)",
    ] {
        let found = refused(text);
        assert_eq!(found[0].code, Code::Unsupported, "{text}: {found:?}");
        assert!(found[0].position.line == 1 && found[0].position.column >= 1);
    }
}

#[test]
fn the_extension_libraries_answer() {
    for (text, wanted) in [
        ("optional.of(1).or(optional.of(1 / 0)).value()", "1"),
        ("{'a': 1}.?b.orValue(7)", "7"),
        ("[1, ?optional.none(), 3]", "[1, 3]"),
        ("{?'a': optional.of(1), ?'b': optional.none()}", "{'a': 1}"),
        ("cel.bind(x, 1 / 0, true || x == 1)", "true"),
        ("[3, 1, 2].sort()", "[1, 2, 3]"),
        ("[1, 1u, 1.0, 2].distinct()", "[1, 2]"),
        ("sets.equivalent([1, 2], [2, 1u, 1])", "true"),
        ("sets.intersects([1], [2]) || sets.contains([1, 2], [2])", "true"),
        ("[[1], [2, [3]]].flatten()", "[1, 2, [3]]"),
        ("lists.range(3).transformMap(i, v, v * 2)", "{0: 0, 1: 2, 2: 4}"),
        ("{'a': 1}.transformMapEntry(k, v, {v: k})", "{1: 'a'}"),
        ("'%d %s'.format([1, [2.5]])", "'1 [2.5]'"),
        ("'a-b'.matches('a' + '.b')", "true"),
        ("google.protobuf.Int32Value{value: 1} == 1", "true"),
        ("timestamp('2026-07-01T00:30:00Z').getHours('America/New_York')", "20"),
        ("time.in_window(1767229200000, '09:00', '09:30', 'Asia/Shanghai')", "true"),
        ("int(geo.distance_m(0.0, 0.0, 0.0, 1.0))", "111195"),
    ] {
        assert_eq!(eval(text), Ok(wanted.to_string()), "{text}");
    }
    for (text, kind) in [
        ("optional.none().value()", FaultKind::NoValue),
        ("{'a': 1}.transformMapEntry(k, v, {'x': 1 / 0})", FaultKind::DivideByZero),
        ("lists.range(3).transformMapEntry(i, v, {'same': v})", FaultKind::DuplicateKey),
        ("'%q'.format([1])", FaultKind::BadFormat),
        ("'a'.matches('(' + s)", FaultKind::BadRegex),
        ("google.protobuf.Int32Value{value: 2147483648}", FaultKind::Range),
        ("lists.range(1000000).map(x, x).size() > 0", FaultKind::TooManySteps),
        ("lists.range(2000).map(x, 'a'.matches(string(x))).size() > 0", FaultKind::TooManySteps),
    ] {
        assert_eq!(eval(text), Err(kind), "{text}");
    }
}

#[test]
fn literals_that_cannot_be_read_are_found_when_compiled() {
    for text in [
        "timestamp('2026-01-01T00:00:00Z').getHours('Asia/Shanghia')",
        "time.in_window(0, '9:00', '10:00', 'UTC')",
        "time.in_window(0, '09:00', '10:00', 'Nowhere')",
    ] {
        assert_eq!(refused(text)[0].code, Code::BadLiteral, "{text}");
    }
    assert_eq!(refused("math.gretest(1, 2)")[0].hint, "did you mean math.greatest()?");
    assert_eq!(refused("math.greatest('a')")[0].code, Code::NoOverload);
}

#[test]
fn limits_hold_on_every_way_to_be_large() {
    let limits = Limits::default();
    let nest = |open: &str, close: &str, n: usize| format!("{}1{}", open.repeat(n), close.repeat(n));
    for (text, code) in [
        (nest("(", ")", 5_000), Code::LimitDepth),
        (nest("[", "]", 5_000), Code::LimitDepth),
        (nest("{1:", "}", 3_000), Code::LimitDepth),
        (nest("size(", ")", 2_000), Code::LimitDepth),
        (format!("{}t", "!".repeat(10_000)), Code::LimitDepth),
        (format!("{}n", "-".repeat(10_000)), Code::LimitDepth),
        (format!("n{}", " + n".repeat(3_000)), Code::LimitDepth),
        (format!("any{}", ".a".repeat(5_000)), Code::LimitDepth),
        (format!("any{}", "[0]".repeat(5_000)), Code::LimitDepth),
        (format!("{}1", "t ? 1 : ".repeat(2_000)), Code::LimitDepth),
        (format!("[{}]", "1,".repeat(5_000)), Code::LimitList),
        (format!("{} t", "t ||".repeat(4_000)), Code::LimitSize),
        ("t".repeat(20_000), Code::LimitSource),
    ] {
        // `t || t || ...` of 4,000 terms is allowed by the default limits; it is used to reach the node limit.
        let limits = if code == Code::LimitSize {
            Limits { nodes_max: 1_000, ..limits.clone() }
        } else {
            limits.clone()
        };
        let found = parse(&text, &limits).expect_err(&text[..20]);
        assert_eq!(found[0].code, code, "{}", &text[..20]);
    }
    let nested = "[1].map(a, [1].map(b, [1].map(c, [1].map(d, [1].map(e, 1)))))";
    assert_eq!(refused(nested)[0].code, Code::LimitDepth);
}

#[test]
fn the_deepest_allowed_expression_needs_little_stack() {
    // 2 MiB, what Rust gives a thread, must do for parse, check, evaluate and drop, even unoptimised; an optimised
    // build needs less than a quarter of it.
    let run = || {
        let limits = Limits::default();
        let n = limits.depth_max - 2;
        for text in [
            format!("{}n{}", "(".repeat(n), ")".repeat(n)),
            format!("{}n{}", "[".repeat(n), "]".repeat(n)),
            format!("n{}", " + n".repeat(n)),
            format!("{}t", "!".repeat(n)),
            format!("{}1", "t ? 1 : ".repeat(n / 2)),
        ] {
            let tree = parse(&text, &limits).unwrap();
            let program = compile(&tree, &text, &schema(), &Options::default(), &limits).unwrap();
            program.value(Facts::Values(&values()), &limits).unwrap();
        }
    };
    std::thread::Builder::new().stack_size(2 << 20).spawn(run).unwrap().join().unwrap();
}

#[test]
fn work_is_bounded() {
    let long = format!("[{}]", vec!["0"; 1_000].join(","));
    assert_eq!(eval(&format!("{long}.all(a, {long}.all(b, a == b))")), Err(FaultKind::TooManySteps));
    let doubling = format!("['{}']{}", "x".repeat(1_000), ".map(v, v + v)".repeat(20));
    assert_eq!(eval(&doubling), Err(FaultKind::TooLong));
    let pairs = format!("[n]{} == [n]{}", ".map(v, [v, v])".repeat(40), ".map(v, [v, v])".repeat(40));
    assert_eq!(eval(&pairs), Err(FaultKind::TooManySteps));
}

#[test]
fn instants_and_durations() {
    for (text, wanted) in [
        ("timestamp('2026-11-23T09:00:00+08:00') == timestamp('2026-11-23T01:00:00Z')", "true"),
        ("timestamp('2026-11-23T09:00:00Z').getHours('+08:00')", "17"),
        ("timestamp('2026-11-23T09:00:00Z').getDayOfWeek()", "1"),
        ("duration('1h30m') > duration('89m')", "true"),
        ("timestamp(0) + duration('1.5s')", "timestamp('1970-01-01T00:00:01.5Z')"),
        ("int(timestamp('2026-11-23T09:00:00Z'))", "1795424400"),
    ] {
        assert_eq!(eval(text), Ok(wanted.to_string()), "{text}");
    }
    assert_eq!(eval("timestamp('nonsense')"), Err(FaultKind::Conversion));
}

#[test]
fn without_checking_what_is_unknown_is_a_fault_and_absorbed() {
    let limits = Limits::default();
    let options = Options { check: false, ..Options::default() };
    let unchecked = |text: &str| {
        let tree = parse(text, &limits).unwrap();
        let program = compile(&tree, text, &schema(), &options, &limits).unwrap();
        program.value(Facts::Values(&values()), &limits).map(|v| v.to_string()).map_err(|f| f.kind)
    };
    assert_eq!(unchecked("nobody || t"), Ok("true".into()));
    assert_eq!(unchecked("nothing(1)"), Err(FaultKind::UnknownFunction));
    assert_eq!(unchecked("nobody.x"), Err(FaultKind::UnknownName));
    assert_eq!(unchecked("'a' + 1"), Err(FaultKind::NoOverload));
    assert_eq!(unchecked("any == 3"), Ok("true".into()));
}

#[test]
fn names_resolve_from_the_container_outwards() {
    let limits = Limits::default();
    let schema =
        Schema::new(vec![("a.b.x".into(), Type::Int), ("x".into(), Type::Int), ("a.y".into(), Type::Int)]);
    let values = [Some(Value::Int(1)), Some(Value::Int(2)), Some(Value::Int(3))];
    let options = Options { container: "a.b", ..Options::default() };
    for (text, wanted) in
        [("x", "1"), (".x", "2"), ("y", "3"), ("[5].map(x, x)[0]", "5"), ("[5].map(x, .x)[0]", "2")]
    {
        let tree = parse(text, &limits).unwrap();
        let program = compile(&tree, text, &schema, &options, &limits).unwrap();
        assert_eq!(program.value(Facts::Values(&values), &limits).unwrap().to_string(), wanted, "{text}");
    }
}

#[test]
fn maps_are_values_too() {
    let mut map = Map::new();
    map.insert(Value::str("k"), Value::Int(1)).unwrap();
    assert_eq!(Value::Map(Arc::new(map)).to_string(), "{'k': 1}");
    assert_eq!(eval("{'k': {'l': 2}}.k.l"), Ok("2".into()));
    assert_eq!(eval("{'k': 1}.missing"), Err(FaultKind::NoSuchKey));
    assert_eq!(eval("has({'k': 1}.k) && !has({'k': 1}.l)"), Ok("true".into()));
}
