//! One slot of the index: values to codes, codes to rows of conjunctions that the value does not rule out.
//!
//! Along the codes ([`Cells`]) a conjunction turns on or off only where one of its own literals stands: a row is the
//! one before it with few bits turned over. Rows are kept whole while they fit [`WHOLE_WORDS_MAX`]; beyond it every
//! n-th row is, and the turns between.
use std::collections::HashMap;
use std::ops::Range;

use super::bits::{bits_of, Shape};
use super::cells::Cells;
use super::dnf::{Atom, Conjunction, Literal};
use super::ranges::Ranges;
use crate::columns::Columns;
use crate::program::Test;

/// Of so many conjunctions at most one may be left for a list to be shorter than the rows.
const LISTED_OF: usize = 64;
/// Words of the rows a dimension keeps whole: 4 MiB.
const WHOLE_WORDS_MAX: usize = 1 << 19;
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
    /// The bits of the codes that leave few: `listed[list_starts[code]..list_starts[code + 1]]`. A code that leaves more
    /// has none, and none of a dimension is listed when all codes leave more.
    listed: Vec<u32>,
    list_starts: Vec<u32>,
    /// Conjunctions that a value leaves possible, summed over the codes: the fewer, the sooner the rest is ruled out.
    passing: u64,
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

/// The dimensions of the slots most literals are about, those that rule out most first; literals of other slots make
/// their conjunctions residual.
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
    dimensions.sort_by_key(|dimension| dimension.passing / u64::from(dimension.codes.max(1)));
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
        let passing = u64::from(codes) * (bits - turning.len()) as u64
            + turning.iter().map(|(_, ranges)| u64::from(ranges.len())).sum::<u64>();
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
        let (listed, list_starts) =
            if stride == 1 { short_lists(&rows, shape, bits) } else { (Vec::new(), Vec::new()) };
        let (turns, turn_starts) = if stride == 1 { (Vec::new(), Vec::new()) } else { (turns, turn_starts) };
        Dimension {
            slot,
            cells,
            codes,
            stride,
            rows,
            turns,
            turn_starts,
            readers,
            listed,
            list_starts,
            passing,
        }
    }

    /// The codes of some rows, see [`Cells::code`].
    pub(super) fn code(&self, columns: &Columns, rows: Range<usize>, texts: &[u32], out: &mut [u32]) {
        self.cells.code(columns, self.slot, rows, texts, out);
    }

    /// The codes of the slot's texts by number, see [`Cells::code_texts`].
    pub(super) fn code_texts(&self, columns: &Columns, rows: usize, out: &mut Vec<u32>) {
        self.cells.code_texts(columns, self.slot, rows, out);
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

    /// Whether [`Dimension::list`] may have one.
    pub(super) fn has_lists(&self) -> bool {
        !self.list_starts.is_empty()
    }

    /// The conjunctions that a code leaves, when they are few.
    #[inline]
    pub(super) fn list(&self, code: u32) -> Option<&[u32]> {
        let from = *self.list_starts.get(code as usize)?;
        let to = *self.list_starts.get(code as usize + 1)?;
        // A code that leaves nothing at all looks like one that is not listed; its row says so as quickly.
        self.listed.get(from as usize..to as usize).filter(|list| !list.is_empty())
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
        8 * (self.rows.len() + self.readers.len())
            + 4 * (self.turns.len() + self.turn_starts.len() + self.listed.len() + self.list_starts.len())
    }
}

/// The set bits of the rows that have few; nothing when none has.
fn short_lists(rows: &[u64], shape: Shape, bits: usize) -> (Vec<u32>, Vec<u32>) {
    let (mut listed, mut starts) = (Vec::new(), vec![0]);
    for row in rows.chunks(shape.len().max(1)) {
        let words = &row[shape.summary_words()..];
        let left = words.iter().map(|word| word.count_ones() as usize).sum::<usize>();
        if left * LISTED_OF <= bits {
            listed.extend(bits_of(words).map(|bit| bit as u32));
        }
        starts.push(listed.len() as u32);
    }
    if listed.is_empty() {
        return (Vec::new(), Vec::new());
    }
    (listed, starts)
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
