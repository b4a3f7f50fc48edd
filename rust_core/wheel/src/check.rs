//! The wheel read as a whole: for snapshots, and for proofs that it is sound.

use crate::chunks::Cursor;
use crate::layout::{OVERFLOW, RINGS};
use crate::slab::TimerKey;
use crate::wheel::{Due, Wheel, DIRECT, ELDER, MOVED};

/// All armed timers; see [`Wheel::iter`].
#[derive(Debug)]
pub struct Iter<'a> {
    wheel: &'a Wheel,
    /// Lanes still to be walked, the next one last.
    lanes: Vec<(u32, usize)>,
    place: Option<(u32, usize, Cursor)>,
}

impl Iterator for Iter<'_> {
    type Item = Due;

    fn next(&mut self) -> Option<Due> {
        loop {
            let Some((id, lane, cursor)) = &mut self.place else {
                let (id, lane) = self.lanes.pop()?;
                self.place = Some((id, lane, self.wheel.slots[id as usize].lanes[lane].front));
                continue;
            };
            let list = &self.wheel.slots[*id as usize].lanes[*lane];
            match self.wheel.pool.step(list, cursor) {
                None => self.place = None,
                Some((_, entry)) if self.wheel.slab.holds(entry.index, entry.generation) => {
                    return Some(Due {
                        key: TimerKey::new(entry.index, entry.generation),
                        payload: self.wheel.slab.payload(entry.index),
                        deadline_ms: self.wheel.deadline_ms(*id, entry),
                    });
                }
                Some(_) => {}
            }
        }
    }
}

impl Wheel {
    /// All armed timers, for snapshots. Ticks come in no particular order, the timers of one tick in
    /// the order they will fire: inserted in this order into another wheel they fire the same way.
    pub fn iter(&self) -> Iter<'_> {
        // The timers of one tick, oldest first, are in the moved lanes from the lowest level up
        // (each was filled from the front of the next), then in the direct lanes from the top down.
        let mut lanes = Vec::new();
        for level in 0..=OVERFLOW {
            self.push_lanes(level, DIRECT, &mut lanes);
        }
        for level in (0..=OVERFLOW).rev() {
            self.push_lanes(level, MOVED, &mut lanes);
        }
        Iter { wheel: self, lanes, place: None }
    }

    fn push_lanes(&self, level: usize, lane: usize, lanes: &mut Vec<(u32, usize)>) {
        let slots = self.slots.iter().enumerate();
        lanes.extend(
            slots
                .filter(|(_, slot)| slot.level as usize == level && !slot.lanes[lane].is_empty())
                .map(|(id, _)| (id as u32, lane)),
        );
    }

    /// Checks every promise the parts make to each other; says which one is broken. Reads everything.
    pub fn invariant(&self) -> Result<(), String> {
        self.slab.invariant()?;
        let mut chunks = self.pool.count_free();
        let (mut live, mut refs, mut elders) = (0_usize, 0_usize, 0_usize);
        for id in 0..self.slots.len() as u32 {
            let slot = &self.slots[id as usize];
            elders += self.check_slot(id)?;
            chunks += slot.lanes.iter().map(|list| self.pool.count_chunks(list)).sum::<usize>();
            live += slot.live as usize;
            refs += slot.refs as usize;
        }
        ensure(chunks == self.pool.chunks(), || {
            format!("{chunks} chunks of {} are known", self.pool.chunks())
        })?;
        ensure(live == self.len(), || format!("slots have {live} timers, the slab {}", self.len()))?;
        ensure(refs == self.refs, || format!("slots have {refs} refs, counted {}", self.refs))?;
        ensure(elders == self.elders.len(), || format!("{elders} elders, noted {}", self.elders.len()))?;
        ensure(self.len() <= self.capacity, || format!("{} timers exceed {}", self.len(), self.capacity))?;
        let buckets = self.slots.len() - self.layout.ring_slots() as usize;
        ensure(buckets == self.overflow.len() + self.spare_buckets.len(), || {
            format!("{buckets} buckets, {} used, {} spare", self.overflow.len(), self.spare_buckets.len())
        })
    }

    /// Counts one slot and checks that each timer belongs there; returns its elders.
    fn check_slot(&self, id: u32) -> Result<usize, String> {
        let slot = &self.slots[id as usize];
        let level = slot.level as usize;
        let (mut live, mut refs, mut elders) = (0, 0, 0);
        for list in &slot.lanes {
            let mut cursor = list.front;
            while let Some((_, entry)) = self.pool.step(list, &mut cursor) {
                refs += 1;
                if !self.slab.holds(entry.index, entry.generation) {
                    continue;
                }
                live += 1;
                let tagged = self.slab.slot(entry.index);
                ensure(tagged & !ELDER == id, || {
                    format!("timer {} thinks it is in {tagged}, not {id}", entry.index)
                })?;
                elders += usize::from(tagged & ELDER != 0);
                let tick = self.layout.due_tick(self.deadline_ms(id, entry)).max(self.now_tick);
                let number = self.layout.number(level, tick);
                ensure(number == slot.number, || format!("timer of slot {number} in slot {}", slot.number))?;
            }
        }
        ensure((live, refs) == (slot.live, slot.refs), || {
            format!("slot {id} has {live} of {refs}, counted {} of {}", slot.live, slot.refs)
        })?;
        ensure(live > 0 || refs == 0, || format!("slot {id} is all garbage"))?;
        if level < RINGS {
            let bit = self.occupied[level].get(id - self.layout.slot_id(level, 0));
            ensure(bit == (live > 0), || format!("bit of slot {id} is {bit}, timers {live}"))?;
        }
        if live > 0 {
            self.check_place(id)?;
        }
        Ok(elders)
    }

    /// Checks that an occupied slot lies in its level's window and ahead of its last moment.
    fn check_place(&self, id: u32) -> Result<(), String> {
        let slot = &self.slots[id as usize];
        let level = slot.level as usize;
        if level == OVERFLOW {
            ensure(self.overflow.get(&slot.number) == Some(&id), || {
                format!("bucket {id} is not found by day")
            })?;
        } else {
            let now_number = self.now_number[level];
            ensure(slot.number >= now_number && self.layout.fits(level, slot.number, now_number), || {
                format!("slot number {} is out of the window from {now_number}", slot.number)
            })?;
            ensure(self.layout.slot_id(level, slot.number) == id, || {
                format!("slot {} at {id}", slot.number)
            })?;
        }
        ensure(level == 0 || self.layout.force_at(level, slot.number) > self.now_tick, || {
            format!("slot {} of level {level} should have been moved down", slot.number)
        })
    }
}

fn ensure(holds: bool, broken: impl FnOnce() -> String) -> Result<(), String> {
    if holds {
        Ok(())
    } else {
        Err(broken())
    }
}
