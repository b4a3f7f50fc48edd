//! Values of one slot as codes.
//!
//! Codes of numbers are the elementary intervals of the literals, in order: below the first, the first itself,
//! between the first and the second, and so on; a `NaN` has a code of its own. Codes of texts are the literals, and
//! one for every other text.
use std::ops::Range;
use std::sync::Arc;

use super::dimension::Reading;
use super::dnf::{Atom, Literal};
use super::numbers::{double_code, IntCodes};
use super::ranges::Ranges;
use crate::ast::BinaryOp;
use crate::columns::Columns;
use crate::program::Test;
use crate::symbols::hash;
use crate::value::Value;

/// The code of a cell without a value.
pub(super) const ABSENT: u32 = u32::MAX;

/// How a cell becomes a code.
#[derive(Clone, Debug)]
pub(super) enum Cells {
    Int(IntCodes),
    Double(Vec<f64>),
    Bool,
    Str(Texts),
    Present,
}

impl Cells {
    /// The codes of some rows, [`ABSENT`] where there is no value. `texts` are the codes of the slot's texts by number;
    /// when they are not all there, each text is looked up.
    pub(super) fn code(
        &self,
        columns: &Columns,
        slot: usize,
        rows: Range<usize>,
        texts: &[u32],
        out: &mut [u32],
    ) {
        out.fill(ABSENT);
        match self {
            Cells::Int(ints) => {
                let Some(run) = columns.ints(slot, rows) else { return };
                for ((out, value), present) in out.iter_mut().zip(run.cells).zip(run.present) {
                    *out = if *present { ints.code(*value) } else { ABSENT };
                }
            }
            Cells::Str(known) if texts.len() < columns.symbol_count(slot) => {
                for (out, row) in out.iter_mut().zip(rows) {
                    *out = columns.utf8(slot, row).map_or(ABSENT, |text| known.code(text));
                }
            }
            Cells::Str(_) => {
                let Some(run) = columns.texts(slot, rows) else { return };
                for (out, symbol) in out.iter_mut().zip(run.cells) {
                    *out = texts.get(*symbol as usize).copied().unwrap_or(ABSENT);
                }
            }
            Cells::Double(cuts) => {
                let Some(run) = columns.doubles(slot, rows) else { return };
                for ((out, value), present) in out.iter_mut().zip(run.cells).zip(run.present) {
                    *out = if *present { double_code(cuts, *value) } else { ABSENT };
                }
            }
            Cells::Bool => {
                let Some(run) = columns.bools(slot, rows) else { return };
                for ((out, value), present) in out.iter_mut().zip(run.cells).zip(run.present) {
                    *out = if *present { u32::from(*value) } else { ABSENT };
                }
            }
            Cells::Present => {
                out.fill(0);
                for (out, present) in out.iter_mut().zip(columns.present(slot, rows).unwrap_or(&[])) {
                    *out = u32::from(*present);
                }
            }
        }
    }

    /// The codes of all texts of a slot, by number, when that is less to look up than the cells of `rows`.
    pub(super) fn code_texts(&self, columns: &Columns, slot: usize, rows: usize, out: &mut Vec<u32>) {
        out.clear();
        if let Cells::Str(known) = self {
            if columns.symbol_count(slot) <= rows {
                out.extend(columns.symbols(slot).map(|text| known.code(text.as_bytes())));
            }
        }
    }

