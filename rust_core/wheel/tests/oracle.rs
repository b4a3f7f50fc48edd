//! The wheel against an ordered map, over random lives: every key, order, bound and count is compared.
//!
//! `make torture-wheel` runs the longer campaign (10 million operations).

mod model;

use cuptime_wheel::{Config, Due, Wheel};
use model::{Dice, Pair};
use proptest::prelude::*;

/// 2026-11-23 00:00 UTC, give or take; any start will do.
const START_MS: u64 = 1_795_392_000_000;
const HOUR_MS: u64 = 3_600_000;
/// Half the distances are around these: slot lengths and ring spans.
const EDGES_MS: [u64; 12] = [
    1_000,
    5_110,
    8_191,
    60_000,
    127_000,
    128_000,
    HOUR_MS,
    127 * 60_000,
    128 * 60_000,
    63 * HOUR_MS,
    64 * HOUR_MS,
    30 * 24 * HOUR_MS,
];

fn distance_ms(dice: &mut Dice) -> u64 {
    match dice.below(20) {
        0 => dice.log_uniform(63),
        1..=3 => dice.log_uniform(34),
        4..=7 => (EDGES_MS[dice.below(12) as usize] + dice.below(41)).saturating_sub(20),
        8..=10 => dice.below(4) * 10,
        _ => dice.log_uniform(24),
    }
}

fn deadline_ms(dice: &mut Dice, now_ms: u64) -> u64 {
    match dice.below(40) {
        0 => now_ms.saturating_sub(dice.log_uniform(41)),
        1 => now_ms.saturating_sub(dice.below(40)),
        2 => u64::MAX - dice.below(3),
        _ => now_ms.saturating_add(distance_ms(dice)),
    }
}

/// How a run is tilted, so that each kind of trouble is met often somewhere.
#[derive(Clone, Copy)]
struct Tilt {
    /// Of 100 operations, about how many pass time.
    advance: u64,
    /// Jumps are below 2^this ms.
    jump_bits: u64,
}

fn step(pair: &mut Pair, dice: &mut Dice, tilt: Tilt) {
    let now_ms = pair.now_ms();
    if dice.below(100) < tilt.advance {
        let limit = [usize::MAX, 0, 1, 7][dice.below(4) as usize];
        match dice.below(8) {
            0 => pair.advance_to_next(),
            1 => drop(pair.advance(now_ms.saturating_sub(dice.log_uniform(30)), limit)),
            2 => drop(pair.wheel.maintain(dice.below(50) as usize)),
            _ => drop(pair.advance(now_ms.saturating_add(dice.log_uniform(tilt.jump_bits)), limit)),
        }
        return;
    }
    match dice.below(16) {
        12 => drop(pair.pick(dice.roll()).map(|key| pair.pause(key))),
        13 => {
            let keys: Vec<_> = (0..dice.below(20)).filter_map(|_| pair.pick(dice.roll())).collect();
            keys.into_iter().for_each(|key| pair.resume(key));
        }
        14 => pair.insert_within(deadline_ms(dice, now_ms), dice.log_uniform(24)),
        15 => {
            if let Some(key) = pair.pick(dice.roll()) {
                pair.reschedule_within(key, deadline_ms(dice, now_ms), dice.log_uniform(24));
            }
        }
        0..=3 => pair.insert(deadline_ms(dice, now_ms)),
        4 => {
            // A herd: many in one tick, at different ms of it.
            let at_ms = deadline_ms(dice, now_ms).saturating_sub(9);
            let herd: Vec<u64> = (0..dice.below(90)).map(|_| at_ms.saturating_add(dice.below(10))).collect();
            pair.insert_batch(&herd);
        }
        5 => {
            // Now and then a batch so long that it is counted by slot, in more than one block.
            let count = if dice.below(8) == 0 { dice.below(6_000) } else { dice.below(90) };
            let mixed: Vec<u64> = (0..count).map(|_| deadline_ms(dice, now_ms)).collect();
            pair.insert_batch(&mixed);
        }
        6 | 7 => drop(pair.pick(dice.roll()).map(|key| pair.cancel(key))),
        8 => {
            let keys: Vec<_> = (0..dice.below(120)).filter_map(|_| pair.pick(dice.roll())).collect();
            pair.cancel_batch(&keys);
        }
        9 | 10 => {
            if let Some(key) = pair.pick(dice.roll()) {
                pair.reschedule(key, deadline_ms(dice, now_ms));
            }
        }
        _ => {
            let mut keys: Vec<_> = (0..dice.below(120)).filter_map(|_| pair.pick(dice.roll())).collect();
            keys.sort_unstable();
            keys.dedup();
            let deadlines: Vec<u64> = keys.iter().map(|_| deadline_ms(dice, now_ms)).collect();
            pair.reschedule_batch(&keys, &deadlines);
        }
    }
}

