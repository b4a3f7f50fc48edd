//! What every peer has to do, and what is read.

use std::hint::black_box;
use std::mem::MaybeUninit;

use crate::dice::Dice;
use crate::memory;
use crate::peers::{Peer, TICK_MS};

pub const BATCH: usize = 4096;
const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 24 * 3_600_000;

#[derive(Clone, Copy, PartialEq)]
pub enum Mix {
    /// 10 ms to 60 s, uniform.
    Minute,
    /// 10 ms to 24 h, each factor as likely as the other.
    Day,
}

impl Mix {
    /// A delay in whole ticks. In each fourth tick nothing is due, so that what a tick costs beside its
    /// firings can be read from those.
    fn delay_ms(self, dice: &mut Dice) -> u64 {
        let ms = match self {
            Mix::Minute => 10 + dice.below(MINUTE_MS - 10),
            Mix::Day => (10.0 * (DAY_MS as f64 / 10.0).powf(dice.unit())) as u64,
        };
        let tick = ms.div_ceil(TICK_MS).max(1);
        (tick + u64::from(tick % 4 == 0)) * TICK_MS
    }

    /// The instants at which the peer is asked: each tick of the first minute, then coarser and coarser.
    fn steps_ms(self) -> Vec<u64> {
        let mut steps: Vec<u64> = (1..=MINUTE_MS / TICK_MS).map(|tick| tick * TICK_MS).collect();
        if self == Mix::Day {
            for (until_ms, step_ms) in [(600_000, 100), (7_200_000, 1_000), (DAY_MS + 10_000, 10_000)] {
                while *steps.last().unwrap() < until_ms {
                    steps.push(steps.last().unwrap() + step_ms);
                }
            }
        }
        steps.push(steps.last().unwrap() + 10 * TICK_MS);
        steps
    }
}

#[derive(Default, Clone, Copy)]
pub struct Figures {
    pub insert_ns: f64,
    pub cancel_ns: f64,
    pub insert_again_ns: f64,
    pub refill_ns: f64,
    pub expire_ns: f64,
    pub worst_tick_us: f64,
    pub worst_idle_tick_us: f64,
    pub next_ns: f64,
    pub bytes: f64,
}

impl Figures {
    pub fn best(self, other: Self) -> Self {
        Self {
            insert_ns: self.insert_ns.min(other.insert_ns),
            cancel_ns: self.cancel_ns.min(other.cancel_ns),
            insert_again_ns: self.insert_again_ns.min(other.insert_again_ns),
            refill_ns: self.refill_ns.min(other.refill_ns),
            expire_ns: self.expire_ns.min(other.expire_ns),
            worst_tick_us: self.worst_tick_us.min(other.worst_tick_us),
            worst_idle_tick_us: self.worst_idle_tick_us.min(other.worst_idle_tick_us),
            next_ns: self.next_ns.min(other.next_ns),
            bytes: self.bytes.min(other.bytes),
        }
    }

    pub fn json(&self) -> String {
        format!(
            "\"insert_ns\":{:.2},\"cancel_ns\":{:.2},\"insert_again_ns\":{:.2},\"refill_ns\":{:.2},\"expire_ns\":{:.2},\
             \"worst_tick_us\":{:.1},\"worst_idle_tick_us\":{:.1},\
             \"next_ns\":{:.2},\"bytes\":{:.2}",
            self.insert_ns,
            self.cancel_ns,
            self.insert_again_ns,
            self.refill_ns,
            self.expire_ns,
            self.worst_tick_us,
            self.worst_idle_tick_us,
            self.next_ns,
            self.bytes
        )
    }
}

/// Processor time of this thread: nobody is blamed for what else the machine did.
pub fn thread_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes one timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Room for the caller's own columns, touched before the measuring: their page faults are nobody's.
fn warm<T>(capacity: usize) -> Vec<T> {
    let mut column = Vec::with_capacity(capacity);
    column.spare_capacity_mut().fill_with(MaybeUninit::zeroed);
    black_box(&mut column);
    column
}

/// What reading the clock twice costs by itself.
fn clock_ns() -> u64 {
    let pairs = (0..1_000).map(|_| {
        let start_ns = thread_ns();
        thread_ns() - start_ns
    });
    pairs.min().unwrap()
}

fn fill<P: Peer>(peer: &mut P, deadlines_ms: &[u64], payloads: &[u64], keys: &mut Vec<P::Key>) -> f64 {
    let start_ns = thread_ns();
    for (deadlines_ms, payloads) in deadlines_ms.chunks(BATCH).zip(payloads.chunks(BATCH)) {
        peer.insert(deadlines_ms, payloads, keys);
    }
    (thread_ns() - start_ns) as f64 / deadlines_ms.len() as f64
}

