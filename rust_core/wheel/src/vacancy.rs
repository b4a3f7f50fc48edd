//! Which nodes are free: one bit each, with two levels of summary above.
//!
//! Nodes are taken **in the order of memory**, onwards from where the last one was taken, and round again. After
//! half of a million timers were cancelled in random order every cache line of nodes has free ones, so a batch that is
//! armed then runs through memory in one direction, and timers of one slot still get neighbouring nodes. (A stack
//! of freed indices hands them back in the order of the cancels: a random line for each, when armed and again whenever
//! the slot is read.) And it takes a bit where a stack takes four bytes.

use std::hint::black_box;

const WORD: usize = u64::BITS as usize;

/// A set of indices, from which the next one onwards is taken.
#[derive(Debug)]
pub(crate) struct Vacancy {
    /// Bit `i % 64` of word `i / 64`: whether `i` is in the set.
    words: Vec<u64>,
    /// Bit `w` is set when `words[w]` is not zero.
    summary: Vec<u64>,
    /// Bit `s` is set when `summary[s]` is not zero.
    top: Vec<u64>,
    len: usize,
    /// The word from which the search goes on.
    at: usize,
}

impl Vacancy {
    pub(crate) fn new() -> Self {
        Self { words: Vec::new(), summary: Vec::new(), top: Vec::new(), len: 0, at: 0 }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Makes room for indices below `indices`.
    pub(crate) fn cover(&mut self, indices: usize) {
        let words = indices.div_ceil(WORD);
        if words > self.words.len() {
            self.words.resize(words, 0);
            self.summary.resize(words.div_ceil(WORD), 0);
            self.top.resize(self.summary.len().div_ceil(WORD), 0);
        }
    }

    /// Adds an index that is not in it.
    #[inline]
    pub(crate) fn add(&mut self, index: u32) {
        let word = index as usize / WORD;
        let bits = self.words[word];
        self.words[word] = bits | 1 << (index as usize % WORD);
        self.len += 1;
        if bits == 0 {
            self.note(word);
        }
    }

    /// Brings the words of some indices into the cache.
    #[inline]
    pub(crate) fn touch(&self, indices: impl Iterator<Item = u32>) {
        let words = indices.filter_map(|index| self.words.get(index as usize / WORD));
        black_box(words.fold(0, |sum, bits| sum ^ bits));
    }

    /// Takes the next index, onwards from the last one taken.
    #[inline]
    pub(crate) fn take(&mut self) -> Option<u32> {
        if self.len == 0 {
            return None;
        }
        if self.words[self.at] == 0 {
            self.at = self.next_word(self.at)?;
        }
        let bits = self.words[self.at];
        self.words[self.at] = bits & (bits - 1);
        self.len -= 1;
        if bits & (bits - 1) == 0 {
            self.forget(self.at);
        }
        Some((self.at * WORD) as u32 + bits.trailing_zeros())
    }

    /// Takes the next `count`, or all there are if they are fewer; appends them to `taken`, ascending but where the end
    /// of memory is passed.
    pub(crate) fn take_many(&mut self, count: usize, taken: &mut Vec<u32>) {
        let mut left = count.min(self.len);
        taken.reserve(left);
        self.len -= left;
        while left > 0 {
            if self.words[self.at] == 0 {
                let Some(next) = self.next_word(self.at) else { break };
                self.at = next;
            }
            let (first, mut bits) = ((self.at * WORD) as u32, self.words[self.at]);
            if bits == u64::MAX && left >= WORD {
                taken.extend(first..first + WORD as u32);
                left -= WORD;
                bits = 0;
            }
            while bits != 0 && left > 0 {
                taken.push(first + bits.trailing_zeros());
                bits &= bits - 1;
                left -= 1;
            }
            self.words[self.at] = bits;
            if bits == 0 {
                self.forget(self.at);
            }
        }
    }

    /// Whether an index is in it; for checks.
    pub(crate) fn contains(&self, index: u32) -> bool {
        self.words[index as usize / WORD] >> (index as usize % WORD) & 1 == 1
    }

    /// Bytes on the heap.
    pub(crate) fn memory_bytes(&self) -> usize {
        (self.words.capacity() + self.summary.capacity() + self.top.capacity()) * size_of::<u64>()
    }

    /// Checks the levels against each other; says whether they agree.
    pub(crate) fn is_sound(&self) -> bool {
        let agree = |upper: &[u64], lower: &[u64]| {
            (lower.iter().enumerate())
                .all(|(at, &bits)| (upper[at / WORD] >> (at % WORD) & 1 == 1) == (bits != 0))
        };
        let count: u32 = self.words.iter().map(|bits| bits.count_ones()).sum();
        agree(&self.summary, &self.words) && agree(&self.top, &self.summary) && count as usize == self.len
    }

    /// A word has got its first bit.
    #[inline]
    fn note(&mut self, word: usize) {
        self.summary[word / WORD] |= 1 << (word % WORD);
        self.top[word / WORD / WORD] |= 1 << (word / WORD % WORD);
    }

    /// A word has lost its last bit.
    #[inline]
    fn forget(&mut self, word: usize) {
        self.summary[word / WORD] &= !(1 << (word % WORD));
        if self.summary[word / WORD] == 0 {
            self.top[word / WORD / WORD] &= !(1 << (word / WORD % WORD));
        }
    }

    /// The first word after `from` that is not zero, `from` itself last of all.
    #[cold]
    fn next_word(&self, from: usize) -> Option<usize> {
        self.word_from(from + 1).or_else(|| self.word_from(0))
    }

    /// The first word at or after `from` that is not zero.
    fn word_from(&self, from: usize) -> Option<usize> {
        let here = self.summary.get(from / WORD)? >> (from % WORD);
        if here != 0 {
            return Some(from + here.trailing_zeros() as usize);
        }
        let next = from / WORD + 1;
        let above = self.top.get(next / WORD)? >> (next % WORD) << (next % WORD);
        let (at, bits) = if above != 0 {
            (next / WORD, above)
        } else {
            let later = self.top.iter().enumerate().skip(next / WORD + 1).find(|(_, &bits)| bits != 0);
            later.map(|(at, &bits)| (at, bits))?
        };
        let group = at * WORD + bits.trailing_zeros() as usize;
        Some(group * WORD + self.summary[group].trailing_zeros() as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// The plain way: a set, and the place from which to go on.
    #[test]
    fn takes_what_a_plain_set_would_give() {
        let mut seed = 1_u64;
        let mut roll = |bound: usize| {
            seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            (seed >> 33) as usize % bound
        };
        for indices in [1, 63, 64, 65, 4_095, 4_097, 300_000] {
            let mut vacancy = Vacancy::new();
            vacancy.cover(indices);
            let (mut plain, mut from) = (BTreeSet::new(), 0_u32);
            for _ in 0..3_000 {
                if roll(3) > 0 {
                    let index = roll(indices) as u32;
                    if plain.insert(index) {
                        vacancy.add(index);
                    }
                } else {
                    let count = roll(5);
                    let mut taken = Vec::new();
                    if count == 1 {
                        taken.extend(vacancy.take());
                    } else {
                        vacancy.take_many(count, &mut taken);
                    }
                    let expected: Vec<u32> =
                        (plain.range(from..).chain(plain.range(..from))).take(count).copied().collect();
                    assert_eq!(taken, expected, "{count} of {} from {from}", plain.len());
                    for index in taken {
                        plain.remove(&index);
                        // The search goes on in the same word, from its first bit.
                        from = index / 64 * 64;
                    }
                }
                assert_eq!(vacancy.len(), plain.len());
            }
            assert!(vacancy.is_sound() && plain.iter().all(|&index| vacancy.contains(index)));
        }
    }
}
