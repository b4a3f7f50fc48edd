//! Few rules against many orders: each test of a slot is made of 64 orders side by side, as a word of bits, and the
//! logic of the conditions is that of words. No rule is interpreted order by order.
//!
//! A condition has three values in CEL, so a mask is two words: the orders it is true of, and those it is false of;
//! in neither it is a fault. `&&` is then (and, or) of the two, `||` its mirror, and a side that decides absorbs
//! the fault of the other, as [`crate::eval`] says it order by order. Conditions with a part that is not a test of a
//! slot are left to the programs.
use std::ops::Range;

use crate::ast::BinaryOp;
use crate::batch::Matches;
use crate::columns::Run;
use crate::eval::{leaf_without_value, Evaluation, Facts};
use crate::index::CHUNK_ROWS;
use crate::matcher::{Mode, Rule, RuleSet, NAMESPACES_MAX};
use crate::operate::holds;
use crate::program::{Leaf, Node, Op, Test};
use crate::sources::HitPolicy;
use crate::tally::Tally;
use crate::value::Value;
use crate::Columns;

/// Rules of a set that is asked by masks: those of an order are collected in one word.
const RULES_MAX: usize = 64;

/// The plan of one rule set.
#[derive(Clone, Debug)]
pub(crate) struct Masks {
    /// Distinct tests.
    leaves: Vec<Leaf>,
    /// By rank; `None`: the program says it.
    plans: Vec<Option<Logic>>,
}

/// A condition over tests.
#[derive(Clone, Debug)]
enum Logic {
    Const(bool),
    Present(usize),
    Leaf(usize),
    And(Vec<Logic>),
    Or(Vec<Logic>),
    Not(Box<Logic>),
    Conditional(Box<[Logic; 3]>),
}

/// Orders of which something is true, and those of which it is false.
#[derive(Clone, Copy, Debug)]
struct Mask {
    holds: u64,
    fails: u64,
}

impl Mask {
    fn decided(holds: u64) -> Mask {
        Mask { holds, fails: !holds }
    }
}

impl Masks {
    /// The plan of a small set; `None` for a large one.
    pub(crate) fn of(rules: &[Rule]) -> Option<Masks> {
        // A variable is evaluated once for an order, whoever reads it: rule by rule that could not be.
        if rules.len() > RULES_MAX || rules.iter().any(|rule| rule.root().has_variables()) {
            return None;
        }
        let mut leaves = Vec::new();
        let plans = rules.iter().map(|rule| logic(rule.root(), &mut leaves)).collect();
        Some(Masks { leaves, plans })
    }

    /// See [`RuleSet::evaluate_batch`].
    pub(crate) fn evaluate(
        &self,
        set: &RuleSet,
        columns: &Columns,
        now_ms: i64,
        mode: Mode,
        matches: &mut Matches,
        tally: &mut Tally,
    ) {
        tally.ask(set, now_ms, columns.rows());
        let Tally { hits, errors, active, .. } = tally;
        let Some(active) = active else { return };
        let texts = self.leaves.iter().map(|leaf| truth_by_text(leaf, columns)).collect();
        let mut chunk = Chunk { masks: self, columns, texts, rows: 0..0, known: Vec::new() };
        let mut from = 0;
        while from < columns.rows() {
            chunk.start(from..(from + CHUNK_ROWS).min(columns.rows()));
            let mut by_row = [0u64; CHUNK_ROWS];
            let all = u64::MAX >> (CHUNK_ROWS - chunk.rows.len());
            // By namespace: the orders it still has to be asked about.
            let mut opens = [all; NAMESPACES_MAX];
            for (rank, (rule, plan)) in set.rules().iter().zip(&self.plans).enumerate() {
                let space = if mode == Mode::Policy { rule.source().namespace } else { 0 };
                let open = opens[space];
                if open == 0 || !active.has(rank) {
                    continue;
                }
                let found = match plan {
                    Some(plan) => chunk.mask(plan, open),
                    None => chunk.by_program(set, rule, open),
                };
                let hit = found.holds & open;
                hits[rank] += u64::from(hit.count_ones());
                let faults = open & !found.holds & !found.fails;
                errors[rank] += u64::from(faults.count_ones());
                for at in ones(hit) {
                    by_row[at] |= 1 << rank;
                }
                match mode {
                    Mode::Collect => {}
                    Mode::First => opens[space] &= !hit,
                    Mode::Policy => {
                        let counted = if set.decides(rule, false, true) { faults } else { 0 };
                        matches.faults.extend(ones(counted).map(|at| (from + at, rank as u32)));
                        if set.namespaces()[space].hit_policy == HitPolicy::First {
                            opens[space] &= !(hit | counted);
                        }
                    }
                }
            }
            for word in &by_row[..chunk.rows.len()] {
                matches.ranks.extend(ones(*word).map(|rank| rank as u32));
                matches.ends.push(matches.ranks.len());
            }
            from = chunk.rows.end;
        }
    }
}

