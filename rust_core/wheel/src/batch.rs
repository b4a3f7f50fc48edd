//! Batches: the same operations, in the order of memory rather than of the caller.
//!
//! *Arming.* A batch is sorted by slot first (a counting sort, stable, so that the order within a tick
//! stays). Then each slot's end is touched once rather than once per timer, and timers of one slot get
//! nodes that are neighbours, as far as the nodes are fresh: when the slot is moved down and fired,
//! one cache line brings eight of them.
//!
//! *Cancelling and moving.* A key's node is a cache miss, and its slot another one that depends on it.
//! So a block of keys is read in passes, each pass all loads that depend on nothing but the pass
//! before: the misses of a pass overlap, and the work itself finds everything near.

use crate::chunks::Ref;
use crate::layout::RINGS;
use crate::slab::{TimerKey, NOWHERE, PAUSED};
use crate::wheel::{check_columns, Wheel, WheelError, COMPACT_PER_INSERT, DIRECT};

/// Timers sorted at once: all columns of a block stay in the second-level cache.
const BLOCK: usize = 4_096;
/// A batch of fewer timers than one for this many slots meets so few slots twice that sorting gains nothing.
const SORT_MIN_SHARE: usize = 4;
/// Keys or nodes read ahead in one pass.
const AHEAD: usize = 64;
const UNPLACED: u32 = u32::MAX;

/// Room for sorting a block, kept from call to call.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// In the caller's order: each timer's slot.
    slots: Vec<u32>,
    /// By slot, the overflow's buckets together: where its next timer goes.
    starts: Vec<u32>,
    /// By slot: what its ref will say, but for the index, which is still the position in the caller's order.
    sorted: Vec<(Ref, u32)>,
}

impl Scratch {
    pub(crate) fn memory_bytes(&self) -> usize {
        (self.slots.capacity() + self.starts.capacity()) * size_of::<u32>()
            + self.sorted.capacity() * size_of::<(Ref, u32)>()
    }
}

