//! Batches: the same operations, in the order of memory rather than of the caller.
//!
//! *Arming.* The timers of a batch are counted by slot. Then each slot is lengthened once, and each timer is written
//! straight to its place, by a cursor per slot: what a sort would do, without moving anything twice. The order within a
//! slot is the caller's. Nodes are given out by slot, so timers of one slot get neighbours: when it is moved down and
//! fired, a cache line brings several of them.
//!
//! *Cancelling and moving.* A key's node is a cache miss, and its slot another one that depends on it.
//! So a block of keys is read in passes, each pass all loads that depend on nothing but the pass
//! before: the misses of a pass overlap, and the work itself finds everything near.

use crate::chunks::{Ref, CHUNK_REFS};
use crate::placement::Placement;
use crate::slab::{Node, TimerKey, NOWHERE, PAUSED};
use crate::slot::DIRECT;
use crate::wheel::{check_columns, Wheel, WheelError};

/// Timers armed at once: all columns of a block stay in the second-level cache.
const BLOCK: usize = 4_096;
/// A batch of fewer timers than one for this many slots meets so few slots twice that counting gains nothing.
const COUNT_MIN_SHARE: usize = 4;
/// Keys or nodes read ahead in one pass.
const AHEAD: usize = 256;

/// Where the next timer of a slot goes: the place of its ref, and in the upper half its rank, the position of its node
/// among those taken for the block. While counting: how many timers there are.
#[derive(Clone, Copy, Debug, Default)]
struct Cursor(u64);

impl Cursor {
    fn new(place: u32, rank: u32) -> Self {
        Self(u64::from(rank) << 32 | u64::from(place))
    }

    fn place(self) -> u32 {
        self.0 as u32
    }

    fn rank(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The next place, in the same chunk, and the next rank.
    fn next(self) -> Self {
        Self(self.0.wrapping_add(1 << 32 | 1))
    }
}

/// Room for a block of timers, kept from call to call.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// In the caller's order: each timer's slot; one past the rings' for all that go beyond them.
    slots: Vec<u16>,
    /// By slot, all beyond the rings together.
    cursors: Vec<Cursor>,
    /// By slot: the nodes.
    indices: Vec<u32>,
    /// Not of a batch: places of the refs that are being moved down or fired.
    pub(crate) current: Vec<u32>,
}

