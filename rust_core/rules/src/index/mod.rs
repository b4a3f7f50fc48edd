//! The predicate index: which of thousands of rules match an order, without asking each.
//!
//! Idea: every condition becomes a few *conjunctions* of literals ("slot x is one of these values"). Each slot that
//! rules ask about is a [`Dimension`]: it cuts the slot's values into codes (one for each text, one for each interval
//! between two literals) and keeps for each code a bitmap of the conjunctions that this value does not rule out. An
//! order picks one bitmap of each dimension; their intersection is what is left:
//!
//! ```text
//! user.tier  = gold      1 1 0 1 1 0 0 1
//! user.credit in [90,∞)  1 0 1 1 0 1 1 1      bit = conjunction, in rank order of its rule
//! order.slot = morning   1 1 1 0 1 0 1 1
//!                        ---------------
//!                        1 0 0 0 0 0 0 1  ->  the first set bit is the first match
//! ```
//!
//! Exact under CEL's three values: the normal form of strong Kleene logic is equivalent to the condition, so a
//! conjunction with a false literal decides nothing and one whose literals are all true decides the match. Where an
//! answer could be a fault or is not in the index at all (a slot that is absent, a part that is no literal: the
//! conjunction is then *unsure*), the rule's own program is run; it is run for no other rule.
//!
//! Of 64 orders first all codes are found, one dimension after the other; then each order's rows are intersected, those
//! that rule out most first. Where a value leaves only few conjunctions, these are listed, and an order with such a
//! value walks the list instead.
//!
//! A row of bits is preceded by its summary, one bit for each block of 512: blocks that are empty in any
//! dimension are not looked at.
mod bits;
mod cells;
mod cubes;
mod dimension;
mod dnf;
mod findings;
mod numbers;
mod patterns;
mod ranges;
mod truths;
mod unique;

pub(crate) use bits::Shape;
pub(crate) use findings::findings;
pub use findings::{Finding, Oddity};
pub(crate) use unique::violations;

use std::ops::Range;

use bits::bits_of;
pub(crate) use bits::BLOCK_WORDS;
use cells::ABSENT;
use dimension::Dimension;
use dnf::Conjunction;
use patterns::PatternDimension;

use crate::columns::Columns;
use crate::program::Node;

/// Dimensions of one index, and those of patterns; literals of the slots beyond are left to the programs.
const DIMENSIONS_MAX: usize = 24;
const PATTERNS_MAX: usize = 8;
/// Orders whose codes are found together.
pub(crate) const CHUNK_ROWS: usize = 64;
/// Rows of an intersection after which it is asked whether anything is left.
const ROWS_BETWEEN_LOOKS: usize = 3;
/// Rows of one intersection: the active rules, every dimension and every pattern dimension.
const ROWS_MAX: usize = 1 + DIMENSIONS_MAX + PATTERNS_MAX;

/// The index of one rule set. Immutable; what changes from order to order is in [`Scratch`].
#[derive(Clone, Debug)]
pub(crate) struct Index {
    shape: Shape,
    /// The rule of each conjunction; conjunctions of a rule are neighbours, rules are in rank order. Filled up to a whole
    /// block and one more, so that 65 can be read from the beginning of any word.
    rules: Vec<u32>,
    /// Conjunctions of the rule that the one before them is of, in the same word.
    followers: Vec<u64>,
    /// Most conjunctions of one rule.
    conjunctions_max: usize,
    /// First conjunction of each rule, and the end.
    starts: Vec<u32>,
    /// Conjunctions that hold more than literals.
    residual: Vec<u64>,
    has_residual: bool,
    has_short_lists: bool,
    dimensions: Vec<Dimension>,
    patterns: Vec<PatternDimension>,
}

/// Conjunctions that are left of an order: some neighbouring words of a row.
pub(crate) struct Block {
    pub first_word: usize,
    pub words: [u64; BLOCK_WORDS],
    /// Those that may be wrong, also of others; the rest matches.
    pub doubts: [u64; BLOCK_WORDS],
}

