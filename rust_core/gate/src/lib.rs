//! Bounded counters with reservations: never more is taken than there is.
//!
//! A reservation is named by an order id and takes amounts from several counters, all of them or none. It is
//! *held* until a deadline, then *committed* (it lasts) or *released* (it is given back); what is neither by its
//! deadline is given back by [`Counters::expire`]. A part of a reservation may end earlier by itself: a fridge slot
//! is free again at pick-up.
//!
//! Messages come twice, late and in the wrong order, so every operation may be repeated:
//!
//! - the same reservation again is the same reservation; a different one under the same name is refused;
//! - a release leaves a *tombstone* with its instant. A reserve that was sent before that instant and comes after
//!   the release is refused; one sent later is new and goes through. Instants are the caller's, there is no clock
//!   here.
//!
//! A limit may be lowered below what is taken; nothing new is then given until enough came back. A counter without
//! a limit of its own has that of its parent (`capacity/7` for `capacity/7/20261124`), and without either 0.
//!
//! Invariant, checked by [`Counters::check`] and after each step of the property test: what a counter has taken is
//! the sum of the parts of all reservations that are not free yet, and a reserve never takes it over its limit.

mod tombstones;

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;
use thiserror::Error;
use tombstones::Tombstones;

/// Part of a reservation that is not free before its release.
pub const UNTIL_RELEASED: i64 = 0;

/// One amount that a reservation takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need<'a> {
    /// The counter.
    pub key: &'a str,
    /// How much, at least 1.
    pub amount: i64,
    /// When this part is free again by itself, UTC ms, or [`UNTIL_RELEASED`].
    pub free_at_ms: i64,
}

/// Why a reserve was refused; the text is what callers see.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// This counter has not enough left.
    #[error("{0}")]
    Key(String),
    /// The order was released after this reserve was sent.
    #[error("released/{0}")]
    Released(i64),
    /// The order has a different reservation.
    #[error("order/{0}")]
    Different(i64),
    /// There are as many reservations as may be.
    #[error("reservations/{0}")]
    Full(usize),
}

/// What is wrong with the arguments; nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Invalid {
    /// Amounts are at least 1.
    #[error("the amount of {key} must be at least 1, not {amount}")]
    Amount {
        /// The counter.
        key: String,
        /// What was given.
        amount: i64,
    },
    /// Limits are not negative.
    #[error("the limit of {key} must not be negative, but is {limit}")]
    Limit {
        /// The counter.
        key: String,
        /// What was given.
        limit: i64,
    },
}

#[derive(Debug)]
struct Counter {
    key: Box<str>,
    parent: Option<u32>,
    limit: Option<i64>,
    taken: i64,
}

#[derive(Clone, Copy, Debug)]
struct Part {
    counter: u32,
    amount: i64,
    free_at_ms: i64,
    /// False once it was given back by itself.
    taken: bool,
}

#[derive(Debug)]
struct Reservation {
    body: Box<str>,
    /// `i64::MAX` when committed.
    deadline_ms: i64,
    parts: Box<[Part]>,
}

impl Reservation {
    /// When something happens to it by itself, if ever.
    fn next_ms(&self) -> i64 {
        let parts = self.parts.iter().filter(|part| part.taken && part.free_at_ms != UNTIL_RELEASED);
        parts.map(|part| part.free_at_ms).fold(self.deadline_ms, i64::min)
    }
}

/// The counters and the reservations that took from them.
#[derive(Debug)]
pub struct Counters {
    by_key: FxHashMap<Box<str>, u32>,
    counters: Vec<Counter>,
    reservations: FxHashMap<i64, Reservation>,
    /// (`Reservation::next_ms`, id) of every reservation to which something happens by itself.
    due: BTreeSet<(i64, i64)>,
    tombstones: Tombstones,
    reservations_max: usize,
    tombstone_ms: i64,
}

impl Counters {
    /// Empty: no limits, so nothing is given. Tombstones are kept for `tombstone_ms`, and `reservations_max` of them
    /// at most.
    pub fn new(reservations_max: usize, tombstone_ms: i64) -> Self {
        Self {
            by_key: FxHashMap::default(),
            counters: Vec::new(),
            reservations: FxHashMap::default(),
            due: BTreeSet::new(),
            tombstones: Tombstones::default(),
            reservations_max,
            tombstone_ms,
        }
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        *self = Self::new(self.reservations_max, self.tombstone_ms);
    }

    /// Sets the limit of a counter, which may lie below what is taken.
    ///
    /// # Errors
    /// A negative limit.
    pub fn set_limit(&mut self, key: &str, limit: i64) -> Result<(), Invalid> {
        if limit < 0 {
            return Err(Invalid::Limit { key: key.to_owned(), limit });
        }
        let counter = self.counter(key);
        self.counters[counter as usize].limit = Some(limit);
        Ok(())
    }

