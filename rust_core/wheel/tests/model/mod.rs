//! The oracle: an ordered map of (tick, order of arming), run beside the wheel and compared at every step.
#![allow(dead_code)] // each test file uses its own part

use std::collections::{BTreeMap, HashMap};

use cuptime_wheel::{Config, Due, Progress, TimerKey, Wheel, WheelError};

/// A small generator of its own, so that a seed means the same run everywhere (splitmix64).
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }

    /// Every order of magnitude below `2^bits` is equally likely.
    pub fn log_uniform(&mut self, bits: u64) -> u64 {
        let width = self.below(bits + 1);
        self.roll() & ((1_u64 << width) - 1)
    }
}

#[derive(Clone, Copy)]
struct Armed {
    key: TimerKey,
    payload: u64,
    deadline_ms: u64,
}

/// What the wheel promises, in the plainest form.
struct Model {
    tick_ms: u64,
    now_ms: u64,
    now_tick: u64,
    arming: u64,
    queue: BTreeMap<(u64, u64), Armed>,
    places: HashMap<TimerKey, (u64, u64)>,
    /// By key: payload, and what is left of the delay.
    paused: BTreeMap<TimerKey, (u64, u64)>,
}

impl Model {
    fn arm(&mut self, key: TimerKey, deadline_ms: u64, payload: u64) {
        let place = (deadline_ms.div_ceil(self.tick_ms).max(self.now_tick), self.arming);
        self.arming += 1;
        self.queue.insert(place, Armed { key, payload, deadline_ms });
        assert!(self.places.insert(key, place).is_none(), "a key was given out twice: {key:?}");
    }

    /// Takes a timer out, armed or paused.
    fn disarm(&mut self, key: TimerKey) -> Option<Armed> {
        if let Some((payload, _)) = self.paused.remove(&key) {
            return Some(Armed { key, payload, deadline_ms: 0 });
        }
        let place = self.places.remove(&key)?;
        self.queue.remove(&place)
    }

    fn advance(&mut self, to_ms: u64, limit: usize) -> (Vec<Due>, bool) {
        let to_ms = to_ms.max(self.now_ms);
        let target = to_ms / self.tick_ms;
        let mut due = Vec::new();
        while let Some((&(tick, arming), &armed)) = self.queue.first_key_value() {
            if tick > target {
                break;
            }
            if tick > self.now_tick {
                self.now_tick = tick;
                self.now_ms = tick * self.tick_ms;
            }
            if due.len() == limit {
                return (due, false);
            }
            self.queue.remove(&(tick, arming));
            self.places.remove(&armed.key);
            due.push(Due { key: armed.key, payload: armed.payload, deadline_ms: armed.deadline_ms });
        }
        self.now_ms = to_ms;
        self.now_tick = target;
        (due, true)
    }
}

/// A wheel and its oracle.
pub struct Pair {
    pub wheel: Wheel,
    model: Model,
    /// Every key ever given out, stale ones included.
    keys: Vec<TimerKey>,
    payload: u64,
}

impl Pair {
    pub fn new(tick_ms: u64, capacity: usize, start_ms: u64) -> Self {
        let wheel = Wheel::new(Config { tick_ms, capacity }, start_ms).unwrap();
        let model = Model {
            tick_ms,
            now_ms: start_ms,
            now_tick: start_ms / tick_ms,
            arming: 0,
            queue: BTreeMap::new(),
            places: HashMap::new(),
            paused: BTreeMap::new(),
        };
        Self { wheel, model, keys: Vec::new(), payload: 0 }
    }

    pub fn now_ms(&self) -> u64 {
        self.model.now_ms
    }

    fn held(&self) -> usize {
        self.model.queue.len() + self.model.paused.len()
    }

    /// A window: wherever in it the wheel puts the timer, that is its deadline from then on.
    pub fn insert_within(&mut self, deadline_ms: u64, slack_ms: u64) {
        let full = self.held() == self.wheel.capacity();
        let Ok(key) = self.wheel.insert_within(deadline_ms, slack_ms, self.payload + 1) else {
            assert!(full);
            return;
        };
        self.payload += 1;
        let chosen_ms = self.wheel.deadline_ms(key).unwrap();
        assert!((deadline_ms..=deadline_ms.saturating_add(slack_ms)).contains(&chosen_ms));
        self.model.arm(key, chosen_ms, self.payload);
        self.keys.push(key);
    }

