//! The timers' nodes: 8 bytes each, found by key, guarded by generations.
//!
//! A node says which generation of timer it holds and where that timer's ref is; everything else
//! about a timer is in the ref. So cancelling and checking touch 8 bytes, eight nodes to a cache line.
//!
//! A node's generation grows whenever its timer goes, so a key that carries another generation is
//! stale, whatever happened since. A node whose generations are used up is retired rather than
//! reused: a stale key can then never meet a stranger, at the price of 8 bytes every four billion
//! reuses of one node.
//!
//! The free list is an array used as a stack: the indices to be taken next are known in advance
//! (a linked free list is a dependent cache miss per insert), and the warmest node is reused first.

use std::hint::black_box;
use std::num::NonZeroU64;

use crate::grow::grow;

/// Place of a free node.
pub(crate) const NOWHERE: u32 = u32::MAX;
/// Place of a timer that is paused: it has no ref.
pub(crate) const PAUSED: u32 = u32::MAX - 1;

/// Names one armed timer: `generation << 32 | index`. Stale once the timer fired, was cancelled,
/// rescheduled or paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimerKey(NonZeroU64);

impl TimerKey {
    /// The key of no timer: generations start at 1.
    pub const NOBODY: TimerKey = TimerKey(NonZeroU64::MIN);

    pub(crate) fn new(index: u32, generation: u32) -> Self {
        let raw = u64::from(generation) << 32 | u64::from(index);
        // Generations start at 1, so the number is never zero; the other branch is only there for the type.
        Self(NonZeroU64::new(raw).unwrap_or(NonZeroU64::MIN))
    }

    /// The key as a plain number.
    pub fn to_raw(self) -> u64 {
        self.0.get()
    }

    /// The key of a plain number; any number is safe to ask with.
    pub fn from_raw(raw: u64) -> Option<Self> {
        NonZeroU64::new(raw).map(Self)
    }

    /// Position in the slab: unique among armed timers, reused later.
    pub fn index(self) -> u32 {
        self.0.get() as u32
    }

    pub(crate) fn generation(self) -> u32 {
        (self.0.get() >> 32) as u32
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    /// Of the timer that is here, or of the next one while the node is free.
    generation: u32,
    /// Where the timer's ref is; or [`NOWHERE`], or [`PAUSED`].
    place: u32,
}

/// All nodes, and which of them are free.
#[derive(Debug)]
pub(crate) struct Slab {
    nodes: Vec<Node>,
    free: Vec<u32>,
    retired: usize,
}

impl Slab {
    pub(crate) fn new() -> Self {
        Self { nodes: Vec::new(), free: Vec::new(), retired: 0 }
    }

    /// Timers held.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len() - self.free.len() - self.retired
    }

    /// How many more timers can be held before 32-bit indices run out.
    pub(crate) fn room(&self) -> usize {
        (PAUSED as usize - self.nodes.len()) + self.free.len()
    }

    /// Takes a node for a timer whose ref will be at `place`; the caller has checked [`Slab::room`].
    #[inline]
    pub(crate) fn take(&mut self) -> u32 {
        if let Some(index) = self.free.pop() {
            return index;
        }
        let index = self.nodes.len() as u32;
        grow(&mut self.nodes);
        self.nodes.push(Node { generation: 1, place: NOWHERE });
        index
    }

    /// Puts a timer into a node that was taken; returns its key.
    #[inline]
    pub(crate) fn settle(&mut self, index: u32, place: u32) -> TimerKey {
        let node = &mut self.nodes[index as usize];
        debug_assert_eq!(node.place, NOWHERE, "node {index} is in use");
        node.place = place;
        TimerKey::new(index, node.generation)
    }

    /// Takes a timer out and makes its key, which is returned, stale. The node must hold one.
    #[inline]
    pub(crate) fn remove(&mut self, index: u32) -> TimerKey {
        let node = &mut self.nodes[index as usize];
        debug_assert!(node.place != NOWHERE, "node {index} is free");
        let key = TimerKey::new(index, node.generation);
        node.place = NOWHERE;
        node.generation = node.generation.wrapping_add(1);
        if node.generation == 0 {
            self.retired += 1;
        } else {
            self.free.push(index);
        }
        key
    }

    /// Makes room for `more` removals, so that none of them moves the free list.
    pub(crate) fn reserve_free(&mut self, more: usize) {
        if self.free.capacity() - self.free.len() < more {
            self.free.reserve_exact(more.max(self.free.len() / 8));
        }
    }

