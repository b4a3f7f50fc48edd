//! A fixed piece of work in functions of their own, for a tool that counts instructions: the same binary gives the
//! same counts on a busy machine. `benches/wheel.py --counts` runs it under callgrind.

use std::hint::black_box;

use cuptime_wheel::{Config, Due, TimerKey, Wheel};

use crate::dice::Dice;
use crate::workload::BATCH;

pub const TIMERS: usize = 100_000;
const START_MS: u64 = 1_795_392_000_000;
const MINUTE_MS: u64 = 60_000;

#[inline(never)]
pub fn counted_insert(wheel: &mut Wheel, due_ms: &[u64], payloads: &[u64], keys: &mut Vec<TimerKey>) {
    for (due_ms, payloads) in due_ms.chunks(BATCH).zip(payloads.chunks(BATCH)) {
        wheel.insert_batch(due_ms, payloads, keys).unwrap();
    }
}

#[inline(never)]
pub fn counted_cancel(wheel: &mut Wheel, keys: &[TimerKey], cancelled: &mut Vec<bool>) {
    keys.chunks(BATCH).for_each(|keys| _ = wheel.cancel_batch(keys, cancelled));
}

#[inline(never)]
pub fn counted_reschedule(
    wheel: &mut Wheel,
    keys: &[TimerKey],
    due_ms: &[u64],
    moved: &mut Vec<Option<TimerKey>>,
) {
    for (keys, due_ms) in keys.chunks(BATCH).zip(due_ms.chunks(BATCH)) {
        wheel.reschedule_batch(keys, due_ms, moved).unwrap();
    }
}

#[inline(never)]
pub fn counted_expire(wheel: &mut Wheel, due: &mut Vec<Due>) {
    for tick in 1..=MINUTE_MS / 10 + 1 {
        due.clear();
        while !wheel.advance(START_MS + tick * 10, BATCH, due).done {
            due.clear();
        }
    }
}

#[inline(never)]
pub fn counted_one_by_one(wheel: &mut Wheel, due_ms: &[u64]) {
    for &due_ms in due_ms {
        let key = wheel.insert(due_ms, 1).unwrap();
        wheel.cancel(key);
    }
}

#[inline(never)]
pub fn counted_next_event(wheel: &Wheel) {
    (0..TIMERS).for_each(|_| _ = black_box(black_box(wheel).next_event_ms()));
}

/// A day with one timer in it, passed in one call.
#[inline(never)]
pub fn counted_day_passed(wheel: &mut Wheel, due: &mut Vec<Due>) {
    for _ in 0..TIMERS {
        due.clear();
        let to_ms = wheel.now_ms() + 24 * 60 * MINUTE_MS;
        wheel.insert(to_ms, 1).unwrap();
        assert!(wheel.advance(to_ms, 1, due).done && due.len() == 1);
    }
}

pub fn run() {
    let mut dice = Dice(3);
    let mut wheel = Wheel::new(Config { tick_ms: 10, capacity: 1 << 30 }, START_MS).unwrap();
    let mut dues_ms = |count: usize| -> Vec<u64> {
        (0..count).map(|_| START_MS + 10 + dice.below(MINUTE_MS - 10)).collect()
    };
    let (due_ms, later_ms) = (dues_ms(TIMERS), dues_ms(TIMERS));
    let payloads: Vec<u64> = (0..TIMERS as u64).collect();
    let mut keys = Vec::with_capacity(TIMERS);
    counted_insert(&mut wheel, &due_ms, &payloads, &mut keys);
    counted_next_event(&wheel);
    Dice(4).shuffle(&mut keys);
    let mut moved = Vec::with_capacity(TIMERS);
    counted_reschedule(&mut wheel, &keys, &later_ms, &mut moved);
    let mut keys: Vec<TimerKey> = moved.into_iter().flatten().collect();
    counted_cancel(&mut wheel, &keys, &mut Vec::with_capacity(TIMERS));
    keys.clear();
    counted_one_by_one(&mut wheel, &due_ms);
    wheel.insert_batch(&due_ms, &payloads, &mut keys).unwrap();
    counted_expire(&mut wheel, &mut Vec::with_capacity(BATCH));
    assert!(wheel.is_empty());
    counted_day_passed(&mut wheel, &mut Vec::with_capacity(1));
}
