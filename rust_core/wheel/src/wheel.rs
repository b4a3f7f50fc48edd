//! The wheel's state and its operations on timers. Time moves in `passage.rs`, garbage goes in
//! `compaction.rs`, proofs are in `check.rs`.

use std::collections::BTreeMap;

use crate::bitmap::Bitmap;
use crate::chunks::{ChunkPool, List, Ref};
use crate::compaction::Compaction;
use crate::grow::grow;
use crate::layout::{Layout, OVERFLOW, RINGS};
use crate::slab::{Slab, TimerKey};
use crate::stats::Counters;

/// Lane of refs moved down from the level above: armed earlier than everything in [`DIRECT`].
pub(crate) const MOVED: usize = 0;
/// Lane of refs put here when they were armed.
pub(crate) const DIRECT: usize = 1;

/// Flag in a node's slot: the deadline is too old for a ref and stands in `Wheel::elders`.
pub(crate) const ELDER: u32 = 1 << 31;
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

/// One slot of a ring, or one day of the overflow.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) lanes: [List; 2],
    /// Absolute number at its level; meaningful while `live > 0`.
    pub(crate) number: u64,
    /// Refs whose timer is still armed.
    pub(crate) live: u32,
    /// All refs, garbage included. Zero whenever `live` is.
    pub(crate) refs: u32,
    pub(crate) level: u8,
    /// Waits for compaction, or is being compacted.
    pub(crate) queued: bool,
}

impl Slot {
    pub(crate) fn new(level: usize) -> Self {
        Self { lanes: [List::EMPTY; 2], number: 0, live: 0, refs: 0, level: level as u8, queued: false }
    }
}

/// A hierarchical timing wheel. See the [crate] documentation for the contract and the picture.
#[derive(Debug)]
pub struct Wheel {
    pub(crate) layout: Layout,
    pub(crate) capacity: usize,
    pub(crate) now_ms: u64,
    pub(crate) now_tick: u64,
    /// The present slot number of each ring: `layout.number(level, now_tick)`, kept.
    pub(crate) now_number: [u64; RINGS],
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
    /// Refs in all slots, garbage included.
    pub(crate) refs: usize,
    /// Slots waiting for compaction; each at most once.
    pub(crate) dirty: Vec<u32>,
    pub(crate) compaction: Option<Compaction>,
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
            layout,
            capacity: config.capacity.min(CAPACITY_MAX),
            now_ms: start_ms,
            now_tick: 0,
            now_number: [0; RINGS],
            slab: Slab::new(),
            pool: ChunkPool::new(),
            slots,
            overflow: BTreeMap::new(),
            spare_buckets: Vec::new(),
            elders: BTreeMap::new(),
            refs: 0,
            dirty: Vec::new(),
            compaction: None,
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

    /// Arms a batch, in order; keys are appended to `keys`. All or nothing.
    pub fn insert_batch(
        &mut self,
        deadlines_ms: &[u64],
        payloads: &[u64],
        keys: &mut Vec<TimerKey>,
    ) -> Result<(), WheelError> {
        check_columns(deadlines_ms.len(), payloads.len())?;
        self.check_room(deadlines_ms.len())?;
        self.counters.inserted += deadlines_ms.len() as u64;
        keys.reserve(deadlines_ms.len());
        for (&deadline_ms, &payload) in deadlines_ms.iter().zip(payloads) {
            keys.push(self.arm(deadline_ms, payload));
        }
        Ok(())
    }

    /// Disarms a timer; `false` when the key is stale.
    pub fn cancel(&mut self, key: TimerKey) -> bool {
        if !self.slab.contains(key) {
            return false;
        }
        self.counters.cancelled += 1;
        self.disarm(key.index());
        true
    }

    /// Disarms a batch; appends to `cancelled` whether each was armed, returns how many were.
    pub fn cancel_batch(&mut self, keys: &[TimerKey], cancelled: &mut Vec<bool>) -> usize {
        cancelled.reserve(keys.len());
        let mut count = 0;
        for &key in keys {
            let done = self.cancel(key);
            count += usize::from(done);
            cancelled.push(done);
        }
        count
    }

    /// Gives an armed timer another deadline, its payload kept: it queues behind the timers already
    /// armed for that tick. Returns its new key; the old one is stale. `None` when it was stale before.
    pub fn reschedule(&mut self, key: TimerKey, deadline_ms: u64) -> Option<TimerKey> {
        if !self.slab.contains(key) {
            return None;
        }
        self.counters.rescheduled += 1;
        let payload = self.disarm(key.index());
        Some(self.arm(deadline_ms, payload))
    }

    /// Moves a batch; appends each new key (or `None`) to `moved`, returns how many were armed.
    pub fn reschedule_batch(
        &mut self,
        keys: &[TimerKey],
        deadlines_ms: &[u64],
        moved: &mut Vec<Option<TimerKey>>,
    ) -> Result<usize, WheelError> {
        check_columns(keys.len(), deadlines_ms.len())?;
        moved.reserve(keys.len());
        let mut count = 0;
        for (&key, &deadline_ms) in keys.iter().zip(deadlines_ms) {
            let renewed = self.reschedule(key, deadline_ms);
            count += usize::from(renewed.is_some());
            moved.push(renewed);
        }
        Ok(count)
    }

