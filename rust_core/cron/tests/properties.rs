//! No text makes it panic; looking forward and back are inverse; what is read says the same again.

use std::sync::Arc;

use cuptime_cron::dialect::DIALECTS;
use cuptime_cron::dst::POLICIES;
use cuptime_cron::{compile, Dialect, DstPolicy, Firing, Options, Schedule, Zone};
use proptest::prelude::*;

const YEAR_S: i64 = 31_556_952;

/// A TZif file of version 2 with no listed change, only the rule.
fn ruled(rule: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..2 {
        bytes.extend_from_slice(b"TZif2");
        bytes.extend_from_slice(&[0; 15]);
        for count in [0u32, 0, 0, 0, 1, 4] {
            bytes.extend_from_slice(&count.to_be_bytes());
        }
        bytes.extend_from_slice(&[0; 6]);
        bytes.extend_from_slice(b"LMT\0");
    }
    bytes.extend_from_slice(format!("\n{rule}\n").as_bytes());
    bytes
}

fn zone(rule: &str) -> Arc<Zone> {
    Arc::new(Zone::read(&ruled(rule)).unwrap())
}

fn zones() -> impl Strategy<Value = Arc<Zone>> {
    prop_oneof![
        Just(Arc::new(Zone::utc())),
        Just(zone("EST5EDT,M3.2.0,M11.1.0")),
        Just(zone("<+1030>-10:30<+11>-11,M10.1.0,M4.1.0")),
        // A change at midnight, and one of the southern half.
        Just(zone("EET-2EEST,M3.4.4/24,M10.5.5/1")),
        Just(zone("<-04>4<-03>,M9.1.6/24,M4.1.6/24")),
    ]
}

fn field(max: u32) -> impl Strategy<Value = String> {
    prop_oneof![
        3 => Just("*".to_owned()),
        3 => (0..=max).prop_map(|v| v.to_string()),
        2 => (1..=max.max(1)).prop_map(|n| format!("*/{n}")),
        2 => (0..=max, 0..=max).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b))),
        1 => (0..=max, 0..=max).prop_map(|(a, b)| format!("{a},{b}")),
        1 => (0..=max, 0..=max, 1..7u32).prop_map(|(a, b, n)| format!("{}-{}/{n}", a.min(b), a.max(b))),
    ]
}

fn days() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => Just("*".to_owned()),
        3 => (1..=31u32).prop_map(|d| d.to_string()),
        1 => (1..=31u32).prop_map(|d| format!("{d}W")),
        1 => Just("L".to_owned()),
        1 => (0..=30u32).prop_map(|n| format!("L-{n}")),
        1 => (0..=30u32).prop_map(|n| format!("L-{n}W")),
        1 => (1..=31u32, 1..=31u32).prop_map(|(a, b)| format!("{a},{b}")),
    ]
}

fn weekdays() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => Just("*".to_owned()),
        2 => (0..=7u32).prop_map(|d| d.to_string()),
        1 => (0..=7u32, 1..=5u32).prop_map(|(d, n)| format!("{d}#{n}")),
        1 => (0..=7u32).prop_map(|d| format!("{d}L")),
        1 => (0..=7u32).prop_map(|d| format!("+{d}")),
    ]
}

fn expressions() -> impl Strategy<Value = String> {
    let months = prop_oneof![3 => Just("*".to_owned()), 1 => (1..=12u32).prop_map(|m| m.to_string())];
    (field(59), field(59), field(23), days(), months, weekdays())
        .prop_map(|(s, m, h, d, mo, w)| format!("{s} {m} {h} {d} {mo} {w}"))
}

