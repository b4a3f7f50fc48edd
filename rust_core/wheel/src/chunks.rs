//! What a slot holds: refs of 12 bytes in chunks of 32, chunks from one pool.
//!
//! A slot is read front to back, so the refs of a chunk come in with the hardware's own prefetch
//! and the node each of them points to is known long before it is needed. (Timers linked to each
//! other would be one dependent cache miss per timer.) A list is handed back to the pool in one
//! step, whatever its length.

use crate::grow::grow;

/// Refs per chunk: 384 bytes, six cache lines.
pub(crate) const CHUNK_REFS: u32 = 32;
const NONE: u32 = u32::MAX;

/// A slot's record of one timer. Garbage once the node has another generation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ref {
    /// The deadline's low 32 bits, in ms; the rest follows from where the ref is.
    pub(crate) deadline_low: u32,
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl Ref {
    /// Matches no node: generation 0 is never live.
    pub(crate) const WIPED: Ref = Ref { deadline_low: 0, index: 0, generation: 0 };
}

/// A position between two refs of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) chunk: u32,
    /// `0..=CHUNK_REFS`; the step into the next chunk is taken only when a ref is needed from it.
    pub(crate) at: u32,
}

/// A queue of refs. Not empty exactly when it owns a chunk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct List {
    pub(crate) front: Cursor,
    pub(crate) back: Cursor,
}

impl List {
    pub(crate) const EMPTY: List =
        List { front: Cursor { chunk: NONE, at: 0 }, back: Cursor { chunk: NONE, at: 0 } };

    pub(crate) fn is_empty(&self) -> bool {
        self.front.chunk == NONE
    }
}

/// All chunks, those in lists and those that are free.
#[derive(Debug)]
pub(crate) struct ChunkPool {
    refs: Vec<Ref>,
    /// By chunk: the next chunk of its list, or of the free list.
    next: Vec<u32>,
    free: u32,
}

impl ChunkPool {
    pub(crate) fn new() -> Self {
        Self { refs: Vec::new(), next: Vec::new(), free: NONE }
    }

    /// Appends a ref.
    pub(crate) fn push(&mut self, list: &mut List, entry: Ref) {
        if list.is_empty() {
            let chunk = self.take_chunk();
            list.front = Cursor { chunk, at: 0 };
            list.back = list.front;
        } else if list.back.at == CHUNK_REFS {
            let chunk = self.take_chunk();
            self.next[list.back.chunk as usize] = chunk;
            list.back = Cursor { chunk, at: 0 };
        }
        self.write(list.back, entry);
        list.back.at += 1;
    }

    /// Takes the oldest ref.
    pub(crate) fn pop(&mut self, list: &mut List) -> Option<Ref> {
        if list.is_empty() {
            return None;
        }
        let entry = self.read(list.front);
        list.front.at += 1;
        if list.front == list.back {
            self.release(list);
        } else if list.front.at == CHUNK_REFS {
            let spent = list.front.chunk;
            list.front = Cursor { chunk: self.next[spent as usize], at: 0 };
            self.next[spent as usize] = self.free;
            self.free = spent;
        }
        Some(entry)
    }

    /// Gives all chunks of a list back, in one step.
    pub(crate) fn release(&mut self, list: &mut List) {
        if !list.is_empty() {
            self.next[list.back.chunk as usize] = self.free;
            self.free = list.front.chunk;
            *list = List::EMPTY;
        }
    }

    /// Cuts the list off at `end`, which lies behind at least one ref of it.
    pub(crate) fn truncate(&mut self, list: &mut List, end: Cursor) {
        if end.chunk != list.back.chunk {
            let first_cut = self.next[end.chunk as usize];
            self.next[list.back.chunk as usize] = self.free;
            self.free = first_cut;
        }
        list.back = end;
    }

    /// The ref behind the cursor; moves the cursor past it. `None` at the end of the list.
    pub(crate) fn step(&self, list: &List, cursor: &mut Cursor) -> Option<(Cursor, Ref)> {
        if list.is_empty() || *cursor == list.back {
            return None;
        }
        self.enter_chunk(cursor);
        let place = *cursor;
        cursor.at += 1;
        Some((place, self.read(place)))
    }

    /// Steps from the end of one chunk to the start of the next, which must exist.
    pub(crate) fn enter_chunk(&self, cursor: &mut Cursor) {
        if cursor.at == CHUNK_REFS {
            *cursor = Cursor { chunk: self.next[cursor.chunk as usize], at: 0 };
        }
    }

    /// Overwrites the ref behind the cursor.
    pub(crate) fn write(&mut self, place: Cursor, entry: Ref) {
        self.refs[Self::position(place)] = entry;
    }

