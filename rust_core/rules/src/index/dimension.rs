//! One slot of the index: values to codes, codes to rows of conjunctions that the value does not rule out.
//!
//! Codes of numbers are the elementary intervals of the literals, in order: below the first, the first itself,
//! between the first and the second, and so on; a `NaN` has a code of its own. Codes of texts are the literals, and
//! one for every other text. Along the codes a conjunction turns on or off only where one of its own literals
//! stands: a row is the one before it with few bits turned over. Rows are kept whole while they fit
//! [`WHOLE_WORDS_MAX`]; beyond it every n-th row is, and the turns between.
use std::collections::HashMap;
use std::sync::Arc;

use super::bits::Shape;
use super::dnf::{Atom, Conjunction, Literal};
use super::ranges::Ranges;
use crate::ast::BinaryOp;
use crate::columns::Columns;
use crate::program::Test;

/// The code of a cell without a value.
pub(super) const ABSENT: u32 = u32::MAX;
/// Words of the rows a dimension keeps whole: 4 MiB.
const WHOLE_WORDS_MAX: usize = 1 << 19;
/// Widest span of whole numbers that are looked up in a table instead of searched.
const TABLE_SPAN_MAX: i64 = 4_096;

#[derive(Clone, Debug)]
pub(super) struct Dimension {
    slot: usize,
    cells: Cells,
    codes: u32,
    /// Every how many codes a row is kept.
    stride: u32,
    rows: Vec<u64>,
    /// Conjunctions that turn over at a code: `turns[turn_starts[code]..turn_starts[code + 1]]`.
    turns: Vec<u32>,
    turn_starts: Vec<u32>,
    /// Conjunctions with a literal here.
    readers: Vec<u64>,
}

/// How a cell becomes a code.
#[derive(Clone, Debug)]
pub(super) enum Cells {
    Int {
        cuts: Vec<i64>,
        /// Codes of the values from the first cut to the last, when they are near each other.
        table: Vec<u32>,
    },
    Double(Vec<f64>),
    Bool,
    Str(Texts),
    Present,
}

/// Which cells a literal reads; a slot can have two dimensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Reading {
    Value,
    Presence,
}

/// The dimension a literal belongs to; patterns have their own.
pub(super) fn place(literal: &Literal<'_>) -> Option<(usize, Reading)> {
    match literal.atom {
        Atom::Present(slot) => Some((slot, Reading::Presence)),
        Atom::Leaf(leaf) => match leaf.test {
            Test::StartsWith(_) | Test::EndsWith(_) | Test::Contains(_) | Test::Matches(_) => None,
            _ => Some((leaf.slot, Reading::Value)),
        },
    }
}

