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
//! Free nodes are taken in the order of memory (`vacancy.rs`), so a batch runs through it in one direction.

use std::hint::black_box;
use std::num::NonZeroU64;

use crate::grow::grow;
use crate::vacancy::Vacancy;

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

impl Node {
    /// Never used.
    const FRESH: Node = Node { generation: 1, place: NOWHERE };

    /// Puts a timer into a node that was taken; returns its key.
    #[inline]
    pub(crate) fn settle(&mut self, index: u32, place: u32) -> TimerKey {
        debug_assert_eq!(self.place, NOWHERE, "node {index} is in use");
        self.place = place;
        TimerKey::new(index, self.generation)
    }
}

/// All nodes, and which of them are free.
#[derive(Debug)]
pub(crate) struct Slab {
    nodes: Vec<Node>,
    free: Vacancy,
    retired: usize,
}

impl Slab {
    pub(crate) fn new() -> Self {
        Self { nodes: Vec::new(), free: Vacancy::new(), retired: 0 }
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
        if let Some(index) = self.free.take() {
            return index;
        }
        let index = self.nodes.len() as u32;
        grow(&mut self.nodes);
        self.nodes.push(Node::FRESH);
        self.free.cover(self.nodes.len());
        index
    }

    /// Takes `count` nodes, in the order of memory: the free ones, then fresh ones; `taken` is overwritten. Those that
    /// were used before are brought into the cache.
    pub(crate) fn take_many(&mut self, count: usize, taken: &mut Vec<u32>) {
        taken.clear();
        self.free.take_many(count, taken);
        self.touch(taken.iter().copied());
        let (first, fresh) = (self.nodes.len(), count - taken.len());
        if fresh > 0 {
            if self.nodes.capacity() - first < fresh {
                self.nodes.reserve_exact((first / 8).max(fresh));
            }
            self.nodes.resize(first + fresh, Node::FRESH);
            self.free.cover(self.nodes.len());
            taken.extend(first as u32..(first + fresh) as u32);
        }
    }

    /// All nodes, to settle a batch that [`Slab::take_many`] has taken nodes for.
    pub(crate) fn nodes_mut(&mut self) -> &mut [Node] {
        &mut self.nodes
    }

    /// Gives the timer at `index` another place and another generation: its key, which was current, is stale, and
    /// the one returned is new. `None`, and nothing has changed, when it has no generation left.
    #[inline]
    pub(crate) fn renew(&mut self, index: u32, place: u32) -> Option<TimerKey> {
        let node = &mut self.nodes[index as usize];
        debug_assert!(node.place != NOWHERE, "node {index} is free");
        if node.generation == u32::MAX {
            return None;
        }
        node.generation += 1;
        node.place = place;
        Some(TimerKey::new(index, node.generation))
    }

    /// Puts a timer into a node that was taken; returns its key.
    #[inline]
    pub(crate) fn settle(&mut self, index: u32, place: u32) -> TimerKey {
        self.nodes[index as usize].settle(index, place)
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
            self.free.add(index);
        }
        key
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

    /// Brings what [`Slab::remove`] will note of these timers into the cache.
    #[inline]
    pub(crate) fn touch_vacancy(&self, keys: &[TimerKey]) {
        self.free.touch(keys.iter().map(|key| key.index()));
    }

    /// Bytes on the heap.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.nodes.capacity() * size_of::<Node>() + self.free.memory_bytes()
    }

    /// Checks the set of free nodes against the nodes.
    pub(crate) fn invariant(&self) -> Result<(), String> {
        if !self.free.is_sound() {
            return Err("the set of free nodes contradicts itself".to_owned());
        }
        let both = |&index: &u32| self.free.contains(index) && self.nodes[index as usize].place != NOWHERE;
        if let Some(index) = (0..self.nodes.len() as u32).find(both) {
            return Err(format!("node {index} is free while in use"));
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
    fn a_freed_node_is_taken_before_a_fresh_one_and_old_keys_stay_stale() {
        let mut slab = Slab::new();
        let (first, second) = (insert(&mut slab, 10), insert(&mut slab, 20));
        slab.remove(second.index());
        slab.remove(first.index());
        let third = insert(&mut slab, 30);
        assert_eq!(third.index(), first.index());
        assert_eq!([slab.find(third), slab.find(second), slab.find(first)], [Some(30), None, None]);
        assert_eq!((slab.len(), slab.key_of_ref(third.index(), 30)), (1, Some(third)));
        assert_eq!(slab.key_of_ref(third.index(), 20), None);
        slab.invariant().unwrap();
        let mut taken = Vec::new();
        slab.take_many(3, &mut taken);
        assert_eq!(taken, [second.index(), 2, 3]);
        for (&index, place) in taken.iter().zip(40..) {
            slab.settle(index, place);
        }
        slab.invariant().unwrap();
    }

    #[test]
    fn a_renewed_node_keeps_its_index_until_its_generations_are_used_up() {
        let mut slab = Slab::new();
        let key = insert(&mut slab, 1);
        let renewed = slab.renew(key.index(), 2).unwrap();
        assert_eq!((renewed.index(), slab.find(key), slab.find(renewed)), (key.index(), None, Some(2)));
        slab.nodes[key.index() as usize].generation = u32::MAX;
        assert_eq!((slab.renew(key.index(), 3), slab.len()), (None, 1));
        slab.remove(key.index());
        assert_ne!(insert(&mut slab, 4).index(), key.index());
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
