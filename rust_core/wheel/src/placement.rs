//! Where a deadline goes, seen from the present: the geometry of `layout.rs`, solved once a tick or less,
//! so that placing a timer is four comparisons and one multiplication.
//!
//! With `x = deadline + tick - 1` (or the present, if that is later) everything is a division with
//! nothing lost by rounding twice: `floor(ceil(D / q) / unit) = floor((D + q - 1) / (q * unit))`. A
//! level holds the timer when `x` is below its window's end; the division by a slot's length is a
//! multiplication with its inverse, exact because `x` is at most a window ahead of the present.

use crate::layout::{Layout, LEVELS, RINGS};

/// The present, and all rings seen from it; each column by level. The level behind the rings has one slot, the number
/// behind all of theirs, for whatever is out of their reach: so nothing has to be asked first.
#[derive(Clone, Debug)]
pub(crate) struct Placement {
    /// `x` below this belongs here or lower.
    end_ms: [u64; RINGS],
    /// Start of the present slot.
    first_ms: [u64; LEVELS],
    /// Number of the present slot.
    number: [u64; LEVELS],
    /// `ceil(2^63 / slot length in ms)`.
    inverse: [u64; LEVELS],
    base: [u32; LEVELS],
    mask: [u32; LEVELS],
    slot_ms: [u64; RINGS],
    round_up_ms: u64,
    tick_ms: u64,
    /// Start of the present tick.
    floor_ms: u64,
    /// The first tick that is in another second than the present.
    next_second: u64,
}

impl Placement {
    /// Seen from tick 0.
    pub(crate) fn new(layout: &Layout) -> Self {
        let mut placement = Self {
            end_ms: [0; RINGS],
            first_ms: [0; LEVELS],
            number: [0; LEVELS],
            inverse: [0; LEVELS],
            base: [layout.ring_slots(); LEVELS],
            mask: [0; LEVELS],
            slot_ms: std::array::from_fn(|level| layout.unit_ticks(level) * layout.tick_ms()),
            round_up_ms: layout.tick_ms() - 1,
            tick_ms: layout.tick_ms(),
            floor_ms: 0,
            next_second: 0,
        };
        for level in 0..RINGS {
            placement.inverse[level] = (1_u64 << 63).div_ceil(placement.slot_ms[level]);
            placement.base[level] = layout.slot_id(level, 0);
            placement.mask[level] = layout.slots(level) as u32 - 1;
        }
        placement.set_now(layout, 0);
        placement
    }

    /// Moves the present.
    pub(crate) fn set_now(&mut self, layout: &Layout, tick: u64) {
        self.floor_ms = tick * self.tick_ms;
        self.set_window(0, tick);
        if tick < self.next_second {
            return;
        }
        for level in 1..RINGS {
            self.set_window(level, layout.number(level, tick));
        }
        self.next_second = layout.first_tick(1, self.number[1] + 1);
    }

    fn set_window(&mut self, level: usize, number: u64) {
        let slots = u64::from(self.mask[level]) + 1;
        self.number[level] = number;
        self.first_ms[level] = number * self.slot_ms[level];
        self.end_ms[level] = self.first_ms[level].saturating_add(slots * self.slot_ms[level]);
    }

    /// Number of the present slot of a ring.
    #[inline]
    pub(crate) fn number(&self, level: usize) -> u64 {
        self.number[level]
    }

    /// The slot of the lowest ring that holds the deadline; the number of all their slots when it is beyond the rings,
    /// and for the last moments before the end of time.
    #[inline]
    pub(crate) fn slot(&self, deadline_ms: u64) -> u32 {
        let x = deadline_ms.saturating_add(self.round_up_ms).max(self.floor_ms);
        // Added up rather than searched for: deadlines are mixed, and a branch would be guessed wrongly.
        let level = self.end_ms.iter().map(|&end_ms| usize::from(x >= end_ms)).sum();
        self.slot_of(level, x)
    }

    /// The slot of one ring for a deadline in its window, not before the present.
    #[inline]
    pub(crate) fn slot_at(&self, level: usize, deadline_ms: u64) -> u32 {
        match deadline_ms.checked_add(self.round_up_ms) {
            Some(x) => self.slot_of(level, x.max(self.floor_ms)),
            None => {
                let number = deadline_ms.div_ceil(self.tick_ms) / (self.slot_ms[level] / self.tick_ms);
                self.base[level] + (number as u32 & self.mask[level])
            }
        }
    }