/// Memory that one batch after the other uses.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scratch {
    /// Rows of bits that are not kept whole, made for one order.
    rows: Vec<u64>,
    /// For each dimension, the codes of the batch's texts by number.
    texts: Vec<Vec<u32>>,
    /// For each dimension, the codes of [`CHUNK_ROWS`] orders.
    codes: Vec<u32>,
}

impl Index {
    /// Indexes the conditions of rules in rank order.
    pub(crate) fn build<'p>(conditions: impl Iterator<Item = &'p Node>) -> Index {
        let (mut all, mut rules, mut starts) = (Vec::new(), Vec::new(), vec![0]);
        for (rule, condition) in conditions.enumerate() {
            for conjunction in dnf::conjunctions(condition) {
                all.push(conjunction);
                rules.push(rule as u32);
            }
            starts.push(all.len() as u32);
        }
        let shape = Shape::of(all.len());
        let patterns = patterns::build(&mut all, shape, PATTERNS_MAX);
        let dimensions = dimension::build(&mut all, shape, DIMENSIONS_MAX);
        let mut residual = shape.row();
        for (bit, _) in all.iter().enumerate().filter(|(_, c): &(usize, &Conjunction<'_>)| c.residual) {
            shape.set(&mut residual, bit);
        }
        let mut followers = vec![0u64; shape.words()];
        for (bit, _) in all.iter().enumerate().skip(1).filter(|(bit, _)| rules[bit - 1] == rules[*bit]) {
            followers[bit / 64] |= u64::from(bit % 64 != 0) << (bit % 64);
        }
        let conjunctions_max = starts.windows(2).map(|pair| (pair[1] - pair[0]) as usize).max().unwrap_or(0);
        rules.resize(shape.words() * 64 + 1, u32::MAX);
        let has_short_lists = dimensions.iter().any(Dimension::has_lists);
        let has_residual = all.iter().any(|conjunction| conjunction.residual);
        Index {
            shape,
            rules,
            followers,
            conjunctions_max,
            starts,
            residual,
            has_residual,
            has_short_lists,
            dimensions,
            patterns,
        }
    }

    /// The row of the conjunctions of some rules, given as bits by rank.
    pub(crate) fn row_of_rules(&self, rules: &[u64]) -> Vec<u64> {
        let mut row = self.shape.row();
        for rule in bits_of(rules) {
            let from = self.starts.get(rule).copied().unwrap_or(0);
            let to = self.starts.get(rule + 1).copied().unwrap_or(from);
            for bit in from..to {
                self.shape.set(&mut row, bit as usize);
            }
        }
        row
    }

    /// Prepares for the rows of a batch: `rows` of them will be asked about.
    pub(crate) fn begin(&self, columns: &Columns, rows: usize, scratch: &mut Scratch) {
        scratch.texts.resize_with(self.dimensions.len(), Vec::new);
        scratch.codes.resize(self.dimensions.len() * CHUNK_ROWS, ABSENT);
        for (dimension, texts) in self.dimensions.iter().zip(&mut scratch.texts) {
            dimension.code_texts(columns, rows, texts);
        }
    }

    /// Calls `found(row, block)` for the conjunctions that are left of each of at most [`CHUNK_ROWS`] rows, in rank order.
    /// When it says `false`, the row is done. `active` is a row of [`Index::row_of_rules`].
    pub(crate) fn candidates(
        &self,
        columns: &Columns,
        rows: Range<usize>,
        active: &[u64],
        scratch: &mut Scratch,
        mut found: impl FnMut(usize, &Block) -> bool,
    ) {
        let codes = scratch.codes.chunks_mut(CHUNK_ROWS);
        for ((dimension, texts), codes) in self.dimensions.iter().zip(&scratch.texts).zip(codes) {
            dimension.code(columns, rows.clone(), texts, &mut codes[..rows.len()]);
        }
        if !self.patterns.is_empty() || !self.dimensions.iter().all(Dimension::is_whole) {
            for (at, row) in rows.enumerate() {
                self.with_made_rows(columns, row, at, active, scratch, |block| found(row, block));
            }
            return;
        }
        let mut unsure: [&[u64]; ROWS_MAX] = [&[]; ROWS_MAX];
        let mut passing: [&[u64]; ROWS_MAX] = [&[]; ROWS_MAX];
        let residuals = usize::from(self.has_residual);
        unsure[0] = &self.residual;
        for (at, row) in rows.enumerate() {
            let (mut unsures, mut passings) = (residuals, 0);
            for (dimension, codes) in self.dimensions.iter().zip(scratch.codes.chunks(CHUNK_ROWS)) {
                let code = codes[at];
                if code == ABSENT {
                    unsure[unsures] = dimension.readers();
                    unsures += 1;
                } else {
                    passing[passings] = dimension.whole(code, self.shape.len());
                    passings += 1;
                }
            }
            passing[passings] = active;
            let walked = self.has_short_lists.then(|| self.shortest_list(at, &scratch.codes)).flatten();
            let (passing, unsure) = (&passing[..=passings], &unsure[..unsures]);
            match walked {
                Some(list) => self.walk(list, passing, unsure, &mut |block| found(row, block)),
                None => self.intersect(passing, unsure, &mut |block| found(row, block)),
            }
        }
    }

    /// The rows of bits of one order, some of which have to be made first, intersected.
    fn with_made_rows(
        &self,
        columns: &Columns,
        row: usize,
        at: usize,
        active: &[u64],
        scratch: &mut Scratch,
        mut found: impl FnMut(&Block) -> bool,
    ) {
        let mut unsure: [&[u64]; ROWS_MAX] = [&[]; ROWS_MAX];
        let mut passing: [&[u64]; ROWS_MAX] = [&[]; ROWS_MAX];
        unsure[0] = &self.residual;
        let (mut unsures, mut passings) = (usize::from(self.has_residual), 0);
        // Rows that are not kept whole are made first: behind that the scratch memory is only read.
        let made_len = self.shape.len();
        let Scratch { rows, codes, .. } = scratch;
        rows.resize((self.dimensions.len() + self.patterns.len()) * made_len, 0);
        let (made_exact, made_patterns) = rows.split_at_mut(self.dimensions.len() * made_len);
        let code_of = |i: usize| codes[i * CHUNK_ROWS + at];
        for (i, dimension) in self.dimensions.iter().enumerate() {
            if code_of(i) != ABSENT && !dimension.is_whole() {
                dimension.make(code_of(i), self.shape, &mut made_exact[i * made_len..(i + 1) * made_len]);
            }
        }
        let mut present = 0u64;
        for (i, patterns) in self.patterns.iter().enumerate() {
            let made = &mut made_patterns[i * made_len..(i + 1) * made_len];
            present |= u64::from(patterns.make(columns, row, self.shape, made)) << i;
        }
        for (i, dimension) in self.dimensions.iter().enumerate() {
            if code_of(i) == ABSENT {
                unsure[unsures] = dimension.readers();
                unsures += 1;
                continue;
            }
            passing[passings] = if dimension.is_whole() {
                dimension.whole(code_of(i), made_len)
            } else {
                &made_exact[i * made_len..(i + 1) * made_len]
            };
            passings += 1;
        }
        for (i, patterns) in self.patterns.iter().enumerate() {
            if present >> i & 1 == 0 {
                unsure[unsures] = patterns.readers();
                unsures += 1;
            } else {
                passing[passings] = &made_patterns[i * made_len..(i + 1) * made_len];
                passings += 1;
            }
        }
        passing[passings] = active;
        self.intersect(&passing[..=passings], &unsure[..unsures], &mut found);
    }

    /// What is in every row of `passing`, word by word.
    #[inline]
    fn intersect(&self, passing: &[&[u64]], unsure: &[&[u64]], found: &mut impl FnMut(&Block) -> bool) {
        let summary_words = self.shape.summary_words();
        for at in 0..summary_words {
            let mut blocks = passing.iter().fold(u64::MAX, |all, row| all & row[at]);
            while blocks != 0 {
                let block = at * 64 + blocks.trailing_zeros() as usize;
                blocks &= blocks - 1;
                let start = summary_words + block * BLOCK_WORDS;
                let Some(words) = common_words(passing, start) else { continue };
                let mut doubts = [0; BLOCK_WORDS];
                for row in unsure {
                    for (doubt, other) in doubts.iter_mut().zip(&row[start..start + BLOCK_WORDS]) {
                        *doubt |= other;
                    }
                }
                if !found(&Block { first_word: block * BLOCK_WORDS, words, doubts }) {
                    return;
                }
            }
        }
    }

    /// As [`Index::intersect`], for a row of which one dimension leaves few conjunctions: each of them is looked up in
    /// the others.
    fn walk(
        &self,
        list: &[u32],
        passing: &[&[u64]],
        unsure: &[&[u64]],
        found: &mut impl FnMut(&Block) -> bool,
    ) {
        let summary_words = self.shape.summary_words();
        for bit in list {
            let (word, place) = (*bit as usize / 64, *bit % 64);
            let at = summary_words + word;
            if passing.iter().all(|row| row[at] >> place & 1 == 1) {
                let first_word = word / BLOCK_WORDS * BLOCK_WORDS;
                let mut block = Block { first_word, words: [0; BLOCK_WORDS], doubts: [0; BLOCK_WORDS] };
                let within = word - first_word;
                block.words[within] = 1 << place;
                block.doubts[within] = unsure.iter().fold(0, |any, row| any | row[at]);
                if !found(&block) {
                    return;
                }
            }
        }
    }

    /// The fewest conjunctions that a dimension leaves of an order, when they are few enough to be listed.
    fn shortest_list(&self, at: usize, codes: &[u32]) -> Option<&[u32]> {
        let codes = codes.chunks(CHUNK_ROWS).map(|codes| codes[at]);
        let lists = self.dimensions.iter().zip(codes).filter_map(|(dimension, code)| dimension.list(code));
        lists.min_by_key(|list| list.len())
    }

    /// The rules of the 64 conjunctions of a word, and of the one behind.
    #[inline]
    pub(crate) fn rules_of_word(&self, word: usize) -> &[u32; 65] {
        const NOBODY: &[u32; 65] = &[u32::MAX; 65];
        self.rules.get(word * 64..word * 64 + 65).and_then(|rules| rules.try_into().ok()).unwrap_or(NOBODY)
    }

    /// Of some conjunctions of a word, the first of each rule.
    #[inline]
    pub(crate) fn first_of_each_rule(&self, at: usize, word: u64) -> u64 {
        let followers = self.followers[at];
        if followers == 0 {
            return word;
        }
        let (mut keep, mut behind) = (word, word);
        for _ in 1..self.conjunctions_max {
            behind = behind << 1 & followers;
            keep &= !behind;
        }
        keep
    }

    /// Bytes of all bitmaps and tables.
    pub(crate) fn bytes(&self) -> usize {
        let dimensions: usize = self.dimensions.iter().map(Dimension::bytes).sum();
        let patterns: usize = self.patterns.iter().map(PatternDimension::bytes).sum();
        dimensions
            + patterns
            + 8 * (self.residual.len() + self.followers.len())
            + 4 * (self.rules.len() + self.starts.len())
    }
}

/// One block of every row, intersected; `None` as soon as nothing is left.
#[inline]
fn common_words(passing: &[&[u64]], start: usize) -> Option<[u64; BLOCK_WORDS]> {
    let mut words = [u64::MAX; BLOCK_WORDS];
    for some in passing.chunks(ROWS_BETWEEN_LOOKS) {
        for row in some {
            let row = &row[start..start + BLOCK_WORDS];
            for (word, other) in words.iter_mut().zip(row) {
                *word &= other;
            }
        }
        if words.iter().fold(0, |any, word| any | word) == 0 {
            return None;
        }
    }
    Some(words)
}