    /// Bytes on the heap.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.refs.capacity() * size_of::<Ref>() + self.next.capacity() * size_of::<u32>()
    }

    /// Chunks in all lists and on the free list.
    pub(crate) fn chunks(&self) -> usize {
        self.next.len()
    }

    /// Chunks on the free list. Walks it; for checks.
    pub(crate) fn count_free(&self) -> usize {
        let mut count = 0;
        let mut chunk = self.free;
        while chunk != NONE && count <= self.next.len() {
            count += 1;
            chunk = self.next[chunk as usize];
        }
        count
    }

    /// Chunks of one list. Walks it; for checks.
    pub(crate) fn count_chunks(&self, list: &List) -> usize {
        if list.is_empty() {
            return 0;
        }
        let mut count = 1;
        let mut chunk = list.front.chunk;
        while chunk != list.back.chunk && count <= self.next.len() {
            count += 1;
            chunk = self.next[chunk as usize];
        }
        count
    }

    fn read(&self, place: Cursor) -> Ref {
        self.refs[Self::position(place)]
    }

    fn position(place: Cursor) -> usize {
        place.chunk as usize * CHUNK_REFS as usize + place.at as usize
    }

    fn take_chunk(&mut self) -> u32 {
        if self.free != NONE {
            let chunk = self.free;
            self.free = self.next[chunk as usize];
            return chunk;
        }
        let chunk = self.next.len() as u32;
        grow(&mut self.next);
        self.next.push(NONE);
        // Room for a whole chunk at once: the steps of `grow` are multiples of nothing in particular.
        if self.refs.capacity() - self.refs.len() < CHUNK_REFS as usize {
            self.refs.reserve_exact((self.refs.len() / 8).max(64 * CHUNK_REFS as usize));
        }
        self.refs.resize(self.refs.len() + CHUNK_REFS as usize, Ref::WIPED);
        chunk
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u32) -> Ref {
        Ref { deadline_low: index, index, generation: 1 }
    }

    fn indices(pool: &ChunkPool, list: &List) -> Vec<u32> {
        let mut cursor = list.front;
        std::iter::from_fn(|| pool.step(list, &mut cursor)).map(|(_, found)| found.index).collect()
    }

    #[test]
    fn a_ref_is_12_bytes() {
        assert_eq!(size_of::<Ref>(), 12);
    }

    #[test]
    fn first_in_first_out_over_many_chunks_and_all_chunks_return() {
        let mut pool = ChunkPool::new();
        let mut list = List::EMPTY;
        for round in 0..3 {
            let count = 100 + round * 28;
            (0..count).for_each(|index| pool.push(&mut list, entry(index)));
            assert_eq!(indices(&pool, &list), (0..count).collect::<Vec<_>>());
            for index in 0..count {
                assert_eq!(pool.pop(&mut list).map(|found| found.index), Some(index));
            }
            assert!(list.is_empty() && pool.pop(&mut list).is_none());
            assert_eq!(pool.count_free(), pool.chunks());
        }
    }

    #[test]
    fn pushing_and_popping_in_turn_stays_in_order() {
        let mut pool = ChunkPool::new();
        let mut list = List::EMPTY;
        let (mut pushed, mut popped) = (0, 0);
        for round in 0..500_u32 {
            (0..round % 7).for_each(|_| {
                pool.push(&mut list, entry(pushed));
                pushed += 1;
            });
            for _ in 0..round % 6 {
                if let Some(found) = pool.pop(&mut list) {
                    assert_eq!(found.index, popped);
                    popped += 1;
                }
            }
            assert_eq!(pool.count_free() + pool.count_chunks(&list), pool.chunks());
        }
        assert_eq!(indices(&pool, &list), (popped..pushed).collect::<Vec<_>>());
    }

    #[test]
    fn truncating_keeps_the_front_and_frees_the_rest() {
        for keep in [1, 31, 32, 33, 64, 65, 99, 100] {
            let mut pool = ChunkPool::new();
            let mut list = List::EMPTY;
            (0..100).for_each(|index| pool.push(&mut list, entry(index)));
            let mut cursor = list.front;
            (0..keep).for_each(|_| assert!(pool.step(&list, &mut cursor).is_some()));
            pool.truncate(&mut list, cursor);
            assert_eq!(indices(&pool, &list), (0..keep).collect::<Vec<_>>());
            assert_eq!(pool.count_free() + pool.count_chunks(&list), pool.chunks());
            pool.push(&mut list, entry(777));
            assert_eq!(indices(&pool, &list), (0..keep).chain([777]).collect::<Vec<_>>());
        }
    }
}