fn live_through(seed: u64, steps: u64, check_every: u64) {
    let mut dice = Dice(seed);
    let tick_ms = [10, 1, 10, 1, 25][seed as usize % 5];
    let tilt = Tilt {
        advance: [5, 30, 60][dice.below(3) as usize],
        jump_bits: [8, 14, 20, 25][dice.below(4) as usize],
    };
    let start_ms = START_MS + dice.below(7 * 24 * HOUR_MS);
    let mut pair = Pair::new(tick_ms, [200, 5_000, 100_000][dice.below(3) as usize], start_ms);
    for at in 0..steps {
        step(&mut pair, &mut dice, tilt);
        if at % check_every == 0 {
            pair.check_whole();
        }
    }
    pair.check_whole();
    pair.drain(1_000);
}

#[test]
fn seeded_lives_equal_the_oracle() {
    (0..60).for_each(|seed| live_through(seed, 1_500, 100));
}

/// The campaign of `make torture-wheel`: 1,000 lives of 10,000 operations.
#[test]
#[ignore = "a campaign of minutes; run it with -- --ignored"]
fn many_long_lives_equal_the_oracle() {
    (1_000..2_000).for_each(|seed| live_through(seed, 10_000, 1_000));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    /// Few operations, so that a failure shrinks to something one can read.
    #[test]
    fn short_lives_equal_the_oracle(
        tick_ms in prop::sample::select(vec![1_u64, 5, 10, 50]),
        start_ms in prop_oneof![Just(0_u64), 0..100_000_u64, START_MS..START_MS + 100 * HOUR_MS],
        operations in prop::collection::vec((0..10_u8, any::<u64>(), 0..28_u64), 1..80),
    ) {
        let mut pair = Pair::new(tick_ms, 50, start_ms);
        for (kind, roll, bits) in operations {
            let span_ms = roll & ((1 << bits) - 1);
            match kind {
                0 | 1 => pair.insert(pair.now_ms() + span_ms),
                2 => drop(pair.pick(roll).map(|key| pair.cancel(key))),
                3 => drop(pair.pick(roll).map(|key| pair.reschedule(key, pair.now_ms() + span_ms))),
                4 => drop(pair.advance(pair.now_ms() + span_ms, (roll % 5) as usize)),
                5 => drop(pair.pick(roll).map(|key| pair.pause(key))),
                6 => drop(pair.pick(roll).map(|key| pair.resume(key))),
                7 => pair.insert_within(pair.now_ms() + span_ms, roll % 9_000),
                8 => drop(pair.pick(roll).map(|key| pair.reschedule_within(key, pair.now_ms() + span_ms, roll % 9_000))),
                _ => drop(pair.advance(pair.now_ms() + span_ms, usize::MAX)),
            }
            pair.check_whole();
        }
        pair.drain(3);
    }
}

