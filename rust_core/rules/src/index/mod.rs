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
//! A row of bits is preceded by its summary, one bit for each block of 512: blocks that are empty in any
//! dimension are not looked at.
mod bits;
mod dimension;
mod dnf;
mod findings;
mod patterns;
mod ranges;

pub(crate) use bits::Shape;
pub(crate) use findings::findings;
pub use findings::{Finding, Oddity};

use bits::{bits_of, BLOCK_WORDS};
use dimension::Dimension;
use dnf::Conjunction;
use patterns::PatternDimension;

use crate::columns::Columns;
use crate::program::Node;

/// Dimensions of one index, and those of patterns; literals of the slots beyond are left to the programs.
const DIMENSIONS_MAX: usize = 24;
const PATTERNS_MAX: usize = 8;
/// Rows of one intersection: the active rules, every dimension and every pattern dimension.
const ROWS_MAX: usize = 1 + DIMENSIONS_MAX + PATTERNS_MAX;

/// The index of one rule set. Immutable; what changes from order to order is in [`Scratch`].
#[derive(Clone, Debug)]
pub(crate) struct Index {
    shape: Shape,
    /// The rule of each conjunction; conjunctions of a rule are neighbours, rules are in rank order.
    rules: Vec<u32>,
    /// First conjunction of each rule, and the end.
    starts: Vec<u32>,
    /// Conjunctions that hold more than literals.
    residual: Vec<u64>,
    dimensions: Vec<Dimension>,
    patterns: Vec<PatternDimension>,
}

/// Memory that one evaluation after the other uses.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scratch {
    rows: Vec<u64>,
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
        Index { shape, rules, starts, residual, dimensions, patterns }
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

    /// Calls `found(rule, sure)` for each rule, in rank order, that may match the row of `columns`: `sure` when it
    /// does, else its program has to say. Stops when `found` says `false`. `active` is a row of
    /// [`Index::row_of_rules`].
    pub(crate) fn candidates(
        &self,
        columns: &Columns,
        row: usize,
        active: &[u64],
        scratch: &mut Scratch,
        mut found: impl FnMut(u32, bool) -> bool,
    ) {
        let mut unsure: [&[u64]; ROWS_MAX] = [&[]; ROWS_MAX];
        let mut passing: [&[u64]; ROWS_MAX] = [&[]; ROWS_MAX];
        unsure[0] = &self.residual;
        passing[0] = active;
        let (mut unsures, mut passings) = (1, 1);
        // Rows that are not kept whole are made first: behind that the scratch memory is only read.
        let made_len = self.shape.len();
        scratch.rows.resize((self.dimensions.len() + self.patterns.len()) * made_len, 0);
        let mut codes = [dimension::ABSENT; DIMENSIONS_MAX];
        let (made_exact, made_patterns) = scratch.rows.split_at_mut(self.dimensions.len() * made_len);
        for (i, dimension) in self.dimensions.iter().enumerate() {
            codes[i] = dimension.code(columns, row);
            if codes[i] != dimension::ABSENT && !dimension.is_whole() {
                dimension.make(codes[i], self.shape, &mut made_exact[i * made_len..(i + 1) * made_len]);
            }
        }
        let mut present = 0u64;
        for (i, patterns) in self.patterns.iter().enumerate() {
            let made = &mut made_patterns[i * made_len..(i + 1) * made_len];
            present |= u64::from(patterns.make(columns, row, self.shape, made)) << i;
        }
        for (i, dimension) in self.dimensions.iter().enumerate() {
            if codes[i] == dimension::ABSENT {
                unsure[unsures] = dimension.readers();
                unsures += 1;
                continue;
            }
            passing[passings] = if dimension.is_whole() {
                dimension.whole(codes[i], made_len)
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
        self.intersect(&passing[..passings], &unsure[..unsures], &mut found);
    }

    fn intersect(&self, passing: &[&[u64]], unsure: &[&[u64]], found: &mut impl FnMut(u32, bool) -> bool) {
        let summary_words = self.shape.summary_words();
        let mut done = u32::MAX;
        for at in 0..summary_words {
            let mut blocks = passing.iter().fold(u64::MAX, |all, row| all & row[at]);
            while blocks != 0 {
                let block = at * 64 + blocks.trailing_zeros() as usize;
                blocks &= blocks - 1;
                let start = summary_words + block * BLOCK_WORDS;
                let mut words = [u64::MAX; BLOCK_WORDS];
                for row in passing {
                    let row = &row[start..start + BLOCK_WORDS];
                    for (word, other) in words.iter_mut().zip(row) {
                        *word &= other;
                    }
                }
                for (k, mut word) in words.into_iter().enumerate() {
                    if word == 0 {
                        continue;
                    }
                    let doubt = unsure.iter().fold(0, |any, row| any | row[start + k]);
                    while word != 0 {
                        let lowest = word.trailing_zeros();
                        word &= word - 1;
                        let rule = self.rules[(block * BLOCK_WORDS + k) * 64 + lowest as usize];
                        if rule != done {
                            done = rule;
                            if !found(rule, doubt >> lowest & 1 == 0) {
                                return;
                            }
                        }
                    }
                }
            }
        }
    }

    /// Bytes of all bitmaps and tables.
    pub(crate) fn bytes(&self) -> usize {
        let dimensions: usize = self.dimensions.iter().map(Dimension::bytes).sum();
        let patterns: usize = self.patterns.iter().map(PatternDimension::bytes).sum();
        dimensions + patterns + 8 * self.residual.len() + 4 * (self.rules.len() + self.starts.len())
    }
}
