//! Texts that are asked for their beginning, end, parts or pattern.
//!
//! A conjunction is listed under one pattern of a slot: it stays possible when the text has that pattern. Its other
//! patterns are left to the rule's program. Beginnings and ends are found by one look into a table for each length
//! that is asked for; parts and regular expressions are tried one after the other, each distinct one once an order.
use std::collections::HashMap;
use std::sync::Arc;

use super::bits::Shape;
use super::dnf::{Atom, Conjunction};
use crate::columns::Columns;
use crate::program::Test;

/// Conjunctions by pattern: where the pattern is found, they stay possible.
type Listed<K> = HashMap<K, Vec<u32>>;

#[derive(Clone, Debug)]
pub(super) struct PatternDimension {
    slot: usize,
    /// Conjunctions without a pattern here.
    others: Vec<u64>,
    readers: Vec<u64>,
    starts: Affixes,
    ends: Affixes,
    parts: Vec<(Arc<str>, Vec<u32>)>,
    regexes: Vec<(Arc<regex::Regex>, Vec<u32>)>,
}

/// Beginnings or ends, by length and text.
#[derive(Clone, Debug, Default)]
struct Affixes {
    lengths: Vec<usize>,
    listed: Listed<Arc<[u8]>>,
}

/// One dimension for each of the slots most patterns are about.
pub(super) fn build(all: &mut [Conjunction<'_>], shape: Shape, most: usize) -> Vec<PatternDimension> {
    let mut by_slot: HashMap<usize, Vec<(u32, &Test)>> = HashMap::new();
    for (bit, conjunction) in all.iter_mut().enumerate() {
        let mut taken = Vec::new();
        for literal in &conjunction.literals {
            let Atom::Leaf(leaf) = literal.atom else { continue };
            if !matches!(
                leaf.test,
                Test::StartsWith(_) | Test::EndsWith(_) | Test::Contains(_) | Test::Matches(_)
            ) {
                continue;
            }
            if taken.contains(&leaf.slot) {
                conjunction.residual = true;
            } else {
                taken.push(leaf.slot);
                by_slot.entry(leaf.slot).or_default().push((bit as u32, &leaf.test));
            }
        }
    }
    let mut slots: Vec<_> = by_slot.into_iter().collect();
    slots.sort_by(|(a, x), (b, y)| y.len().cmp(&x.len()).then(a.cmp(b)));
    for (_, members) in slots.drain(most.min(slots.len())..) {
        for (bit, _) in members {
            all[bit as usize].residual = true;
        }
    }
    slots.iter().map(|(slot, members)| PatternDimension::of(*slot, members, all.len(), shape)).collect()
}

impl PatternDimension {
    fn of(slot: usize, members: &[(u32, &Test)], bits: usize, shape: Shape) -> PatternDimension {
        let (mut others, mut readers) = (shape.row(), shape.row());
        for bit in 0..bits {
            shape.set(&mut others, bit);
        }
        let (mut starts, mut ends) = (Affixes::default(), Affixes::default());
        let mut parts: Listed<Arc<str>> = HashMap::new();
        let mut regexes: HashMap<&str, (Arc<regex::Regex>, Vec<u32>)> = HashMap::new();
        for (bit, test) in members {
            shape.set(&mut readers, *bit as usize);
            shape.toggle(&mut others, *bit as usize);
            match test {
                Test::StartsWith(text) => starts.add(text, *bit),
                Test::EndsWith(text) => ends.add(text, *bit),
                Test::Contains(text) => parts.entry(text.clone()).or_default().push(*bit),
                Test::Matches(regex) => {
                    regexes.entry(regex.as_str()).or_insert_with(|| (regex.clone(), Vec::new())).1.push(*bit);
                }
                _ => {}
            }
        }
        let mut parts: Vec<_> = parts.into_iter().collect();
        parts.sort();
        let mut regexes: Vec<_> = regexes.into_values().collect();
        regexes.sort_by(|(a, _), (b, _)| a.as_str().cmp(b.as_str()));
        shape.summarise(&mut others);
        PatternDimension { slot, others, readers, starts, ends, parts, regexes }
    }

    /// Makes the row of the conjunctions the cell's text leaves possible; `false` when the cell is absent.
    pub(super) fn make(&self, columns: &Columns, at: usize, shape: Shape, row: &mut [u64]) -> bool {
        let Some(text) = columns.str(self.slot, at) else { return false };
        row.copy_from_slice(&self.others);
        let mut add = |bits: &[u32]| bits.iter().for_each(|bit| shape.set(row, *bit as usize));
        let bytes = text.as_bytes();
        for length in self.starts.lengths.iter().take_while(|l| **l <= bytes.len()) {
            self.starts.listed.get(&bytes[..*length]).into_iter().for_each(|bits| add(bits));
        }
        for length in self.ends.lengths.iter().take_while(|l| **l <= bytes.len()) {
            self.ends.listed.get(&bytes[bytes.len() - *length..]).into_iter().for_each(|bits| add(bits));
        }
        self.parts.iter().filter(|(part, _)| text.contains(part.as_ref())).for_each(|(_, bits)| add(bits));
        self.regexes.iter().filter(|(regex, _)| regex.is_match(text)).for_each(|(_, bits)| add(bits));
        true
    }

    pub(super) fn readers(&self) -> &[u64] {
        &self.readers
    }

    pub(super) fn bytes(&self) -> usize {
        let listed: usize = self.parts.iter().map(|(_, bits)| bits.len()).sum::<usize>()
            + self.regexes.iter().map(|(_, bits)| bits.len()).sum::<usize>();
        8 * (self.others.len() + self.readers.len()) + 4 * (listed + self.starts.len() + self.ends.len())
    }
}

impl Affixes {
    fn add(&mut self, text: &str, bit: u32) {
        if let Err(at) = self.lengths.binary_search(&text.len()) {
            self.lengths.insert(at, text.len());
        }
        self.listed.entry(Arc::from(text.as_bytes())).or_default().push(bit);
    }

    fn len(&self) -> usize {
        self.listed.values().map(Vec::len).sum()
    }
}
