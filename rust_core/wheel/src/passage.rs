//! How time passes: firing, moving slots down within a budget, and knowing when to be called next.

use crate::chunks::{Ref, CHUNK_REFS};
use crate::layout::OVERFLOW;
use crate::wheel::{Due, Wheel, DIRECT, MOVED};

/// Refs moved down or compacted per advance even when nothing presses: about 8 us of work.
const BUDGET_MIN: usize = 256;
/// Refs moved down at their last moment in one advance; after a jump it says that it is not done and is
/// called again. A wheel that is driven regularly has nothing to force.
const FORCED_MAX: usize = 1 << 16;

/// Refs whose nodes are fetched in one go.
const AHEAD: usize = 256;

/// What an [`Wheel::advance`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Timers that fell due in this call.
    pub fired: usize,
    /// Whether everything due by `to_ms` has been handed out; else call again, even when nothing fell due.
    pub done: bool,
}

impl Wheel {
    /// Moves time to `to_ms` (or not at all, if that is in the past) and appends at most `limit`
    /// timers that fell due to `out`: by tick, and in the order of arming within a tick.
    ///
    /// Resumable: with `done == false` time stands at the tick of the next timer to be handed out,
    /// and the next call goes on from there.
    pub fn advance(&mut self, to_ms: u64, limit: usize, out: &mut Vec<Due>) -> Progress {
        let before_tick = self.now_tick;
        let to_ms = to_ms.max(self.now_ms);
        let target = self.layout.reached_tick(to_ms);
        let (mut fired, mut force) = (0, FORCED_MAX);
        let done = loop {
            if self.forcing && !self.force_due(&mut force) {
                break false;
            }
            fired += self.fire_present(limit - fired, out);
            if self.present_live() > 0 {
                break false;
            }
            let Some(stop) = self.next_stop().filter(|&stop| stop <= target) else {
                self.set_now(target);
                self.now_ms = to_ms;
                break true;
            };
            self.set_now(stop);
            self.now_ms = self.now_ms.max(self.layout.tick_start_ms(stop));
            self.forcing = true;
        };
        self.counters.fired += fired as u64;
        let spent = self.move_early(BUDGET_MIN, before_tick, force);
        self.compact(BUDGET_MIN.saturating_sub(spent));
        Progress { fired, done }
    }

    /// The earliest instant, not before the present, at which an [`Wheel::advance`] can have
    /// something to do; `None` when nothing is armed.
    ///
    /// A lower bound of the next firing: exact when that is less than the first ring away and no
    /// slot has to be moved down before, else the time at which the first slot may be moved down.
    pub fn next_event_ms(&self) -> Option<u64> {
        if self.is_empty() {
            return None;
        }
        if self.forcing || self.present_live() > 0 {
            return Some(self.now_ms);
        }
        let fire = self.earliest(0).map_or(u64::MAX, |id| self.number_of(id));
        // A slot that is open already is moved with the next tick, not at once: there is no hurry.
        let tick = fire.min(self.opens.max(self.now_tick.saturating_add(1)));
        Some(self.layout.tick_start_ms(tick).max(self.now_ms))
    }

    /// Does up to about `budget` refs' worth of work ahead of need (moving slots down, then removing
    /// garbage); returns the refs looked at, 0 when there is nothing to do. Never changes what fires when.
    pub fn maintain(&mut self, budget: usize) -> usize {
        let moved = self.move_early(budget, self.now_tick, 0);
        moved + self.compact(budget.saturating_sub(moved))
    }

    /// Sets the present tick; the caller sees to `now_ms`.
    pub(crate) fn set_now(&mut self, tick: u64) {
        debug_assert!(tick >= self.now_tick);
        self.now_tick = tick;
        self.placement.set_now(&self.layout, tick);
    }

    /// The first slot of a level that has live timers.
    pub(crate) fn earliest(&self, level: usize) -> Option<u32> {
        if level == OVERFLOW {
            return self.overflow.first_key_value().map(|(_, &id)| id);
        }
        let base = self.layout.slot_id(level, 0);
        let now_number = self.placement.number(level);
        let from = self.layout.slot_id(level, now_number) - base;
        let steps = self.occupied[level].steps_to_next(from)?;
        Some(self.layout.slot_id(level, now_number.wrapping_add(steps)))
    }

    fn present_live(&self) -> u32 {
        self.slots[self.layout.slot_id(0, self.now_tick) as usize].live
    }

    /// Hands out timers of the present tick.
    fn fire_present(&mut self, limit: usize, out: &mut Vec<Due>) -> usize {
        let id = self.layout.slot_id(0, self.now_tick);
        if self.slots[id as usize].live == 0 {
            return 0;
        }
        self.abandon_compaction(id);
        let horizon_ms = self.horizon_ms(id);
        let mut live = [Ref::WIPED; CHUNK_REFS as usize];
        let (mut fired, mut ahead) = (0, 0);
        while fired < limit {
            if ahead == 0 {
                ahead = self.look_ahead(id, limit - fired);
            }
            let (seen, count) = self.take_run(id, ahead.min(limit - fired), &mut live);
            if seen == 0 {
                break;
            }
            ahead -= seen;
            out.reserve(count);
            for &entry in &live[..count] {
                let deadline_ms = self.deadline_of(horizon_ms, entry);
                let key = self.slab.remove(entry.index);
                out.push(Due { key, payload: entry.payload, deadline_ms });
            }
            if !self.elders.is_empty() {
                for entry in &live[..count] {
                    self.elders.remove(&entry.index);
                }
            }
            fired += count;
            self.slots[id as usize].live -= count as u32;
            if self.slots[id as usize].live == 0 {
                self.empty_slot(id);
                break;
            }
        }
        fired
    }