/// Positions of the set bits.
fn ones(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let lowest = (word != 0).then(|| word.trailing_zeros() as usize)?;
        word &= word - 1;
        Some(lowest)
    })
}

/// The plan of a condition; its tests are added to `leaves`. `None` when a part is no test.
fn logic(node: &Node, leaves: &mut Vec<Leaf>) -> Option<Logic> {
    Some(match &node.op {
        Op::Const(Value::Bool(value)) => Logic::Const(*value),
        Op::Present(slot) => Logic::Present(*slot),
        Op::Leaf(leaf) => {
            let at = leaves.iter().position(|known| is_same(known, leaf)).unwrap_or(leaves.len());
            if at == leaves.len() {
                leaves.push(leaf.clone());
            }
            Logic::Leaf(at)
        }
        Op::And(terms) => Logic::And(terms.iter().map(|term| logic(term, leaves)).collect::<Option<_>>()?),
        Op::Or(terms) => Logic::Or(terms.iter().map(|term| logic(term, leaves)).collect::<Option<_>>()?),
        Op::Not(inner) => Logic::Not(Box::new(logic(inner, leaves)?)),
        Op::Conditional(parts) => {
            let [a, b, c] = parts.as_ref();
            Logic::Conditional(Box::new([logic(a, leaves)?, logic(b, leaves)?, logic(c, leaves)?]))
        }
        _ => return None,
    })
}

/// Whether two tests are seen to be the same; those that are not seen are made twice.
fn is_same(a: &Leaf, b: &Leaf) -> bool {
    a.slot == b.slot
        && match (&a.test, &b.test) {
            (Test::Int(op, v), Test::Int(other, w)) => op == other && v == w,
            (Test::Str(op, v), Test::Str(other, w)) => op == other && v == w,
            (Test::Bool(v), Test::Bool(w)) => v == w,
            (Test::IntIn(v), Test::IntIn(w)) => v == w,
            (Test::StrIn(v), Test::StrIn(w)) => v == w,
            _ => false,
        }
}

/// What a test of texts says of each text of the batch, by number; empty for other tests, and when there are more
/// texts than orders.
fn truth_by_text(leaf: &Leaf, columns: &Columns) -> Vec<bool> {
    let known = columns.symbol_count(leaf.slot);
    if !leaf.test.is_of_text() || known > columns.rows() {
        return Vec::new();
    }
    columns.symbols(leaf.slot).map(|text| leaf.test.holds_of(text)).collect()
}

/// At most 64 orders, and what was found out about them.
struct Chunk<'a> {
    masks: &'a Masks,
    columns: &'a Columns,
    texts: Vec<Vec<bool>>,
    rows: Range<usize>,
    /// By test, once it was made.
    known: Vec<Option<Mask>>,
}

