//! What a slot holds: refs of 16 bytes in chunks of 32, chunks from one pool.
//!
//! A slot is read front to back, so the refs of a chunk come in with the hardware's own prefetch
//! and the node each of them points to is known long before it is needed. (Timers linked to each
//! other would be one dependent cache miss per timer.) A list is handed back to the pool in one
//! step, whatever its length.
//!
//! A ref's *place* is its position in the pool, for as long as it stays there. A timer's node names
//! the place of its ref, and that is how a ref is known to be current: the node it points to points
//! back. A place is reused only after its chunk went back to the pool, so a dead ref never meets a
//! node that points to it by chance.

use std::hint::black_box;

use crate::grow::grow;

/// Refs per chunk: 512 bytes, eight cache lines.
pub(crate) const CHUNK_REFS: u32 = 32;
/// Refs per cache line.
const LINE_REFS: usize = 4;
const CHUNK_BITS: u32 = CHUNK_REFS.trailing_zeros();
const NONE: u32 = u32::MAX;

/// A slot's record of one timer. Garbage once the node does not point back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ref {
    pub(crate) payload: u64,
    /// The deadline's low 32 bits, in ms; the rest follows from where the ref is.
    pub(crate) deadline_low: u32,
    pub(crate) index: u32,
}

impl Ref {
    /// Matches no node: there is none of this index.
    pub(crate) const WIPED: Ref = Ref { payload: 0, deadline_low: 0, index: u32::MAX };
}

/// A queue of refs; empty exactly when `end` is 0.
///
/// `end` is one past the last ref, so it is never 0 for a list that has one, and a multiple of the
/// chunk's length both when the last chunk is full and when there is none: one test tells the
/// usual append from the one that needs a chunk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct List {
    /// Place of the oldest ref.
    pub(crate) front: u32,
    pub(crate) end: u32,
}

impl List {
    pub(crate) const EMPTY: List = List { front: 0, end: 0 };

    pub(crate) fn is_empty(&self) -> bool {
        self.end == 0
    }

    /// The chunk of the last ref; the list has one.
    fn last_chunk(&self) -> u32 {
        (self.end - 1) >> CHUNK_BITS
    }
}

/// All chunks, those in lists and those that are free.
#[derive(Debug)]
pub(crate) struct ChunkPool {
    refs: Vec<Ref>,
    /// By chunk: the next chunk of its list, or of the free list.
    next: Vec<u32>,
    /// By chunk: the slot it belongs to.
    slot: Vec<u32>,
    free: u32,
}

impl ChunkPool {
    pub(crate) fn new() -> Self {
        Self { refs: Vec::new(), next: Vec::new(), slot: Vec::new(), free: NONE }
    }

    /// Appends a ref to a list of `slot`; returns its place.
    #[inline]
    pub(crate) fn push(&mut self, list: &mut List, slot: u32, entry: Ref) -> u32 {
        if list.end % CHUNK_REFS == 0 {
            self.extend(list, slot);
        }
        let place = list.end;
        self.refs[place as usize] = entry;
        list.end = place + 1;
        place
    }

    /// Lengthens a list of `slot` by `count` refs, more than none, that are still to be written: at the place returned,
    /// and at what [`ChunkPool::following`] says of each.
    pub(crate) fn lengthen(&mut self, list: &mut List, slot: u32, count: u32) -> u32 {
        if list.end % CHUNK_REFS == 0 {
            self.extend(list, slot);
        }
        let first = list.end;
        let mut left = count;
        loop {
            let run = left.min(CHUNK_REFS - list.end % CHUNK_REFS);
            // All lines of a block are fetched here, side by side; as stores they would wait for one another.
            Self::touch_lines(&self.refs[list.end as usize..(list.end + run) as usize]);
            left -= run;
            list.end += run;
            if left == 0 {
                return first;
            }
            self.extend(list, slot);
        }
    }

    /// The refs, to write those that [`ChunkPool::lengthen`] made room for, and by chunk the next one of its list.
    pub(crate) fn parts_mut(&mut self) -> (&mut [Ref], &[u32]) {
        (&mut self.refs, &self.next)
    }

    /// Puts an empty chunk behind a list whose last chunk is full, or that has none.
    #[cold]
    fn extend(&mut self, list: &mut List, slot: u32) {
        let chunk = self.take_chunk();
        self.slot[chunk as usize] = slot;
        if list.is_empty() {
            list.front = chunk << CHUNK_BITS;
        } else {
            self.next[list.last_chunk() as usize] = chunk;
        }
        list.end = chunk << CHUNK_BITS;
    }

