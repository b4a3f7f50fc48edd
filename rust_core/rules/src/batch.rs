//! A batch of orders against a rule set: many rules by the index, few by masks, both 64 orders at a time.
use std::ops::Range;

use crate::eval::{Evaluation, Facts};
use crate::index::{Block, Index, BLOCK_WORDS, CHUNK_ROWS};
use crate::matcher::{Decided, Mode, RuleIndex, RuleSet};
use crate::tally::Tally;
use crate::Columns;

/// The matches of a batch: for each order, in the sequence of the rows, its rules in rank order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matches {
    pub(crate) ranks: Vec<RuleIndex>,
    /// Behind the last rank of each row.
    pub(crate) ends: Vec<usize>,
    /// (position of the row, rank) of rules that have no value and say that this is not to be passed over; by rank for
    /// each row.
    pub(crate) faults: Vec<(usize, RuleIndex)>,
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

    /// Rules of one order that have no value and say that this is not to be passed over, in rank order; only asked
    /// under [`Mode::Policy`].
    pub fn faults_of(&self, row: usize) -> impl Iterator<Item = RuleIndex> + '_ {
        self.faults.iter().filter(move |(at, _)| *at == row).map(|(_, rank)| *rank)
    }

    fn clear(&mut self) {
        self.ranks.clear();
        self.ends.clear();
        self.faults.clear();
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
        let mode = self.of_policy(mode);
        let rows = 0..columns.rows();
        if let Some(index) = self.index() {
            self.ask_index(index, columns, rows, now_ms, mode, matches, tally);
        } else if let Some(masks) = self.masks() {
            masks.evaluate(self, columns, now_ms, mode, matches, tally);
        } else {
            for row in rows {
                self.scan(columns, row, now_ms, mode, &mut matches.ranks, tally);
                matches.ends.push(matches.ranks.len());
                matches.faults.extend(tally.faults().iter().map(|rank| (row, *rank)));
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
        let to = matches.ranks.len();
        let evaluation =
            (usize::MAX, Evaluation::new(Facts::Row { columns, row: usize::MAX }, self.limits()));
        let decided = Decided::default();
        let (asked, last) = (0, NONE);
        let mut answer =
            Answer { set: self, index, columns, mode, matches, errors, to, asked, last, evaluation, decided };
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
    set: &'a RuleSet,
    index: &'a Index,
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
    /// The row whose programs ran last, with the variables they have read.
    evaluation: (usize, Evaluation<'a>),
    /// Of this row, under policies.
    decided: Decided,
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
        self.decided = Decided::default();
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
        if self.mode != Mode::Collect || both.any(|(word, doubt)| word & doubt != 0) {
            return self.doubtful_block(at, row, block);
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
    fn doubtful_block(&mut self, at: usize, row: usize, block: &Block) -> bool {
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
                if self.mode == Mode::Policy {
                    self.under_policy(at, row, rule, doubt >> bit & 1 == 0);
                } else if doubt >> bit & 1 == 0 || self.program(row, rule) == Some(true) {
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

    /// A rule that may match, when its namespace is still open.
    fn under_policy(&mut self, at: usize, row: usize, rank: RuleIndex, sure: bool) {
        let set = self.set;
        let Some(rule) = set.rules().get(rank as usize).filter(|rule| !self.decided.has(rule)) else {
            return;
        };
        let answer = if sure { Some(true) } else { self.program(row, rank) };
        if answer == Some(true) {
            self.matches.ranks[self.to] = rank;
            self.to += 1;
        }
        if set.decides(rule, answer == Some(true), answer.is_none()) {
            if answer.is_none() {
                self.matches.faults.push((at, rank));
            }
            self.decided.set(rule, set.namespaces());
        }
    }

    /// What a rule's program says of a row; `None` is a fault, and counted.
    fn program(&mut self, row: usize, rank: RuleIndex) -> Option<bool> {
        let rule = self.set.rules().get(rank as usize)?;
        if self.evaluation.0 != row {
            let facts = Facts::Row { columns: self.columns, row };
            self.evaluation = (row, Evaluation::new(facts, self.set.limits()));
        }
        let answer = self.evaluation.1.condition(rule.root()).ok();
        self.errors[rank as usize] += u64::from(answer.is_none());
        answer
    }
}
