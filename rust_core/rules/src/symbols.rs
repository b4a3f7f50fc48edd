//! The texts of one slot of a batch, each known by a number: what is asked of a text is asked once for each distinct
//! one, whatever the number of orders.
//!
//! Texts come from users, who could choose them to collide. A look-up therefore gives up after [`PROBES_MAX`] places
//! and numbers the text anew: two numbers may stand for the same text, which costs time and never an answer.
use std::hash::Hasher;

use rustc_hash::FxHasher;

/// A range of the arena.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Text {
    pub start: u32,
    pub end: u32,
}

/// The number of a cell that has no text.
pub(crate) const NO_SYMBOL: u32 = u32::MAX;
/// Places of the table that are looked at for one text.
const PROBES_MAX: usize = 8;
const TABLE_LEN_MIN: usize = 16;

/// A fast hash of short texts; see [`PROBES_MAX`] on collisions.
#[inline]
pub(crate) fn hash(text: &[u8]) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(text);
    hasher.finish()
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    /// The entry is free unless this is the table's.
    generation: u32,
    tag: u32,
    symbol: u32,
}

/// Texts by number, and an open table from text to number.
#[derive(Clone, Debug)]
pub(crate) struct Symbols {
    texts: Vec<Text>,
    table: Vec<Entry>,
    generation: u32,
}

impl Symbols {
    pub(crate) fn new() -> Symbols {
        Symbols { texts: Vec::new(), table: vec![Entry::default(); TABLE_LEN_MIN], generation: 1 }
    }

    /// Forgets all texts and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.texts.clear();
        self.generation = self.generation.wrapping_add(1);
        if self.generation == 0 {
            self.table.fill(Entry::default());
            self.generation = 1;
        }
    }

    /// Distinct texts.
    pub(crate) fn len(&self) -> usize {
        self.texts.len()
    }

    /// Where a text stands in the arena.
    #[inline]
    pub(crate) fn text(&self, symbol: u32) -> Option<Text> {
        self.texts.get(symbol as usize).copied()
    }

    /// All texts, by number.
    pub(crate) fn texts(&self) -> &[Text] {
        &self.texts
    }

    /// The number of a text, which is copied into the arena when it is new; `None` once that holds 4 GiB.
    #[inline]
    pub(crate) fn intern(&mut self, arena: &mut String, text: &str) -> Option<u32> {
        let hash = hash(text.as_bytes());
        let (mask, tag) = (self.table.len() - 1, (hash >> 32) as u32);
        let mut at = hash as usize & mask;
        for _ in 0..PROBES_MAX {
            let entry = self.table[at];
            if entry.generation != self.generation {
                let symbol = self.add(arena, text)?;
                self.table[at] = Entry { generation: self.generation, tag, symbol };
                if self.texts.len() * 2 > self.table.len() {
                    self.grow(arena);
                }
                return Some(symbol);
            }
            if entry.tag == tag && self.is(arena, entry.symbol, text) {
                return Some(entry.symbol);
            }
            at = (at + 1) & mask;
        }
        self.add(arena, text)
    }

    #[inline]
    fn is(&self, arena: &str, symbol: u32, text: &str) -> bool {
        let known = self.texts[symbol as usize];
        arena.as_bytes().get(known.start as usize..known.end as usize) == Some(text.as_bytes())
    }

    #[inline]
    fn add(&mut self, arena: &mut String, text: &str) -> Option<u32> {
        let symbol = u32::try_from(self.texts.len()).ok().filter(|symbol| *symbol != NO_SYMBOL)?;
        self.texts.push(keep(arena, text)?);
        Some(symbol)
    }

    #[cold]
    fn grow(&mut self, arena: &str) {
        let mut table = vec![Entry::default(); self.table.len() * 4];
        let mask = table.len() - 1;
        for (symbol, known) in self.texts.iter().enumerate() {
            let text = arena.get(known.start as usize..known.end as usize).unwrap_or("");
            let hash = hash(text.as_bytes());
            let places = (0..PROBES_MAX).map(|i| (hash as usize + i) & mask);
            if let Some(at) = places.into_iter().find(|at| table[*at].generation != self.generation) {
                let (generation, symbol) = (self.generation, symbol as u32);
                table[at] = Entry { generation, tag: (hash >> 32) as u32, symbol };
            }
        }
        self.table = table;
    }
}

/// Copies a text to the end of the arena; `None` once a batch holds 4 GiB of text.
pub(crate) fn keep(arena: &mut String, text: &str) -> Option<Text> {
    let start = arena.len();
    let end = start.checked_add(text.len()).filter(|end| u32::try_from(*end).is_ok())?;
    arena.push_str(text);
    Some(Text { start: start as u32, end: end as u32 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<'a>(symbols: &Symbols, arena: &'a str, symbol: u32) -> &'a str {
        let text = symbols.text(symbol).unwrap();
        &arena[text.start as usize..text.end as usize]
    }

    #[test]
    fn a_text_has_one_number_as_long_as_the_table_finds_it() {
        let (mut symbols, mut arena) = (Symbols::new(), String::new());
        for round in 0..3 {
            for i in 0..5_000 {
                let text = format!("shop-{i}");
                let symbol = symbols.intern(&mut arena, &text).unwrap();
                assert_eq!(read(&symbols, &arena, symbol), text);
            }
            assert!(symbols.len() <= 5_100 + round * 100, "{} numbers", symbols.len());
        }
        symbols.clear();
        arena.clear();
        assert_eq!((symbols.len(), symbols.intern(&mut arena, "茶")), (0, Some(0)));
        assert_eq!(read(&symbols, &arena, 0), "茶");
    }

    #[test]
    fn texts_that_collide_are_numbered_anew_instead_of_searched_for() {
        let (mut symbols, mut arena) = (Symbols::new(), String::new());
        symbols.table = vec![Entry { generation: 1, tag: 0, symbol: 0 }; 16];
        symbols.texts.push(keep(&mut arena, "first").unwrap());
        let made: Vec<u32> = (0..3).map(|_| symbols.intern(&mut arena, "other").unwrap()).collect();
        assert_eq!(made, [1, 2, 3]);
        assert!(made.iter().all(|symbol| read(&symbols, &arena, *symbol) == "other"));
    }

    #[test]
    fn the_generation_that_wraps_around_finds_nothing_old() {
        let (mut symbols, mut arena) = (Symbols::new(), String::new());
        symbols.intern(&mut arena, "old").unwrap();
        symbols.generation = u32::MAX;
        symbols.clear();
        arena.clear();
        assert_eq!(symbols.intern(&mut arena, "old"), Some(0));
        assert_eq!(symbols.len(), 1);
    }
}