    /// The oldest refs, up to the end of their chunk and at most `limit`, with the place of the first.
    #[inline]
    pub(crate) fn run(&self, list: &List, limit: usize) -> (u32, &[Ref]) {
        if list.is_empty() {
            return (0, &[]);
        }
        let chunk_end = (list.front | (CHUNK_REFS - 1)) + 1;
        let last_chunk = list.last_chunk() == list.front >> CHUNK_BITS;
        let run_end = if last_chunk { list.end } else { chunk_end };
        let length = ((run_end - list.front) as usize).min(limit);
        (list.front, &self.refs[list.front as usize..list.front as usize + length])
    }

    /// The oldest refs, at most `limit`, chunk by chunk, each with the place of its first.
    pub(crate) fn runs(&self, list: &List, limit: usize) -> impl Iterator<Item = (u32, &[Ref])> {
        let (mut list, mut left) = (*list, limit);
        std::iter::from_fn(move || {
            let (first, run) = self.run(&list, left);
            left -= run.len();
            let end = first + run.len() as u32;
            if end == list.end || run.is_empty() {
                list = List::EMPTY;
            } else {
                list.front = self.following(end - 1);
            }
            (!run.is_empty()).then_some((first, run))
        })
    }

    /// Takes the first `count` refs off, all of one run; more than none.
    pub(crate) fn skip(&mut self, list: &mut List, count: usize) {
        list.front += count as u32;
        if list.front == list.end {
            // The last ref taken was the last one there: its chunk is all that is left.
            let chunk = list.last_chunk();
            self.next[chunk as usize] = self.free;
            self.free = chunk;
            *list = List::EMPTY;
        } else if list.front % CHUNK_REFS == 0 {
            let spent = (list.front - 1) >> CHUNK_BITS;
            list.front = self.next[spent as usize] << CHUNK_BITS;
            self.next[spent as usize] = self.free;
            self.free = spent;
        }
    }

    /// Gives all chunks of a list back, in one step.
    pub(crate) fn release(&mut self, list: &mut List) {
        if !list.is_empty() {
            self.next[list.last_chunk() as usize] = self.free;
            self.free = list.front >> CHUNK_BITS;
            *list = List::EMPTY;
        }
    }

    /// Cuts the list off behind the ref at `last`.
    pub(crate) fn truncate(&mut self, list: &mut List, last: u32) {
        let (chunk, tail) = (last >> CHUNK_BITS, list.last_chunk());
        if chunk != tail {
            let first_cut = self.next[chunk as usize];
            self.next[tail as usize] = self.free;
            self.free = first_cut;
        }
        list.end = last + 1;
    }

    /// The place after `last` (`None`: the first place); `None` behind the last ref.
    pub(crate) fn after(&self, list: &List, last: Option<u32>) -> Option<u32> {
        let Some(last) = last else {
            return (!list.is_empty()).then_some(list.front);
        };
        (last + 1 != list.end).then(|| self.following(last))
    }

    /// The place after `last` in the same list, which must have one.
    pub(crate) fn following(&self, last: u32) -> u32 {
        if (last + 1) % CHUNK_REFS == 0 {
            self.next[(last >> CHUNK_BITS) as usize] << CHUNK_BITS
        } else {
            last + 1
        }
    }

    /// The slot that a place belongs to.
    #[inline]
    pub(crate) fn slot_of(&self, place: u32) -> u32 {
        self.slot[(place >> CHUNK_BITS) as usize]
    }

    /// The ref at a place.
    #[inline]
    pub(crate) fn read(&self, place: u32) -> Ref {
        self.refs[place as usize]
    }

    /// Brings refs into the cache; see [`crate::slab::Slab::touch`].
    pub(crate) fn touch(&self, places: impl Iterator<Item = u32>) {
        black_box(places.fold(0, |sum, place| sum ^ self.refs[place as usize].index));
    }

    /// As [`ChunkPool::touch`], for refs that lie side by side.
    #[inline]
    pub(crate) fn touch_lines(run: &[Ref]) {
        black_box(run.iter().step_by(LINE_REFS).fold(0, |sum, entry| sum ^ entry.index));
    }

    /// Overwrites the ref at a place.
    pub(crate) fn write(&mut self, place: u32, entry: Ref) {
        self.refs[place as usize] = entry;
    }

