//! One bit per slot of a ring, with a summary so that the next set bit is found in a few words.

/// A ring of bits; the length is a power of two of at least 64.
#[derive(Debug)]
pub(crate) struct Bitmap {
    words: Vec<u64>,
    /// Bit `w` is set when `words[w]` is not zero.
    summary: Vec<u64>,
}

impl Bitmap {
    /// All clear.
    pub(crate) fn new(bits: u64) -> Self {
        assert!(bits.is_power_of_two() && bits >= 64);
        let words = bits as usize / 64;
        Self { words: vec![0; words], summary: vec![0; words.div_ceil(64)] }
    }

    /// Sets a bit.
    pub(crate) fn set(&mut self, bit: u32) {
        let word = bit as usize / 64;
        self.words[word] |= 1 << (bit % 64);
        self.summary[word / 64] |= 1 << (word % 64);
    }

    /// Clears a bit.
    pub(crate) fn clear(&mut self, bit: u32) {
        let word = bit as usize / 64;
        self.words[word] &= !(1 << (bit % 64));
        if self.words[word] == 0 {
            self.summary[word / 64] &= !(1 << (word % 64));
        }
    }

    /// Whether a bit is set.
    pub(crate) fn get(&self, bit: u32) -> bool {
        self.words[bit as usize / 64] >> (bit % 64) & 1 == 1
    }

    /// Steps from `from` to the next set bit around the ring; 0 when `from` itself is set.
    #[inline]
    pub(crate) fn steps_to_next(&self, from: u32) -> Option<u64> {
        let (word, shift) = (from as usize / 64, from % 64);
        let here = self.words[word] >> shift;
        if here != 0 {
            return Some(u64::from(here.trailing_zeros()));
        }
        // The search ends in `word` itself when only its bits below `from` are set.
        let found = self.next_word(word + 1).or_else(|| self.next_word(0))?;
        let bit = found as u64 * 64 + u64::from(self.words[found].trailing_zeros());
        let bits = self.words.len() as u64 * 64;
        Some((bit + bits - u64::from(from)) % bits)
    }

    /// Bytes on the heap.
    pub(crate) fn memory_bytes(&self) -> usize {
        (self.words.capacity() + self.summary.capacity()) * size_of::<u64>()
    }

    /// First word at or after `from` that is not zero.
    fn next_word(&self, from: usize) -> Option<usize> {
        let (first, shift) = (from / 64, from % 64);
        let partial = *self.summary.get(first)? >> shift << shift;
        if partial != 0 {
            return Some(first * 64 + partial.trailing_zeros() as usize);
        }
        let later = self.summary.iter().enumerate().skip(first + 1).find(|(_, &bits)| bits != 0);
        later.map(|(at, bits)| at * 64 + bits.trailing_zeros() as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_bit_is_the_one_a_plain_walk_finds() {
        for bits in [64_u32, 128, 512, 8_192] {
            let mut map = Bitmap::new(u64::from(bits));
            assert_eq!(map.steps_to_next(5), None);
            let chosen: Vec<u32> =
                (0..bits).filter(|b| b.wrapping_mul(2_654_435_761) >> 25 == 0).chain([63]).collect();
            chosen.iter().for_each(|&bit| map.set(bit));
            for from in 0..bits {
                let walked = (0..bits).find(|step| map.get((from + step) % bits)).map(u64::from);
                assert_eq!(map.steps_to_next(from), walked, "{bits} bits from {from}");
            }
            chosen.iter().for_each(|&bit| map.clear(bit));
            assert!((0..bits).all(|from| map.steps_to_next(from).is_none()));
        }
    }

    #[test]
    fn a_lone_bit_is_found_from_everywhere() {
        let mut map = Bitmap::new(8_192);
        for bit in [0, 1, 63, 64, 4_095, 4_096, 8_191] {
            map.set(bit);
            for from in [0, 1, 62, 63, 64, 65, 4_094, 4_096, 4_097, 8_190, 8_191] {
                assert_eq!(map.steps_to_next(from), Some(u64::from((bit + 8_192 - from) % 8_192)));
            }
            map.clear(bit);
        }
    }
}