fn compiled(text: &str, policy: DstPolicy, zone: Arc<Zone>) -> Schedule {
    compile(text, Options { policy, ..Options::default() }, zone, None).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_text_makes_it_panic(text in ".{0,80}", dialect in 0..7usize) {
        let options = Options { dialect: DIALECTS[dialect].1, ..Options::default() };
        if let Ok(schedule) = compile(&text, options, Arc::new(Zone::utc()), None) {
            let _ = schedule.next(0, 1_795_392_000_000);
        }
    }

    #[test]
    fn no_text_of_the_right_letters_makes_it_panic(text in "[-0-9*/,LWH#?+|!@ a-u()]{0,40}", dialect in 0..7usize) {
        let options = Options { dialect: DIALECTS[dialect].1, ..Options::default() };
        match compile(&text, options, zone("EST5EDT,M3.2.0,M11.1.0"), None) {
            Ok(schedule) => {
                let _ = (schedule.next(0, 1_795_392_000_000), schedule.previous(0, 1_795_392_000_000));
            }
            Err(refusal) => prop_assert!(refusal.position <= text.chars().count(), "{refusal}"),
        }
    }

    #[test]
    fn no_bytes_make_a_zone_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), rule in ".{0,40}") {
        let _ = Zone::read(&bytes);
        let _ = Zone::read(&[&b"TZif2"[..], &bytes].concat());
        let _ = Zone::read(&ruled(&rule));
    }

    #[test]
    fn forward_and_back_are_inverse(
        text in expressions(),
        zone in zones(),
        policy in 0..6usize,
        after_s in 0..60 * YEAR_S,
    ) {
        let schedule = compiled(&text, POLICIES[policy].1, zone);
        let after_ms = after_s * 1_000;
        match schedule.next(0, after_ms) {
            Firing::At(at_ms) => {
                prop_assert!(at_ms > after_ms);
                prop_assert!(schedule.fires_at(0, at_ms));
                if let Firing::At(second_ms) = schedule.next(0, at_ms) {
                    prop_assert!(second_ms > at_ms);
                    prop_assert_eq!(schedule.previous(0, second_ms), Firing::At(at_ms));
                    prop_assert_eq!(schedule.previous(0, at_ms + 1), Firing::At(at_ms));
                }
            }
            Firing::Never => prop_assert!(schedule.never(), "{text} has no firing and did not say so"),
            Firing::UnknownYear(_) => prop_assert!(false),
        }
    }

    #[test]
    fn a_year_without_the_date_is_known_when_it_is_read(text in expressions()) {
        let schedule = compiled(&text, DstPolicy::WallBoth, Arc::new(Zone::utc()));
        prop_assert_eq!(schedule.never(), schedule.next(0, 0) == Firing::Never);
    }

    #[test]
    fn a_union_is_its_parts(one in expressions(), two in expressions(), zone in zones(), after_s in 0..60 * YEAR_S) {
        let both = compiled(&format!("{one} | {two}"), DstPolicy::Vixie, Arc::clone(&zone));
        let parts = [compiled(&one, DstPolicy::Vixie, Arc::clone(&zone)), compiled(&two, DstPolicy::Vixie, zone)];
        let first = parts.iter().filter_map(|part| match part.next(0, after_s * 1_000) {
            Firing::At(at_ms) => Some(at_ms),
            _ => None,
        }).min();
        prop_assert_eq!(both.next(0, after_s * 1_000), first.map_or(Firing::Never, Firing::At));
    }

    #[test]
    fn every_is_its_grid(length_s in 1..100_000i64, phase_s in 0..100_000i64, after_ms in 0..2_000_000_000_000i64) {
        let schedule = compiled(&format!("@every {length_s}s/{phase_s}s"), DstPolicy::Vixie, Arc::new(Zone::utc()));
        let Firing::At(at_ms) = schedule.next(0, after_ms) else { panic!("it fires") };
        prop_assert!(at_ms > after_ms && at_ms - after_ms <= length_s * 1_000);
        prop_assert_eq!((at_ms - phase_s * 1_000).rem_euclid(length_s * 1_000), 0);
    }
}

#[test]
fn a_refusal_says_where_and_how_to_mend_it() {
    let refused = |text: &str| {
        let options = Options::default();
        let refusal = compile(text, options, Arc::new(Zone::utc()), None).unwrap_err();
        (refusal.field, refusal.position, refusal.mend)
    };
    assert_eq!(refused("0 9 * * FRI-MON"), ("weekday", 8, "write 5-6,0-1".to_owned()));
    assert_eq!(refused("0/15 * * * *"), ("minute", 1, "write 0-59/15 for steps from 0".to_owned()));
    assert_eq!(refused("0 9 l * *"), ("day", 4, "write it as a capital letter".to_owned()));
    assert_eq!(refused("0 24 * * *"), ("hour", 2, "write 0".to_owned()));
    assert_eq!(refused("0 9 * JAM *").2, "write JAN");
    assert_eq!(refused("０ 9 * * *"), ("expression", 0, "write \"0 9 * * *\"".to_owned()));
    assert_eq!(
        refused("0 9 * * * | 0 60 * * *"),
        ("hour", 14, "are the first fields swapped? the minute comes before the hour".to_owned())
    );
    assert_eq!(refused("61 * * * *").2, "write 59 for the highest");
    assert_eq!(refused("0 9 32 * *").2, "for the last day of each month write L");
    assert_eq!(refused("0 9 * 13 *").2, "write 12 for the highest");
    assert_eq!(refused("0 9 * * 8").2, "Sunday is 0, Saturday is 6");
    assert_eq!(
        refused("0 9 1 * * 2027").2,
        "a year is the last of seven fields, seconds are the first: 0 in front"
    );
    assert_eq!(
        refused("0 9 * * L").2,
        "which weekday? 5L is the last Friday of the month, 6 is every Saturday"
    );
    assert_eq!(refused("1,,2 * * * *").2, "between commas, and on both sides of -, stands a value");
    assert_eq!(refused("@every").2, "write @every 90s");
}

