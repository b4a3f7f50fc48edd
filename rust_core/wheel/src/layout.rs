//! Pure geometry: which level, which slot, when a slot may be moved down and when it must be.
//!
//! Everything here is arithmetic on ticks; nothing is stored and nothing changes. A *number* is the
//! absolute number of a slot at its level (`tick / unit`); a *slot id* is where that slot lives in
//! memory (`number mod ring`, plus the base of the ring).
//!
//! One predicate, [`Layout::fits`], decides both where a timer is put and when a slot may be opened
//! for moving down ([`Layout::open_at`] is solved from it). With two different limits a late insert
//! could land in a slot that has been emptied already, and be lost.

/// Number of rings; the level after the last ring is the overflow.
pub(crate) const RINGS: usize = 4;
/// The level number of the overflow, which is ordered by day and has no end.
pub(crate) const OVERFLOW: usize = RINGS;
/// Rings and overflow together.
pub(crate) const LEVELS: usize = RINGS + 1;

/// Shortest span the first ring may have: one slot of the second ring and four times that in slack.
const FIRST_RING_SPAN_MS: u64 = 5_120;
/// Slot lengths of the rings after the first, then of the overflow: second, minute, hour, day.
const UNIT_MS: [u64; LEVELS - 1] = [1_000, 60_000, 3_600_000, 86_400_000];
/// Slots of the rings after the first. Each spans about twice a slot of the next level, so that the
/// next level's slots can be moved down early.
const RING_SLOTS: [u64; RINGS - 1] = [128, 128, 64];
/// Longest tick: the first ring keeps at least two words of bitmap.
const TICK_MS_MAX: u64 = 50;

/// Sizes of all levels for one tick length.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    tick_ms: u64,
    /// Ticks per slot, by level.
    unit: [u64; LEVELS],
    /// Slots per ring; all powers of two.
    slots: [u64; RINGS],
    /// Slot id of each ring's first slot.
    base: [u32; RINGS],
    ring_slots: u32,
}

impl Layout {
    /// The layout for a tick of `tick_ms`, or `None` unless it divides 1,000 and is at most 50.
    pub(crate) fn new(tick_ms: u64) -> Option<Self> {
        if tick_ms == 0 || tick_ms > TICK_MS_MAX || 1_000 % tick_ms != 0 {
            return None;
        }
        let mut unit = [1; LEVELS];
        for (ticks, ms) in unit[1..].iter_mut().zip(UNIT_MS) {
            *ticks = ms / tick_ms;
        }
        let mut slots = [FIRST_RING_SPAN_MS.div_ceil(tick_ms).next_power_of_two(); RINGS];
        slots[1..].copy_from_slice(&RING_SLOTS);
        let mut base = [0; RINGS];
        let mut ring_slots = 0;
        for (first, count) in base.iter_mut().zip(slots) {
            *first = ring_slots;
            ring_slots += count as u32;
        }
        Some(Self { tick_ms, unit, slots, base, ring_slots })
    }

    /// Length of a tick.
    pub(crate) fn tick_ms(&self) -> u64 {
        self.tick_ms
    }

    /// Slots of all rings; overflow buckets have the ids from here on.
    pub(crate) fn ring_slots(&self) -> u32 {
        self.ring_slots
    }

    /// Slots of the ring of `level`.
    pub(crate) fn slots(&self, level: usize) -> u64 {
        self.slots[level]
    }

    /// Ticks per slot of a level.
    pub(crate) fn unit_ticks(&self, level: usize) -> u64 {
        self.unit[level]
    }

    /// The first tick at which a deadline may fire: rounded up, hence never early.
    pub(crate) fn due_tick(&self, deadline_ms: u64) -> u64 {
        deadline_ms.div_ceil(self.tick_ms)
    }

    /// The last tick that has begun at `now_ms`: rounded down.
    pub(crate) fn reached_tick(&self, now_ms: u64) -> u64 {
        now_ms / self.tick_ms
    }

    /// When a tick begins; saturates at the end of time.
    pub(crate) fn tick_start_ms(&self, tick: u64) -> u64 {
        tick.saturating_mul(self.tick_ms)
    }

    /// Absolute number of the slot of `level` that holds `tick`.
    pub(crate) fn number(&self, level: usize, tick: u64) -> u64 {
        if level == 0 {
            tick
        } else {
            tick / self.unit[level]
        }
    }

    /// First tick of a slot.
    pub(crate) fn first_tick(&self, level: usize, number: u64) -> u64 {
        number.saturating_mul(self.unit[level])
    }

    /// Last tick of a slot; saturates at the end of time.
    pub(crate) fn last_tick(&self, level: usize, number: u64) -> u64 {
        self.first_tick(level, number).saturating_add(self.unit[level] - 1)
    }

    /// Whether a ring can hold slot `number` while the present is in slot `now_number`.
    ///
    /// Needs `number >= now_number`. The present slot itself counts, so the ring is never lapped.
    pub(crate) fn fits(&self, level: usize, number: u64, now_number: u64) -> bool {
        number - now_number < self.slots[level]
    }

    /// The first tick that a ring does not hold while the present is in slot `now_number`.
    pub(crate) fn window_end(&self, level: usize, now_number: u64) -> u64 {
        self.first_tick(level, now_number.saturating_add(self.slots[level]))
    }

    /// Where slot `number` of a ring lives.
    pub(crate) fn slot_id(&self, level: usize, number: u64) -> u32 {
        self.base[level] + (number & (self.slots[level] - 1)) as u32
    }

