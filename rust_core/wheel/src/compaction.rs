//! Removing garbage: the refs that cancelled and rescheduled timers leave behind.
//!
//! A cancel touches the node and the slot's counters, never the slot's refs. Most garbage goes by
//! itself (its slot empties, fires or is moved down); a slot far ahead whose timers are re-armed
//! over and over is rewritten in place, a few refs at a time. It is a valid slot at every pause:
//! the gap between the writing and the reading cursor is wiped.

use crate::chunks::Ref;
use crate::slot::Slot;
use crate::wheel::Wheel;

/// A slot is rewritten when it has more than `3 * live + SLACK` refs.
const SLACK: u32 = 64;

/// A rewriting under way.
#[derive(Debug)]
pub(crate) struct Compaction {
    slot: u32,
    lane: usize,
    /// The last place read, and the last one kept.
    read: Option<u32>,
    kept: Option<u32>,
    /// Dead refs passed in this lane: what cutting it off will free.
    dead: u32,
}

impl Wheel {
    /// Refs whose timer is gone.
    pub(crate) fn garbage(&self) -> usize {
        self.refs - self.len()
    }

    /// Above this some slot must be dirty, and inserts pay for rewriting it.
    pub(crate) fn garbage_limit(&self) -> usize {
        2 * self.len() + SLACK as usize * self.slots.len()
    }

    /// Queues a slot for rewriting now that garbage outweighs its timers.
    #[cold]
    pub(crate) fn note_dirty(&mut self, id: u32) {
        self.slots[id as usize].queued = true;
        self.dirty.push(id);
    }

    /// Forgets the rewriting of a slot that is about to be emptied from the front.
    pub(crate) fn abandon_compaction(&mut self, id: u32) {
        if self.compaction.as_ref().is_some_and(|work| work.slot == id) {
            self.compaction = None;
            self.slots[id as usize].queued = false;
        }
    }

    /// Rewrites dirty slots until `budget` refs have been looked at; returns how many were.
    pub(crate) fn compact(&mut self, budget: usize) -> usize {
        let mut seen = 0;
        while seen < budget {
            let Some(mut work) = self.compaction.take().or_else(|| self.next_dirty()) else { break };
            let (steps, finished) = self.compact_lane(&mut work, budget - seen);
            seen += steps;
            if !finished {
                self.compaction = Some(work);
            } else if work.lane == 0 {
                self.compaction = Some(Self::start_lane(work.slot, 1));
                seen += 1; // so that empty lanes cost something too
            } else {
                self.slots[work.slot as usize].queued = false;
                if is_dirty(&self.slots[work.slot as usize]) {
                    self.note_dirty(work.slot);
                }
            }
        }
        self.counters.compacted += seen as u64;
        seen
    }

    fn next_dirty(&mut self) -> Option<Compaction> {
        while let Some(id) = self.dirty.pop() {
            let slot = &mut self.slots[id as usize];
            slot.queued = false;
            if is_dirty(slot) {
                slot.queued = true;
                return Some(Self::start_lane(id, 0));
            }
        }
        None
    }

    fn start_lane(slot: u32, lane: usize) -> Compaction {
        Compaction { slot, lane, read: None, kept: None, dead: 0 }
    }

    /// Rewrites up to `budget` refs; says how many, and whether the lane is finished.
    fn compact_lane(&mut self, work: &mut Compaction, budget: usize) -> (usize, bool) {
        for seen in 0..budget {
            let list = &self.slots[work.slot as usize].lanes[work.lane];
            let Some(place) = self.pool.after(list, work.read) else {
                self.cut_lane(work);
                return (seen, true);
            };
            work.read = Some(place);
            let entry = self.pool.read(place);
            if self.slab.key_of_ref(entry.index, place).is_none() {
                work.dead += 1;
                continue;
            }
            // What is read lies behind what is kept, so there is a place for it.
            let room = work.kept.map_or(list.front, |kept| self.pool.following(kept));
            work.kept = Some(room);
            if room != place {
                self.pool.write(room, entry);
                self.slab.set_place(entry.index, room);
                self.pool.write(place, Ref::WIPED);
            }
        }
        (budget, false)
    }

    /// Frees what lies behind the last ref kept.
    fn cut_lane(&mut self, work: &Compaction) {
        let slot = &mut self.slots[work.slot as usize];
        let list = &mut slot.lanes[work.lane];
        match work.kept {
            _ if list.is_empty() => return,
            None => self.pool.release(list),
            Some(kept) => self.pool.truncate(list, kept),
        }
        slot.refs -= work.dead;
        self.refs -= work.dead as usize;
    }
}

/// Whether garbage outweighs the timers of a slot that is not queued for rewriting yet.
#[inline]
pub(crate) fn is_dirty(slot: &Slot) -> bool {
    !slot.queued && u64::from(slot.refs) > 3 * u64::from(slot.live) + u64::from(SLACK)
}