    /// Where the timer of a key is; `None` when the key is stale.
    #[inline]
    pub(crate) fn find(&self, key: TimerKey) -> Option<u32> {
        let node = self.nodes.get(key.index() as usize)?;
        (node.generation == key.generation() && node.place != NOWHERE).then_some(node.place)
    }

    /// Whether the timer at `index` has its ref at `place`: whether a ref is current.
    #[inline]
    pub(crate) fn is_at(&self, index: u32, place: u32) -> bool {
        self.nodes.get(index as usize).is_some_and(|node| node.place == place)
    }

    /// The key of the timer at `index` if its ref is at `place`.
    #[inline]
    pub(crate) fn key_of_ref(&self, index: u32, place: u32) -> Option<TimerKey> {
        let node = self.nodes.get(index as usize)?;
        (node.place == place).then(|| TimerKey::new(index, node.generation))
    }

    /// Key of whatever timer is at `index` now.
    pub(crate) fn key_at(&self, index: u32) -> Option<TimerKey> {
        let node = self.nodes.get(index as usize)?;
        (node.place != NOWHERE).then(|| TimerKey::new(index, node.generation))
    }

    /// Notes where the timer's ref is now.
    #[inline]
    pub(crate) fn set_place(&mut self, index: u32, place: u32) {
        self.nodes[index as usize].place = place;
    }

    /// Brings nodes into the cache. Each load is independent of the others, so the misses overlap, which they
    /// do not when each is followed by what depends on it.
    #[inline]
    pub(crate) fn touch(&self, indices: impl Iterator<Item = u32>) {
        let places = indices.filter_map(|index| self.nodes.get(index as usize)).map(|node| node.place);
        black_box(places.fold(0, |sum, place| sum ^ place));
    }

    /// Brings the next `count` free nodes into the cache.
    pub(crate) fn touch_free(&self, count: usize) {
        let first = self.free.len().saturating_sub(count);
        self.touch(self.free[first..].iter().copied());
    }

    /// Bytes on the heap.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.nodes.capacity() * size_of::<Node>() + self.free.capacity() * size_of::<u32>()
    }

    /// Checks the free list against the nodes.
    pub(crate) fn invariant(&self) -> Result<(), String> {
        let mut seen = vec![false; self.nodes.len()];
        for &index in &self.free {
            let twice = std::mem::replace(&mut seen[index as usize], true);
            if twice || self.nodes[index as usize].place != NOWHERE {
                return Err(format!("node {index} is on the free list twice or while in use"));
            }
        }
        let live = self.nodes.iter().filter(|node| node.place != NOWHERE).count();
        if live != self.len() {
            return Err(format!("{live} nodes are live, {} are counted", self.len()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(slab: &mut Slab, place: u32) -> TimerKey {
        let index = slab.take();
        slab.settle(index, place)
    }

    #[test]
    fn a_node_and_a_key_are_8_bytes() {
        assert_eq!(size_of::<Node>(), 8);
        assert_eq!(size_of::<Option<TimerKey>>(), 8);
    }

    #[test]
    fn the_last_freed_node_is_taken_first_and_old_keys_stay_stale() {
        let mut slab = Slab::new();
        let (first, second) = (insert(&mut slab, 10), insert(&mut slab, 20));
        slab.remove(first.index());
        slab.remove(second.index());
        let third = insert(&mut slab, 30);
        assert_eq!(third.index(), second.index());
        assert_eq!([slab.find(third), slab.find(second), slab.find(first)], [Some(30), None, None]);
        assert_eq!((slab.len(), slab.key_of_ref(third.index(), 30)), (1, Some(third)));
        assert_eq!(slab.key_of_ref(third.index(), 20), None);
        slab.invariant().unwrap();
    }

    #[test]
    fn a_forged_key_of_a_free_node_is_refused() {
        let mut slab = Slab::new();
        let key = insert(&mut slab, 1);
        slab.remove(key.index());
        for generation in 0..6 {
            assert!(TimerKey::from_raw(generation << 32).and_then(|forged| slab.find(forged)).is_none());
        }
        assert!(slab.find(TimerKey::new(99, 1)).is_none());
    }

    #[test]
    fn a_node_with_no_generation_left_is_retired() {
        let mut slab = Slab::new();
        let key = insert(&mut slab, 1);
        slab.nodes[key.index() as usize].generation = u32::MAX;
        let last = slab.key_at(key.index()).unwrap();
        assert!(slab.find(last).is_some());
        slab.remove(last.index());
        assert!(slab.find(last).is_none() && slab.len() == 0);
        let next = insert(&mut slab, 2);
        assert_ne!(next.index(), last.index());
        assert!(slab.find(last).is_none() && slab.find(next).is_some() && slab.len() == 1);
        slab.invariant().unwrap();
    }
}