    pub fn reschedule_within(&mut self, key: TimerKey, deadline_ms: u64, slack_ms: u64) {
        let window = deadline_ms..=deadline_ms.saturating_add(slack_ms);
        let Some(moved) = self.wheel.reschedule_within(key, deadline_ms, slack_ms) else {
            assert!(self.model.disarm(key).is_none());
            return;
        };
        let chosen_ms = self.wheel.deadline_ms(moved).unwrap();
        assert!(window.contains(&chosen_ms));
        if moved != key {
            let armed = self.model.disarm(key).expect("it was armed");
            assert!(!window.contains(&armed.deadline_ms) || armed.deadline_ms == 0 || self.model.tick_ms > 1);
            self.model.arm(moved, chosen_ms, armed.payload);
            self.keys.push(moved);
        }
    }

    pub fn pause(&mut self, key: TimerKey) {
        let was_paused = self.model.paused.contains_key(&key);
        let deadline_ms = self.wheel.deadline_ms(key);
        let Some(paused) = self.wheel.pause(key) else {
            assert!(self.model.disarm(key).is_none());
            return;
        };
        if was_paused {
            assert_eq!(paused, key);
            return;
        }
        let armed = self.model.disarm(key).expect("it was armed");
        assert_eq!(deadline_ms, Some(armed.deadline_ms));
        let left_ms = armed.deadline_ms.saturating_sub(self.model.now_ms);
        assert!(self.model.paused.insert(paused, (armed.payload, left_ms)).is_none());
        self.keys.push(paused);
    }

    pub fn resume(&mut self, key: TimerKey) {
        let Some(resumed) = self.wheel.resume(key) else {
            assert!(self.model.disarm(key).is_none());
            return;
        };
        if let Some((payload, left_ms)) = self.model.paused.remove(&key) {
            self.model.arm(resumed, self.model.now_ms.saturating_add(left_ms), payload);
            self.keys.push(resumed);
        } else {
            assert!(resumed == key && self.model.places.contains_key(&key));
        }
    }

    pub fn insert(&mut self, deadline_ms: u64) {
        self.payload += 1;
        let full = self.held() == self.wheel.capacity();
        match self.wheel.insert(deadline_ms, self.payload) {
            Ok(key) => {
                assert!(!full, "armed beyond capacity");
                self.model.arm(key, deadline_ms, self.payload);
                self.keys.push(key);
            }
            Err(refusal) => {
                assert!(full);
                assert_eq!(refusal, WheelError::Full { capacity: self.wheel.capacity() });
            }
        }
    }

    pub fn insert_batch(&mut self, deadlines_ms: &[u64]) {
        let payloads: Vec<u64> = (1..=deadlines_ms.len() as u64).map(|step| self.payload + step).collect();
        self.payload += deadlines_ms.len() as u64;
        let full = self.held() + deadlines_ms.len() > self.wheel.capacity();
        let mut keys = Vec::new();
        assert_eq!(self.wheel.insert_batch(deadlines_ms, &payloads, &mut keys).is_err(), full);
        assert_eq!(keys.len(), if full { 0 } else { deadlines_ms.len() });
        for ((&key, &deadline_ms), &payload) in keys.iter().zip(deadlines_ms).zip(&payloads) {
            self.model.arm(key, deadline_ms, payload);
            self.keys.push(key);
        }
    }

    /// Any key ever given out, often stale; young ones are likelier.
    pub fn pick(&self, roll: u64) -> Option<TimerKey> {
        let recent = (self.keys.len() as u64).min(if roll & 1 == 0 { 64 } else { u64::MAX });
        (recent > 0).then(|| self.keys[self.keys.len() - 1 - (roll >> 1) as usize % recent as usize])
    }

    pub fn cancel(&mut self, key: TimerKey) {
        let armed = self.model.disarm(key).is_some();
        assert_eq!(self.wheel.contains(key), armed);
        assert_eq!(self.wheel.cancel(key), armed);
        assert!(!self.wheel.cancel(key));
    }

    pub fn cancel_batch(&mut self, keys: &[TimerKey]) {
        let expected: Vec<bool> = keys.iter().map(|&key| self.model.disarm(key).is_some()).collect();
        let mut cancelled = Vec::new();
        let count = self.wheel.cancel_batch(keys, &mut cancelled);
        assert_eq!((count, cancelled), (expected.iter().filter(|&&armed| armed).count(), expected));
    }

    pub fn reschedule(&mut self, key: TimerKey, deadline_ms: u64) {
        let armed = self.model.disarm(key);
        let renewed = self.wheel.reschedule(key, deadline_ms);
        assert_eq!(renewed.is_some(), armed.is_some());
        if let (Some(renewed), Some(armed)) = (renewed, armed) {
            assert!(!self.wheel.contains(key) && self.wheel.payload(renewed) == Some(armed.payload));
            self.model.arm(renewed, deadline_ms, armed.payload);
            self.keys.push(renewed);
        }
    }