/// The dimensions of the slots most literals are about; literals of others make their conjunctions residual.
pub(super) fn build(all: &mut [Conjunction<'_>], shape: Shape, most: usize) -> Vec<Dimension> {
    let mut members: HashMap<(usize, Reading), Vec<(u32, Literal<'_>)>> = HashMap::new();
    for (bit, conjunction) in all.iter().enumerate() {
        for literal in &conjunction.literals {
            if let Some(place) = place(literal) {
                members.entry(place).or_default().push((bit as u32, *literal));
            }
        }
    }
    let mut places: Vec<_> = members.into_iter().collect();
    places.sort_by(|(a, x), (b, y)| y.len().cmp(&x.len()).then(a.cmp(b)));
    let mut dimensions = Vec::with_capacity(places.len().min(most));
    for (at, ((slot, reading), literals)) in places.into_iter().enumerate() {
        if at >= most {
            for (bit, _) in literals {
                all[bit as usize].residual = true;
            }
            continue;
        }
        dimensions.push(Dimension::of(slot, reading, &literals, all.len(), shape));
    }
    dimensions
}

impl Dimension {
    fn of(
        slot: usize,
        reading: Reading,
        literals: &[(u32, Literal<'_>)],
        bits: usize,
        shape: Shape,
    ) -> Dimension {
        let cells = Cells::of(reading, literals);
        let codes = cells.codes();
        let mut readers = shape.row();
        // Literals of one conjunction are neighbours in the list.
        let mut turning: Vec<(u32, Ranges)> = Vec::with_capacity(literals.len());
        for (bit, literal) in literals {
            shape.set(&mut readers, *bit as usize);
            let ranges = cells.ranges(literal);
            match turning.last_mut() {
                Some((last, known)) if last == bit => *known = known.intersect(&ranges),
                _ => turning.push((*bit, ranges)),
            }
        }
        let (turns, turn_starts) = turns_by_code(&turning, codes);
        let whole_rows = (WHOLE_WORDS_MAX / shape.len().max(1)).max(1);
        let stride = (codes as usize).div_ceil(whole_rows).max(1) as u32;
        let mut row = shape.row();
        for bit in 0..bits {
            shape.set(&mut row, bit);
        }
        for (bit, _) in &turning {
            shape.toggle(&mut row, *bit as usize);
        }
        let mut rows = Vec::with_capacity((codes.div_ceil(stride)) as usize * shape.len());
        for code in 0..codes {
            for bit in &turns[turn_starts[code as usize] as usize..turn_starts[code as usize + 1] as usize] {
                shape.toggle(&mut row, *bit as usize);
            }
            if code % stride == 0 {
                shape.summarise(&mut row);
                rows.extend_from_slice(&row);
            }
        }
        let (turns, turn_starts) = if stride == 1 { (Vec::new(), Vec::new()) } else { (turns, turn_starts) };
        Dimension { slot, cells, codes, stride, rows, turns, turn_starts, readers }
    }

    /// The code of a cell; [`ABSENT`] when it has no value.
    #[inline]
    pub(super) fn code(&self, columns: &Columns, row: usize) -> u32 {
        match &self.cells {
            Cells::Int { cuts, table } => {
                columns.int(self.slot, row).map_or(ABSENT, |v| int_code(cuts, table, v))
            }
            Cells::Str(texts) => columns.utf8(self.slot, row).map_or(ABSENT, |v| texts.code(v)),
            Cells::Double(cuts) => columns.double(self.slot, row).map_or(ABSENT, |v| double_code(cuts, v)),
            Cells::Bool => columns.bool(self.slot, row).map_or(ABSENT, u32::from),
            Cells::Present => u32::from(columns.is_present(self.slot, row)),
        }
    }

    /// Whether every code's row is kept.
    #[inline]
    pub(super) fn is_whole(&self) -> bool {
        self.stride == 1
    }

    /// The row of a code that is kept.
    #[inline]
    pub(super) fn whole(&self, code: u32, row_len: usize) -> &[u64] {
        let start = code.min(self.codes - 1) as usize * row_len;
        &self.rows[start..start + row_len]
    }

    /// Makes the row of a code from the kept one before it.
    pub(super) fn make(&self, code: u32, shape: Shape, row: &mut [u64]) {
        let kept = code / self.stride;
        let start = kept as usize * shape.len();
        row.copy_from_slice(&self.rows[start..start + shape.len()]);
        let from = self.turn_starts[(kept * self.stride) as usize + 1] as usize;
        let to = self.turn_starts[code as usize + 1] as usize;
        for bit in self.turns.get(from..to).unwrap_or(&[]) {
            shape.toggle(row, *bit as usize);
        }
    }

    /// The row of the conjunctions with a literal here.
    pub(super) fn readers(&self) -> &[u64] {
        &self.readers
    }

    pub(super) fn bytes(&self) -> usize {
        8 * (self.rows.len() + self.readers.len()) + 4 * (self.turns.len() + self.turn_starts.len())
    }
}

/// Conjunctions grouped by the codes where they turn over.
fn turns_by_code(turning: &[(u32, Ranges)], codes: u32) -> (Vec<u32>, Vec<u32>) {
    let mut starts = vec![0u32; codes as usize + 2];
    for (_, ranges) in turning {
        for code in ranges.changes() {
            starts[code as usize + 1] += 1;
        }
    }
    for i in 1..starts.len() {
        starts[i] += starts[i - 1];
    }
    let mut next = starts.clone();
    let mut turns = vec![0u32; starts.last().copied().unwrap_or(0) as usize];
    for (bit, ranges) in turning {
        for code in ranges.changes() {
            let at = &mut next[code as usize];
            turns[*at as usize] = *bit;
            *at += 1;
        }
    }
    (turns, starts)
}

impl Cells {
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
            let table = int_table(&ints);
            return Cells::Int { cuts: ints, table };
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
                Test::IntIn(_) => Cells::Int { cuts: Vec::new(), table: Vec::new() },
                Test::StrIn(_) => Cells::Str(Texts::of(Vec::new())),
                Test::Double(..) => Cells::Double(Vec::new()),
                _ => Cells::Bool,
            },
            _ => Cells::Bool,
        }
    }

    fn codes(&self) -> u32 {
        (match self {
            Cells::Int { cuts, .. } => 2 * cuts.len() + 1,
            Cells::Double(cuts) => 2 * cuts.len() + 2,
            Cells::Bool | Cells::Present => 2,
            Cells::Str(texts) => texts.known.len() + 1,
        }) as u32
    }

    /// The codes that a value can have: between neighbouring whole numbers there is none.
    pub(super) fn possible(&self) -> Ranges {
        let codes = self.codes();
        let Cells::Int { cuts, .. } = self else { return Ranges::whole(codes) };
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
                (Test::Int(op, v), Cells::Int { cuts, .. }) => {
                    of_relation(*op, cuts.binary_search(v).ok(), codes, codes)
                }
                (Test::IntIn(all), Cells::Int { cuts, .. }) => {
                    singles(all.iter().filter_map(|v| cuts.binary_search(v).ok()).map(|at| 2 * at + 1))
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

fn int_table(cuts: &[i64]) -> Vec<u32> {
    let (Some(first), Some(last)) = (cuts.first(), cuts.last()) else { return Vec::new() };
    match last.checked_sub(*first) {
        Some(span) if span < TABLE_SPAN_MAX => (*first..=*last).map(|v| searched(cuts, v)).collect(),
        _ => Vec::new(),
    }
}

#[inline]
fn int_code(cuts: &[i64], table: &[u32], value: i64) -> u32 {
    match cuts.first() {
        // Wrapping: a value below the first cut becomes larger than every table.
        Some(first) if !table.is_empty() => match table.get(value.wrapping_sub(*first) as u64 as usize) {
            Some(code) => *code,
            None if value < *first => 0,
            None => 2 * cuts.len() as u32,
        },
        _ => searched(cuts, value),
    }
}

#[inline]
fn searched(cuts: &[i64], value: i64) -> u32 {
    let below = cuts.partition_point(|cut| *cut < value);
    2 * below as u32 + u32::from(cuts.get(below) == Some(&value))
}

#[inline]
fn double_code(cuts: &[f64], value: f64) -> u32 {
    if value.is_nan() {
        return 2 * cuts.len() as u32 + 1;
    }
    let below = cuts.partition_point(|cut| *cut < value);
    2 * below as u32 + u32::from(cuts.get(below) == Some(&value))
}

/// Texts to codes: an open table of at most half its slots filled.
#[derive(Clone, Debug)]
pub(super) struct Texts {
    known: Vec<Arc<str>>,
    /// Code, or the number of codes when free.
    table: Vec<u32>,
}

impl Texts {
    fn of(mut known: Vec<Arc<str>>) -> Texts {
        known.sort_unstable();
        known.dedup();
        let free = known.len() as u32;
        let mut table = vec![free; (known.len() * 2).next_power_of_two().max(2)];
        for (code, text) in known.iter().enumerate() {
            let mut at = hash(text.as_bytes()) as usize & (table.len() - 1);
            while table[at] != free {
                at = (at + 1) & (table.len() - 1);
            }
            table[at] = code as u32;
        }
        Texts { known, table }
    }

    /// The code of a text; that of all others is the number of known ones.
    #[inline]
    fn code(&self, text: &[u8]) -> u32 {
        let mask = self.table.len() - 1;
        let mut at = hash(text) as usize & mask;
        loop {
            let code = self.table[at];
            match self.known.get(code as usize) {
                None => return code,
                Some(known) if known.as_bytes() == text => return code,
                Some(_) => at = (at + 1) & mask,
            }
        }
    }
}

/// A fast hash of short texts, eight bytes at a time (the multiply-and-rotate of the Firefox hash). Collisions only
/// cost time: rules, which people write, choose the texts of the table, and its load is bounded.
#[inline]
fn hash(text: &[u8]) -> u64 {
    const FACTOR: u64 = 0x517c_c1b7_2722_0a95;
    let mut state = text.len() as u64;
    let mut mix = |word: u64| state = (state.rotate_left(5) ^ word).wrapping_mul(FACTOR);
    let mut chunks = text.chunks_exact(8);
    for chunk in &mut chunks {
        mix(u64::from_le_bytes(chunk.try_into().unwrap_or([0; 8])));
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        mix(u64::from_le_bytes(last));
    }
    // The low bits of a product are the weakest.
    state >> 20 ^ state
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_the_code_of_its_interval() {
        for cuts in [vec![], vec![0], vec![-5, 3, 4], vec![i64::MIN, i64::MAX], vec![0, 10_000]] {
            let table = int_table(&cuts);
            for value in [i64::MIN, i64::MIN + 1, -6, -5, -4, 0, 1, 3, 4, 5, 9_999, 10_000, 10_001, i64::MAX]
            {
                assert_eq!(int_code(&cuts, &table, value), searched(&cuts, value), "{cuts:?} {value}");
            }
        }
        assert_eq!(double_code(&[0.0, 1.0], -0.0), 1);
        assert_eq!(double_code(&[0.0, 1.0], f64::NAN), 5);
        assert_eq!(double_code(&[0.0, 1.0], f64::INFINITY), 4);
    }

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
