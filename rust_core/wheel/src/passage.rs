//! How time passes: firing, moving slots down within a budget, and knowing when to be called next.

use crate::layout::{OVERFLOW, RINGS};
use crate::slab::TimerKey;
use crate::wheel::{Due, Wheel, ELDER, MOVED};

/// Refs moved down or compacted per advance even when nothing presses: about 8 us of work.
const BUDGET_MIN: usize = 256;

/// What an [`Wheel::advance`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Timers that fell due in this call.
    pub fired: usize,
    /// Whether everything due by `to_ms` has been handed out; else call again.
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
        let mut fired = 0;
        let done = loop {
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
            self.force_due();
        };
        self.counters.fired += fired as u64;
        let spent = self.move_early(BUDGET_MIN, before_tick);
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
        if self.present_live() > 0 {
            return Some(self.now_ms);
        }
        let mut tick = self.earliest(0).map_or(u64::MAX, |id| self.slots[id as usize].number);
        for level in 1..=OVERFLOW {
            if let Some(id) = self.earliest(level) {
                let open = self.layout.open_at(level, self.slots[id as usize].number);
                tick = tick.min(open.max(self.now_tick.saturating_add(1)));
            }
        }
        Some(self.layout.tick_start_ms(tick).max(self.now_ms))
    }

    /// Does up to about `budget` refs' worth of work ahead of need (moving slots down, then removing
    /// garbage); returns the refs looked at, 0 when there is nothing to do. Never changes what fires when.
    pub fn maintain(&mut self, budget: usize) -> usize {
        let moved = self.move_early(budget, self.now_tick);
        moved + self.compact(budget.saturating_sub(moved))
    }

    /// Sets the present tick; the caller sees to `now_ms`.
    pub(crate) fn set_now(&mut self, tick: u64) {
        debug_assert!(tick >= self.now_tick);
        self.now_tick = tick;
        for level in 0..RINGS {
            self.now_number[level] = self.layout.number(level, tick);
        }
    }

    /// The first slot of a level that has live timers.
    pub(crate) fn earliest(&self, level: usize) -> Option<u32> {
        if level == OVERFLOW {
            return self.overflow.first_key_value().map(|(_, &id)| id);
        }
        let base = self.layout.slot_id(level, 0);
        let from = self.layout.slot_id(level, self.now_number[level]) - base;
        let steps = self.occupied[level].steps_to_next(from)?;
        Some(self.layout.slot_id(level, self.now_number[level] + steps))
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
        let mut fired = 0;
        while fired < limit {
            let Some(entry) = self.pop(id) else { break };
            if !self.slab.holds(entry.index, entry.generation) {
                continue;
            }
            let deadline_ms = self.deadline_ms(id, entry);
            let (payload, tagged) = self.slab.remove(entry.index);
            if tagged & ELDER != 0 {
                self.elders.remove(&entry.index);
            }
            out.push(Due { key: TimerKey::new(entry.index, entry.generation), payload, deadline_ms });
            fired += 1;
            self.slots[id as usize].live -= 1;
            if self.slots[id as usize].live == 0 {
                self.empty_slot(id);
                break;
            }
        }
        fired
    }

    /// The next tick at which something must happen: a firing, or a slot that must have been moved down.
    fn next_stop(&self) -> Option<u64> {
        let fire = self.earliest(0).map(|id| self.slots[id as usize].number);
        let force = (1..=OVERFLOW).filter_map(|level| {
            let id = self.earliest(level)?;
            Some(self.layout.force_at(level, self.slots[id as usize].number))
        });
        fire.into_iter().chain(force).min()
    }

    /// Moves down, whole, every slot whose last moment is now. A parent's is before any child's opening,
    /// so no slot of one level waits for another here.
    fn force_due(&mut self) {
        for level in (1..=OVERFLOW).rev() {
            while let Some(id) = self.earliest(level) {
                if self.layout.force_at(level, self.slots[id as usize].number) > self.now_tick {
                    break;
                }
                self.counters.forced += self.move_down(id, usize::MAX) as u64;
            }
        }
    }

    /// Moves open slots down ahead of need: each its share of the time that passed since
    /// `before_tick`, so that it is empty just when it must be, and `budget` refs in any case.
    fn move_early(&mut self, budget: usize, before_tick: u64) -> usize {
        let elapsed = self.now_tick - before_tick;
        let mut spent = 0;
        for level in (1..=OVERFLOW).rev() {
            while let Some(id) = self.earliest(level) {
                let slot = &self.slots[id as usize];
                if self.layout.open_at(level, slot.number) > self.now_tick {
                    break;
                }
                // Forced moves come first, so the last moment lies ahead of both ticks; the share is
                // such that the tick before it finds the slot empty.
                let left = (self.layout.force_at(level, slot.number) - before_tick - 1).max(1);
                let share = (u128::from(slot.refs) * u128::from(elapsed)).div_ceil(u128::from(left)) as usize;
                let quota = share.max(budget.saturating_sub(spent));
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
        let mut seen = 0;
        while seen < quota {
            let Some(entry) = self.pop(id) else { break };
            seen += 1;
            if !self.slab.holds(entry.index, entry.generation) {
                continue;
            }
            let number = self.layout.number(level, self.layout.due_tick(self.deadline_ms(id, entry)));
            debug_assert!(self.layout.fits(level, number, self.now_number[level]));
            let target = self.layout.slot_id(level, number);
            self.append(target, number, MOVED, entry);
            self.slab.set_slot(entry.index, target);
            self.counters.moved += 1;
            self.slots[id as usize].live -= 1;
            if self.slots[id as usize].live == 0 {
                self.empty_slot(id);
                break;
            }
        }
        seen
    }
}
