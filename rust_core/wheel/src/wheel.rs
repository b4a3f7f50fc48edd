//! The wheel's state and its operations on one timer. Slots are in `slot.rs`, batches in `batch.rs`, time moves in
//! `passage.rs`, garbage goes in `compaction.rs`, proofs are in `check.rs`.

use std::collections::BTreeMap;

use crate::batch::Scratch;
use crate::bitmap::Bitmap;
use crate::chunks::{ChunkPool, Ref};
use crate::compaction::Compaction;
use crate::grow::grow;
use crate::layout::{Layout, OVERFLOW, RINGS};
use crate::pause::Paused;
use crate::placement::Placement;
use crate::slab::{Slab, TimerKey, PAUSED};
use crate::slot::{Slot, DIRECT};
use crate::stats::Counters;

/// Deadlines further back than this are elders. A ref holds 32 bits of ms (49.7 days), of which
/// [`AHEAD_MS`] lie ahead of the present.
const ELDER_MS: u64 = 40 * 86_400_000;
/// More than the rings reach ahead (64 hours), less than 2^32 less [`ELDER_MS`].
const AHEAD_MS: u64 = 6 * 86_400_000;

/// Slots count refs in 32 bits, and garbage may be twice the timers.
const CAPACITY_MAX: usize = 1 << 30;

/// What a wheel is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Length of a tick in ms: a divisor of 1,000, at most 50.
    pub tick_ms: u64,
    /// Most timers that may be armed at once, cut to 2^30. Memory is taken as they come, not in advance.
    pub capacity: usize,
}

/// What can be refused; a refused call has changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WheelError {
    /// More timers than [`Config::capacity`] would be armed.
    Full {
        /// The limit that would be exceeded.
        capacity: usize,
    },
    /// [`Config::tick_ms`] is not a divisor of 1,000 up to 50.
    Tick {
        /// The tick length asked for.
        tick_ms: u64,
    },
    /// The columns of a batch differ in length.
    Columns {
        /// Length of the first column.
        left: usize,
        /// Length of the second column.
        right: usize,
    },
}

impl std::fmt::Display for WheelError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Full { capacity } => {
                write!(out, "the wheel is full: at most {capacity} timers can be armed")
            }
            Self::Tick { tick_ms } => {
                write!(out, "tick_ms must divide 1000 and be at most 50, not {tick_ms}")
            }
            Self::Columns { left, right } => write!(out, "columns differ in length: {left} and {right}"),
        }
    }
}

impl std::error::Error for WheelError {}

/// One timer: fallen due (from [`Wheel::advance`]) or still to come (from [`Wheel::iter`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Its key; stale already when it has fallen due.
    pub key: TimerKey,
    /// The number given when it was armed.
    pub payload: u64,
    /// The deadline exactly as given, not rounded.
    pub deadline_ms: u64,
}

/// A hierarchical timing wheel. See the [crate] documentation for the contract and the picture.
#[derive(Debug)]
pub struct Wheel {
    pub(crate) layout: Layout,
    pub(crate) capacity: usize,
    pub(crate) now_ms: u64,
    pub(crate) now_tick: u64,
    pub(crate) placement: Placement,
    pub(crate) slab: Slab,
    pub(crate) pool: ChunkPool,
    /// The rings' slots, then the overflow's buckets.
    pub(crate) slots: Vec<Slot>,
    /// By ring: which slots have live timers.
    pub(crate) occupied: [Bitmap; RINGS],
    /// Day number to slot id.
    pub(crate) overflow: BTreeMap<u64, u32>,
    /// Overflow buckets to be reused.
    pub(crate) spare_buckets: Vec<u32>,
    /// By index: deadlines that were weeks in the past when armed. Empty but after a long outage.
    pub(crate) elders: BTreeMap<u32, u64>,
    /// By index: timers whose time stands still.
    pub(crate) paused: BTreeMap<u32, Paused>,
    /// Refs in all slots, garbage included.
    pub(crate) refs: usize,
    /// Slots waiting for compaction; each at most once.
    pub(crate) dirty: Vec<u32>,
    pub(crate) compaction: Option<Compaction>,
    /// The first tick at which a slot above the ticks may be moved down, and the first at which one must have been;
    /// `u64::MAX` when there is none. Kept, since they are asked for in every call and seldom change.
    pub(crate) opens: u64,
    pub(crate) forces: u64,
    /// Slots that must be empty by now are not yet: the call that should have moved them was at its limit.
    pub(crate) forcing: bool,
    pub(crate) scratch: Scratch,
    pub(crate) counters: Counters,
}

