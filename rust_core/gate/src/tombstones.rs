//! What is left of a release: it refuses reserves that were sent before it and come after it.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

#[derive(Debug, Default)]
pub(crate) struct Tombstones {
    /// By id: reserves sent at or before this instant are refused; and when the stone was put.
    stones: FxHashMap<i64, (i64, i64)>,
    /// (put_ms, id) in the sequence of putting; entries that a later stone replaced are skipped when purging.
    by_age: VecDeque<(i64, i64)>,
}

impl Tombstones {
    pub(crate) fn put(&mut self, id: i64, refuses_until_ms: i64, now_ms: i64) {
        let stone = self.stones.entry(id).or_insert((refuses_until_ms, now_ms));
        *stone = (stone.0.max(refuses_until_ms), now_ms);
        self.by_age.push_back((now_ms, id));
    }

    pub(crate) fn refuse(&self, id: i64, sent_ms: i64) -> bool {
        self.stones.get(&id).is_some_and(|&(refuses_until_ms, _)| sent_ms <= refuses_until_ms)
    }

    pub(crate) fn forget(&mut self, id: i64) {
        self.stones.remove(&id);
    }

    /// Drops what was put before `before_ms`, and the oldest above `count_max`.
    pub(crate) fn purge(&mut self, before_ms: i64, count_max: usize) {
        while let Some(&(put_ms, id)) = self.by_age.front() {
            if put_ms >= before_ms && self.by_age.len() <= count_max {
                break;
            }
            self.by_age.pop_front();
            if self.stones.get(&id).is_some_and(|&(_, last_ms)| last_ms == put_ms) {
                self.stones.remove(&id);
            }
        }
    }
}
