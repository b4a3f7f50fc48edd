//! Every edge of every level, two ticks to either side, for both tick lengths that are used: a timer
//! fires at its tick, not one before and not one after, however time gets there.

mod model;

use model::{Dice, Pair};

const SECOND_MS: u64 = 1_000;
const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;
/// A Monday midnight UTC: the edge of a slot at every level.
const MIDNIGHT_MS: u64 = 1_795_392_000_000 / DAY_MS * DAY_MS;
const TICKS_MS: [u64; 2] = [10, 1];

/// Spans at which placement changes: slot lengths, ring spans, insertion limits.
fn edges_ms(tick_ms: u64) -> Vec<u64> {
    let first_span_ms = if tick_ms == 10 { 5_120 } else { 8_192 };
    let mut edges =
        vec![0, tick_ms * 64, first_span_ms - SECOND_MS, first_span_ms, first_span_ms + SECOND_MS];
    for (unit_ms, slots) in [(SECOND_MS, 128), (MINUTE_MS, 128), (HOUR_MS, 64)] {
        edges.extend([unit_ms, 2 * unit_ms, 59 * unit_ms, 60 * unit_ms, 61 * unit_ms]);
        edges.extend([(slots - 2) * unit_ms, (slots - 1) * unit_ms, slots * unit_ms, (slots + 1) * unit_ms]);
    }
    edges.extend([2 * DAY_MS, 3 * DAY_MS, 4 * DAY_MS, 30 * DAY_MS, 400 * DAY_MS]);
    edges.sort_unstable();
    edges.dedup();
    edges
}

/// The instants around an edge: +-2 ticks, and +-1 ms around each of them.
fn around_ms(edge_ms: u64, tick_ms: u64) -> Vec<u64> {
    let mut instants = Vec::new();
    for ticks in 0..=4 {
        for ms in 0..=2 {
            instants.push((edge_ms + ticks * tick_ms + ms).saturating_sub(2 * tick_ms + 1));
        }
    }
    instants.sort_unstable();
    instants.dedup();
    instants
}

/// Where the present may stand within its slots.
fn starts_ms(tick_ms: u64) -> Vec<u64> {
    let mut starts = Vec::new();
    for into_ms in [0, SECOND_MS, MINUTE_MS, HOUR_MS, DAY_MS, 5_120, 8_192, 64 * HOUR_MS] {
        starts.extend([
            MIDNIGHT_MS + into_ms - tick_ms,
            MIDNIGHT_MS + into_ms,
            MIDNIGHT_MS + into_ms + tick_ms + 1,
        ]);
    }
    starts
}

#[test]
fn alone_a_timer_fires_at_its_tick_and_not_before() {
    for tick_ms in TICKS_MS {
        for start_ms in starts_ms(tick_ms) {
            for edge_ms in edges_ms(tick_ms) {
                for delay_ms in around_ms(edge_ms, tick_ms) {
                    let deadline_ms = start_ms + delay_ms;
                    let mut pair = Pair::new(tick_ms, 1, start_ms);
                    pair.insert(deadline_ms);
                    let due_ms = (deadline_ms.div_ceil(tick_ms) * tick_ms).max(start_ms);
                    if due_ms > start_ms {
                        assert_eq!(pair.advance(due_ms - 1, usize::MAX).fired, 0);
                    }
                    pair.check_next();
                    assert_eq!(pair.advance(due_ms, usize::MAX).fired, 1);
                    assert!(pair.wheel.is_empty() && pair.wheel.next_event_ms().is_none());
                }
            }
        }
    }
}

#[test]
fn together_they_fire_in_order_by_the_next_call_and_in_few_calls() {
    for tick_ms in TICKS_MS {
        for start_ms in starts_ms(tick_ms) {
            let mut pair = Pair::new(tick_ms, 10_000, start_ms);
            for edge_ms in edges_ms(tick_ms) {
                around_ms(edge_ms, tick_ms).iter().for_each(|delay_ms| pair.insert(start_ms + delay_ms));
            }
            let timers = pair.wheel.len();
            let mut calls = 0;
            while !pair.wheel.is_empty() {
                pair.advance_to_next();
                calls += 1;
                // A firing and a move per level are all that can call for a wake-up.
                assert!(calls <= 5 * timers, "{calls} wake-ups for {timers} timers");
                if calls % 50 == 0 {
                    pair.check_whole();
                }
            }
        }
    }
}

