//! The facts of a batch of orders, one typed column per slot of the schema.
//!
//! Filled row by row, in any order of slots: `push_*` sets a value of the row being filled, and
//! [`Columns::end_row`] closes it. What was not pushed is absent. All memory is kept by [`Columns::clear`], so
//! a batch after the first allocates nothing. Text lives in one arena, each distinct one of a slot once; a cell is its
//! number among those of the slot.
use std::ops::Range;

use crate::schema::{Schema, Type};
use crate::symbols::{keep, Symbols, Text, NO_SYMBOL};

/// How a slot is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotKind {
    /// `int`
    Int,
    /// `double`
    Double,
    /// `bool`
    Bool,
    /// `string`
    Str,
    /// `list(string)`
    StrList,
}

impl SlotKind {
    /// The storage of a schema type; `None` when columns cannot hold it.
    pub fn of(ty: &Type) -> Option<SlotKind> {
        Some(match ty {
            Type::Int => SlotKind::Int,
            Type::Double => SlotKind::Double,
            Type::Bool => SlotKind::Bool,
            Type::String => SlotKind::Str,
            Type::List(inner) if **inner == Type::String => SlotKind::StrList,
            Type::Nullable(inner) if !matches!(**inner, Type::Nullable(_)) => return SlotKind::of(inner),
            _ => return None,
        })
    }
}

/// A text of one slot of one batch; it means nothing for other slots, nor after [`Columns::clear`].
#[derive(Clone, Copy, Debug)]
pub struct Interned(u32);

#[derive(Clone, Debug)]
enum Cells {
    Int(Vec<i64>),
    Double(Vec<f64>),
    Bool(Vec<bool>),
    Str(Vec<u32>, Symbols),
    /// Ranges of `Columns::list_texts`.
    StrList(Vec<Text>),
    /// A slot whose type columns cannot hold: always absent.
    Nothing,
}

#[derive(Clone, Debug)]
struct Column {
    cells: Cells,
    present: Vec<bool>,
}

/// Some cells of a slot side by side. Where `present` is false the cell is a filler.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run<'a, T> {
    pub cells: &'a [T],
    pub present: &'a [bool],
}

/// The columns of one batch. Reusable; `Send` and `Sync`.
#[derive(Clone, Debug)]
pub struct Columns {
    rows: usize,
    columns: Vec<Column>,
    arena: String,
    list_texts: Vec<Text>,
}

impl Columns {
    /// Empty columns for the slots of `schema`.
    pub fn new(schema: &Schema) -> Columns {
        let columns = schema
            .iter()
            .map(|(_, ty)| Column {
                cells: match SlotKind::of(ty) {
                    Some(SlotKind::Int) => Cells::Int(Vec::new()),
                    Some(SlotKind::Double) => Cells::Double(Vec::new()),
                    Some(SlotKind::Bool) => Cells::Bool(Vec::new()),
                    Some(SlotKind::Str) => Cells::Str(Vec::new(), Symbols::new()),
                    Some(SlotKind::StrList) => Cells::StrList(Vec::new()),
                    None => Cells::Nothing,
                },
                present: Vec::new(),
            })
            .collect();
        Columns { rows: 0, columns, arena: String::new(), list_texts: Vec::new() }
    }

    /// Forgets all rows and keeps the memory.
    pub fn clear(&mut self) {
        self.rows = 0;
        self.arena.clear();
        self.list_texts.clear();
        for column in &mut self.columns {
            column.present.clear();
            match &mut column.cells {
                Cells::Int(v) => v.clear(),
                Cells::Double(v) => v.clear(),
                Cells::Bool(v) => v.clear(),
                Cells::Str(v, symbols) => {
                    v.clear();
                    symbols.clear();
                }
                Cells::StrList(v) => v.clear(),
                Cells::Nothing => {}
            }
        }
    }

