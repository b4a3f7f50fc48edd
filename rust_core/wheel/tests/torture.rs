//! A campaign that is limited by the wheel and not by its oracle: a billion operations in a minute or two.
//!
//! An ordered map as the oracle costs a microsecond an operation. Here each timer has a record, found by its payload, and
//! what is promised is checked when a timer comes out, in constant time:
//!
//! - *exactly once:* its record is live, has this key and this deadline, and is dead from then on; at the end all are dead;
//! - *in order:* (tick, order of arming) grows from each timer that comes out to the next, through the whole life;
//! - *never early:* its tick is at most the tick advanced to;
//! - *never late:* its tick is after the last tick whose passing was said to be done, or it was armed since;
//! - *stale keys:* records of dead timers are picked as often as others, and their keys must name nobody.
//!
//! That a wheel which hastens, delays, reorders or repeats a timer is caught is proved below, by telling records lies.
//!
//! `make torture-wheel` runs it. `WHEEL_OPERATIONS` says how many (default a billion), `WHEEL_SEED` where to begin, so that
//! runs add up.

mod model;

use std::time::Instant;

use cuptime_wheel::{Config, Due, TimerKey, Wheel};
use model::Dice;

const START_MS: u64 = 1_795_392_000_000;
const HOUR_MS: u64 = 3_600_000;
/// Deadlines stay below this, so that a life can be drained.
const END_MS: u64 = u64::MAX >> 4;

#[derive(Clone, Copy, PartialEq)]
enum State {
    Dead,
    Armed,
    Paused { left_ms: u64 },
}

#[derive(Clone, Copy)]
struct Record {
    state: State,
    key: TimerKey,
    /// The number of the record, and above it how often it was used.
    payload: u64,
    deadline_ms: u64,
    tick: u64,
    arming: u64,
}

struct Life {
    wheel: Wheel,
    dice: Dice,
    tick_ms: u64,
    /// Most deadlines are less than this ahead: a minute, or so far that a jump passes crowded slots of the upper rings.
    span_ms: u64,
    records: Vec<Record>,
    dead: Vec<u32>,
    armings: u64,
    /// Tick and arming of the timer that came out last.
    last_out: (u64, u64),
    /// The last tick that was passed to the end, and the armings by then.
    passed: (u64, u64),
    operations: u64,
    fired: u64,
    due: Vec<Due>,
    keys: Vec<TimerKey>,
    /// Numbers of the records of the batch at hand.
    chosen: Vec<u32>,
}