impl Wheel {
    /// An empty wheel whose present is `start_ms`. Refuses a tick that is not a divisor of 1,000 up to 50.
    pub fn new(config: Config, start_ms: u64) -> Result<Self, WheelError> {
        let Some(layout) = Layout::new(config.tick_ms) else {
            return Err(WheelError::Tick { tick_ms: config.tick_ms });
        };
        let mut slots = Vec::new();
        for level in 0..RINGS {
            slots.extend((0..layout.slots(level)).map(|_| Slot::new(level)));
        }
        let mut wheel = Self {
            occupied: std::array::from_fn(|level| Bitmap::new(layout.slots(level))),
            placement: Placement::new(&layout),
            layout,
            capacity: config.capacity.min(CAPACITY_MAX),
            now_ms: start_ms,
            now_tick: 0,
            slab: Slab::new(),
            pool: ChunkPool::new(),
            slots,
            overflow: BTreeMap::new(),
            spare_buckets: Vec::new(),
            elders: BTreeMap::new(),
            paused: BTreeMap::new(),
            refs: 0,
            dirty: Vec::new(),
            compaction: None,
            opens: u64::MAX,
            forces: u64::MAX,
            forcing: false,
            scratch: Scratch::default(),
            counters: Counters::default(),
        };
        wheel.set_now(wheel.layout.reached_tick(start_ms));
        Ok(wheel)
    }

    /// Arms a timer. A deadline that has passed falls due at the next [`Wheel::advance`].
    pub fn insert(&mut self, deadline_ms: u64, payload: u64) -> Result<TimerKey, WheelError> {
        self.check_room(1)?;
        self.counters.inserted += 1;
        Ok(self.arm(deadline_ms, payload))
    }

    /// Disarms a timer, or drops a paused one; `false` when the key is stale.
    pub fn cancel(&mut self, key: TimerKey) -> bool {
        let Some(place) = self.slab.find(key) else { return false };
        self.counters.cancelled += 1;
        self.disarm(key.index(), place);
        true
    }

    /// Gives a timer another deadline, its payload kept: it queues behind the timers already armed for
    /// that tick. A paused one goes on. Returns its new key; the old one is stale. `None` when it was
    /// stale before.
    pub fn reschedule(&mut self, key: TimerKey, deadline_ms: u64) -> Option<TimerKey> {
        self.pay_for_garbage(1);
        let place = self.slab.find(key)?;
        let payload = self.payload_at(key.index(), place);
        Some(self.rearm(key.index(), place, deadline_ms, payload))
    }

    /// As [`Wheel::reschedule`], with a payload given anew: who knows it saves looking it up.
    pub fn replace(&mut self, key: TimerKey, deadline_ms: u64, payload: u64) -> Option<TimerKey> {
        self.pay_for_garbage(1);
        let place = self.slab.find(key)?;
        Some(self.rearm(key.index(), place, deadline_ms, payload))
    }

    /// Timers armed; paused ones are not.
    pub fn len(&self) -> usize {
        self.slab.len() - self.paused.len()
    }

    /// Whether no timer is armed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Most timers that may be armed at once.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Length of a tick.
    pub fn tick_ms(&self) -> u64 {
        self.layout.tick_ms()
    }

    /// The wheel's present: the furthest `to_ms` of a finished advance, or the tick at which an
    /// unfinished one stopped. Never goes back.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Whether the key names a timer, armed or paused.
    pub fn contains(&self, key: TimerKey) -> bool {
        self.slab.find(key).is_some()
    }

    /// The key of the timer whose key has this index, if there is one.
    pub fn key_at(&self, index: u32) -> Option<TimerKey> {
        self.slab.key_at(index)
    }

    /// The payload of a timer.
    pub fn payload(&self, key: TimerKey) -> Option<u64> {
        let place = self.slab.find(key)?;
        Some(self.payload_at(key.index(), place))
    }

    /// The deadline of an armed timer, exactly as given; `None` when it is paused or the key stale.
    pub fn deadline_ms(&self, key: TimerKey) -> Option<u64> {
        let place = self.slab.find(key).filter(|&place| place != PAUSED)?;
        Some(self.deadline_of(self.horizon_ms(self.pool.slot_of(place)), self.pool.read(place)))
    }

    pub(crate) fn check_room(&self, more: usize) -> Result<(), WheelError> {
        if more > self.capacity - self.slab.len() || more > self.slab.room() {
            return Err(WheelError::Full { capacity: self.capacity });
        }
        Ok(())
    }

    pub(crate) fn arm(&mut self, deadline_ms: u64, payload: u64) -> TimerKey {
        self.pay_for_garbage(1);
        let index = self.slab.take();
        let place = self.put(index, deadline_ms, payload);
        self.slab.settle(index, place)
    }

    /// Arms the timer at `index`, whose ref is at `place`, anew; its node stays where it is.
    fn rearm(&mut self, index: u32, place: u32, deadline_ms: u64, payload: u64) -> TimerKey {
        self.counters.rescheduled += 1;
        self.quit(index, place);
        let place = self.put(index, deadline_ms, payload);
        match self.slab.renew(index, place) {
            Some(key) => key,
            None => self.move_out(index, place, deadline_ms, payload),
        }
    }

