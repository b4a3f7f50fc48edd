//! Figures about a wheel.

use crate::layout::LEVELS;
use crate::pause::Paused;
use crate::slot::Slot;
use crate::wheel::Wheel;

/// Sums since the wheel was made.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    pub(crate) inserted: u64,
    pub(crate) rescheduled: u64,
    pub(crate) cancelled: u64,
    pub(crate) fired: u64,
    pub(crate) moved: u64,
    pub(crate) forced: u64,
    pub(crate) compacted: u64,
}

/// Counts and sums of one wheel, at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WheelStats {
    /// Timers armed.
    pub pending: u64,
    /// Timers paused.
    pub paused: u64,
    /// Timers armed, by level: ticks, seconds, minutes, hours, days (the overflow).
    pub pending_by_level: [u64; LEVELS],
    /// Refs of cancelled and rescheduled timers that still take 16 bytes each.
    pub garbage: u64,
    /// Timers armed so far, reschedules not counted.
    pub inserted: u64,
    /// Timers given another deadline so far.
    pub rescheduled: u64,
    /// Timers cancelled so far.
    pub cancelled: u64,
    /// Timers that fell due so far.
    pub fired: u64,
    /// Moves of a timer to the level below so far.
    pub moved: u64,
    /// Refs moved at a slot's last moment, outside the budget, so far.
    pub forced: u64,
    /// Refs looked at to remove garbage so far.
    pub compacted: u64,
    /// See [`Wheel::memory_bytes`].
    pub memory_bytes: u64,
}

impl Wheel {
    /// Counts by level and sums so far. Walks the slots (about a thousand), not the timers.
    pub fn stats(&self) -> WheelStats {
        let mut pending_by_level = [0; LEVELS];
        for slot in &self.slots {
            pending_by_level[slot.level as usize] += u64::from(slot.live);
        }
        WheelStats {
            pending: self.len() as u64,
            paused: self.paused.len() as u64,
            pending_by_level,
            garbage: self.garbage() as u64,
            inserted: self.counters.inserted,
            rescheduled: self.counters.rescheduled,
            cancelled: self.counters.cancelled,
            fired: self.counters.fired,
            moved: self.counters.moved,
            forced: self.counters.forced,
            compacted: self.counters.compacted,
            memory_bytes: self.memory_bytes() as u64,
        }
    }

    /// Bytes on the heap, idle capacity included; the ordered maps by their entries' size.
    pub fn memory_bytes(&self) -> usize {
        self.slab.memory_bytes()
            + self.pool.memory_bytes()
            + self.slots.capacity() * size_of::<Slot>()
            + self.occupied.iter().map(|bitmap| bitmap.memory_bytes()).sum::<usize>()
            + (self.spare_buckets.capacity() + self.dirty.capacity()) * size_of::<u32>()
            + (self.overflow.len() + self.elders.len()) * size_of::<(u64, u64)>()
            + self.paused.len() * size_of::<(u32, Paused)>()
            + self.scratch.memory_bytes()
    }
}