/// The same population under every way of passing time: tick by tick, by jumps of every edge, with
/// arrivals at the edges while slots above are half moved down.
#[test]
fn arrivals_on_the_way_land_right_whatever_the_step() {
    for tick_ms in TICKS_MS {
        for (round, &step_ms) in
            [tick_ms, 7 * tick_ms + 3, 997, 5_119, 61_001, HOUR_MS + 1].iter().enumerate()
        {
            let mut dice = Dice(round as u64);
            let start_ms = MIDNIGHT_MS - 3 * SECOND_MS - 1;
            let mut pair = Pair::new(tick_ms, 1_000_000, start_ms);
            for call in 0..300 {
                let now_ms = pair.now_ms();
                for edge_ms in edges_ms(tick_ms) {
                    let reach_ms = edge_ms.min(400 * step_ms);
                    pair.insert((now_ms + reach_ms + dice.below(5 * tick_ms)).saturating_sub(2 * tick_ms));
                }
                pair.advance(now_ms + step_ms, usize::MAX);
                if call % 60 == 0 {
                    pair.check_whole();
                }
            }
            pair.drain(10_000);
        }
    }
}

#[test]
fn fifo_within_a_tick_survives_every_way_down() {
    for tick_ms in TICKS_MS {
        for edge_ms in edges_ms(tick_ms) {
            // The same deadline armed from far, from near and from within its last second.
            let deadline_ms = MIDNIGHT_MS + edge_ms + 10 * DAY_MS;
            let mut pair = Pair::new(tick_ms, 1_000, MIDNIGHT_MS);
            for left_ms in [9 * DAY_MS, 65 * HOUR_MS, 64 * HOUR_MS, 3 * HOUR_MS, 2 * HOUR_MS, 67 * MINUTE_MS]
            {
                pair.insert(deadline_ms);
                pair.advance(deadline_ms - left_ms, usize::MAX);
                pair.wheel.maintain(1);
            }
            for left_ms in [130_000, 70_000, 60_000, 9_000, 8_000, 5_000, 4_000, 900, tick_ms, 0] {
                pair.insert(deadline_ms);
                pair.check_whole();
                pair.advance(deadline_ms - left_ms, 3);
            }
            pair.insert(deadline_ms - DAY_MS);
            pair.drain(2);
        }
    }
}

#[test]
fn the_end_of_time_neither_panics_nor_fires_early() {
    for tick_ms in TICKS_MS {
        for before_ms in [0, 1, 9, 5_000, 200_000, 9 * HOUR_MS, 70 * HOUR_MS, 500 * DAY_MS] {
            let start_ms = u64::MAX - before_ms;
            let mut pair = Pair::new(tick_ms, 1_000, start_ms);
            for back_ms in [0, 1, 2, 5, 6, 10, 15, 999, 1_000, 60_000, HOUR_MS, DAY_MS] {
                pair.insert(u64::MAX - back_ms);
            }
            pair.check_whole();
            let calls =
                (0..200).take_while(|_| pair.wheel.next_event_ms().is_some_and(|next_ms| next_ms < u64::MAX));
            for _ in calls.collect::<Vec<_>>() {
                pair.advance_to_next();
                pair.check_whole();
            }
            pair.advance(u64::MAX, usize::MAX);
            pair.check_whole();
            // With a tick of 1 ms the last instant is a tick; with 10 ms the last ones round up beyond it.
            assert_eq!(pair.wheel.len(), if tick_ms == 1 { 0 } else { 3 });
        }
    }
}

#[test]
fn deadlines_of_long_ago_come_back_exactly() {
    for tick_ms in TICKS_MS {
        let mut pair = Pair::new(tick_ms, 1_000, MIDNIGHT_MS + 5);
        for days in [0, 1, 39, 40, 41, 49, 50, 51, 365, 20_000] {
            pair.insert(MIDNIGHT_MS.saturating_sub(days * DAY_MS));
        }
        let key = pair.pick(0).unwrap();
        pair.reschedule(key, 0);
        pair.insert(0);
        let key = pair.pick(0).unwrap();
        pair.cancel(key);
        pair.check_whole();
        assert_eq!(pair.wheel.next_event_ms(), Some(MIDNIGHT_MS + 5));
        assert_eq!(pair.advance(0, 4).fired, 4);
        pair.insert(0);
        pair.insert(MIDNIGHT_MS + 5);
        pair.check_whole();
        assert_eq!(pair.advance(0, usize::MAX).fired, if tick_ms == 1 { 8 } else { 7 });
        pair.drain(1);
    }
}