    /// Closed rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of slots.
    pub fn slots(&self) -> usize {
        self.columns.len()
    }

    /// Sets an `int` of the row being filled. A second push to the same slot replaces the first.
    pub fn push_int(&mut self, slot: usize, value: i64) {
        let rows = self.rows;
        if let Some(Column { cells: Cells::Int(cells), present }) = self.columns.get_mut(slot) {
            set(cells, present, rows, value);
        } else {
            debug_assert!(false, "slot {slot} is not an int");
        }
    }

    /// Sets a `double` of the row being filled.
    pub fn push_double(&mut self, slot: usize, value: f64) {
        let rows = self.rows;
        if let Some(Column { cells: Cells::Double(cells), present }) = self.columns.get_mut(slot) {
            set(cells, present, rows, value);
        } else {
            debug_assert!(false, "slot {slot} is not a double");
        }
    }

    /// Sets a `bool` of the row being filled.
    pub fn push_bool(&mut self, slot: usize, value: bool) {
        let rows = self.rows;
        if let Some(Column { cells: Cells::Bool(cells), present }) = self.columns.get_mut(slot) {
            set(cells, present, rows, value);
        } else {
            debug_assert!(false, "slot {slot} is not a bool");
        }
    }

    /// Sets a `string` of the row being filled; a text the slot has not had is copied into the arena.
    pub fn push_str(&mut self, slot: usize, value: &str) {
        if let Some(text) = self.intern(slot, value) {
            self.push_interned(slot, text);
        }
    }

    /// Numbers a text of a `string` slot, for any number of [`Columns::push_interned`]; `None` once a batch holds 4 GiB.
    pub fn intern(&mut self, slot: usize, value: &str) -> Option<Interned> {
        if let Some(Column { cells: Cells::Str(_, symbols), .. }) = self.columns.get_mut(slot) {
            return symbols.intern(&mut self.arena, value).map(Interned);
        }
        debug_assert!(false, "slot {slot} is not a string");
        None
    }

    /// Sets a `string` of the row being filled to a text of this slot and batch that was interned before.
    #[inline]
    pub fn push_interned(&mut self, slot: usize, text: Interned) {
        let rows = self.rows;
        if let Some(Column { cells: Cells::Str(cells, _), present }) = self.columns.get_mut(slot) {
            set(cells, present, rows, text.0);
        } else {
            debug_assert!(false, "slot {slot} is not a string");
        }
    }