/// Whatever is refused says how to mend it, under each dialect.
#[test]
fn no_refusal_is_without_a_mend() {
    let parts = [
        "61",
        "x",
        "1-",
        "-1",
        "1.5",
        "*/0",
        "*/",
        "1,,2",
        "5-1",
        "L-40",
        "99W",
        "1#9",
        "H(",
        "?",
        "+",
        "",
        "@x",
        "@every 5x",
    ];
    for (_, dialect) in DIALECTS {
        for place in 0..7 {
            for part in parts {
                let mut fields = ["1"; 7];
                fields[place] = part;
                for count in 1..=7 {
                    let text = fields[..count].join(" ");
                    let options = Options { dialect, ..Options::default() };
                    if let Err(refusal) = compile(&text, options, Arc::new(Zone::utc()), None) {
                        assert!(!refusal.mend.is_empty(), "{dialect:?} {text:?}: {refusal:?}");
                        assert!(refusal.position <= text.len());
                    }
                }
            }
        }
    }
}

#[test]
fn temporal_reads_long_names_and_comments() {
    let read = |text: &str, dialect| {
        let options = Options { dialect, ..Options::default() };
        compile(text, options, Arc::new(Zone::utc()), None)
            .map(|schedule| schedule.next(0, 1_795_392_000_000))
    };
    let short = read("0 12 * SEP MON-FRI", Dialect::Temporal).unwrap();
    for text in ["0 12 * Sept monday-Fr", "0 12 * september MO-friday # noon | and ! more"] {
        assert_eq!(read(text, Dialect::Temporal).unwrap(), short, "{text}");
        assert!(read(text, Dialect::Ocps).is_err(), "{text}");
    }
    for text in ["0 12 * se MON", "0 12 * * m", "0 12 * septembers MON"] {
        assert!(read(text, Dialect::Temporal).is_err(), "{text}");
    }
}

#[test]
fn lengths_may_have_tenths() {
    let length = |text: &str| {
        let schedule = compile(text, Options::default(), Arc::new(Zone::utc()), None);
        schedule.map(|schedule| schedule.next(0, 0))
    };
    assert_eq!(length("@every 1.5h").unwrap(), Firing::At(5_400_000));
    assert_eq!(length("@every 1h0.25s").unwrap(), Firing::At(3_600_250));
    for text in
        ["@every 1.h", "@every .5h", "@every 1.0001s", "@every 1.5ms", "@every 1.0000000h", "@every 1.5"]
    {
        assert!(length(text).is_err(), "{text}");
    }
}

#[test]
fn exclusions_and_grids() {
    let utc = || Arc::new(Zone::utc());
    let day_ms = 86_400_000;
    // Weekdays but not the first of a month; 2026-11-30 is a Monday, 2026-12-01 a Tuesday.
    let schedule = compiled("0 9 * * 1-5 ! * * 1 * *", DstPolicy::Vixie, utc());
    assert_eq!(
        schedule.next(0, 20_787 * day_ms + 9 * 3_600_000),
        Firing::At(20_789 * day_ms + 9 * 3_600_000)
    );
    // Every second Wednesday from a given one, on the wall clock across a change.
    let berlin = zone("CET-1CEST,M3.5.0,M10.5.0/3");
    let schedule = compiled("@every 2w from 2026-03-18 10:00", DstPolicy::Vixie, berlin);
    let first = 20_530 * day_ms + 9 * 3_600_000;
    assert_eq!(schedule.next(0, 0), Firing::At(first));
    assert_eq!(schedule.next(0, first), Firing::At(first + 14 * day_ms - 3_600_000));
    assert_eq!(schedule.previous(0, first), Firing::Never);
}
