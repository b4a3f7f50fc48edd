//! The timers themselves: 16 bytes each, found by key, guarded by generations.
//!
//! A node's generation is odd while it holds a timer and even while it is free, and only ever grows;
//! so a key (or a slot's ref) that carries another generation is stale, whatever happened since.
//! A node whose generations are used up is retired rather than reused: a stale key can then never
//! meet a stranger, at the price of 16 bytes every two billion reuses of one node.
//!
//! The free list is an array used as a stack: the index to be taken next is known in advance
//! (a linked free list is a dependent cache miss per insert), and the warmest node is reused first.

use std::num::NonZeroU64;

use crate::grow::grow;

/// The last generation a node can have while it holds a timer.
const GENERATION_MAX: u32 = u32::MAX;

/// Names one armed timer: `generation << 32 | index`. Stale once the timer fired, was cancelled or
/// was rescheduled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimerKey(NonZeroU64);

impl TimerKey {
    pub(crate) fn new(index: u32, generation: u32) -> Self {
        let raw = u64::from(generation) << 32 | u64::from(index);
        // Live generations are odd, so the number is never zero; 1 << 32 is only there for the type.
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
struct Node {
    payload: u64,
    generation: u32,
    /// The slot that holds the ref, with [`crate::wheel::ELDER`] as a flag.
    slot: u32,
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
        (u32::MAX as usize - self.nodes.len()) + self.free.len()
    }

    /// Stores a timer; the caller has checked [`Slab::room`].
    pub(crate) fn insert(&mut self, payload: u64) -> TimerKey {
        if let Some(index) = self.free.pop() {
            let node = &mut self.nodes[index as usize];
            node.generation += 1;
            node.payload = payload;
            return TimerKey::new(index, node.generation);
        }
        let index = self.nodes.len() as u32;
        grow(&mut self.nodes);
        self.nodes.push(Node { payload, generation: 1, slot: 0 });
        TimerKey::new(index, 1)
    }

    /// Takes a timer out and makes its key stale; returns payload and slot. The key must be live.
    pub(crate) fn remove(&mut self, index: u32) -> (u64, u32) {
        let node = &mut self.nodes[index as usize];
        debug_assert!(node.generation % 2 == 1, "node {index} is free");
        let taken = (node.payload, node.slot);
        if node.generation == GENERATION_MAX {
            node.generation = 0;
            self.retired += 1;
        } else {
            node.generation += 1;
            grow(&mut self.free);
            self.free.push(index);
        }
        taken
    }

    /// Whether the key names a timer that is still held.
    pub(crate) fn contains(&self, key: TimerKey) -> bool {
        key.generation() % 2 == 1 && self.holds(key.index(), key.generation())
    }

    /// Whether a ref written by us is still current (its generation is odd, or zero when wiped).
    pub(crate) fn holds(&self, index: u32, generation: u32) -> bool {
        self.nodes.get(index as usize).is_some_and(|node| node.generation == generation) && generation != 0
    }

    /// Key of whatever timer is at `index` now.
    pub(crate) fn key_at(&self, index: u32) -> Option<TimerKey> {
        let node = self.nodes.get(index as usize)?;
        (node.generation % 2 == 1).then(|| TimerKey::new(index, node.generation))
    }

    /// Payload of a held timer.
    pub(crate) fn payload(&self, index: u32) -> u64 {
        self.nodes[index as usize].payload
    }

    /// Slot (and flag) of a held timer.
    pub(crate) fn slot(&self, index: u32) -> u32 {
        self.nodes[index as usize].slot
    }

    /// Notes where the timer's ref is.
    pub(crate) fn set_slot(&mut self, index: u32, slot: u32) {
        self.nodes[index as usize].slot = slot;
    }

    /// Bytes on the heap.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.nodes.capacity() * size_of::<Node>() + self.free.capacity() * size_of::<u32>()
    }

    /// Checks the free list against the generations.
    pub(crate) fn invariant(&self) -> Result<(), String> {
        let mut seen = vec![false; self.nodes.len()];
        for &index in &self.free {
            let twice = std::mem::replace(&mut seen[index as usize], true);
            if twice || self.nodes[index as usize].generation % 2 == 1 {
                return Err(format!("node {index} is on the free list twice or while in use"));
            }
        }
        let live = self.nodes.iter().filter(|node| node.generation % 2 == 1).count();
        if live != self.len() {
            return Err(format!("{live} nodes are live, {} are counted", self.len()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_16_bytes_and_a_key_8() {
        assert_eq!(size_of::<Node>(), 16);
        assert_eq!(size_of::<Option<TimerKey>>(), 8);
    }

    #[test]
    fn the_last_freed_node_is_taken_first_and_old_keys_stay_stale() {
        let mut slab = Slab::new();
        let (first, second) = (slab.insert(10), slab.insert(20));
        slab.remove(first.index());
        slab.remove(second.index());
        let third = slab.insert(30);
        assert_eq!(third.index(), second.index());
        assert!(slab.contains(third) && !slab.contains(second) && !slab.contains(first));
        assert_eq!((slab.len(), slab.payload(third.index())), (1, 30));
        slab.invariant().unwrap();
    }

    #[test]
    fn a_forged_key_of_a_free_node_is_refused() {
        let mut slab = Slab::new();
        let key = slab.insert(1);
        slab.remove(key.index());
        for generation in 0..6 {
            assert!(!TimerKey::from_raw(generation << 32).is_some_and(|forged| slab.contains(forged)));
        }
        assert!(!slab.contains(TimerKey::new(99, 1)));
    }

    #[test]
    fn a_node_with_no_generation_left_is_retired() {
        let mut slab = Slab::new();
        let key = slab.insert(1);
        slab.nodes[key.index() as usize].generation = GENERATION_MAX;
        let last = slab.key_at(key.index()).unwrap();
        assert!(slab.contains(last));
        slab.remove(last.index());
        assert!(!slab.contains(last) && slab.len() == 0);
        let next = slab.insert(2);
        assert_ne!(next.index(), last.index());
        assert!(!slab.contains(last) && slab.contains(next) && slab.len() == 1);
        slab.invariant().unwrap();
    }
}