    /// Sets a `list(string)` of the row being filled.
    pub fn push_str_list<'a>(&mut self, slot: usize, values: impl IntoIterator<Item = &'a str>) {
        let rows = self.rows;
        let start = self.list_texts.len() as u32;
        for value in values {
            let Some(text) = keep(&mut self.arena, value) else { return };
            self.list_texts.push(text);
        }
        let range = Text { start, end: self.list_texts.len() as u32 };
        if let Some(Column { cells: Cells::StrList(cells), present }) = self.columns.get_mut(slot) {
            set(cells, present, rows, range);
        } else {
            debug_assert!(false, "slot {slot} is not a list of strings");
        }
    }

    /// Closes the row: slots that were not pushed are absent. Returns its index.
    pub fn end_row(&mut self) -> usize {
        let rows = self.rows + 1;
        for column in &mut self.columns {
            if column.present.len() < rows {
                column.present.resize(rows, false);
                match &mut column.cells {
                    Cells::Int(v) => v.resize(rows, 0),
                    Cells::Double(v) => v.resize(rows, 0.0),
                    Cells::Bool(v) => v.resize(rows, false),
                    Cells::Str(v, _) => v.resize(rows, NO_SYMBOL),
                    Cells::StrList(v) => v.resize(rows, Text::default()),
                    Cells::Nothing => {}
                }
            }
        }
        self.rows = rows;
        rows - 1
    }

    /// Whether the cell was pushed.
    #[inline]
    pub fn is_present(&self, slot: usize, row: usize) -> bool {
        self.columns.get(slot).is_some_and(|c| row < self.rows && c.present.get(row) == Some(&true))
    }

    /// The cell as an int; `None` when absent or of another kind.
    #[inline]
    pub fn int(&self, slot: usize, row: usize) -> Option<i64> {
        match self.cell(slot, row)? {
            Cells::Int(v) => v.get(row).copied(),
            _ => None,
        }
    }

    /// The cell as a double.
    #[inline]
    pub fn double(&self, slot: usize, row: usize) -> Option<f64> {
        match self.cell(slot, row)? {
            Cells::Double(v) => v.get(row).copied(),
            _ => None,
        }
    }

    /// The cell as a bool.
    #[inline]
    pub fn bool(&self, slot: usize, row: usize) -> Option<bool> {
        match self.cell(slot, row)? {
            Cells::Bool(v) => v.get(row).copied(),
            _ => None,
        }
    }

    /// The cell as text.
    #[inline]
    pub fn str(&self, slot: usize, row: usize) -> Option<&str> {
        match self.cell(slot, row)? {
            Cells::Str(v, symbols) => symbols.text(*v.get(row)?).map(|t| self.text(t)),
            _ => None,
        }
    }

    /// The cell's text as UTF-8; cheaper than [`Columns::str`], and its order is the order of code points.
    #[inline]
    pub(crate) fn utf8(&self, slot: usize, row: usize) -> Option<&[u8]> {
        match self.cell(slot, row)? {
            Cells::Str(v, symbols) => symbols.text(*v.get(row)?).and_then(|t| self.bytes(t)),
            _ => None,
        }
    }

    /// The cell as a list of texts.
    pub fn str_list(&self, slot: usize, row: usize) -> Option<impl ExactSizeIterator<Item = &str>> {
        let Cells::StrList(v) = self.cell(slot, row)? else { return None };
        let range = v.get(row)?;
        let texts = self.list_texts.get(range.start as usize..range.end as usize)?;
        Some(texts.iter().map(|t| self.text(*t)))
    }

    /// The ints of some rows; `None` when the slot is of another kind or there are not that many rows.
    #[inline]
    pub(crate) fn ints(&self, slot: usize, rows: Range<usize>) -> Option<Run<'_, i64>> {
        match self.run(slot, &rows)? {
            (Cells::Int(v), present) => Some(Run { cells: v.get(rows)?, present }),
            _ => None,
        }
    }

    /// As [`Columns::ints`], of doubles.
    #[inline]
    pub(crate) fn doubles(&self, slot: usize, rows: Range<usize>) -> Option<Run<'_, f64>> {
        match self.run(slot, &rows)? {
            (Cells::Double(v), present) => Some(Run { cells: v.get(rows)?, present }),
            _ => None,
        }
    }

    /// As [`Columns::ints`], of bools.
    #[inline]
    pub(crate) fn bools(&self, slot: usize, rows: Range<usize>) -> Option<Run<'_, bool>> {
        match self.run(slot, &rows)? {
            (Cells::Bool(v), present) => Some(Run { cells: v.get(rows)?, present }),
            _ => None,
        }
    }

    /// As [`Columns::ints`], of texts by their numbers in [`Columns::symbols`]; one that is absent has none of them.
    #[inline]
    pub(crate) fn texts(&self, slot: usize, rows: Range<usize>) -> Option<Run<'_, u32>> {
        match self.run(slot, &rows)? {
            (Cells::Str(v, _), present) => Some(Run { cells: v.get(rows)?, present }),
            _ => None,
        }
    }

    /// How many numbers the texts of a slot have.
    pub(crate) fn symbol_count(&self, slot: usize) -> usize {
        match self.columns.get(slot) {
            Some(Column { cells: Cells::Str(_, symbols), .. }) => symbols.len(),
            _ => 0,
        }
    }

    /// The texts of a slot, by number.
    pub(crate) fn symbols(&self, slot: usize) -> impl Iterator<Item = &str> {
        let texts = match self.columns.get(slot) {
            Some(Column { cells: Cells::Str(_, symbols), .. }) => symbols.texts(),
            _ => &[],
        };
        texts.iter().map(|text| self.text(*text))
    }

    /// Which of some rows have a value; `None` when there are not that many rows.
    #[inline]
    pub(crate) fn present(&self, slot: usize, rows: Range<usize>) -> Option<&[bool]> {
        (rows.end <= self.rows).then(|| self.columns.get(slot)?.present.get(rows))?
    }

    #[inline]
    fn run(&self, slot: usize, rows: &Range<usize>) -> Option<(&Cells, &[bool])> {
        let column = self.columns.get(slot)?;
        let present = (rows.end <= self.rows).then(|| column.present.get(rows.clone()))??;
        Some((&column.cells, present))
    }

    #[inline]
    fn cell(&self, slot: usize, row: usize) -> Option<&Cells> {
        let column = self.columns.get(slot)?;
        (row < self.rows && *column.present.get(row)?).then_some(&column.cells)
    }

    #[inline]
    fn bytes(&self, text: Text) -> Option<&[u8]> {
        self.arena.as_bytes().get(text.start as usize..text.end as usize)
    }

    #[inline]
    fn text(&self, text: Text) -> &str {
        self.arena.get(text.start as usize..text.end as usize).unwrap_or("")
    }
}

