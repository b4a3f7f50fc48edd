//! Timers whose time stands still: what is left of their delay is kept, and counts again from when they go on.

use crate::slab::{TimerKey, PAUSED};
use crate::wheel::Wheel;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Paused {
    pub(crate) payload: u64,
    pub(crate) left_ms: u64,
}

/// A paused timer; see [`Wheel::iter_paused`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PausedTimer {
    /// Its key since it was paused.
    pub key: TimerKey,
    /// The number given when it was armed.
    pub payload: u64,
    /// Ms from the present at which it goes on to its deadline.
    pub left_ms: u64,
}

impl Wheel {
    /// Stops a timer's time: it keeps what is left of its delay, counts against the capacity, and does not fall
    /// due. Returns its new key (the same one when it was paused already); `None` when the key was stale.
    pub fn pause(&mut self, key: TimerKey) -> Option<TimerKey> {
        if self.slab.find(key)? == PAUSED {
            return Some(key);
        }
        let payload = self.payload(key)?;
        let left_ms = self.deadline_ms(key)?.saturating_sub(self.now_ms);
        let place = self.slab.find(key)?;
        self.disarm(key.index(), place);
        let index = self.slab.take();
        self.paused.insert(index, Paused { payload, left_ms });
        Some(self.slab.settle(index, PAUSED))
    }

    /// Lets a paused timer go on: it is armed for the present plus what was left, behind the timers already
    /// armed for that tick. Returns its new key (the same one when it was not paused); `None` when it was stale.
    pub fn resume(&mut self, key: TimerKey) -> Option<TimerKey> {
        if self.slab.find(key)? != PAUSED {
            return Some(key);
        }
        let Paused { payload, left_ms } = self.paused.get(&key.index()).copied()?;
        self.disarm(key.index(), PAUSED);
        Some(self.arm(self.now_ms.saturating_add(left_ms), payload))
    }

    /// How many timers are paused.
    pub fn paused(&self) -> usize {
        self.paused.len()
    }

    /// All paused timers, for snapshots.
    pub fn iter_paused(&self) -> impl Iterator<Item = PausedTimer> + '_ {
        self.paused.iter().filter_map(|(&index, paused)| {
            let key = self.slab.key_at(index)?;
            Some(PausedTimer { key, payload: paused.payload, left_ms: paused.left_ms })
        })
    }
}
