//! A batch of orders against a rule set: many rules by the index, few by masks, both 64 orders at a time.
use std::ops::Range;

use crate::eval::{Evaluation, Facts};
use crate::index::{Block, Index, BLOCK_WORDS, CHUNK_ROWS};
use crate::limits::Limits;
use crate::matcher::{Mode, Rule, RuleIndex, RuleSet};
use crate::tally::Tally;
use crate::Columns;

/// The matches of a batch: for each order, in the sequence of the rows, its rules in rank order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matches {
    pub(crate) ranks: Vec<RuleIndex>,
    /// Behind the last rank of each row.
    pub(crate) ends: Vec<usize>,
}

impl Matches {
    /// Orders that were asked about.
    pub fn rows(&self) -> usize {
        self.ends.len()
    }

    /// The ranks of one order; none for a row that was not asked about.
    pub fn of(&self, row: usize) -> &[RuleIndex] {
        let Some(end) = self.ends.get(row).copied() else { return &[] };
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.ranks[start..end]
    }

    /// All ranks, one order behind the other.
    pub fn ranks(&self) -> &[RuleIndex] {
        &self.ranks
    }

    /// For each order the place behind its last rank in [`Matches::ranks`].
    pub fn ends(&self) -> &[usize] {
        &self.ends
    }

    fn clear(&mut self) {
        self.ranks.clear();
        self.ends.clear();
    }
}

impl RuleSet {
    /// The matching rules of every row, which replace what is in `matches`; counts what happened in `tally`. The same
    /// answers as [`RuleSet::evaluate`] row by row, in a fraction of the time.
    pub fn evaluate_batch(
        &self,
        columns: &Columns,
        now_ms: i64,
        mode: Mode,
        matches: &mut Matches,
        tally: &mut Tally,
    ) {
        matches.clear();
        let rows = 0..columns.rows();
        if let Some(index) = self.index() {
            self.ask_index(index, columns, rows, now_ms, mode, matches, tally);
        } else if let Some(masks) = self.masks() {
            masks.evaluate(self, columns, now_ms, mode, matches, tally);
        } else {
            for row in rows {
                self.scan(columns, row, now_ms, mode, &mut matches.ranks, tally);
                matches.ends.push(matches.ranks.len());
            }
        }
    }

    #[allow(clippy::too_many_arguments)] // A batch and what is done with it.
    pub(crate) fn ask_index(
        &self,
        index: &Index,
        columns: &Columns,
        rows: Range<usize>,
        now_ms: i64,
        mode: Mode,
        matches: &mut Matches,
        tally: &mut Tally,
    ) {
        tally.ask(self, now_ms, rows.len());
        let Tally { hits, errors, active, scratch, .. } = tally;
        let Some(active) = active else { return };
        index.begin(columns, rows.len(), scratch);
        let (limits, rules, to) = (self.limits(), self.rules(), matches.ranks.len());
        let mut answer =
            Answer { index, rules, limits, columns, mode, matches, errors, to, asked: 0, last: NONE };
        let mut from = rows.start;
        while from < rows.end {
            let chunk = from..(from + CHUNK_ROWS).min(rows.end);
            let counted = answer.to;
            index.candidates(columns, chunk.clone(), &active.row, scratch, |row, block| {
                answer.block(row - rows.start, row, block)
            });
            for rank in &answer.matches.ranks[counted..answer.to] {
                if let Some(hits) = hits.get_mut(*rank as usize) {
                    *hits += 1;
                }
            }
            from = chunk.end;
        }
        answer.open(rows.len());
        answer.matches.ranks.truncate(answer.to);
    }
}

/// No rule.
const NONE: RuleIndex = RuleIndex::MAX;

/// Ranks of one block at most.
const ROOM: usize = 64 * BLOCK_WORDS;

/// Takes what the index finds, block by block, and makes ranks of it.
struct Answer<'a> {
    index: &'a Index,
    rules: &'a [Rule],
    limits: &'a Limits,
    columns: &'a Columns,
    mode: Mode,
    /// Ranks behind `to` are none.
    matches: &'a mut Matches,
    errors: &'a mut [u64],
    to: usize,
    /// Rows begun.
    asked: usize,
    /// The rule of this row that was decided last.
    last: RuleIndex,
}

impl Answer<'_> {
    /// Closes the rows before `at`.
    #[inline]
    fn open(&mut self, at: usize) {
        while self.matches.ends.len() < at {
            self.matches.ends.push(self.to);
        }
        self.asked = at + 1;
        self.last = NONE;
    }

    /// Conjunctions that are left of a row, see [`Index::candidates`]; `false` when no more are wanted.
    #[inline]
    fn block(&mut self, at: usize, row: usize, block: &Block) -> bool {
        if self.asked != at + 1 {
            self.open(at);
        }
        if self.matches.ranks.len() < self.to + ROOM {
            self.matches.ranks.resize((self.to + ROOM) * 2, NONE);
        }
        let mut both = block.words.iter().zip(&block.doubts);
        if self.mode == Mode::First || both.any(|(word, doubt)| word & doubt != 0) {
            return self.doubtful_block(row, block);
        }
        let (ranks, mut to) = (self.matches.ranks.as_mut_slice(), self.to);
        for (word, at) in block.words.iter().zip(block.first_word..) {
            if *word == 0 {
                continue;
            }
            let rules = self.index.rules_of_word(at);
            let mut left = self.index.first_of_each_rule(at, *word);
            if rules[left.trailing_zeros() as usize] == self.last {
                left &= left - 1;
            }
            self.last = rules[63 - word.leading_zeros() as usize];
            while left != 0 {
                ranks[to] = rules[left.trailing_zeros() as usize];
                to += 1;
                left &= left - 1;
            }
        }
        self.to = to;
        true
    }

    #[inline(never)]
    fn doubtful_block(&mut self, row: usize, block: &Block) -> bool {
        for (k, (word, doubt)) in block.words.iter().zip(&block.doubts).enumerate() {
            let (mut word, rules) = (*word, self.index.rules_of_word(block.first_word + k));
            while word != 0 {
                let bit = word.trailing_zeros();
                word &= word - 1;
                let rule = rules[bit as usize];
                if rule == self.last {
                    continue;
                }
                self.last = rule;
                if doubt >> bit & 1 == 0 || self.program_holds(row, rule) {
                    self.matches.ranks[self.to] = rule;
                    self.to += 1;
                    if self.mode == Mode::First {
                        return false;
                    }
                }
            }
        }
        true
    }

    fn program_holds(&mut self, row: usize, rule: RuleIndex) -> bool {
        let Some(program) = self.rules.get(rule as usize) else { return false };
        let facts = Facts::Row { columns: self.columns, row };
        Evaluation::new(facts, self.limits).condition(program.root()).unwrap_or_else(|_| {
            self.errors[rule as usize] += 1;
            false
        })
    }
}