/// Arms `timers`, cancels half of them in random order, arms as many again, and lets all fall due.
pub fn run<P: Peer>(timers: usize, mix: Mix, seed: u64) -> Figures {
    let mut dice = Dice(seed);
    let deadlines_ms: Vec<u64> = (0..timers).map(|_| mix.delay_ms(&mut dice)).collect();
    let payloads: Vec<u64> = (0..timers as u64).collect();
    let mut keys: Vec<P::Key> = warm(timers);
    let mut figures = Figures::default();

    let before = memory::taken();
    let mut peer = P::new();
    figures.insert_ns = fill(&mut peer, &deadlines_ms, &payloads, &mut keys);
    figures.bytes = (memory::taken() - before) as f64 / timers as f64;

    // Half of them, in random order: which ones is remembered by number, keys may be of any kind.
    let mut numbered: Vec<(u32, P::Key)> = (0..).zip(keys).collect();
    dice.shuffle(&mut numbered);
    let doomed: Vec<(u32, P::Key)> = numbered.split_off(timers / 2);
    let mut again_ms: Vec<u64> = Vec::with_capacity(doomed.len());
    let mut again: Vec<u64> = Vec::with_capacity(doomed.len());
    let mut batches: Vec<Vec<P::Key>> = Vec::new();
    for (at, (number, key)) in doomed.into_iter().enumerate() {
        if at % BATCH == 0 {
            batches.push(Vec::with_capacity(BATCH));
        }
        batches.last_mut().unwrap().push(key);
        again_ms.push(deadlines_ms[number as usize]);
        again.push(payloads[number as usize]);
    }
    let start_ns = thread_ns();
    batches.into_iter().for_each(|keys| peer.cancel(keys));
    figures.cancel_ns = (thread_ns() - start_ns) as f64 / again.len() as f64;

    let mut keys = warm(again.len());
    figures.insert_again_ns = fill(&mut peer, &again_ms, &again, &mut keys);
    numbered.into_iter().map(|(_, key)| key).chain(keys).for_each(P::forget);

    figures.next_ns = next(&peer);
    let now_ms = expire(&mut peer, mix, timers, &mut figures);

    // The same once more, in a peer that has had all its memory before.
    let later_ms: Vec<u64> = deadlines_ms.iter().map(|deadline_ms| now_ms + deadline_ms).collect();
    let mut keys = warm(timers);
    figures.refill_ns = fill(&mut peer, &later_ms, &payloads, &mut keys);
    keys.into_iter().for_each(P::forget);
    figures
}

/// Asks when there is something to do, often; 0 for a peer that cannot say.
fn next<P: Peer>(peer: &P) -> f64 {
    const TIMES: usize = 10_000;
    if peer.next_ms().is_none() {
        return 0.0;
    }
    let start_ns = thread_ns();
    (0..TIMES).for_each(|_| _ = black_box(black_box(peer).next_ms()));
    (thread_ns() - start_ns) as f64 / TIMES as f64
}

/// Lets all fall due; returns the instant at which that was so.
fn expire<P: Peer>(peer: &mut P, mix: Mix, timers: usize, figures: &mut Figures) -> u64 {
    let mut due = warm(timers);
    let clock_ns = clock_ns();
    let (mut spent_ns, mut worst_ns, mut worst_idle_ns) = (0, 0, 0);
    for to_ms in mix.steps_ms() {
        peer.prepare(to_ms);
        let fired = due.len();
        let start_ns = thread_ns();
        peer.advance(to_ms, &mut due);
        let ns = (thread_ns() - start_ns).saturating_sub(clock_ns);
        spent_ns += ns;
        if to_ms <= MINUTE_MS {
            worst_ns = worst_ns.max(ns);
            if due.len() == fired {
                worst_idle_ns = worst_idle_ns.max(ns);
            }
        }
    }
    assert_eq!(due.len(), timers, "timers were lost");
    due.sort_unstable();
    assert!(due.iter().zip(0..).all(|(&payload, expected)| payload == expected), "a timer fired twice");
    figures.expire_ns = spent_ns as f64 / timers as f64;
    figures.worst_tick_us = worst_ns as f64 / 1e3;
    figures.worst_idle_tick_us = worst_idle_ns as f64 / 1e3;
    mix.steps_ms().last().copied().unwrap_or_default()
}
