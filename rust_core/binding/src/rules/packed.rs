//! Batches of facts as Python packs them: columns of machine numbers, and texts by their position in a list.
use cuptime_rules as core;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// Cells of one slot of a batch as Python holds them: packed machine numbers, and texts by their position in a list.
pub(super) struct Packed<'py> {
    pub(super) slot: usize,
    kind: core::SlotKind,
    cells: Bound<'py, PyBytes>,
    texts: Vec<core::Interned>,
}

/// [`Packed`] without Python.
pub(super) enum View<'a> {
    Int(&'a [u8]),
    Double(&'a [u8]),
    Bool(&'a [u8]),
    Str(&'a [u8], &'a [core::Interned]),
}

impl<'py> Packed<'py> {
    /// Reads `bytes`, or for texts `(bytes of u32, list of texts)`; the texts are copied once, whatever the rows.
    pub(super) fn read(
        set: &core::RuleSet,
        batch: &mut core::Columns,
        name: &str,
        cells: Bound<'py, PyAny>,
        rows: usize,
    ) -> PyResult<Packed<'py>> {
        let slot = set
            .schema()
            .slot(name)
            .ok_or_else(|| PyValueError::new_err(format!("the schema has no {name:?}")))?;
        let ty = set.schema().ty(slot);
        let kind = core::SlotKind::of(ty).filter(|kind| *kind != core::SlotKind::StrList);
        let kind = kind.ok_or_else(|| PyTypeError::new_err(format!("{name} is {ty}: not for columns")))?;
        let (cells, texts) = if kind == core::SlotKind::Str {
            let (codes, texts): (Bound<'py, PyBytes>, Vec<String>) = cells.extract()?;
            let texts: Option<Vec<core::Interned>> =
                texts.iter().map(|text| batch.intern(slot, text)).collect();
            (codes, texts.ok_or_else(|| PyValueError::new_err("the batch holds too much text"))?)
        } else {
            (cells.extract::<Bound<'py, PyBytes>>()?, Vec::new())
        };
        let width = match kind {
            core::SlotKind::Bool => 1,
            core::SlotKind::Str => 4,
            _ => 8,
        };
        if Some(cells.as_bytes().len()) != rows.checked_mul(width) {
            return Err(PyValueError::new_err(format!(
                "{name} must have {width} bytes for each of {rows} rows"
            )));
        }
        Ok(Packed { slot, kind, cells, texts })
    }

    pub(super) fn view(&self) -> View<'_> {
        let bytes = self.cells.as_bytes();
        match self.kind {
            core::SlotKind::Int => View::Int(bytes),
            core::SlotKind::Double => View::Double(bytes),
            core::SlotKind::Bool => View::Bool(bytes),
            core::SlotKind::Str | core::SlotKind::StrList => View::Str(bytes, &self.texts),
        }
    }
}

impl View<'_> {
    pub(super) fn push(&self, batch: &mut core::Columns, slot: usize, row: usize) {
        match self {
            View::Int(bytes) => {
                if let Some(v) = cell(bytes, row) {
                    batch.push_int(slot, i64::from_ne_bytes(v));
                }
            }
            View::Double(bytes) => {
                if let Some(v) = cell(bytes, row) {
                    batch.push_double(slot, f64::from_ne_bytes(v));
                }
            }
            View::Bool(bytes) => {
                if let Some([v]) = cell(bytes, row) {
                    batch.push_bool(slot, v != 0);
                }
            }
            // A code behind the end of the list: the cell is absent.
            View::Str(bytes, texts) => {
                if let Some(text) = cell(bytes, row).and_then(|v| texts.get(u32::from_ne_bytes(v) as usize)) {
                    batch.push_interned(slot, *text);
                }
            }
        }
    }
}

fn cell<const N: usize>(bytes: &[u8], row: usize) -> Option<[u8; N]> {
    bytes.get(row * N..(row + 1) * N)?.try_into().ok()
}

/// (starts, ranks) packed, by the plain twin of the index; nothing is counted.
pub(super) fn scanned(
    set: &core::RuleSet,
    columns: &core::Columns,
    now_ms: i64,
    mode: core::Mode,
) -> (Vec<u8>, Vec<u8>) {
    let (mut ranks, mut tally) = (Vec::new(), core::Tally::new(set));
    let mut starts = 0u32.to_ne_bytes().to_vec();
    for row in 0..columns.rows() {
        set.scan(columns, row, now_ms, mode, &mut ranks, &mut tally);
        starts.extend((ranks.len() as u32).to_ne_bytes());
    }
    (starts, ranks.iter().flat_map(|rank| rank.to_ne_bytes()).collect())
}
