//! How time passes: firing, moving slots down within a budget, and knowing when to be called next.

use crate::chunks::ChunkPool;
use crate::layout::OVERFLOW;
use crate::slot::MOVED;
use crate::wheel::{Due, Wheel};

/// Refs moved down or compacted per advance even when nothing presses: about 8 us of work.
const BUDGET_MIN: usize = 256;
/// Refs moved down at their last moment in one advance; after a jump it says that it is not done and is
/// called again. A wheel that is driven regularly has nothing to force.
const FORCED_MAX: usize = 1 << 16;

/// Refs looked at in one go.
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
        if self.forcing {
            return (!self.is_empty()).then_some(self.now_ms);
        }
        let fire = self.next_fire();
        if fire.is_none() && self.opens == u64::MAX {
            return None;
        }
        // A slot that is open already is moved with the next tick, not at once: there is no hurry.
        let tick = fire.unwrap_or(u64::MAX).min(self.opens.max(self.now_tick.saturating_add(1)));
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

    /// The first tick of the first ring that has live timers.
    #[inline]
    fn next_fire(&self) -> Option<u64> {
        let steps = self.occupied[0].steps_to_next(self.layout.slot_id(0, self.now_tick))?;
        Some(self.now_tick.saturating_add(steps))
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
        let mut current = std::mem::take(&mut self.scratch.current);
        let mut fired = 0;
        while fired < limit {
            let (seen, count) = self.look(id, limit - fired, &mut current);
            if seen == 0 {
                break;
            }
            out.reserve(count);
            for &place in &current[..count] {
                let entry = self.pool.read(place);
                let deadline_ms = self.deadline_of(horizon_ms, entry);
                let key = self.slab.remove(entry.index);
                out.push(Due { key, payload: entry.payload, deadline_ms });
            }
            if !self.elders.is_empty() {
                for &place in &current[..count] {
                    self.elders.remove(&self.pool.read(place).index);
                }
            }
            fired += count;
            if self.drop_oldest(id, seen, count) {
                break;
            }
        }
        self.scratch.current = current;
        fired
    }

    /// Looks at the oldest refs of a slot, at most `limit` and at most [`AHEAD`]: the moved ones first, they were armed
    /// earlier. Says how many they were, and how many of them are current; those are in `current`, by place.
    ///
    /// In passes, so that cache misses overlap: all lines of refs first, then the nodes. Nothing in a pass depends on
    /// what was loaded in it, and there is little else in it, so that many loads are under way at once.
    fn look(&self, id: u32, limit: usize, current: &mut Vec<u32>) -> (usize, usize) {
        current.resize(AHEAD, 0);
        let limit = limit.min(AHEAD);
        let (mut seen, mut count) = (0, 0);
        for list in &self.slots[id as usize].lanes {
            self.pool.runs(list, limit).for_each(|(_, run)| ChunkPool::touch_lines(run));
        }
        for list in &self.slots[id as usize].lanes {
            for (first, run) in self.pool.runs(list, limit - seen) {
                for (place, entry) in (first..).zip(run) {
                    current[count % AHEAD] = place;
                    count += usize::from(self.slab.is_at(entry.index, place));
                }
                seen += run.len();
            }
        }
        (seen, count)
    }

    /// Takes the oldest `seen` refs off a slot, of which `count` were of timers that have left it; says whether it
    /// is empty now.
    fn drop_oldest(&mut self, id: u32, seen: usize, count: usize) -> bool {
        let slot = &mut self.slots[id as usize];
        let mut left = seen;
        for list in &mut slot.lanes {
            while left > 0 && !list.is_empty() {
                let run = self.pool.run(list, left).1.len();
                self.pool.skip(list, run);
                left -= run;
            }
        }
        self.refs -= seen;
        slot.refs -= seen as u32;
        slot.live -= count as u32;
        let empty = slot.live == 0;
        if empty {
            self.empty_slot(id);
        }
        empty
    }

    /// The next tick at which something must happen: a firing, or a slot that must have been moved down.
    fn next_stop(&self) -> Option<u64> {
        // The very last tick is one that a timer can fire at; no slot above the ticks begins there.
        let fire = self.next_fire();
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
        let mut current = std::mem::take(&mut self.scratch.current);
        let mut spent = 0;
        while spent < quota {
            let (seen, count) = self.look(id, quota - spent, &mut current);
            if seen == 0 {
                break;
            }
            spent += seen;
            for &place in &current[..count] {
                let entry = self.pool.read(place);
                let target = self.placement.slot_at(level, self.deadline_of(horizon_ms, entry));
                let place = self.append(target, MOVED, entry);
                self.slab.set_place(entry.index, place);
            }
            self.refs += count;
            self.counters.moved += count as u64;
            if self.drop_oldest(id, seen, count) {
                break;
            }
        }
        self.scratch.current = current;
        spent
    }
}