impl Chunk<'_> {
    fn start(&mut self, rows: Range<usize>) {
        self.rows = rows;
        self.known.clear();
        self.known.resize(self.masks.leaves.len(), None);
    }

    /// The value of a condition, right for the orders in `wanted`.
    fn mask(&mut self, logic: &Logic, wanted: u64) -> Mask {
        match logic {
            Logic::Const(value) => Mask::decided(if *value { u64::MAX } else { 0 }),
            Logic::Present(slot) => {
                Mask::decided(self.columns.present(*slot, self.rows.clone()).map_or(0, packed))
            }
            Logic::Leaf(at) => self.leaf(*at),
            Logic::Not(inner) => {
                let Mask { holds, fails } = self.mask(inner, wanted);
                Mask { holds: fails, fails: holds }
            }
            Logic::And(terms) => {
                let mut all = Mask { holds: u64::MAX, fails: 0 };
                for term in terms {
                    let open = wanted & !all.fails;
                    if open == 0 {
                        break;
                    }
                    let one = self.mask(term, open);
                    all = Mask { holds: all.holds & one.holds, fails: all.fails | one.fails };
                }
                Mask { holds: all.holds & !all.fails, ..all }
            }
            Logic::Or(terms) => {
                let mut any = Mask { holds: 0, fails: u64::MAX };
                for term in terms {
                    let open = wanted & !any.holds;
                    if open == 0 {
                        break;
                    }
                    let one = self.mask(term, open);
                    any = Mask { holds: any.holds | one.holds, fails: any.fails & one.fails };
                }
                Mask { fails: any.fails & !any.holds, ..any }
            }
            Logic::Conditional(parts) => {
                let [condition, then, otherwise] = parts.as_ref();
                let asked = self.mask(condition, wanted);
                let (yes, no) =
                    (self.mask(then, wanted & asked.holds), self.mask(otherwise, wanted & asked.fails));
                Mask {
                    holds: asked.holds & yes.holds | asked.fails & no.holds,
                    fails: asked.holds & yes.fails | asked.fails & no.fails,
                }
            }
        }
    }

    fn leaf(&mut self, at: usize) -> Mask {
        if let Some(mask) = self.known[at] {
            return mask;
        }
        let leaf = &self.masks.leaves[at];
        let mask = self.made(leaf, &self.texts[at]);
        self.known[at] = Some(mask);
        mask
    }

    fn made(&self, leaf: &Leaf, texts: &[bool]) -> Mask {
        let (columns, rows) = (self.columns, self.rows.clone());
        let (value, present) = match &leaf.test {
            Test::Int(op, wanted) => match columns.ints(leaf.slot, rows) {
                Some(run) => related(run, *op, *wanted),
                None => (0, 0),
            },
            Test::Double(op, wanted) => match columns.doubles(leaf.slot, rows) {
                Some(run) => related(run, *op, *wanted),
                None => (0, 0),
            },
            Test::Bool(wanted) => match columns.bools(leaf.slot, rows) {
                Some(run) => tested(run, |v| v == *wanted),
                None => (0, 0),
            },
            Test::IntIn(all) => match columns.ints(leaf.slot, rows) {
                Some(run) => tested(run, |v| all.binary_search(&v).is_ok()),
                None => (0, 0),
            },
            test => match columns.texts(leaf.slot, rows.clone()) {
                Some(run) if texts.len() == columns.symbol_count(leaf.slot) => {
                    tested(run, |symbol| texts.get(symbol as usize) == Some(&true))
                }
                Some(run) => {
                    let rows = rows.enumerate().map(|(at, row)| (at, columns.str(leaf.slot, row)));
                    let holds = rows
                        .filter(|(_, text)| text.is_some_and(|text| test.holds_of(text)))
                        .fold(0, |mask, (at, _)| mask | 1 << at);
                    (holds, packed(run.present))
                }
                None => (0, 0),
            },
        };
        let (holds, fails) = (value & present, !value & present);
        // What a test says of an absent cell does not depend on the order.
        match leaf_without_value(leaf) {
            Ok(true) => Mask { holds: holds | !present, fails },
            Ok(false) => Mask { holds, fails: fails | !present },
            Err(_) => Mask { holds, fails },
        }
    }

    fn by_program(&self, set: &RuleSet, rule: &Rule, wanted: u64) -> Mask {
        let mut mask = Mask { holds: 0, fails: 0 };
        for at in ones(wanted) {
            let facts = Facts::Row { columns: self.columns, row: self.rows.start + at };
            match Evaluation::new(facts, set.limits()).condition(rule.root()) {
                Ok(true) => mask.holds |= 1 << at,
                Ok(false) => mask.fails |= 1 << at,
                Err(_) => {}
            }
        }
        mask
    }
}

/// One bit for each of at most 64 truths, the first lowest.
#[inline]
fn packed(truths: &[bool]) -> u64 {
    // Eight bytes of 0 or 1 become eight bits: the product puts byte i at bit 56 + i.
    const GATHER: u64 = 0x0102_0408_1020_4080;
    let mut mask = 0;
    let chunks = truths.chunks_exact(8);
    let rest = chunks.remainder();
    let done = truths.len() - rest.len();
    for (at, chunk) in chunks.enumerate() {
        let bytes: [u8; 8] = std::array::from_fn(|i| u8::from(chunk[i]));
        mask |= (u64::from_le_bytes(bytes).wrapping_mul(GATHER) >> 56) << (8 * at);
    }
    rest.iter().enumerate().fold(mask, |mask, (at, truth)| mask | u64::from(*truth) << (done + at))
}

/// (cells of which `test` is true, cells that have a value)
#[inline]
fn tested<T: Copy>(run: Run<'_, T>, test: impl Fn(T) -> bool) -> (u64, u64) {
    let mut truths = [false; CHUNK_ROWS];
    for (truth, cell) in truths.iter_mut().zip(run.cells) {
        *truth = test(*cell);
    }
    (packed(&truths[..run.cells.len().min(CHUNK_ROWS)]), packed(run.present))
}

/// As [`tested`], a relation to one value; the operator is looked at once.
fn related<T: Copy + PartialOrd>(run: Run<'_, T>, op: BinaryOp, wanted: T) -> (u64, u64) {
    match op {
        BinaryOp::Eq => tested(run, |v| v == wanted),
        BinaryOp::Ne => tested(run, |v| v != wanted),
        BinaryOp::Lt => tested(run, |v| v < wanted),
        BinaryOp::Le => tested(run, |v| v <= wanted),
        BinaryOp::Gt => tested(run, |v| v > wanted),
        BinaryOp::Ge => tested(run, |v| v >= wanted),
        other => tested(run, |v| v.partial_cmp(&wanted).is_some_and(|order| holds(other, order))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truths_are_packed_in_order() {
        for len in 0..=64 {
            let truths: Vec<bool> = (0..len).map(|i| i * i % 7 < 3).collect();
            let wanted = truths.iter().enumerate().fold(0, |mask, (at, t)| mask | u64::from(*t) << at);
            assert_eq!(packed(&truths), wanted);
        }
    }
}
