//! Request ids and their first answers: a repeat gets the same answer, a reuse for another request is refused.
//!
//! The key is a keyed 128-bit SipHash of the id, so that a caller cannot choose ids that collide, and 16 bytes are kept
//! instead of up to 64. The memory is bounded by count and by age; what is older than the window counts as
//! forgotten even while it is still here, so answers do not depend on when memory is tidied.
use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use bytes::Bytes;
use siphasher::sip128::{Hasher128, SipHasher13};

use crate::limits;

/// The hash of a request id.
pub type RequestKey = u128;

/// Makes keys.
#[derive(Clone, Copy, Debug)]
pub struct Keying(SipHasher13);

impl Keying {
    /// `seed` should be unknown to callers; it may differ from start to start.
    pub fn new(seed: &[u8; 16]) -> Keying {
        Keying(SipHasher13::new_with_key(seed))
    }

    /// The key of an id.
    pub fn key(&self, request_id: &str) -> RequestKey {
        let mut hasher = self.0;
        hasher.write(request_id.as_bytes());
        hasher.finish128().as_u128()
    }
}

/// The fingerprint of a request's bytes: SipHash-1-3 with key zero, so that it is the same after every start and can
/// be stored. It is no defence against a caller who looks for collisions: that caller would only fool itself.
pub fn fingerprint(request: &[u8]) -> i64 {
    siphasher::sip::SipHasher13::new().hash(request) as i64
}

/// The first answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It became this order.
    Admitted {
        /// The order's id.
        order_id: i64,
        /// The rules in force.
        rule_revision: i64,
    },
    /// The encoded `google.rpc.Status` of its refusal.
    Refused(Bytes),
}

/// What is known of a request id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// Of the request's bytes.
    pub fingerprint: i64,
    /// When it was answered first.
    pub created_ms: i64,
    /// The answer.
    pub answer: Answer,
}

/// The keys are hashes already.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyIsHash(u64);

impl Hasher for KeyIsHash {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {
        debug_assert!(false, "only u128 keys");
    }
    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64;
    }
}

/// The map.
#[derive(Clone, Debug)]
pub struct Requests {
    known: HashMap<RequestKey, Remembered, BuildHasherDefault<KeyIsHash>>,
    /// Oldest first, once sorted.
    ages: VecDeque<(i64, RequestKey)>,
    sorted: bool,
    kept_max: usize,
}

/// The same ids with the same answers, remembered in the same sequence.
impl PartialEq for Requests {
    fn eq(&self, other: &Requests) -> bool {
        self.known == other.known && self.ages == other.ages
    }
}

impl Requests {
    /// An empty map that keeps `kept_max` ids.
    pub fn new(kept_max: usize) -> Requests {
        Requests { known: HashMap::default(), ages: VecDeque::new(), sorted: true, kept_max }
    }

    /// Ids kept.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// The first answer, unless it is past the window.
    pub fn get(&self, key: RequestKey, now_ms: i64) -> Option<&Remembered> {
        let known = self.known.get(&key)?;
        (now_ms.saturating_sub(known.created_ms) < limits::REQUEST_ID_WINDOW_MS).then_some(known)
    }

    /// Remembers the answer to a request that [`Requests::get`] did not know. Returns what it replaced: an answer
    /// past the window.
    pub fn remember(&mut self, key: RequestKey, answer: Remembered) -> Option<Remembered> {
        self.sorted &= self.ages.back().is_none_or(|(last, _)| *last <= answer.created_ms);
        self.ages.push_back((answer.created_ms, key));
        self.known.insert(key, answer)
    }

    /// Remembers an answer read back from storage. Rows come in any sequence, and an id may have been used again after
    /// its window: the younger answer counts.
    pub fn restore(&mut self, key: RequestKey, answer: Remembered) {
        if self.known.get(&key).is_none_or(|known| known.created_ms < answer.created_ms) {
            self.remember(key, answer);
        }
    }