impl Scratch {
    pub(crate) fn memory_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<u16>()
            + self.cursors.capacity() * size_of::<Cursor>()
            + (self.indices.capacity() + self.current.capacity()) * size_of::<u32>()
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
            if deadlines_ms.len() < self.layout.ring_slots() as usize / COUNT_MIN_SHARE {
                keys.extend(deadlines_ms.iter().zip(payloads).map(|(&at, &payload)| self.arm(at, payload)));
            } else {
                self.arm_counted(deadlines_ms, payloads, keys);
            }
        }
        Ok(())
    }

    /// Disarms a batch; appends to `cancelled` whether each was armed (or paused), returns how many were.
    pub fn cancel_batch(&mut self, keys: &[TimerKey], cancelled: &mut Vec<bool>) -> usize {
        cancelled.reserve(keys.len());
        let before = self.counters.cancelled;
        let (mut places, mut slots) = ([NOWHERE; AHEAD], [0; AHEAD]);
        for keys in keys.chunks(AHEAD) {
            for (&key, place) in keys.iter().zip(&mut places) {
                *place = self.slab.find(key).unwrap_or(NOWHERE);
            }
            for (&place, slot) in places.iter().zip(&mut slots) {
                *slot = if place < PAUSED { self.pool.slot_of(place) } else { 0 };
            }
            self.slab.touch_vacancy(keys);
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

    /// Arms a block of at most [`BLOCK`]: counts the timers of each slot, makes room for them at the slots' ends, and
    /// writes each timer to its place.
    fn arm_counted(&mut self, deadlines_ms: &[u64], payloads: &[u64], keys: &mut Vec<TimerKey>) {
        self.pay_for_garbage(deadlines_ms.len());
        let mut scratch = std::mem::take(&mut self.scratch);
        let first_key = keys.len();
        let oldest_ms = self.count_by_slot(deadlines_ms, &mut scratch);
        self.make_room(&mut scratch);
        self.slab.take_many(deadlines_ms.len(), &mut scratch.indices);
        keys.resize(first_key + deadlines_ms.len(), TimerKey::NOBODY);
        let timers = Timers { deadlines_ms, payloads, slots: &scratch.slots, indices: &scratch.indices };
        write(
            &timers,
            &mut scratch.cursors,
            self.pool.parts_mut(),
            self.slab.nodes_mut(),
            &mut keys[first_key..],
        );
        self.refs += deadlines_ms.len();
        self.arm_far(deadlines_ms, payloads, &scratch, &mut keys[first_key..]);
        self.scratch = scratch;
        if self.is_elder(oldest_ms) {
            for (key, &deadline_ms) in keys[first_key..].iter().zip(deadlines_ms) {
                if self.is_elder(deadline_ms) {
                    self.elders.insert(key.index(), deadline_ms);
                }
            }
        }
    }

    /// Notes each timer's slot, and in each slot's cursor how many there are; returns the earliest deadline.
    fn count_by_slot(&self, deadlines_ms: &[u64], scratch: &mut Scratch) -> u64 {
        let far = self.layout.ring_slots();
        let Scratch { slots, cursors, .. } = scratch;
        cursors.clear();
        cursors.resize(far as usize + 1, Cursor::default());
        slots.resize(deadlines_ms.len(), 0);
        let oldest_ms = count(&self.placement, deadlines_ms, slots, cursors);
        if cursors[far as usize].0 > 0 {
            for (slot, &deadline_ms) in slots.iter_mut().zip(deadlines_ms) {
                if u32::from(*slot) == far {
                    let late = self.late_slot(deadline_ms).unwrap_or(far);
                    cursors[far as usize].0 -= 1;
                    cursors[late as usize].0 += 1;
                    *slot = late as u16;
                }
            }
        }
        oldest_ms
    }

    /// Lengthens each slot of a ring by its count, and points its cursor to the first new place and the first node.
    fn make_room(&mut self, scratch: &mut Scratch) {
        let mut sum = 0;
        for (slot, cursor) in (0..).zip(&mut scratch.cursors) {
            let (count, mut place) = (cursor.0 as u32, 0);
            if count > 0 && slot < self.layout.ring_slots() {
                place = self.append_many(slot, count);
            }
            *cursor = Cursor::new(place, sum);
            sum += count;
        }
    }

    /// Arms the timers of a block that go beyond the rings.
    fn arm_far(&mut self, deadlines_ms: &[u64], payloads: &[u64], scratch: &Scratch, keys: &mut [TimerKey]) {
        let far = self.layout.ring_slots() as u16;
        let Some(cursor) = scratch.cursors.last() else { return };
        let mut indices = scratch.indices[cursor.rank() as usize..].iter();
        if indices.len() == 0 {
            return;
        }
        let timers = deadlines_ms.iter().zip(payloads).zip(&scratch.slots).zip(keys);
        for (((&deadline_ms, &payload), _), key) in timers.filter(|((_, &slot), _)| slot == far) {
            let Some(&index) = indices.next() else { return };
            let slot = self.far_slot(deadline_ms);
            let place = self.append(slot, DIRECT, Ref { payload, deadline_low: deadline_ms as u32, index });
            *key = self.slab.settle(index, place);
        }
    }
}

/// A block of timers, each column but the last in the caller's order.
struct Timers<'a> {
    deadlines_ms: &'a [u64],
    payloads: &'a [u64],
    slots: &'a [u16],
    /// Nodes by rank.
    indices: &'a [u32],
}

/// Notes each timer's slot, and counts them by slot; returns the earliest deadline. A function of its own, as is the next
/// one: inlined, they share what registers there are with everything around them.
#[inline(never)]
fn count(placement: &Placement, deadlines_ms: &[u64], slots: &mut [u16], cursors: &mut [Cursor]) -> u64 {
    let mut oldest_ms = u64::MAX;
    for (&deadline_ms, slot) in deadlines_ms.iter().zip(slots.iter_mut()) {
        oldest_ms = oldest_ms.min(deadline_ms);
        *slot = placement.slot(deadline_ms) as u16;
    }
    // In a pass of its own: here an increment's address is known at once, so it waits for no other one's.
    for &slot in slots.iter() {
        cursors[usize::from(slot)].0 += 1;
    }
    oldest_ms
}

/// Writes refs, nodes and keys of all timers that go into the rings.
#[inline(never)]
fn write(
    timers: &Timers<'_>,
    cursors: &mut [Cursor],
    (refs, next): (&mut [Ref], &[u32]),
    nodes: &mut [Node],
    keys: &mut [TimerKey],
) {
    let (&Timers { indices, .. }, far) = (timers, cursors.len() - 1);
    let timers = timers.deadlines_ms.iter().zip(timers.payloads).zip(timers.slots).zip(keys);
    for (((&deadline_ms, &payload), &slot), key) in timers {
        if usize::from(slot) == far {
            continue;
        }
        let cursor = &mut cursors[slot as usize];
        let (place, rank) = (cursor.place(), cursor.rank());
        let index = indices[rank as usize];
        *cursor = cursor.next();
        if place % CHUNK_REFS == CHUNK_REFS - 1 {
            // Behind the last place there may be no chunk; then nobody asks for this one.
            let place = next[(place / CHUNK_REFS) as usize].wrapping_mul(CHUNK_REFS);
            *cursor = Cursor::new(place, rank + 1);
        }
        refs[place as usize] = Ref { payload, deadline_low: deadline_ms as u32, index };
        *key = nodes[index as usize].settle(index, place);
    }
}