fn set<T>(cells: &mut Vec<T>, present: &mut Vec<bool>, row: usize, value: T) {
    if present.len() == row {
        cells.push(value);
        present.push(true);
    } else if let (Some(cell), Some(here)) = (cells.get_mut(row), present.get_mut(row)) {
        *cell = value;
        *here = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Schema {
        let types = ["int", "double", "bool", "string", "list(string)", "string?"];
        Schema::new(
            types.iter().enumerate().map(|(i, t)| (format!("s{i}"), Type::parse(t).unwrap())).collect(),
        )
    }

    #[test]
    fn rows_are_filled_in_any_order_and_the_rest_is_absent() {
        let mut columns = Columns::new(&schema());
        columns.push_str(3, "咖啡");
        columns.push_int(0, 7);
        columns.push_int(0, 8);
        assert_eq!(columns.end_row(), 0);
        columns.push_bool(2, true);
        columns.push_double(1, 0.5);
        columns.push_str_list(4, ["a", "bc"]);
        for slot in [3, 5] {
            let text = columns.intern(slot, "茶").unwrap();
            columns.push_interned(slot, text);
        }
        assert_eq!(columns.end_row(), 1);
        assert_eq!((columns.str(3, 1), columns.str(5, 1)), (Some("茶"), Some("茶")));
        assert_eq!(columns.int(0, 0), Some(8));
        assert_eq!(columns.str(3, 0), Some("咖啡"));
        assert_eq!((columns.int(0, 1), columns.bool(2, 0)), (None, None));
        assert_eq!(columns.str_list(4, 1).unwrap().collect::<Vec<_>>(), ["a", "bc"]);
        assert_eq!(columns.str(5, 0), None);
        assert_eq!((columns.double(1, 1), columns.rows()), (Some(0.5), 2));
    }

    #[test]
    fn an_open_row_is_not_read_and_clear_forgets_everything() {
        let mut columns = Columns::new(&schema());
        columns.push_int(0, 7);
        assert_eq!(columns.int(0, 0), None);
        columns.end_row();
        columns.clear();
        assert_eq!((columns.rows(), columns.int(0, 0)), (0, None));
        columns.end_row();
        assert_eq!((columns.rows(), columns.int(0, 0)), (1, None));
    }

    #[test]
    fn columns_cross_threads() {
        fn crosses<T: Send + Sync>() {}
        crosses::<Columns>();
    }
}