    /// Takes everything a reservation needs, or nothing. `body` is kept for the caller and tells reservations of the
    /// same name apart. The hold ends at `now_ms + hold_ms`.
    ///
    /// # Errors
    /// An amount below 1. The inner result is the refusal.
    pub fn reserve(
        &mut self,
        id: i64,
        body: &str,
        needs: &[Need<'_>],
        now_ms: i64,
        hold_ms: i64,
    ) -> Result<Result<(), Refusal>, Invalid> {
        let mut parts = self.parts(needs, now_ms)?;
        if let Some(known) = self.reservations.get(&id) {
            return Ok(if *known.body == *body { Ok(()) } else { Err(Refusal::Different(id)) });
        }
        if self.tombstones.refuse(id, now_ms) {
            return Ok(Err(Refusal::Released(id)));
        }
        if self.reservations.len() >= self.reservations_max {
            return Ok(Err(Refusal::Full(self.reservations_max)));
        }
        for index in 0..parts.len() {
            let part = parts[index];
            let over = self.taken_of(part.counter) + part.amount > self.limit_of(part.counter);
            if part.taken && over {
                self.give_back(&mut parts[..index], i64::MAX, |_, _| ());
                return Ok(Err(Refusal::Key(self.counters[part.counter as usize].key.to_string())));
            }
            self.counters[part.counter as usize].taken += if part.taken { part.amount } else { 0 };
        }
        self.tombstones.forget(id);
        self.keep(id, body, now_ms.saturating_add(hold_ms), parts);
        Ok(Ok(()))
    }

    /// Puts in a committed reservation as storage has it, whatever the limits say: what stands, stands. One that is
    /// there under this name gives back what it has first. False when there was one.
    ///
    /// # Errors
    /// An amount below 1.
    pub fn stand(&mut self, id: i64, body: &str, needs: &[Need<'_>], now_ms: i64) -> Result<bool, Invalid> {
        let parts = self.parts(needs, now_ms)?;
        let before = self.reservations.remove(&id);
        let fresh = before.is_none();
        if let Some(mut before) = before {
            self.due.remove(&(before.next_ms(), id));
            self.give_back(&mut before.parts, i64::MAX, |_, _| ());
        }
        for part in parts.iter().filter(|part| part.taken) {
            self.counters[part.counter as usize].taken += part.amount;
        }
        self.keep(id, body, i64::MAX, parts);
        Ok(fresh)
    }

    /// Makes a reservation last. False when it is not there (any more).
    pub fn commit(&mut self, id: i64) -> bool {
        let Some(reservation) = self.reservations.get_mut(&id) else { return false };
        self.due.remove(&(reservation.next_ms(), id));
        reservation.deadline_ms = i64::MAX;
        let next_ms = reservation.next_ms();
        self.note_due(id, next_ms);
        true
    }

    /// Gives back what a reservation still has, held or committed, and returns its body; a reserve of this name sent
    /// before `now_ms` is refused from now on. None when it is not there: then one sent at `now_ms` is refused too.
    pub fn release(&mut self, id: i64, now_ms: i64) -> Option<String> {
        let Some(mut reservation) = self.reservations.remove(&id) else {
            self.bury(id, now_ms, now_ms);
            return None;
        };
        self.due.remove(&(reservation.next_ms(), id));
        self.give_back(&mut reservation.parts, i64::MAX, |_, _| ());
        // The instant itself stays open: a caller may release and take something else within one millisecond.
        self.bury(id, now_ms.saturating_sub(1), now_ms);
        Some(reservation.body.into_string())
    }

    /// Releases the holds that ended at or before `now_ms` and frees the parts whose time came. Returns what was
    /// given back, by key.
    pub fn expire(&mut self, now_ms: i64) -> BTreeMap<String, i64> {
        let mut freed = BTreeMap::new();
        while let Some(&(at_ms, id)) = self.due.first() {
            if at_ms > now_ms {
                break;
            }
            self.due.pop_first();
            // What is due is there: both change together.
            let Some(mut reservation) = self.reservations.remove(&id) else { continue };
            let ended = reservation.deadline_ms <= now_ms;
            let until_ms = if ended { i64::MAX } else { now_ms };
            self.give_back(&mut reservation.parts, until_ms, |key, amount| {
                *freed.entry(key.to_owned()).or_insert(0) += amount;
            });
            if ended {
                self.bury(id, reservation.deadline_ms.saturating_sub(1), now_ms);
            } else {
                let next_ms = reservation.next_ms();
                self.reservations.insert(id, reservation);
                self.note_due(id, next_ms);
            }
        }
        self.tombstones.purge(now_ms.saturating_sub(self.tombstone_ms), self.reservations_max);
        freed
    }

    /// What a reserve could still take; 0 when more is taken than the limit allows.
    pub fn free(&self, key: &str) -> i64 {
        let taken = self.taken(key);
        let own = self.by_key.get(key).and_then(|&counter| self.counters[counter as usize].limit);
        let parent = || parent_of(key).and_then(|parent| self.by_key.get(parent));
        let limit = own.or_else(|| parent().and_then(|&counter| self.counters[counter as usize].limit));
        (limit.unwrap_or(0) - taken).max(0)
    }

    /// What is taken.
    pub fn taken(&self, key: &str) -> i64 {
        self.by_key.get(key).map_or(0, |&counter| self.taken_of(counter))
    }

    /// How many reservations there are.
    pub fn len(&self) -> usize {
        self.reservations.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.reservations.is_empty()
    }

    /// Adds everything up again and compares; the text says what does not add up.
    ///
    /// # Errors
    /// A counter whose taken amount is not the sum of its reservations' parts, or a reservation that would not be
    /// found when it is due.
    pub fn check(&self) -> Result<(), String> {
        let mut sums = vec![0_i64; self.counters.len()];
        let mut due = BTreeSet::new();
        for (&id, reservation) in &self.reservations {
            for part in reservation.parts.iter().filter(|part| part.taken) {
                sums[part.counter as usize] += part.amount;
            }
            if reservation.next_ms() != i64::MAX {
                due.insert((reservation.next_ms(), id));
            }
        }
        for (counter, sum) in self.counters.iter().zip(sums) {
            if counter.taken != sum {
                return Err(format!("{}: taken {}, reservations {sum}", counter.key, counter.taken));
            }
        }
        if due == self.due {
            Ok(())
        } else {
            Err("what is due is not what is noted".to_owned())
        }
    }

    fn parts(&mut self, needs: &[Need<'_>], now_ms: i64) -> Result<Box<[Part]>, Invalid> {
        if let Some(need) = needs.iter().find(|need| need.amount < 1) {
            return Err(Invalid::Amount { key: need.key.to_owned(), amount: need.amount });
        }
        let part = |need: &Need<'_>| Part {
            counter: self.counter(need.key),
            amount: need.amount,
            free_at_ms: need.free_at_ms,
            taken: need.free_at_ms == UNTIL_RELEASED || need.free_at_ms > now_ms,
        };
        Ok(needs.iter().map(part).collect())
    }

    fn counter(&mut self, key: &str) -> u32 {
        if let Some(&counter) = self.by_key.get(key) {
            return counter;
        }
        let parent = parent_of(key).map(|parent| self.counter(parent));
        let counter = u32::try_from(self.counters.len()).expect("fewer than 2^32 counters");
        self.counters.push(Counter { key: key.into(), parent, limit: None, taken: 0 });
        self.by_key.insert(key.into(), counter);
        counter
    }

    fn limit_of(&self, counter: u32) -> i64 {
        let counter = &self.counters[counter as usize];
        let parent = || counter.parent.and_then(|parent| self.counters[parent as usize].limit);
        counter.limit.or_else(parent).unwrap_or(0)
    }

    fn taken_of(&self, counter: u32) -> i64 {
        self.counters[counter as usize].taken
    }

    fn keep(&mut self, id: i64, body: &str, deadline_ms: i64, parts: Box<[Part]>) {
        let reservation = Reservation { body: body.into(), deadline_ms, parts };
        self.note_due(id, reservation.next_ms());
        self.reservations.insert(id, reservation);
    }

    fn note_due(&mut self, id: i64, next_ms: i64) {
        if next_ms != i64::MAX {
            self.due.insert((next_ms, id));
        }
    }

    /// Gives back the parts that are still taken and free at or before `until_ms` (`i64::MAX`: all).
    fn give_back(&mut self, parts: &mut [Part], until_ms: i64, mut note: impl FnMut(&str, i64)) {
        for part in parts.iter_mut().filter(|part| part.taken) {
            if until_ms == i64::MAX || (part.free_at_ms != UNTIL_RELEASED && part.free_at_ms <= until_ms) {
                part.taken = false;
                let counter = &mut self.counters[part.counter as usize];
                counter.taken -= part.amount;
                note(&counter.key, part.amount);
            }
        }
    }

    fn bury(&mut self, id: i64, refuses_until_ms: i64, now_ms: i64) {
        self.tombstones.put(id, refuses_until_ms, now_ms);
        self.tombstones.purge(i64::MIN, self.reservations_max);
    }
}

/// The counter whose limit a counter takes when it has none of its own.
fn parent_of(key: &str) -> Option<&str> {
    key.rsplit_once('/').map(|(parent, _)| parent)
}