    /// Undoes the last [`Requests::remember`], which replaced `before`.
    pub fn take_back(&mut self, key: RequestKey, before: Option<Remembered>) {
        debug_assert_eq!(self.ages.back().map(|(_, last)| *last), Some(key));
        self.ages.pop_back();
        match before {
            Some(before) => self.known.insert(key, before),
            None => self.known.remove(&key),
        };
    }

    /// Forgets the oldest beyond the limit.
    pub fn trim(&mut self) {
        while self.known.len() > self.kept_max {
            self.forget_oldest();
        }
    }

    /// Forgets what was answered before the instant; returns how many.
    pub fn expire(&mut self, before_ms: i64) -> usize {
        self.sort();
        let len = self.known.len();
        while self.ages.front().is_some_and(|(created_ms, _)| *created_ms < before_ms) {
            self.forget_oldest();
        }
        len - self.known.len()
    }

    fn forget_oldest(&mut self) {
        self.sort();
        let Some((created_ms, key)) = self.ages.pop_front() else { return };
        // An id used again after its window has a younger entry in `ages` too: the older one then says nothing.
        if let Entry::Occupied(entry) = self.known.entry(key) {
            if entry.get().created_ms == created_ms {
                entry.remove();
            }
        }
    }

    /// Rows read back from storage come by id, not by age.
    fn sort(&mut self) {
        if !self.sorted {
            self.ages.make_contiguous().sort_unstable();
            self.sorted = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(created_ms: i64) -> Remembered {
        Remembered { fingerprint: 1, created_ms, answer: Answer::Refused(Bytes::new()) }
    }

    #[test]
    fn the_window_ends_exactly() {
        let mut requests = Requests::new(10);
        requests.remember(1, refused(1_000));
        assert!(requests.get(1, 1_000 + limits::REQUEST_ID_WINDOW_MS - 1).is_some());
        assert!(requests.get(1, 1_000 + limits::REQUEST_ID_WINDOW_MS).is_none());
    }

    #[test]
    fn the_oldest_are_forgotten_first_whatever_the_order_of_arrival() {
        let mut requests = Requests::new(2);
        for (key, created_ms) in [(1, 30), (2, 10), (3, 20)] {
            requests.remember(key, refused(created_ms));
        }
        requests.trim();
        assert!(requests.get(2, 40).is_none());
        assert_eq!(requests.len(), 2);
        assert_eq!(requests.expire(30), 1);
        assert!(requests.get(1, 40).is_some());
    }

    #[test]
    fn an_id_used_again_lives_by_its_second_use() {
        let mut requests = Requests::new(10);
        requests.remember(1, refused(10));
        let before = requests.remember(1, refused(20));
        assert_eq!(before, Some(refused(10)));
        assert_eq!(requests.expire(15), 0);
        assert!(requests.get(1, 20).is_some());
        requests.take_back(1, None);
        assert!(requests.is_empty());
    }

    #[test]
    fn of_two_restored_answers_the_younger_counts() {
        for ages in [[10, 20], [20, 10]] {
            let mut requests = Requests::new(10);
            ages.into_iter().for_each(|created_ms| requests.restore(1, refused(created_ms)));
            assert_eq!(requests.get(1, 25), Some(&refused(20)));
            assert_eq!(requests.expire(15), 0);
        }
    }

    #[test]
    fn keys_depend_on_the_seed_and_fingerprints_do_not_change() {
        assert_ne!(Keying::new(&[1; 16]).key("a"), Keying::new(&[2; 16]).key("a"));
        assert_eq!(Keying::new(&[1; 16]).key("a"), Keying::new(&[1; 16]).key("a"));
        // Stored in the database: a change of this number would make every repeat a reuse.
        assert_eq!(fingerprint(b"cuptime"), FINGERPRINT_OF_CUPTIME);
    }

    const FINGERPRINT_OF_CUPTIME: i64 = 3_693_495_094_629_624_231;
}