    /// The first tick at which every tick of the slot fits in the level below: it may be moved down,
    /// and nothing can be put into it any more. For levels 1 and up.
    pub(crate) fn open_at(&self, level: usize, number: u64) -> u64 {
        let below = level - 1;
        let last_number = self.number(below, self.last_tick(level, number));
        self.first_tick(below, last_number.saturating_sub(self.slots[below] - 1))
    }

    /// The tick before which the slot must be empty: when its first child slot opens (the child must
    /// have received all its timers by then, or their order would be lost), or when its own first
    /// tick fires. For levels 1 and up.
    pub(crate) fn force_at(&self, level: usize, number: u64) -> u64 {
        let first = self.first_tick(level, number);
        match level {
            1 => first,
            _ => self.open_at(level - 1, self.number(level - 1, first)),
        }
    }

    /// One past the latest deadline of an overflow slot, wrapping at the end of time.
    pub(crate) fn day_end_ms(&self, number: u64) -> u64 {
        number.wrapping_add(1).wrapping_mul(UNIT_MS[OVERFLOW - 1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICKS_MS: [u64; 10] = [1, 2, 4, 5, 8, 10, 20, 25, 40, 50];

    #[test]
    fn ten_ms_has_512_slots_and_one_ms_8192() {
        let ten = Layout::new(10).unwrap();
        assert_eq!(ten.slots, [512, 128, 128, 64]);
        assert_eq!(ten.unit, [1, 100, 6_000, 360_000, 8_640_000]);
        assert_eq!(ten.ring_slots(), 512 + 128 + 128 + 64);
        let one = Layout::new(1).unwrap();
        assert_eq!(one.slots, [8_192, 128, 128, 64]);
        assert_eq!(one.unit, [1, 1_000, 60_000, 3_600_000, 86_400_000]);
    }

    #[test]
    fn only_divisors_of_a_second_up_to_50_ms() {
        let accepted: Vec<u64> = (0..=1_000).filter(|&ms| Layout::new(ms).is_some()).collect();
        assert_eq!(accepted, TICKS_MS);
    }

    #[test]
    fn rounds_deadlines_up_and_the_present_down() {
        let layout = Layout::new(10).unwrap();
        assert_eq!(
            [layout.due_tick(0), layout.due_tick(1), layout.due_tick(10), layout.due_tick(11)],
            [0, 1, 1, 2]
        );
        assert_eq!([layout.reached_tick(0), layout.reached_tick(9), layout.reached_tick(10)], [0, 0, 1]);
        assert!(layout.due_tick(u64::MAX) > layout.reached_tick(u64::MAX));
        assert_eq!(layout.tick_start_ms(layout.due_tick(u64::MAX)), u64::MAX);
    }

    #[test]
    fn a_slot_opens_exactly_when_its_last_tick_fits_below() {
        for tick_ms in TICKS_MS {
            let layout = Layout::new(tick_ms).unwrap();
            for level in 1..LEVELS {
                for number in [200, 201, 255, 256, 1_000_003] {
                    let open = layout.open_at(level, number);
                    let last = layout.number(level - 1, layout.last_tick(level, number));
                    let fits_at = |now| layout.fits(level - 1, last, layout.number(level - 1, now));
                    assert!(fits_at(open), "tick {tick_ms} level {level} number {number}");
                    assert!(!fits_at(open - 1), "tick {tick_ms} level {level} number {number}");
                }
            }
        }
    }

    #[test]
    fn between_opening_and_forcing_there_is_slack_for_the_budget() {
        for tick_ms in TICKS_MS {
            let layout = Layout::new(tick_ms).unwrap();
            // At least four fifths of the slot's own length in rings 1 and up.
            for level in 1..LEVELS {
                for number in [500, 511, 512, 1_000_003] {
                    let (open, force) = (layout.open_at(level, number), layout.force_at(level, number));
                    assert!(force <= layout.first_tick(level, number));
                    assert!(
                        force - open >= layout.unit[level] * 4 / 5,
                        "tick {tick_ms} level {level}: {open} {force}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_parent_is_forced_before_any_child_opens() {
        let layout = Layout::new(10).unwrap();
        for level in 2..LEVELS {
            for parent in 600..900 {
                let first = layout.number(level - 1, layout.first_tick(level, parent));
                let last = layout.number(level - 1, layout.last_tick(level, parent));
                for child in first..=last {
                    assert_eq!(layout.number(level, layout.first_tick(level - 1, child)), parent);
                    assert!(layout.force_at(level, parent) <= layout.open_at(level - 1, child));
                }
            }
        }
    }

    #[test]
    fn ids_are_distinct_inside_the_window() {
        let layout = Layout::new(10).unwrap();
        for level in 0..RINGS {
            let mut seen = std::collections::BTreeSet::new();
            for number in 777..777 + layout.slots(level) {
                assert!(layout.fits(level, number, 777));
                assert!(seen.insert(layout.slot_id(level, number)));
            }
            assert!(!layout.fits(level, 777 + layout.slots(level), 777));
        }
    }

    #[test]
    fn the_end_of_time_does_not_overflow() {
        for tick_ms in TICKS_MS {
            let layout = Layout::new(tick_ms).unwrap();
            let last = layout.due_tick(u64::MAX);
            for level in 1..LEVELS {
                let number = layout.number(level, last);
                assert!(layout.open_at(level, number) < layout.force_at(level, number));
                assert!(layout.first_tick(level, number) <= last && layout.last_tick(level, number) >= last);
            }
        }
    }
}
