//! Where a deadline goes, seen from the present: the geometry of `layout.rs`, solved once a tick or less,
//! so that placing a timer is four comparisons and one multiplication.
//!
//! With `x = deadline + tick - 1` (or the present, if that is later) everything is a division with
//! nothing lost by rounding twice: `floor(ceil(D / q) / unit) = floor((D + q - 1) / (q * unit))`. A
//! level holds the timer when `x` is below its window's end; the division by a slot's length is a
//! multiplication with its inverse, exact because `x` is at most a window ahead of the present.

use crate::layout::{Layout, RINGS};

/// One ring, seen from the present.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    /// `x` below this belongs here or lower.
    end_ms: u64,
    /// Start of the present slot.
    first_ms: u64,
    /// Number of the present slot.
    number: u64,
    /// `ceil(2^63 / slot length in ms)`.
    inverse: u64,
    slot_ms: u64,
    base: u32,
    mask: u32,
}

/// The present, and all rings seen from it.
#[derive(Clone, Debug)]
pub(crate) struct Placement {
    windows: [Window; RINGS],
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
        let windows = std::array::from_fn(|level| {
            let slot_ms = layout.unit_ticks(level) * layout.tick_ms();
            Window {
                inverse: (1_u64 << 63).div_ceil(slot_ms),
                slot_ms,
                base: layout.slot_id(level, 0),
                mask: layout.slots(level) as u32 - 1,
                ..Window::default()
            }
        });
        let mut placement = Self {
            windows,
            round_up_ms: layout.tick_ms() - 1,
            tick_ms: layout.tick_ms(),
            floor_ms: 0,
            next_second: 0,
        };
        placement.set_now(layout, 0);
        placement
    }

    /// Moves the present.
    pub(crate) fn set_now(&mut self, layout: &Layout, tick: u64) {
        self.floor_ms = tick * self.tick_ms;
        let first = &mut self.windows[0];
        first.number = tick;
        first.first_ms = self.floor_ms;
        first.end_ms = self.floor_ms.saturating_add((u64::from(first.mask) + 1) * first.slot_ms);
        if tick < self.next_second {
            return;
        }
        for level in 1..RINGS {
            let window = &mut self.windows[level];
            window.number = layout.number(level, tick);
            window.first_ms = window.number * window.slot_ms;
            window.end_ms = window.first_ms.saturating_add((u64::from(window.mask) + 1) * window.slot_ms);
        }
        self.next_second = layout.first_tick(1, self.windows[1].number + 1);
    }

    /// Number of the present slot of a ring.
    #[inline]
    pub(crate) fn number(&self, level: usize) -> u64 {
        self.windows[level].number
    }

    /// The slot of the lowest ring that holds the deadline; `None` beyond the rings, and for the last
    /// moments before the end of time.
    #[inline]
    pub(crate) fn slot(&self, deadline_ms: u64) -> Option<u32> {
        let x = deadline_ms.saturating_add(self.round_up_ms).max(self.floor_ms);
        let [ticks, seconds, minutes, hours] = &self.windows;
        if x >= hours.end_ms {
            return None;
        }
        // Added up rather than searched for: deadlines are mixed, and a branch would be guessed wrongly.
        let level = usize::from(x >= ticks.end_ms)
            + usize::from(x >= seconds.end_ms)
            + usize::from(x >= minutes.end_ms);
        Some(self.windows[level].slot(x))
    }

    /// The slot of one ring for a deadline in its window, not before the present.
    #[inline]
    pub(crate) fn slot_at(&self, level: usize, deadline_ms: u64) -> u32 {
        let window = &self.windows[level];
        match deadline_ms.checked_add(self.round_up_ms) {
            Some(x) => window.slot(x.max(self.floor_ms)),
            None => {
                let number = deadline_ms.div_ceil(self.tick_ms) / (window.slot_ms / self.tick_ms);
                window.base + (number as u32 & window.mask)
            }
        }
    }

    /// Absolute number of an occupied slot of a ring, by its id: the only one of the window that lives there.
    pub(crate) fn number_of(&self, level: usize, id: u32) -> u64 {
        let window = &self.windows[level];
        let steps = (id - window.base).wrapping_sub(window.number as u32) & window.mask;
        window.number.saturating_add(u64::from(steps))
    }
}

impl Window {
    #[inline]
    fn slot(&self, x: u64) -> u32 {
        let slots = (u128::from(x - self.first_ms) * u128::from(self.inverse)) >> 63;
        self.base + ((self.number as u32).wrapping_add(slots as u32) & self.mask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The plain way, by division.
    fn plain(layout: &Layout, now_tick: u64, deadline_ms: u64) -> Option<u32> {
        let tick = layout.due_tick(deadline_ms).max(now_tick);
        (0..RINGS).find_map(|level| {
            let number = layout.number(level, tick);
            let fits = layout.fits(level, number, layout.number(level, now_tick));
            fits.then(|| layout.slot_id(level, number))
        })
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
            assert_eq!(placement.slot(u64::MAX), None);
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