    /// Arms a timer in another node: its own, whose ref is at `place`, has no generation left.
    #[cold]
    fn move_out(&mut self, index: u32, place: u32, deadline_ms: u64, payload: u64) -> TimerKey {
        self.disarm(index, place);
        self.arm(deadline_ms, payload)
    }

    /// Removes garbage when `armings` are about to be made while there is too much of it, which is when cancels
    /// outrun every advance. To be called before anything is looked up: refs may be moved.
    #[inline]
    pub(crate) fn pay_for_garbage(&mut self, armings: usize) {
        if self.garbage() > self.garbage_limit() {
            self.compact(COMPACT_PER_INSERT * armings);
        }
    }

    /// Puts the ref of the timer at `index` into the slot of its deadline; returns its place.
    #[inline]
    fn put(&mut self, index: u32, deadline_ms: u64, payload: u64) -> u32 {
        let slot = self.slot_for(deadline_ms);
        let place = self.append(slot, DIRECT, Ref { payload, deadline_low: deadline_ms as u32, index });
        self.refs += 1;
        if self.is_elder(deadline_ms) {
            self.elders.insert(index, deadline_ms);
        }
        place
    }

    /// Whether a deadline is too old for a ref's 32 bits.
    pub(crate) fn is_elder(&self, deadline_ms: u64) -> bool {
        deadline_ms < self.now_ms.saturating_sub(ELDER_MS)
    }

    /// Takes a timer out, leaving its ref behind as garbage.
    pub(crate) fn disarm(&mut self, index: u32, place: u32) {
        self.slab.remove(index);
        self.quit(index, place);
    }

    /// Takes a timer out of wherever it waits; its node is the caller's.
    #[inline]
    fn quit(&mut self, index: u32, place: u32) {
        if place == PAUSED {
            self.paused.remove(&index);
            return;
        }
        if !self.elders.is_empty() {
            self.elders.remove(&index);
        }
        self.leave(self.pool.slot_of(place));
    }

    fn payload_at(&self, index: u32, place: u32) -> u64 {
        if place == PAUSED {
            return self.paused[&index].payload;
        }
        self.pool.read(place).payload
    }

    /// The slot where a timer is put when it is armed now: the lowest level that holds its tick.
    pub(crate) fn slot_for(&mut self, deadline_ms: u64) -> u32 {
        match self.placement.slot(deadline_ms) {
            slot if slot < self.layout.ring_slots() => slot,
            _ => self.far_slot(deadline_ms),
        }
    }

    /// As [`Wheel::slot_for`], for deadlines beyond the rings or close to the end of time.
    #[cold]
    pub(crate) fn far_slot(&mut self, deadline_ms: u64) -> u32 {
        self.late_slot(deadline_ms).unwrap_or_else(|| {
            let tick = self.layout.due_tick(deadline_ms).max(self.now_tick);
            self.bucket(self.layout.number(OVERFLOW, tick))
        })
    }

    /// The ring's slot of a deadline close to the end of time, by plain arithmetic; `None` beyond the rings.
    pub(crate) fn late_slot(&self, deadline_ms: u64) -> Option<u32> {
        let tick = self.layout.due_tick(deadline_ms).max(self.now_tick);
        (0..RINGS).find_map(|level| {
            let number = self.layout.number(level, tick);
            let fits = self.layout.fits(level, number, self.placement.number(level));
            fits.then(|| self.layout.slot_id(level, number))
        })
    }

    /// The overflow bucket of a day, made when there is none.
    fn bucket(&mut self, day: u64) -> u32 {
        if let Some(&id) = self.overflow.get(&day) {
            return id;
        }
        let id = self.spare_buckets.pop().unwrap_or_else(|| {
            grow(&mut self.slots);
            self.slots.push(Slot::new(OVERFLOW));
            self.slots.len() as u32 - 1
        });
        self.slots[id as usize].day = day;
        self.overflow.insert(day, id);
        id
    }

    /// An instant after all deadlines of a slot, elders' aside, and less than 2^32 ms after each.
    pub(crate) fn horizon_ms(&self, id: u32) -> u64 {
        let slot = &self.slots[id as usize];
        match slot.level as usize {
            OVERFLOW => self.layout.day_end_ms(slot.day),
            _ => self.now_ms.wrapping_add(AHEAD_MS),
        }
    }

    /// The deadline a ref stands for, in a slot of this horizon.
    #[inline]
    pub(crate) fn deadline_of(&self, horizon_ms: u64, entry: Ref) -> u64 {
        if !self.elders.is_empty() {
            if let Some(&deadline_ms) = self.elders.get(&entry.index) {
                return deadline_ms;
            }
        }
        horizon_ms.wrapping_sub(u64::from((horizon_ms as u32).wrapping_sub(entry.deadline_low)))
    }
}

/// Refs looked at per insert while garbage is over its limit.
const COMPACT_PER_INSERT: usize = 16;

pub(crate) fn check_columns(left: usize, right: usize) -> Result<(), WheelError> {
    if left == right {
        Ok(())
    } else {
        Err(WheelError::Columns { left, right })
    }
}