    /// Absolute number of an occupied slot of a ring, by its id: the only one of the window that lives there.
    #[inline]
    pub(crate) fn number_of(&self, level: usize, id: u32) -> u64 {
        let steps = (id - self.base[level]).wrapping_sub(self.number[level] as u32) & self.mask[level];
        self.number[level].saturating_add(u64::from(steps))
    }

    #[inline]
    fn slot_of(&self, level: usize, x: u64) -> u32 {
        let slots =
            (u128::from(x.wrapping_sub(self.first_ms[level])) * u128::from(self.inverse[level])) >> 63;
        self.base[level] + ((self.number[level] as u32).wrapping_add(slots as u32) & self.mask[level])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The plain way, by division.
    fn plain(layout: &Layout, now_tick: u64, deadline_ms: u64) -> u32 {
        let tick = layout.due_tick(deadline_ms).max(now_tick);
        let ring = (0..RINGS).find_map(|level| {
            let number = layout.number(level, tick);
            let fits = layout.fits(level, number, layout.number(level, now_tick));
            fits.then(|| layout.slot_id(level, number))
        });
        ring.unwrap_or(layout.ring_slots())
    }

    #[test]
    fn equals_the_plain_arithmetic_around_every_edge() {
        for tick_ms in [1, 2, 4, 5, 8, 10, 20, 25, 40, 50] {
            let layout = Layout::new(tick_ms).unwrap();
            for start_ms in
                [0, 59_990, 3_599_999, 1_795_392_000_000, 1_795_478_399_990, u64::MAX - 400_000_000]
            {
                let mut placement = Placement::new(&layout);
                for step in 0..40 {
                    let now_tick = (start_ms + step * 1_771) / tick_ms;
                    placement.set_now(&layout, now_tick);
                    let floor_ms = now_tick * tick_ms;
                    for level in 0..RINGS {
                        assert_eq!(placement.number(level), layout.number(level, now_tick));
                        let slot_ms = layout.unit_ticks(level) * tick_ms;
                        let number = layout.number(level, now_tick);
                        for slots in
                            [0, 1, 2, layout.slots(level) - 1, layout.slots(level), layout.slots(level) + 1]
                        {
                            let edge_ms = (number + slots) * slot_ms;
                            for deadline_ms in edge_ms.saturating_sub(60)..edge_ms + 60 {
                                let slot = plain(&layout, now_tick, deadline_ms);
                                assert_eq!(
                                    placement.slot(deadline_ms),
                                    slot,
                                    "{tick_ms} {now_tick} {deadline_ms}"
                                );
                                let due = layout.number(level, layout.due_tick(deadline_ms));
                                if deadline_ms >= floor_ms && layout.fits(level, due, number) {
                                    let slot = placement.slot_at(level, deadline_ms);
                                    assert_eq!(slot, layout.slot_id(level, due));
                                    assert_eq!(placement.number_of(level, slot), due);
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    /// At a coarser tick the plain search for a slot finds the same level at every deadline of the rings.
    #[test]
    fn equals_the_plain_arithmetic_anywhere() {
        for tick_ms in [1, 10, 25] {
            let layout = Layout::new(tick_ms).unwrap();
            let mut placement = Placement::new(&layout);
            let mut deadline_ms = 1_795_392_000_000_u64;
            let now_tick = deadline_ms / tick_ms;
            placement.set_now(&layout, now_tick);
            for step in 0..400_000_u64 {
                assert_eq!(placement.slot(deadline_ms), plain(&layout, now_tick, deadline_ms));
                deadline_ms += 1 + step * 7 % 1_300;
            }
            assert_eq!(placement.slot(u64::MAX), layout.ring_slots());
        }
    }

    #[test]
    fn at_the_end_of_time_a_ring_still_finds_its_slots() {
        for tick_ms in [1, 10] {
            let layout = Layout::new(tick_ms).unwrap();
            let mut placement = Placement::new(&layout);
            placement.set_now(&layout, layout.reached_tick(u64::MAX - 3_000));
            for before_ms in 0..2_000 {
                let deadline_ms = u64::MAX - before_ms;
                let number = layout.due_tick(deadline_ms);
                assert_eq!(placement.slot_at(0, deadline_ms), layout.slot_id(0, number));
            }
        }
    }
}