/// Timers re-armed far ahead again and again leave garbage only within the stated bound.
#[test]
fn garbage_is_bounded_when_nothing_but_rearming_happens() {
    let mut dice = Dice(7);
    let mut pair = Pair::new(10, 1_000, START_MS);
    pair.insert_batch(&vec![START_MS + 10 * HOUR_MS; 500]);
    for round in 0..400_u64 {
        let keys: Vec<_> = pair.wheel.iter().map(|timer| timer.key).collect();
        let deadlines: Vec<u64> = keys.iter().map(|_| START_MS + (2 + dice.below(90)) * HOUR_MS).collect();
        pair.reschedule_batch(&keys, &deadlines);
        let stats = pair.wheel.stats();
        // Twice the timers, and 64 for each of the 832 slots and the few overflow buckets.
        assert!(stats.garbage <= 2 * 500 + 64 * (832 + 10) + 1, "round {round}: {}", stats.garbage);
    }
    assert!(pair.wheel.stats().compacted > 0);
    pair.check_whole();
    pair.drain(usize::MAX);
    assert_eq!(pair.wheel.stats().garbage, 0);
}

/// Garbage is removed a few refs at a time; at every pause the slot is whole, can be added to, cancelled
/// from, moved down and fired from.
#[test]
fn a_pause_in_compaction_is_a_sound_state() {
    for (seed, pauses) in (0..24_u64).flat_map(|seed| [(seed, 0), (seed, 1), (seed, 3), (seed, 40)]) {
        let mut dice = Dice(seed);
        let tick_ms = [10, 1][seed as usize % 2];
        // In a tick's own slot, in a second's, a minute's, an hour's, a day's: armed directly, or moved there.
        let far_ms = [3_000, 100_000, HOUR_MS, 20 * HOUR_MS, 80 * HOUR_MS][seed as usize % 5];
        let deadline_ms = START_MS + far_ms;
        let mut pair = Pair::new(tick_ms, 10_000, START_MS + [0, far_ms / 2][seed as usize / 12]);
        let herd: Vec<u64> = (0..700).map(|_| deadline_ms + dice.below(3)).collect();
        pair.insert_batch(&herd);
        let doomed: Vec<_> = pair.wheel.iter().map(|timer| timer.key).filter(|_| dice.below(5) > 0).collect();
        pair.cancel_batch(&doomed);
        for _ in 0..pauses {
            assert!(pair.wheel.maintain(1 + dice.below(30) as usize) > 0 || pair.wheel.stats().garbage < 300);
            pair.insert(deadline_ms + dice.below(3));
            if let Some(key) = pair.pick(dice.roll() | 1) {
                pair.cancel(key);
            }
            pair.check_whole();
        }
        pair.advance(deadline_ms.saturating_sub([0, 1, 4_200, 70_000, HOUR_MS][dice.below(5) as usize]), 5);
        pair.check_whole();
        pair.wheel.maintain(7);
        pair.drain(11);
        assert_eq!(pair.wheel.stats().garbage, 0);
    }
}

/// A slot that is being rewritten when it opens is moved down in parts all the same, while garbage is so much
/// that arming itself goes on with the rewriting.
#[test]
fn compaction_gives_way_to_moving_down() {
    for far_ms in [100_000, 80 * HOUR_MS] {
        let mut pair = Pair::new(10, 100_000, START_MS);
        pair.insert_batch(&vec![START_MS + far_ms; 90_000]);
        let keys: Vec<_> = pair.wheel.iter().map(|timer| timer.key).collect();
        let opens_ms = pair.check_next().unwrap();
        pair.advance(opens_ms - 1, usize::MAX);
        let doomed: Vec<_> =
            keys.iter().enumerate().filter(|(at, _)| at % 25 > 0).map(|(_, &key)| key).collect();
        pair.cancel_batch(&doomed);
        assert!(pair.wheel.maintain(5) > 0);
        for tick in 0..4 {
            pair.advance(opens_ms + tick * 10, usize::MAX);
            pair.check_whole();
            // Another slot that wants rewriting takes the chunks that were freed.
            pair.insert_batch(&[START_MS + 200 * HOUR_MS; 40]);
            pair.check_whole();
        }
        pair.drain(100);
    }
}

