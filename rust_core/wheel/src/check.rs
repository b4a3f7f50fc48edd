//! The wheel read as a whole: for snapshots, and for proofs that it is sound.

use crate::layout::{OVERFLOW, RINGS};
use crate::slab::PAUSED;
use crate::slot::{DIRECT, MOVED};
use crate::wheel::{Due, Wheel};

/// All armed timers; see [`Wheel::iter`].
#[derive(Debug)]
pub struct Iter<'a> {
    wheel: &'a Wheel,
    /// Lanes still to be walked, the next one last.
    lanes: Vec<(u32, usize)>,
    /// The lane that is being walked: its slot, which of the two, the last place seen.
    walk: Option<(u32, usize, Option<u32>)>,
}

impl Iterator for Iter<'_> {
    type Item = Due;

    fn next(&mut self) -> Option<Due> {
        loop {
            let Some((id, lane, last)) = &mut self.walk else {
                let (id, lane) = self.lanes.pop()?;
                self.walk = Some((id, lane, None));
                continue;
            };
            let Some(place) = self.wheel.pool.after(&self.wheel.slots[*id as usize].lanes[*lane], *last)
            else {
                self.walk = None;
                continue;
            };
            *last = Some(place);
            let entry = self.wheel.pool.read(place);
            if let Some(key) = self.wheel.slab.key_of_ref(entry.index, place) {
                let deadline_ms = self.wheel.deadline_of(self.wheel.horizon_ms(*id), entry);
                return Some(Due { key, payload: entry.payload, deadline_ms });
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
        Iter { wheel: self, lanes, walk: None }
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
        let held = self.slab.len();
        ensure(held <= self.capacity, || format!("{held} timers exceed {}", self.capacity))?;
        let stray = self.paused.keys().find(|&&index| !self.slab.is_at(index, PAUSED));
        ensure(stray.is_none(), || format!("timer {stray:?} is listed as paused and is not"))?;
        let above = (1..=OVERFLOW).filter_map(|level| Some((level, self.number_of(self.earliest(level)?))));
        let first = above.fold((u64::MAX, u64::MAX), |(opens, forces), (level, number)| {
            (opens.min(self.layout.open_at(level, number)), forces.min(self.layout.force_at(level, number)))
        });
        ensure(first == (self.opens, self.forces), || {
            format!("first slot above opens and forces at {first:?}, noted {} {}", self.opens, self.forces)
        })?;
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
        let horizon_ms = self.horizon_ms(id);
        for list in &slot.lanes {
            let mut last = None;
            while let Some(place) = self.pool.after(list, last) {
                last = Some(place);
                refs += 1;
                let entry = self.pool.read(place);
                ensure(self.pool.slot_of(place) == id, || {
                    format!("place {place} of {id} is noted elsewhere")
                })?;
                if self.slab.key_of_ref(entry.index, place).is_none() {
                    continue;
                }
                live += 1;
                elders += usize::from(self.elders.contains_key(&entry.index));
                let tick = self.layout.due_tick(self.deadline_of(horizon_ms, entry)).max(self.now_tick);
                let number = self.layout.number(level, tick);
                let here = self.number_of(id);
                ensure(number == here, || format!("timer of slot {number} in slot {here}"))?;
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
        let number = self.number_of(id);
        let level = self.slots[id as usize].level as usize;
        if level == OVERFLOW {
            ensure(self.overflow.get(&number) == Some(&id), || format!("bucket {id} is not found by day"))?;
        } else {
            let now_number = self.placement.number(level);
            ensure(number >= now_number && self.layout.fits(level, number, now_number), || {
                format!("slot number {number} is out of the window from {now_number}")
            })?;
            ensure(self.layout.slot_id(level, number) == id, || format!("slot {number} at {id}"))?;
        }
        ensure(level == 0 || self.forcing || self.layout.force_at(level, number) > self.now_tick, || {
            format!("slot {number} of level {level} should have been moved down")
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
