//! Slots: what is in one, and what the wheel notes when one gets its first timer or loses its last.

use crate::chunks::{List, Ref};
use crate::compaction::is_dirty;
use crate::layout::{OVERFLOW, RINGS};
use crate::wheel::Wheel;

/// Lane of refs moved down from the level above: armed earlier than everything in [`DIRECT`].
pub(crate) const MOVED: usize = 0;
/// Lane of refs put here when they were armed.
pub(crate) const DIRECT: usize = 1;

/// One slot of a ring, or one day of the overflow.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) lanes: [List; 2],
    /// Day of an overflow bucket that is in use; a ring's slot is numbered by where the present is.
    pub(crate) day: u64,
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
        Self { lanes: [List::EMPTY; 2], day: 0, live: 0, refs: 0, level: level as u8, queued: false }
    }
}

impl Wheel {
    /// One timer less in a slot.
    #[inline]
    pub(crate) fn leave(&mut self, id: u32) {
        let slot = &mut self.slots[id as usize];
        slot.live -= 1;
        if slot.live == 0 {
            self.empty_slot(id);
        } else if is_dirty(slot) {
            self.note_dirty(id);
        }
    }

    /// Puts a live ref at the end of a lane; returns its place. The caller counts it in `refs` of the wheel.
    #[inline]
    pub(crate) fn append(&mut self, id: u32, lane: usize, entry: Ref) -> u32 {
        if self.slots[id as usize].live == 0 {
            self.occupy(id);
        }
        let slot = &mut self.slots[id as usize];
        slot.live += 1;
        slot.refs += 1;
        self.pool.push(&mut slot.lanes[lane], id, entry)
    }

    /// Makes room at the end of a slot for `count` timers that are armed now; returns the first one's place.
    pub(crate) fn append_many(&mut self, id: u32, count: u32) -> u32 {
        if self.slots[id as usize].live == 0 {
            self.occupy(id);
        }
        let slot = &mut self.slots[id as usize];
        slot.live += count;
        slot.refs += count;
        self.pool.lengthen(&mut slot.lanes[DIRECT], id, count)
    }

    /// Notes that a slot is about to get its first timer.
    #[cold]
    fn occupy(&mut self, id: u32) {
        let level = self.slots[id as usize].level as usize;
        if level < RINGS {
            self.occupied[level].set(id - self.layout.slot_id(level, 0));
        }
        if level > 0 {
            let number = self.number_of(id);
            self.opens = self.opens.min(self.layout.open_at(level, number));
            self.forces = self.forces.min(self.layout.force_at(level, number));
        }
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
            self.overflow.remove(&slot.day);
            self.spare_buckets.push(id);
        }
        if level > 0 {
            self.look_up();
        }
    }

    /// Finds anew which slot above the ticks comes first.
    #[cold]
    fn look_up(&mut self) {
        (self.opens, self.forces) = (u64::MAX, u64::MAX);
        if self.is_empty() {
            return;
        }
        for level in 1..=OVERFLOW {
            if let Some(id) = self.earliest(level) {
                let number = self.number_of(id);
                self.opens = self.opens.min(self.layout.open_at(level, number));
                self.forces = self.forces.min(self.layout.force_at(level, number));
            }
        }
    }

    /// Absolute number of an occupied slot at its level.
    pub(crate) fn number_of(&self, id: u32) -> u64 {
        let slot = &self.slots[id as usize];
        match slot.level as usize {
            OVERFLOW => slot.day,
            level => self.placement.number_of(level, id),
        }
    }
}