    pub fn reschedule_batch(&mut self, keys: &[TimerKey], deadlines_ms: &[u64]) {
        let mut renewed = Vec::new();
        let count = self.wheel.reschedule_batch(keys, deadlines_ms, &mut renewed).unwrap();
        assert_eq!(count, renewed.iter().flatten().count());
        for ((&key, &deadline_ms), renewed) in keys.iter().zip(deadlines_ms).zip(renewed) {
            let armed = self.model.disarm(key);
            assert_eq!(renewed.is_some(), armed.is_some());
            if let (Some(renewed), Some(armed)) = (renewed, armed) {
                self.model.arm(renewed, deadline_ms, armed.payload);
                self.keys.push(renewed);
            }
        }
    }

    /// Advances both and compares what fell due: keys, payloads, deadlines, order, and where time stands. The
    /// wheel may stop at its bound of moves, with nothing due and not done: then it is called again.
    pub fn advance(&mut self, to_ms: u64, limit: usize) -> Progress {
        let mut due = Vec::new();
        let mut progress = self.wheel.advance(to_ms, limit, &mut due);
        while !progress.done && due.len() < limit {
            assert_eq!(
                self.wheel.next_event_ms(),
                Some(self.wheel.now_ms()),
                "it wants to be called again at once"
            );
            let before = self.wheel.stats().forced;
            let again = self.wheel.advance(to_ms, limit - due.len(), &mut due);
            assert!(again.fired > 0 || again.done || self.wheel.stats().forced > before, "no progress");
            progress = Progress { fired: progress.fired + again.fired, done: again.done };
        }
        let (expected, done) = self.model.advance(to_ms, limit);
        assert_eq!(due, expected, "to {to_ms} at most {limit}");
        assert_eq!(progress, Progress { fired: expected.len(), done });
        assert_eq!(self.wheel.now_ms(), self.model.now_ms);
        assert!(due.iter().all(|timer| timer.deadline_ms <= to_ms.max(self.model.now_ms)), "fired early");
        progress
    }

    /// Advances to just before the time the wheel asks to be called at (nothing may fall due), then to it.
    pub fn advance_to_next(&mut self) {
        let Some(next_ms) = self.check_next() else { return };
        if next_ms > self.now_ms() {
            assert_eq!(self.advance(next_ms - 1, usize::MAX).fired, 0);
        }
        self.advance(next_ms, usize::MAX);
    }

    /// The next call: not in the past, not after the next firing, and exact when only ticks are occupied.
    pub fn check_next(&self) -> Option<u64> {
        let next_ms = self.wheel.next_event_ms();
        let Some((&(tick, _), _)) = self.model.queue.first_key_value() else {
            assert_eq!(next_ms, None);
            return None;
        };
        let due_ms = tick.saturating_mul(self.model.tick_ms).max(self.model.now_ms);
        let next_ms = next_ms.expect("timers are armed");
        assert!(self.model.now_ms <= next_ms && next_ms <= due_ms, "{next_ms} for {due_ms}");
        // Never a call for nothing at once: while no timer is due, the next call is at least a tick away.
        let later = next_ms / self.model.tick_ms > self.model.now_tick || next_ms == u64::MAX;
        assert!(tick <= self.model.now_tick || later);
        let stats = self.wheel.stats();
        if stats.pending_by_level[0] == stats.pending {
            assert_eq!(next_ms, due_ms);
        }
        Some(next_ms)
    }

    /// Everything the wheel says of itself, against the oracle.
    pub fn check_whole(&self) {
        self.wheel.invariant().unwrap();
        self.check_next();
        assert_eq!(self.wheel.len(), self.model.queue.len());
        assert_eq!(self.wheel.is_empty(), self.model.queue.is_empty());
        let paused = self.wheel.iter_paused().map(|timer| (timer.key, (timer.payload, timer.left_ms)));
        assert_eq!(paused.collect::<BTreeMap<_, _>>(), self.model.paused);
        assert_eq!(self.wheel.paused(), self.model.paused.len());
        // A snapshot lists the timers of one tick in firing order: a stable sort by tick is the oracle's order.
        let mut listed: Vec<Due> = self.wheel.iter().collect();
        listed.sort_by_key(|timer| timer.deadline_ms.div_ceil(self.model.tick_ms).max(self.model.now_tick));
        let expected: Vec<Due> = (self.model.queue.values())
            .map(|armed| Due { key: armed.key, payload: armed.payload, deadline_ms: armed.deadline_ms })
            .collect();
        assert_eq!(listed, expected);
    }

    /// Lets everything fall due, a bounded step at a time.
    pub fn drain(&mut self, limit: usize) {
        while let Some((&(tick, _), _)) = self.model.queue.last_key_value() {
            let to_ms = tick.saturating_mul(self.model.tick_ms).max(self.model.now_ms);
            if to_ms / self.model.tick_ms < tick {
                break; // due after the end of time
            }
            self.advance(to_ms, limit);
        }
        self.check_whole();
    }
}