    /// Bytes on the heap.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.refs.capacity() * size_of::<Ref>()
            + (self.next.capacity() + self.slot.capacity()) * size_of::<u32>()
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
        let mut chunk = list.front >> CHUNK_BITS;
        while chunk != list.last_chunk() && count <= self.next.len() {
            count += 1;
            chunk = self.next[chunk as usize];
        }
        count
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
        grow(&mut self.slot);
        self.slot.push(NONE);
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
        Ref { payload: u64::from(index), deadline_low: index, index }
    }

    fn indices(pool: &ChunkPool, list: &List) -> Vec<u32> {
        let mut last = None;
        std::iter::from_fn(|| {
            last = Some(pool.after(list, last)?);
            last
        })
        .map(|place| pool.read(place).index)
        .collect()
    }

    fn pop(pool: &mut ChunkPool, list: &mut List, limit: usize) -> Vec<u32> {
        let taken: Vec<u32> = pool.run(list, limit).1.iter().map(|found| found.index).collect();
        if !taken.is_empty() {
            pool.skip(list, taken.len());
        }
        taken
    }

    #[test]
    fn a_ref_is_16_bytes() {
        assert_eq!(size_of::<Ref>(), 16);
    }

    #[test]
    fn first_in_first_out_over_many_chunks_and_all_chunks_return() {
        let mut pool = ChunkPool::new();
        let mut list = List::EMPTY;
        for (round, limit) in [(0, 1), (1, 7), (2, 32), (3, 100), (4, 1)] {
            let count = 100 + round * 28;
            (0..count).for_each(|index| _ = pool.push(&mut list, 9, entry(index)));
            assert_eq!(indices(&pool, &list), (0..count).collect::<Vec<_>>());
            let mut popped = Vec::new();
            while !list.is_empty() {
                popped.extend(pop(&mut pool, &mut list, limit));
            }
            assert_eq!(popped, (0..count).collect::<Vec<_>>());
            assert!(pool.run(&list, 9).1.is_empty() && pool.after(&list, None).is_none());
            assert_eq!(pool.count_free(), pool.chunks());
        }
    }

    #[test]
    fn pushing_and_popping_in_turn_stays_in_order() {
        let mut pool = ChunkPool::new();
        let (mut list, mut other) = (List::EMPTY, List::EMPTY);
        let (mut pushed, mut popped) = (0, 0);
        for round in 0..2_000_u32 {
            (0..round % 7).for_each(|_| {
                let place = pool.push(&mut list, 1, entry(pushed));
                assert_eq!((pool.slot_of(place), pool.read(place).index), (1, pushed));
                pushed += 1;
            });
            // A neighbour takes and returns chunks, so that the list's own do not follow each other in memory.
            (0..round % 5).for_each(|_| _ = pool.push(&mut other, 2, entry(0)));
            if round % 90 == 0 {
                pool.release(&mut other);
            }
            for index in pop(&mut pool, &mut list, (round % 6) as usize) {
                assert_eq!(index, popped);
                popped += 1;
            }
            let known = pool.count_free() + pool.count_chunks(&list) + pool.count_chunks(&other);
            assert_eq!(known, pool.chunks());
        }
        assert_eq!(indices(&pool, &list), (popped..pushed).collect::<Vec<_>>());
    }

    /// The end of a full last chunk is, as a number, the start of the chunk behind it in memory, which may be the
    /// list's first.
    #[test]
    fn a_list_whose_end_equals_its_front_is_full_and_not_empty() {
        let mut pool = ChunkPool::new();
        let (mut low, mut list) = (List::EMPTY, List::EMPTY);
        pool.push(&mut low, 0, entry(0));
        pool.push(&mut list, 1, entry(0));
        pool.release(&mut low);
        (1..64).for_each(|index| _ = pool.push(&mut list, 1, entry(index)));
        assert_eq!(list.front, list.end);
        assert_eq!(indices(&pool, &list), (0..64).collect::<Vec<_>>());
        assert_eq!(pop(&mut pool, &mut list, 40), (0..32).collect::<Vec<_>>());
        assert_eq!(pop(&mut pool, &mut list, 40), (32..64).collect::<Vec<_>>());
        assert!(list.is_empty() && pool.count_free() == pool.chunks());
    }

    #[test]
    fn truncating_keeps_the_front_and_frees_the_rest() {
        for keep in [1, 31, 32, 33, 64, 65, 99, 100] {
            let mut pool = ChunkPool::new();
            let mut list = List::EMPTY;
            (0..100).for_each(|index| _ = pool.push(&mut list, 3, entry(index)));
            let last = (0..keep).fold(None, |last, _| pool.after(&list, last));
            pool.truncate(&mut list, last.unwrap());
            assert_eq!(indices(&pool, &list), (0..keep).collect::<Vec<_>>());
            assert_eq!(pool.count_free() + pool.count_chunks(&list), pool.chunks());
            pool.push(&mut list, 3, entry(777));
            assert_eq!(indices(&pool, &list), (0..keep).chain([777]).collect::<Vec<_>>());
        }
    }
}