    /// Timers armed.
    pub fn len(&self) -> usize {
        self.slab.len()
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

    /// Whether the key names an armed timer.
    pub fn contains(&self, key: TimerKey) -> bool {
        self.slab.contains(key)
    }

    /// The key of the timer whose key has this index, if one is armed.
    pub fn key_at(&self, index: u32) -> Option<TimerKey> {
        self.slab.key_at(index)
    }

    /// The payload of an armed timer.
    pub fn payload(&self, key: TimerKey) -> Option<u64> {
        self.slab.contains(key).then(|| self.slab.payload(key.index()))
    }

    fn check_room(&self, more: usize) -> Result<(), WheelError> {
        if more > self.capacity - self.len() || more > self.slab.room() {
            return Err(WheelError::Full { capacity: self.capacity });
        }
        Ok(())
    }

    fn arm(&mut self, deadline_ms: u64, payload: u64) -> TimerKey {
        // One comparison; true only when cancels outrun every advance.
        if self.garbage() > self.garbage_limit() {
            self.compact(COMPACT_PER_INSERT);
        }
        let key = self.slab.insert(payload);
        let tick = self.layout.due_tick(deadline_ms).max(self.now_tick);
        let entry =
            Ref { deadline_low: deadline_ms as u32, index: key.index(), generation: key.generation() };
        let (slot, number) = self.direct_slot(tick);
        self.append(slot, number, DIRECT, entry);
        if deadline_ms.saturating_add(ELDER_MS) < self.now_ms {
            self.elders.insert(key.index(), deadline_ms);
            self.slab.set_slot(key.index(), slot | ELDER);
        } else {
            self.slab.set_slot(key.index(), slot);
        }
        key
    }

    /// Takes a live timer out, leaving its ref behind as garbage; returns its payload.
    fn disarm(&mut self, index: u32) -> u64 {
        let (payload, tagged) = self.slab.remove(index);
        if tagged & ELDER != 0 {
            self.elders.remove(&index);
        }
        let id = tagged & !ELDER;
        let slot = &mut self.slots[id as usize];
        slot.live -= 1;
        if slot.live == 0 {
            self.empty_slot(id);
        } else {
            self.note_if_dirty(id);
        }
        payload
    }

    /// The slot where a timer of `tick` is put when it is armed now: the lowest level that holds it.
    fn direct_slot(&mut self, tick: u64) -> (u32, u64) {
        for level in 0..RINGS {
            let number = self.layout.number(level, tick);
            if self.layout.fits(level, number, self.now_number[level]) {
                return (self.layout.slot_id(level, number), number);
            }
        }
        let day = self.layout.number(OVERFLOW, tick);
        (self.bucket(day), day)
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
        self.overflow.insert(day, id);
        id
    }

    /// Puts a live ref at the end of a lane.
    pub(crate) fn append(&mut self, id: u32, number: u64, lane: usize, entry: Ref) {
        let slot = &mut self.slots[id as usize];
        if slot.live == 0 {
            slot.number = number;
            let level = slot.level as usize;
            if level < RINGS {
                self.occupied[level].set(id - self.layout.slot_id(level, 0));
            }
        }
        debug_assert_eq!(slot.number, number, "slot {id} of level {} is taken", slot.level);
        slot.live += 1;
        slot.refs += 1;
        self.refs += 1;
        self.pool.push(&mut slot.lanes[lane], entry);
    }

    /// Takes the oldest ref of a slot: moved refs first, they were armed earlier.
    pub(crate) fn pop(&mut self, id: u32) -> Option<Ref> {
        let slot = &mut self.slots[id as usize];
        let [moved, direct] = &mut slot.lanes;
        let entry = self.pool.pop(moved).or_else(|| self.pool.pop(direct))?;
        slot.refs -= 1;
        self.refs -= 1;
        Some(entry)
    }

    /// Frees a slot without live timers: whatever refs it has are garbage.
    pub(crate) fn empty_slot(&mut self, id: u32) {
        self.abandon_compaction(id);
        let slot = &mut self.slots[id as usize];
        debug_assert_eq!(slot.live, 0);
        self.refs -= slot.refs as usize;
        slot.refs = 0;
        let [moved, direct] = &mut slot.lanes;
        self.pool.release(moved);
        self.pool.release(direct);
        let level = slot.level as usize;
        if level < RINGS {
            self.occupied[level].clear(id - self.layout.slot_id(level, 0));
        } else {
            self.overflow.remove(&slot.number);
            self.spare_buckets.push(id);
        }
    }

    /// The deadline a ref stands for.
    pub(crate) fn deadline_ms(&self, id: u32, entry: Ref) -> u64 {
        let slot = &self.slots[id as usize];
        let level = slot.level as usize;
        if level == 0 && self.slab.slot(entry.index) & ELDER != 0 {
            return self.elders[&entry.index];
        }
        let latest_ms = if level < RINGS {
            self.now_ms.wrapping_add(AHEAD_MS)
        } else {
            self.layout.day_end_ms(slot.number)
        };
        latest_ms.wrapping_sub(u64::from((latest_ms as u32).wrapping_sub(entry.deadline_low)))
    }
}

/// Refs looked at per insert while garbage is over its limit.
const COMPACT_PER_INSERT: usize = 16;

fn check_columns(left: usize, right: usize) -> Result<(), WheelError> {
    if left == right {
        Ok(())
    } else {
        Err(WheelError::Columns { left, right })
    }
}
