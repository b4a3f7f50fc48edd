//! Removing garbage: the refs that cancelled and rescheduled timers leave behind.
//!
//! A cancel touches the node and the slot's counters, never the slot's refs. Most garbage goes by
//! itself (its slot empties, fires or is moved down); a slot far ahead whose timers are re-armed
//! over and over is rewritten in place, a few refs at a time. It is a valid slot at every pause:
//! the gap between the writing and the reading cursor is wiped.

use crate::chunks::{Cursor, Ref};
use crate::wheel::Wheel;

/// A slot is rewritten when it has more than `3 * live + SLACK` refs.
const SLACK: u32 = 64;

/// A rewriting under way.
#[derive(Debug)]
pub(crate) struct Compaction {
    slot: u32,
    lane: usize,
    read: Cursor,
    write: Cursor,
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

    /// Queues a slot for rewriting once garbage outweighs its timers.
    pub(crate) fn note_if_dirty(&mut self, id: u32) {
        let slot = &mut self.slots[id as usize];
        if !slot.queued && is_dirty(slot.live, slot.refs) {
            slot.queued = true;
            self.dirty.push(id);
        }
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
                self.compaction = Some(self.start_lane(work.slot, 1));
                seen += 1; // so that empty lanes cost something too
            } else {
                self.slots[work.slot as usize].queued = false;
                self.note_if_dirty(work.slot);
            }
        }
        self.counters.compacted += seen as u64;
        seen
    }

    fn next_dirty(&mut self) -> Option<Compaction> {
        while let Some(id) = self.dirty.pop() {
            let slot = &mut self.slots[id as usize];
            if is_dirty(slot.live, slot.refs) {
                return Some(self.start_lane(id, 0));
            }
            slot.queued = false;
        }
        None
    }

    fn start_lane(&self, slot: u32, lane: usize) -> Compaction {
        let front = self.slots[slot as usize].lanes[lane].front;
        Compaction { slot, lane, read: front, write: front, dead: 0 }
    }

    /// Rewrites up to `budget` refs; says how many, and whether the lane is finished.
    fn compact_lane(&mut self, work: &mut Compaction, budget: usize) -> (usize, bool) {
        for seen in 0..budget {
            let list = &mut self.slots[work.slot as usize].lanes[work.lane];
            let Some((place, entry)) = self.pool.step(list, &mut work.read) else {
                self.cut_lane(work);
                return (seen, true);
            };
            if !self.slab.holds(entry.index, entry.generation) {
                work.dead += 1;
                continue;
            }
            self.pool.enter_chunk(&mut work.write);
            if work.write != place {
                self.pool.write(work.write, entry);
                self.pool.write(place, Ref::WIPED);
            }
            work.write.at += 1;
        }
        (budget, false)
    }

    /// Frees what lies behind the writing cursor.
    fn cut_lane(&mut self, work: &Compaction) {
        let slot = &mut self.slots[work.slot as usize];
        let list = &mut slot.lanes[work.lane];
        if list.is_empty() {
            return;
        }
        if work.write == list.front {
            self.pool.release(list);
        } else {
            self.pool.truncate(list, work.write);
        }
        slot.refs -= work.dead;
        self.refs -= work.dead as usize;
    }
}

fn is_dirty(live: u32, refs: u32) -> bool {
    u64::from(refs) > 3 * u64::from(live) + u64::from(SLACK)
}