/// A herd of one tick on its way down, half of it here and half there, with arrivals at every stop:
/// listed and fired in the order of arming.
#[test]
fn a_herd_half_moved_down_keeps_its_order() {
    for tick_ms in [10, 1] {
        let deadline_ms = START_MS + 90 * HOUR_MS + 17 * 60_000 + 23_456;
        let mut pair = Pair::new(tick_ms, 10_000, START_MS);
        pair.insert_batch(&vec![deadline_ms; 1_500]);
        let mut levels_shared = 0;
        while pair.wheel.next_event_ms().is_some_and(|next_ms| next_ms < deadline_ms) {
            pair.advance_to_next();
            pair.insert_batch(&[deadline_ms; 3]);
            pair.check_whole();
            let by_level = pair.wheel.stats().pending_by_level;
            levels_shared += usize::from(by_level.iter().filter(|&&timers| timers > 3).count() > 1);
        }
        assert!(levels_shared > 10, "the herd was never caught between levels");
        pair.drain(400);
    }
}

/// A jump over a crowded day does a bounded part of the work in each call, and fires everything in order all the same.
#[test]
fn a_jump_over_a_crowd_is_made_in_bounded_calls() {
    let mut dice = Dice(13);
    let mut wheel = Wheel::new(Config { tick_ms: 10, capacity: 1 << 20 }, START_MS).unwrap();
    let dues_ms: Vec<u64> = (0..300_000).map(|_| START_MS + 90 * HOUR_MS + dice.below(2 * HOUR_MS)).collect();
    wheel.insert_batch(&dues_ms, &(0..300_000).collect::<Vec<u64>>(), &mut Vec::new()).unwrap();
    let to_ms = START_MS + 91 * HOUR_MS;
    let (mut due, mut calls, mut empty_calls) = (Vec::new(), 0, 0);
    loop {
        let (before, fired) = (wheel.stats(), due.len());
        let progress = wheel.advance(to_ms, 1_000, &mut due);
        let work = wheel.stats().moved - before.moved + wheel.stats().compacted - before.compacted;
        assert!(work <= 65_536 + 256, "{work} refs in one call");
        assert!(due.len() - fired <= 1_000);
        wheel.invariant().unwrap();
        calls += 1;
        empty_calls += u64::from(progress.fired == 0 && !progress.done);
        if progress.done {
            break;
        }
        assert_eq!(wheel.next_event_ms(), Some(wheel.now_ms()));
        // What arrives in the middle of it queues behind.
        wheel.insert(to_ms - 5, 1 << 40 | calls).unwrap();
    }
    assert!(empty_calls > 2, "the jump was never cut");
    let expected = dues_ms.iter().filter(|&&due_ms| due_ms <= to_ms).count() as u64 + calls - 1;
    assert_eq!(due.len() as u64, expected);
    let order = |timer: &Due| (timer.deadline_ms.div_ceil(10), timer.payload);
    assert!(due.windows(2).all(|pair| order(&pair[0]) < order(&pair[1])), "out of order");
}

/// A regularly driven wheel moves its slots down inside the budget, never at the last moment: not even a
/// second that holds more than the smallest budget moves in all the time there is.
#[test]
fn regular_driving_never_needs_a_forced_move() {
    let mut dice = Dice(11);
    let mut pair = Pair::new(10, 400_000, START_MS);
    let spread: Vec<u64> = (0..100_000).map(|_| START_MS + 1 + dice.below(200_000)).collect();
    let second: Vec<u64> = (0..150_000).map(|_| START_MS + 99_001 + dice.below(990)).collect();
    pair.insert_batch(&spread);
    pair.insert_batch(&second);
    for tick in 1..=20_001_u64 {
        pair.advance(START_MS + tick * 10, usize::MAX);
    }
    let stats = pair.wheel.stats();
    assert_eq!((stats.pending, stats.forced), (0, 0));
    assert!(stats.moved > 250_000, "the upper rings were not used: {}", stats.moved);
}