impl Life {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let tick_ms = [10, 1, 10, 1, 25, 2][seed as usize % 6];
        let start_ms = START_MS + dice.below(7 * 24 * HOUR_MS);
        Self {
            wheel: Wheel::new(Config { tick_ms, capacity: 1 << 22 }, start_ms).unwrap(),
            tick_ms,
            span_ms: [60_000, 4 * HOUR_MS][seed as usize / 6 % 2],
            records: Vec::new(),
            dead: Vec::new(),
            armings: 0,
            last_out: (0, 0),
            passed: (0, 0),
            operations: 0,
            fired: 0,
            due: Vec::new(),
            keys: Vec::new(),
            chosen: Vec::new(),
            dice,
        }
    }

    fn live(&self) -> usize {
        self.records.len() - self.dead.len()
    }

    /// Mostly within the reach of the rings, with a share at the edges of their slots and a share of years.
    fn deadline_ms(&mut self) -> u64 {
        const EDGES_MS: [u64; 6] = [1_000, 5_120, 60_000, 127_000, HOUR_MS, 63 * HOUR_MS];
        let now_ms = self.wheel.now_ms();
        let dice = &mut self.dice;
        let ahead_ms = match dice.below(64) {
            0 => dice.log_uniform(40),
            1 => return now_ms.saturating_sub(dice.log_uniform(34)),
            2..=5 => EDGES_MS[dice.below(6) as usize] - 20 + dice.below(41),
            6..=20 => dice.log_uniform(28),
            _ => dice.below(self.span_ms),
        };
        (now_ms + ahead_ms).min(END_MS)
    }

    /// Takes a record for a timer that is about to be armed.
    fn record(&mut self) -> u32 {
        self.dead.pop().unwrap_or_else(|| {
            let number = self.records.len() as u64;
            self.records.push(Record {
                state: State::Dead,
                key: TimerKey::NOBODY,
                payload: number,
                deadline_ms: 0,
                tick: 0,
                arming: 0,
            });
            number as u32
        })
    }

    fn armed(&mut self, number: u32, key: TimerKey, deadline_ms: u64) {
        let now_tick = self.wheel.now_ms() / self.tick_ms;
        self.armings += 1;
        self.operations += 1;
        let record = &mut self.records[number as usize];
        assert!(record.key != key, "a key was given out twice");
        record.state = State::Armed;
        record.key = key;
        record.deadline_ms = deadline_ms;
        record.tick = deadline_ms.div_ceil(self.tick_ms).max(now_tick);
        record.arming = self.armings;
    }

    fn died(&mut self, number: u32) {
        let record = &mut self.records[number as usize];
        record.state = State::Dead;
        record.payload += 1 << 32;
        self.dead.push(number);
    }

    fn any(&mut self) -> Option<u32> {
        let count = self.records.len() as u64;
        (count > 0).then(|| self.dice.below(count) as u32)
    }

    fn insert(&mut self) {
        let (number, deadline_ms) = (self.record(), self.deadline_ms());
        let payload = self.records[number as usize].payload;
        let (key, deadline_ms) = if self.dice.below(8) == 0 {
            let slack_ms = self.dice.log_uniform(20);
            let key = self.wheel.insert_within(deadline_ms, slack_ms, payload).unwrap();
            let chosen_ms = self.wheel.deadline_ms(key).unwrap();
            assert!((deadline_ms..=deadline_ms + slack_ms).contains(&chosen_ms));
            (key, chosen_ms)
        } else {
            (self.wheel.insert(deadline_ms, payload).unwrap(), deadline_ms)
        };
        self.armed(number, key, deadline_ms);
    }

    fn insert_batch(&mut self) {
        let count = self.dice.log_uniform(13);
        let numbers: Vec<u32> = (0..count).map(|_| self.record()).collect();
        let deadlines_ms: Vec<u64> = (0..count).map(|_| self.deadline_ms()).collect();
        let payloads: Vec<u64> =
            numbers.iter().map(|&number| self.records[number as usize].payload).collect();
        let mut keys = std::mem::take(&mut self.keys);
        keys.clear();
        self.wheel.insert_batch(&deadlines_ms, &payloads, &mut keys).unwrap();
        for ((&number, &key), &deadline_ms) in numbers.iter().zip(&keys).zip(&deadlines_ms) {
            self.armed(number, key, deadline_ms);
        }
        self.keys = keys;
    }

    fn cancel(&mut self) {
        let Some(number) = self.any() else { return };
        let Record { key, state, .. } = self.records[number as usize];
        self.operations += 1;
        assert_eq!(self.wheel.cancel(key), state != State::Dead);
        if state != State::Dead {
            self.died(number);
        }
    }

    /// Chooses records for a batch; none stands in it twice.
    fn choose(&mut self, bits: u64) {
        let count = self.dice.log_uniform(bits);
        let mut chosen = std::mem::take(&mut self.chosen);
        chosen.clear();
        chosen.extend((0..count).filter_map(|_| self.any()));
        chosen.sort_unstable();
        chosen.dedup();
        self.keys.clear();
        self.keys.extend(chosen.iter().map(|&number| self.records[number as usize].key));
        self.chosen = chosen;
    }

    fn cancel_batch(&mut self) {
        self.choose(12);
        let mut cancelled = Vec::new();
        self.wheel.cancel_batch(&self.keys, &mut cancelled);
        for (at, was_live) in cancelled.into_iter().enumerate() {
            let number = self.chosen[at];
            self.operations += 1;
            assert_eq!(was_live, self.records[number as usize].state != State::Dead);
            if was_live {
                self.died(number);
            }
        }
    }

    fn reschedule(&mut self) {
        let Some(number) = self.any() else { return };
        let (Record { key, state, .. }, deadline_ms) = (self.records[number as usize], self.deadline_ms());
        let moved = self.wheel.reschedule(key, deadline_ms);
        assert_eq!(moved.is_some(), state != State::Dead);
        self.operations += 1;
        if let Some(key) = moved {
            self.armed(number, key, deadline_ms);
        }
    }

    fn reschedule_batch(&mut self) {
        self.choose(11);
        let deadlines_ms: Vec<u64> = (0..self.keys.len()).map(|_| self.deadline_ms()).collect();
        let mut moved = Vec::new();
        self.wheel.reschedule_batch(&self.keys, &deadlines_ms, &mut moved).unwrap();
        for (at, key) in moved.into_iter().enumerate() {
            let number = self.chosen[at];
            self.operations += 1;
            assert_eq!(key.is_some(), self.records[number as usize].state != State::Dead);
            if let Some(key) = key {
                self.armed(number, key, deadlines_ms[at]);
            }
        }
    }

    fn pause_or_resume(&mut self) {
        let Some(number) = self.any() else { return };
        let Record { key, state, deadline_ms, .. } = self.records[number as usize];
        self.operations += 1;
        match state {
            State::Dead => assert!(self.wheel.pause(key).is_none() && self.wheel.resume(key).is_none()),
            State::Armed => {
                let left_ms = deadline_ms.saturating_sub(self.wheel.now_ms());
                let record = &mut self.records[number as usize];
                record.key = self.wheel.pause(key).unwrap();
                record.state = State::Paused { left_ms };
            }
            State::Paused { left_ms } => {
                let resumed = self.wheel.resume(key).unwrap();
                self.armed(number, resumed, (self.wheel.now_ms() + left_ms).min(END_MS));
            }
        }
    }

    fn advance(&mut self, to_ms: u64, limit: usize) {
        let before_ms = self.wheel.now_ms();
        let to_ms = to_ms.max(before_ms);
        let mut due = std::mem::take(&mut self.due);
        loop {
            due.clear();
            let progress = self.wheel.advance(to_ms, limit, &mut due);
            assert_eq!(progress.fired, due.len());
            self.operations += 1;
            due.iter().for_each(|timer| self.out(timer, to_ms / self.tick_ms));
            assert!((before_ms..=to_ms).contains(&self.wheel.now_ms()));
            if progress.done {
                assert_eq!(self.wheel.now_ms(), to_ms);
                self.passed = (to_ms / self.tick_ms, self.armings);
                break;
            }
            // Of a call that was cut at its limit the rest is often left, and something else happens first.
            if due.len() == limit && self.dice.below(2) == 0 {
                break;
            }
        }
        self.due = due;
    }

    /// A timer has come out.
    fn out(&mut self, timer: &Due, to_tick: u64) {
        let number = timer.payload as u32;
        let record = self.records[number as usize];
        assert!(record.state == State::Armed, "a timer fired that is not armed");
        assert_eq!(
            (timer.key, timer.payload, timer.deadline_ms),
            (record.key, record.payload, record.deadline_ms)
        );
        assert!(record.tick <= to_tick, "early");
        assert!(record.tick > self.passed.0 || record.arming > self.passed.1, "late");
        let place = (record.tick, record.arming);
        assert!(place > self.last_out, "out of order: {place:?} after {:?}", self.last_out);
        self.last_out = place;
        self.fired += 1;
        self.operations += 1;
        self.died(number);
    }

    /// The wheel is called when it asks to be: nothing is due a moment before.
    fn advance_to_next(&mut self) {
        let Some(next_ms) = self.wheel.next_event_ms().filter(|&next_ms| next_ms < END_MS) else { return };
        if next_ms > self.wheel.now_ms() {
            let fired = self.fired;
            self.advance(next_ms - 1, usize::MAX);
            assert_eq!(self.fired, fired, "next_event_ms was too late");
        }
        self.advance(next_ms, usize::MAX);
    }

    fn step(&mut self, population: usize, jump_bits: u64) {
        let now_ms = self.wheel.now_ms();
        let crowded = self.live() > population;
        match self.dice.below(64) {
            0..=7 if !crowded => self.insert_batch(),
            0..=9 => self.cancel_batch(),
            10..=25 if !crowded => self.insert(),
            10..=37 => self.cancel(),
            38..=43 => self.reschedule(),
            44..=45 => self.reschedule_batch(),
            46..=48 => self.pause_or_resume(),
            49 => drop(self.wheel.maintain(self.dice.below(500) as usize)),
            50..=51 => self.advance_to_next(),
            _ => {
                let limit = [usize::MAX, 4_096, 100, 1][self.dice.below(4) as usize];
                let by_ms = self.dice.log_uniform(jump_bits);
                self.advance((now_ms + by_ms).min(END_MS), limit);
            }
        }
    }

    /// Lets every timer go on and fall due; then no record may be live.
    fn drain(&mut self) {
        for number in 0..self.records.len() as u32 {
            if matches!(self.records[number as usize].state, State::Paused { .. }) {
                let Record { key, .. } = self.records[number as usize];
                assert!(self.wheel.cancel(key));
                self.died(number);
            }
        }
        let mut to_ms = self.wheel.now_ms();
        while !self.wheel.is_empty() {
            to_ms = to_ms.saturating_mul(2).min(u64::MAX >> 1);
            self.advance(to_ms, 65_536);
        }
        assert_eq!((self.live(), self.wheel.stats().garbage), (0, 0), "timers were lost");
    }
}