    /// Takes the oldest refs of a slot, all of one chunk and at most `limit`: the moved ones first, they were
    /// armed earlier. Says how many they were, and how many of them, now in `live`, are current.
    ///
    /// The nodes are looked at in a pass of their own: nothing in it depends on what a node says, so their
    /// cache misses overlap.
    fn take_run(&mut self, id: u32, limit: usize, live: &mut [Ref; CHUNK_REFS as usize]) -> (usize, usize) {
        let slot = &mut self.slots[id as usize];
        let lane = if slot.lanes[MOVED].is_empty() { DIRECT } else { MOVED };
        let (first, run) = self.pool.run(&slot.lanes[lane], limit);
        let (seen, mut count) = (run.len(), 0);
        for (place, &entry) in (first..).zip(run) {
            live[count % CHUNK_REFS as usize] = entry;
            count += usize::from(self.slab.is_at(entry.index, place));
        }
        if seen > 0 {
            self.pool.skip(&mut slot.lanes[lane], seen);
            slot.refs -= seen as u32;
            self.refs -= seen;
        }
        (seen, count)
    }

    /// Brings the nodes of the oldest `limit` refs of a slot, but at most [`AHEAD`], into the cache; says how many refs
    /// they are. A load that nothing waits for takes five instructions a ref, so more misses are under way at once than
    /// while the refs are worked on.
    fn look_ahead(&self, id: u32, limit: usize) -> usize {
        let mut left = limit.min(AHEAD);
        for list in &self.slots[id as usize].lanes {
            for run in self.pool.runs(list, left) {
                self.slab.touch(run.iter().map(|entry| entry.index));
                left -= run.len();
            }
        }
        limit.min(AHEAD) - left
    }

    /// The next tick at which something must happen: a firing, or a slot that must have been moved down.
    fn next_stop(&self) -> Option<u64> {
        // The very last tick is one that a timer can fire at; no slot above the ticks begins there.
        let fire = self.earliest(0).map(|id| self.number_of(id));
        let force = (self.forces != u64::MAX).then_some(self.forces);
        fire.into_iter().chain(force).min()
    }

    /// Moves down every slot whose last moment is now, as far as `budget` goes; says whether all are empty. A
    /// parent's last moment is before any child's opening, so no slot of one level waits for another here.
    fn force_due(&mut self, budget: &mut usize) -> bool {
        if self.forces > self.now_tick {
            self.forcing = false;
            return true;
        }
        for level in (1..=OVERFLOW).rev() {
            while let Some(id) = self.earliest(level) {
                if self.layout.force_at(level, self.number_of(id)) > self.now_tick {
                    break;
                }
                if *budget == 0 {
                    return false;
                }
                let seen = self.move_down(id, *budget);
                *budget -= seen;
                self.counters.forced += seen as u64;
            }
        }
        self.forcing = false;
        true
    }

    /// Moves open slots down ahead of need: each its share of the time that passed since
    /// `before_tick`, so that it is empty just when it must be, but at most `share_max`; and `budget` refs in any case.
    fn move_early(&mut self, budget: usize, before_tick: u64, share_max: usize) -> usize {
        // A child must not be opened before its parent is empty.
        if self.forcing || self.opens > self.now_tick {
            return 0;
        }
        let elapsed = self.now_tick - before_tick;
        let mut spent = 0;
        for level in (1..=OVERFLOW).rev() {
            while let Some(id) = self.earliest(level) {
                let number = self.number_of(id);
                if self.layout.open_at(level, number) > self.now_tick {
                    break;
                }
                // Forced moves come first, so the last moment lies ahead of both ticks; the share is
                // such that the tick before it finds the slot empty.
                let left = (self.layout.force_at(level, number) - before_tick - 1).max(1);
                let refs = self.slots[id as usize].refs;
                let share = (u128::from(refs) * u128::from(elapsed)).div_ceil(u128::from(left)) as usize;
                let quota = share.min(share_max.saturating_sub(spent)).max(budget.saturating_sub(spent));
                if quota == 0 {
                    break;
                }
                spent += self.move_down(id, quota);
                if self.slots[id as usize].live > 0 {
                    break;
                }
            }
        }
        spent
    }

    /// Moves up to `quota` refs of a slot to the level below, in order; returns the refs looked at.
    fn move_down(&mut self, id: u32, quota: usize) -> usize {
        self.abandon_compaction(id);
        let level = self.slots[id as usize].level as usize - 1;
        let horizon_ms = self.horizon_ms(id);
        let mut live = [Ref::WIPED; CHUNK_REFS as usize];
        let (mut spent, mut ahead) = (0, 0);
        while spent < quota {
            if ahead == 0 {
                ahead = self.look_ahead(id, quota - spent);
            }
            let (seen, count) = self.take_run(id, ahead, &mut live);
            if seen == 0 {
                break;
            }
            ahead -= seen;
            spent += seen;
            for &entry in &live[..count] {
                let target = self.placement.slot_at(level, self.deadline_of(horizon_ms, entry));
                let place = self.append(target, MOVED, entry);
                self.slab.set_place(entry.index, place);
            }
            self.refs += count;
            self.counters.moved += count as u64;
            self.slots[id as usize].live -= count as u32;
            if self.slots[id as usize].live == 0 {
                self.empty_slot(id);
                break;
            }
        }
        spent
    }
}
