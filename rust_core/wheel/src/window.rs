//! Timers that may fall due any time within a window: put where they are cheapest.
//!
//! The lowest level that holds the window's start is never left, since each level costs one move. Within
//! it the *roundest* tick is chosen, the one with the most trailing zero bits: windows that overlap
//! tend to agree on it without knowing of each other, so one wake-up serves many.

use crate::layout::RINGS;
use crate::slab::{TimerKey, PAUSED};
use crate::wheel::{Wheel, WheelError};

impl Wheel {
    /// Arms a timer that may fall due at any instant from `deadline_ms` to `deadline_ms + slack_ms`. The
    /// instant chosen, which is a tick's unless the window holds none, is the deadline it will come out with.
    pub fn insert_within(
        &mut self,
        deadline_ms: u64,
        slack_ms: u64,
        payload: u64,
    ) -> Result<TimerKey, WheelError> {
        self.insert(self.within(deadline_ms, slack_ms), payload)
    }

    /// Gives a timer a window instead of its deadline. One that lies in the window already is left where it
    /// is, and its key stays. `None` when the key was stale.
    pub fn reschedule_within(&mut self, key: TimerKey, deadline_ms: u64, slack_ms: u64) -> Option<TimerKey> {
        let latest_ms = deadline_ms.saturating_add(slack_ms);
        if self.slab.find(key)? != PAUSED && self.deadline_ms(key).is_some_and(|at| at >= deadline_ms) {
            let due_ms = self.layout.due_tick(self.deadline_ms(key)?).saturating_mul(self.tick_ms());
            if due_ms <= latest_ms {
                return Some(key);
            }
        }
        self.reschedule(key, self.within(deadline_ms, slack_ms))
    }

    /// The cheapest instant of a window.
    pub(crate) fn within(&self, deadline_ms: u64, slack_ms: u64) -> u64 {
        let first = self.layout.due_tick(deadline_ms).max(self.now_tick);
        let mut last = self.layout.reached_tick(deadline_ms.saturating_add(slack_ms));
        for level in 0..RINGS {
            let window_end = self.layout.window_end(level, self.placement.number(level));
            if first < window_end {
                last = last.min(window_end - 1);
                break;
            }
        }
        if last <= first {
            return deadline_ms;
        }
        roundest(first, last).saturating_mul(self.tick_ms())
    }
}

/// The number from `first` to `last` with the most trailing zero bits.
fn roundest(first: u64, last: u64) -> u64 {
    let Some(before) = first.checked_sub(1) else { return 0 };
    // The highest bit in which `last` differs from the number before the range: everything below it may be cleared.
    let bit = 63 - (before ^ last).leading_zeros();
    last >> bit << bit
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wheel::Config;

    #[test]
    fn the_roundest_is_the_one_a_plain_search_finds() {
        for first in 0..200_u64 {
            for last in first..first + 90 {
                let best = (first..=last).max_by_key(|tick| tick.trailing_zeros()).unwrap();
                assert_eq!(roundest(first, last).trailing_zeros(), best.trailing_zeros(), "{first}..={last}");
                assert!((first..=last).contains(&roundest(first, last)));
            }
        }
    }

    #[test]
    fn a_window_is_kept_and_windows_that_overlap_meet() {
        let mut wheel = Wheel::new(Config { tick_ms: 10, capacity: 10_000 }, 1_795_392_000_123).unwrap();
        let now_ms = wheel.now_ms();
        for delay_ms in [0, 1, 9, 10, 999, 5_119, 60_000, 127_000, 3_600_000, 10 * 86_400_000] {
            for slack_ms in [0, 1, 9, 10, 25, 400, 60_000] {
                let chosen_ms = wheel.within(now_ms + delay_ms, slack_ms);
                let range = now_ms + delay_ms..=now_ms + delay_ms + slack_ms;
                assert!(range.contains(&chosen_ms), "{delay_ms} {slack_ms} {chosen_ms}");
                let level = |at| {
                    (0..RINGS)
                        .position(|level| at < wheel.layout.window_end(level, wheel.placement.number(level)))
                };
                assert_eq!(level(chosen_ms.div_ceil(10)), level((now_ms + delay_ms).div_ceil(10)));
            }
        }
        for step in 0..500 {
            wheel.insert_within(now_ms + 1_000 + step, 1_000, step).unwrap();
        }
        let ticks: std::collections::BTreeSet<u64> =
            wheel.iter().map(|timer| timer.deadline_ms / 10).collect();
        assert!(ticks.len() <= 3, "500 windows of a second need {} ticks", ticks.len());
    }

    #[test]
    fn what_lies_in_its_window_already_is_left_alone() {
        let mut wheel = Wheel::new(Config { tick_ms: 10, capacity: 10 }, 0).unwrap();
        let key = wheel.insert(500, 1).unwrap();
        assert_eq!(wheel.reschedule_within(key, 450, 100), Some(key));
        assert_eq!(wheel.reschedule_within(key, 500, 0), Some(key));
        let moved = wheel.reschedule_within(key, 501, 100).unwrap();
        assert!(moved != key && wheel.reschedule_within(key, 0, 900).is_none());
        assert!((501..=601).contains(&wheel.deadline_ms(moved).unwrap()));
        let paused = wheel.pause(moved).unwrap();
        let resumed = wheel.reschedule_within(paused, 700, 5).unwrap();
        assert_eq!((wheel.deadline_ms(resumed), wheel.paused()), (Some(700), 0));
    }
}