/// One life; returns operations and firings.
fn live_through(seed: u64, operations: u64) -> (u64, u64) {
    let mut life = Life::new(seed);
    let population = [300, 20_000, 200_000][life.dice.below(3) as usize];
    let jump_bits = [6, 11, 16, 23][life.dice.below(4) as usize];
    let mut check_at = operations / 4;
    while life.operations < operations {
        life.step(population, jump_bits);
        if life.operations >= check_at {
            life.wheel.invariant().unwrap();
            check_at += operations / 4;
        }
    }
    life.drain();
    life.wheel.invariant().unwrap();
    (life.operations, life.fired)
}

#[test]
fn a_few_lives_keep_every_promise() {
    let fired: u64 = (0..12).map(|seed| live_through(seed, 40_000).1).sum();
    assert!(fired > 50_000, "hardly anything fell due: {fired}");
}

/// The campaign: lives of two million operations.
#[test]
#[ignore = "a campaign of minutes; `make torture-wheel`"]
fn a_billion_operations_keep_every_promise() {
    let number = |name: &str, otherwise: u64| {
        std::env::var(name)
            .map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name}: a number")))
    };
    let (wanted, mut seed) = (number("WHEEL_OPERATIONS", 1_000_000_000), number("WHEEL_SEED", 1_000_000));
    let (start, mut operations, mut fired) = (Instant::now(), 0, 0);
    while operations < wanted {
        let life = live_through(seed, 2_000_000.min(wanted));
        (operations, fired, seed) = (operations + life.0, fired + life.1, seed + 1);
    }
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{operations} operations, {fired} firings, no promise broken, {seconds:.0} s; the next seed: {seed}"
    );
}