    pub(super) fn of(reading: Reading, literals: &[(u32, Literal<'_>)]) -> Cells {
        if reading == Reading::Presence {
            return Cells::Present;
        }
        let (mut ints, mut doubles, mut texts) = (Vec::new(), Vec::new(), Vec::new());
        for (_, literal) in literals {
            let Atom::Leaf(leaf) = literal.atom else { continue };
            match &leaf.test {
                Test::Int(_, v) => ints.push(*v),
                Test::IntIn(all) => ints.extend(all.iter().copied()),
                Test::Double(_, v) => doubles.push(*v),
                Test::Str(_, v) => texts.push(v.clone()),
                Test::StrIn(all) => texts.extend(all.iter().cloned()),
                _ => {}
            }
        }
        if !ints.is_empty() {
            ints.sort_unstable();
            ints.dedup();
            return Cells::Int(IntCodes::of(ints));
        }
        if !doubles.is_empty() {
            // A NaN equals nothing and cuts nothing; -0.0 and 0.0 are one value.
            doubles.retain(|v| !v.is_nan());
            doubles.sort_by(f64::total_cmp);
            doubles.dedup_by(|a, b| a == b);
            return Cells::Double(doubles);
        }
        if !texts.is_empty() {
            return Cells::Str(Texts::of(texts));
        }
        match literals.first().map(|(_, literal)| literal.atom) {
            Some(Atom::Leaf(leaf)) => match leaf.test {
                Test::IntIn(_) => Cells::Int(IntCodes::of(Vec::new())),
                Test::StrIn(_) => Cells::Str(Texts::of(Vec::new())),
                Test::Double(..) => Cells::Double(Vec::new()),
                _ => Cells::Bool,
            },
            _ => Cells::Bool,
        }
    }

    /// How many codes there are.
    pub(super) fn codes(&self) -> u32 {
        (match self {
            Cells::Int(ints) => 2 * ints.cuts().len() + 1,
            Cells::Double(cuts) => 2 * cuts.len() + 2,
            Cells::Bool | Cells::Present => 2,
            Cells::Str(texts) => texts.known.len() + 1,
        }) as u32
    }

    /// The codes that a value can have: between neighbouring whole numbers there is none.
    pub(super) fn possible(&self) -> Ranges {
        let codes = self.codes();
        let Cells::Int(ints) = self else { return Ranges::whole(codes) };
        let cuts = ints.cuts();
        let mut empty: Vec<(u32, u32)> = (1..cuts.len())
            .filter(|at| cuts[at - 1].checked_add(1) == Some(cuts[*at]))
            .map(|at| (2 * at as u32, 2 * at as u32 + 1))
            .collect();
        if cuts.first() == Some(&i64::MIN) {
            empty.push((0, 1));
        }
        if cuts.last() == Some(&i64::MAX) {
            empty.push((codes - 1, codes));
        }
        Ranges::of(empty).complement(codes)
    }

    /// A value that has this code; `None` when there is none, or none that can be made here.
    pub(super) fn value_of(&self, code: u32) -> Option<Value> {
        let (at, is_cut) = ((code / 2) as usize, code % 2 == 1);
        match self {
            Cells::Int(ints) => {
                let cuts = ints.cuts();
                let value = match (cuts.get(at), is_cut) {
                    (Some(cut), true) => *cut,
                    // Below this cut; above the last one when there is none.
                    (Some(cut), false) => cut.checked_sub(1)?,
                    (None, _) => cuts.last().map_or(Some(0), |last| last.checked_add(1))?,
                };
                (ints.code(value) == code).then_some(Value::Int(value))
            }
            Cells::Double(cuts) if code as usize == 2 * cuts.len() + 1 => Some(Value::Double(f64::NAN)),
            Cells::Double(cuts) => {
                let value = match (cuts.get(at), is_cut, at.checked_sub(1).and_then(|b| cuts.get(b))) {
                    (Some(cut), true, _) => *cut,
                    (Some(cut), false, Some(before)) => before + (cut - before) / 2.0,
                    (Some(cut), false, None) => cut - 1.0,
                    (None, _, Some(last)) => last + 1.0,
                    (None, _, None) => 0.0,
                };
                (double_code(cuts, value) == code).then_some(Value::Double(value))
            }
            Cells::Bool => Some(Value::Bool(code == 1)),
            Cells::Str(texts) => Some(match texts.known.get(code as usize) {
                Some(text) => Value::Str(text.clone()),
                None => Value::str(&texts.stranger()),
            }),
            Cells::Present => None,
        }
    }

    /// The codes for which a literal holds.
    pub(super) fn ranges(&self, literal: &Literal<'_>) -> Ranges {
        let codes = self.codes();
        let holds = match literal.atom {
            Atom::Present(_) => Ranges::of(vec![(1, 2)]),
            Atom::Leaf(leaf) => match (&leaf.test, self) {
                (Test::Bool(wanted), _) => {
                    let code = u32::from(*wanted);
                    Ranges::of(vec![(code, code + 1)])
                }
                (Test::Int(op, v), Cells::Int(ints)) => {
                    of_relation(*op, ints.cuts().binary_search(v).ok(), codes, codes)
                }
                (Test::IntIn(all), Cells::Int(ints)) => {
                    singles(all.iter().filter_map(|v| ints.cuts().binary_search(v).ok()).map(|at| 2 * at + 1))
                }
                (Test::Double(op, v), Cells::Double(cuts)) => {
                    let at =
                        cuts.binary_search_by(|cut| cut.partial_cmp(v).unwrap_or(std::cmp::Ordering::Less));
                    of_relation(*op, at.ok().filter(|_| !v.is_nan()), codes - 1, codes)
                }
                (Test::Str(op, v), Cells::Str(texts)) => {
                    let equal = singles(std::iter::once(texts.code(v.as_bytes()) as usize));
                    if *op == BinaryOp::Ne {
                        equal.complement(codes)
                    } else {
                        equal
                    }
                }
                (Test::StrIn(all), Cells::Str(texts)) => {
                    singles(all.iter().map(|v| texts.code(v.as_bytes()) as usize))
                }
                // Not reached: literals of one slot are of one type.
                _ => Ranges::whole(0),
            },
        };
        if literal.wanted {
            holds
        } else {
            holds.complement(codes)
        }
    }
}

fn singles(codes: impl Iterator<Item = usize>) -> Ranges {
    Ranges::of(codes.map(|code| (code as u32, code as u32 + 1)).collect())
}

/// The codes of a relation to the cut at `at`; numbers end at `end`, a `NaN` is behind them. Without a cut the literal
/// is a `NaN`: only `!=` holds.
fn of_relation(op: BinaryOp, at: Option<usize>, end: u32, codes: u32) -> Ranges {
    let Some(at) = at else {
        return if op == BinaryOp::Ne { Ranges::whole(codes) } else { Ranges::whole(0) };
    };
    let here = 2 * at as u32 + 1;
    Ranges::of(match op {
        BinaryOp::Eq => vec![(here, here + 1)],
        BinaryOp::Ne => vec![(0, here), (here + 1, codes)],
        BinaryOp::Lt => vec![(0, here)],
        BinaryOp::Le => vec![(0, here + 1)],
        BinaryOp::Gt => vec![(here + 1, end)],
        BinaryOp::Ge => vec![(here, end)],
        _ => Vec::new(),
    })
}

/// Texts to codes: an open table of at most half its places filled. Rules, which people write, choose the texts.
#[derive(Clone, Debug)]
pub(super) struct Texts {
    known: Vec<Arc<str>>,
    /// A part of the hash, and the code; the number of codes when free.
    table: Vec<(u32, u32)>,
}

impl Texts {
    fn of(mut known: Vec<Arc<str>>) -> Texts {
        known.sort_unstable();
        known.dedup();
        let free = known.len() as u32;
        let mut table = vec![(0, free); (known.len() * 2).next_power_of_two().max(2)];
        for (code, text) in known.iter().enumerate() {
            let hash = hash(text.as_bytes());
            let mut at = hash as usize & (table.len() - 1);
            while table[at].1 != free {
                at = (at + 1) & (table.len() - 1);
            }
            table[at] = ((hash >> 32) as u32, code as u32);
        }
        Texts { known, table }
    }

    /// A text that is none of the known ones.
    fn stranger(&self) -> String {
        let longest = self.known.iter().map(|text| text.len()).max().unwrap_or(0);
        let other = "other".to_string();
        if self.code(other.as_bytes()) as usize == self.known.len() {
            return other;
        }
        "x".repeat(longest + 1)
    }

    /// The code of a text; that of all others is the number of known ones.
    #[inline]
    fn code(&self, text: &[u8]) -> u32 {
        let (hash, mask) = (hash(text), self.table.len() - 1);
        let mut at = hash as usize & mask;
        loop {
            let (tag, code) = self.table[at];
            match self.known.get(code as usize) {
                None => return code,
                Some(known) if tag == (hash >> 32) as u32 && known.as_bytes() == text => return code,
                Some(_) => at = (at + 1) & mask,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_found_and_strangers_are_not() {
        let all: Vec<Arc<str>> = (0..500).map(|i| Arc::from(format!("shop-{i}"))).collect();
        let texts = Texts::of(all.clone());
        let mut codes: Vec<u32> = all.iter().map(|t| texts.code(t.as_bytes())).collect();
        codes.sort_unstable();
        assert_eq!(codes, (0..500).collect::<Vec<u32>>());
        assert_eq!((texts.code(b"shop-500"), texts.code(b"")), (500, 500));
        assert_eq!(Texts::of(Vec::new()).code(b"x"), 0);
    }
}