impl Wheel {
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
        for (deadlines_ms, payloads) in deadlines_ms.chunks(BLOCK).zip(payloads.chunks(BLOCK)) {
            if deadlines_ms.len() < self.layout.ring_slots() as usize / SORT_MIN_SHARE {
                keys.extend(deadlines_ms.iter().zip(payloads).map(|(&at, &payload)| self.arm(at, payload)));
            } else {
                let first = keys.len();
                keys.resize(first + deadlines_ms.len(), TimerKey::NOBODY);
                self.arm_sorted(deadlines_ms, payloads, &mut keys[first..]);
            }
        }
        Ok(())
    }

    /// Disarms a batch; appends to `cancelled` whether each was armed (or paused), returns how many were.
    pub fn cancel_batch(&mut self, keys: &[TimerKey], cancelled: &mut Vec<bool>) -> usize {
        cancelled.reserve(keys.len());
        self.slab.reserve_free(keys.len());
        let before = self.counters.cancelled;
        let (mut places, mut slots) = ([NOWHERE; AHEAD], [0; AHEAD]);
        for keys in keys.chunks(AHEAD) {
            for (&key, place) in keys.iter().zip(&mut places) {
                *place = self.slab.find(key).unwrap_or(NOWHERE);
            }
            for (&place, slot) in places.iter().zip(&mut slots) {
                *slot = if place < PAUSED { self.pool.slot_of(place) } else { 0 };
            }
            for ((&key, &place), &slot) in keys.iter().zip(&places).zip(&slots) {
                // Asked again: the same key may stand twice in a batch.
                let armed = self.slab.find(key).is_some();
                cancelled.push(armed);
                if !armed {
                    continue;
                }
                self.counters.cancelled += 1;
                if place == PAUSED || !self.elders.is_empty() {
                    self.disarm(key.index(), place);
                } else {
                    self.slab.remove(key.index());
                    self.leave(slot);
                }
            }
        }
        (self.counters.cancelled - before) as usize
    }

    /// Moves a batch, as a step of the wall clock asks for; appends each new key (or `None`) to `moved`,
    /// returns how many were armed or paused.
    pub fn reschedule_batch(
        &mut self,
        keys: &[TimerKey],
        deadlines_ms: &[u64],
        moved: &mut Vec<Option<TimerKey>>,
    ) -> Result<usize, WheelError> {
        check_columns(keys.len(), deadlines_ms.len())?;
        moved.reserve(keys.len());
        let before = self.counters.rescheduled;
        let mut places = [NOWHERE; AHEAD];
        for (keys, deadlines_ms) in keys.chunks(AHEAD).zip(deadlines_ms.chunks(AHEAD)) {
            for (&key, place) in keys.iter().zip(&mut places) {
                *place = self.slab.find(key).unwrap_or(NOWHERE);
            }
            self.pool.touch(places[..keys.len()].iter().copied().filter(|&place| place < PAUSED));
            for (&key, &deadline_ms) in keys.iter().zip(deadlines_ms) {
                moved.push(self.reschedule(key, deadline_ms));
            }
        }
        Ok((self.counters.rescheduled - before) as usize)
    }

    /// Arms a block of at most [`BLOCK`], slot by slot.
    fn arm_sorted(&mut self, deadlines_ms: &[u64], payloads: &[u64], keys: &mut [TimerKey]) {
        if self.garbage() > self.garbage_limit() {
            self.compact(COMPACT_PER_INSERT * keys.len());
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        self.find_slots(deadlines_ms, &mut scratch);
        self.sort(deadlines_ms, payloads, &mut scratch);
        for timers in scratch.sorted.chunks(AHEAD) {
            self.slab.touch_free(timers.len());
            for &(mut entry, slot) in timers {
                let at = entry.index as usize;
                entry.index = self.slab.take();
                let place = self.append(slot, DIRECT, entry);
                keys[at] = self.slab.settle(entry.index, place);
            }
        }
        self.refs += keys.len();
        self.scratch = scratch;
        if deadlines_ms.iter().any(|&deadline_ms| self.is_elder(deadline_ms)) {
            for (key, &deadline_ms) in keys.iter().zip(deadlines_ms) {
                if self.is_elder(deadline_ms) {
                    self.elders.insert(key.index(), deadline_ms);
                }
            }
        }
    }

    fn find_slots(&mut self, deadlines_ms: &[u64], scratch: &mut Scratch) {
        let slots = &mut scratch.slots;
        slots.clear();
        slots.extend(deadlines_ms.iter().map(|&at| self.placement.slot(at).unwrap_or(UNPLACED)));
        if slots.contains(&UNPLACED) {
            for (slot, &deadline_ms) in slots.iter_mut().zip(deadlines_ms) {
                if *slot == UNPLACED {
                    *slot = self.far_slot(deadline_ms);
                }
            }
        }
    }

    /// Sorts by slot; timers of one slot keep the caller's order.
    fn sort(&self, deadlines_ms: &[u64], payloads: &[u64], scratch: &mut Scratch) {
        let ring_slots = self.layout.ring_slots();
        let Scratch { slots, starts, sorted } = scratch;
        starts.clear();
        starts.resize(ring_slots as usize + 1, 0);
        slots.iter().for_each(|&slot| starts[slot.min(ring_slots) as usize] += 1);
        let mut sum = 0;
        for start in starts.iter_mut() {
            sum += std::mem::replace(start, sum);
        }
        sorted.resize(slots.len(), (Ref::WIPED, 0));
        let timers = deadlines_ms.iter().zip(payloads).zip(slots.iter());
        for (index, ((&deadline_ms, &payload), &slot)) in (0..).zip(timers) {
            let start = &mut starts[slot.min(ring_slots) as usize];
            sorted[*start as usize] = (Ref { payload, deadline_low: deadline_ms as u32, index }, slot);
            *start += 1;
        }
    }
}

const _: () = assert!(RINGS == 4);