/// The record of a timer that is due soon is told a lie; that it comes out as it should must then be noticed.
fn deceived(lie: impl FnOnce(&mut Record, u64)) -> String {
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut life = Life::new(1);
        (0..100).for_each(|_| life.insert_batch());
        life.advance(life.wheel.now_ms(), usize::MAX);
        let now_ms = life.wheel.now_ms();
        let soon = |record: &&mut Record| (now_ms + 300..now_ms + 400).contains(&record.deadline_ms);
        lie(life.records.iter_mut().find(soon).unwrap(), now_ms / life.tick_ms);
        life.advance(now_ms + 500, usize::MAX);
        life.drain();
    }));
    let said = caught.expect_err("nothing was noticed");
    said.downcast_ref::<String>()
        .cloned()
        .or(said.downcast_ref::<&str>().map(|text| text.to_string()))
        .unwrap()
}

#[test]
fn what_the_campaign_would_notice() {
    assert!(deceived(|record, _| record.tick += 1 << 50).contains("early"));
    assert!(deceived(|record, _| record.tick = 0).contains("late"));
    assert!(deceived(|record, now_tick| record.tick = now_tick + 1).contains("out of order"));
    assert!(deceived(|record, _| record.state = State::Dead).contains("not armed"));
    assert!(deceived(|record, _| record.payload += 1 << 32).contains("left"));
}
