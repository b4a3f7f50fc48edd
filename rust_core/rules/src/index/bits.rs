//! Rows of bits with a summary in front.

/// Words that one bit of a summary stands for: a cache line.
pub(crate) const BLOCK_WORDS: usize = 8;
const WORD_BITS: usize = 64;

/// How long the rows of an index are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    summary_words: usize,
    words: usize,
}

impl Shape {
    /// The shape of rows of `bits` bits.
    pub(crate) fn of(bits: usize) -> Shape {
        let blocks = bits.div_ceil(WORD_BITS * BLOCK_WORDS);
        Shape { summary_words: blocks.div_ceil(WORD_BITS), words: blocks * BLOCK_WORDS }
    }

    pub(crate) fn summary_words(self) -> usize {
        self.summary_words
    }

    /// Words of a row without its summary.
    pub(crate) fn words(self) -> usize {
        self.words
    }

    /// Words of a row with its summary.
    pub(crate) fn len(self) -> usize {
        self.summary_words + self.words
    }

    /// A row without a bit.
    pub(crate) fn row(self) -> Vec<u64> {
        vec![0; self.len()]
    }

    /// Sets a bit and its summary.
    pub(crate) fn set(self, row: &mut [u64], bit: usize) {
        row[self.summary_words + bit / WORD_BITS] |= 1 << (bit % WORD_BITS);
        self.touch(row, bit);
    }

    /// Turns a bit over. The summary may then say too much, never too little.
    pub(crate) fn toggle(self, row: &mut [u64], bit: usize) {
        row[self.summary_words + bit / WORD_BITS] ^= 1 << (bit % WORD_BITS);
        self.touch(row, bit);
    }

    fn touch(self, row: &mut [u64], bit: usize) {
        let block = bit / (WORD_BITS * BLOCK_WORDS);
        row[block / WORD_BITS] |= 1 << (block % WORD_BITS);
    }

    /// Makes the summary say exactly which blocks hold a bit.
    pub(crate) fn summarise(self, row: &mut [u64]) {
        let (summary, words) = row.split_at_mut(self.summary_words);
        summary.fill(0);
        for (block, words) in words.chunks(BLOCK_WORDS).enumerate() {
            if words.iter().any(|w| *w != 0) {
                summary[block / WORD_BITS] |= 1 << (block % WORD_BITS);
            }
        }
    }
}

/// Positions of the set bits of plain words, without a summary.
pub(crate) fn bits_of(words: &[u64]) -> impl Iterator<Item = usize> + '_ {
    words.iter().enumerate().flat_map(|(at, word)| {
        let mut rest = *word;
        std::iter::from_fn(move || {
            let lowest = (rest != 0).then(|| rest.trailing_zeros() as usize)?;
            rest &= rest - 1;
            Some(at * WORD_BITS + lowest)
        })
    })
}
