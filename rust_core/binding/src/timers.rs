//! The timing wheel for Python: by the wheel's own keys (`Wheel`), or by the caller's 64-bit ids (`Timers`).
//! Batches are packed columns, read where they are in blocks that stay in the first-level cache.
//!
//! An id is looked up in a hash table of bare slab indices, 4 bytes and a control byte each, compared
//! through a column of ids by index: one cache miss for the table, one for the id, none in the wheel.

use std::collections::HashSet;
use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, TryLockError};

use cuptime_wheel::{Config, Due, TimerKey, Wheel, WheelError, WheelStats};
use hashbrown::hash_table::Entry;
use hashbrown::HashTable;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyOverflowError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use rustc_hash::FxBuildHasher;

use crate::wheel::Keyed;

/// The index is made for this many timers at once (2 MiB touched), and only beyond grows with a pause.
const INDEX_RESERVED_MAX: usize = 1 << 20;
/// Timers read from a column at a time.
pub const BLOCK: usize = 4_096;

/// Adds this room's classes to the module.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Keyed>()?;
    m.add_class::<Timers>()
}

/// A wheel whose timers have names.
struct Named {
    wheel: Wheel,
    /// By hash of the id: the indices of the armed timers' keys.
    index: HashTable<u32>,
    /// By index of a key: the id of the timer that is there, or was.
    ids: Vec<u64>,
    /// Reused by every call.
    due: Vec<Due>,
    keys: Vec<TimerKey>,
    cancelled: Vec<bool>,
}

fn hash(id: u64) -> u64 {
    FxBuildHasher.hash_one(id)
}

impl Named {
    fn new(wheel: Wheel) -> Self {
        let index = HashTable::with_capacity(wheel.capacity().min(INDEX_RESERVED_MAX));
        let (ids, due, keys, cancelled) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { wheel, index, ids, due, keys, cancelled }
    }

    fn find(&self, id: u64) -> Option<TimerKey> {
        let found = self.index.find(hash(id), |&index| self.ids[index as usize] == id)?;
        self.wheel.key_at(*found)
    }

    /// Arms a timer, or moves it.
    fn arm(&mut self, id: u64, due_ms: u64) -> Result<(), WheelError> {
        match self.find(id) {
            Some(key) => {
                let moved = self.wheel.replace(key, due_ms, id).map(TimerKey::index);
                if moved != Some(key.index()) {
                    // The node had no generation left: the timer lives elsewhere now.
                    self.forget(id, key.index());
                    moved.into_iter().for_each(|index| self.note(id, index));
                }
            }
            None => {
                let key = self.wheel.insert(due_ms, id)?;
                self.note(id, key.index());
            }
        }
        Ok(())
    }

    /// Arms all or none.
    fn arm_batch(&mut self, ids: Column<'_>, due_ms: Column<'_>) -> Result<usize, WheelError> {
        let capacity = self.wheel.capacity();
        // Only near the limit is it worth finding out which ids are new.
        if ids.len() > capacity - self.wheel.len() {
            let new: HashSet<u64, FxBuildHasher> = ids.iter().filter(|&id| self.find(id).is_none()).collect();
            if new.len() > capacity - self.wheel.len() {
                return Err(WheelError::Full { capacity });
            }
        }
        let (mut id_block, mut due_block) = ([0; BLOCK], [0; BLOCK]);
        for start in (0..ids.len()).step_by(BLOCK) {
            self.arm_block(ids.block(start, &mut id_block), due_ms.block(start, &mut due_block))?;
        }
        Ok(ids.len())
    }

    /// Arms a block; there is room for it.
    fn arm_block(&mut self, ids: &[u64], due_ms: &[u64]) -> Result<(), WheelError> {
        let known = ids.iter().filter(|&&id| self.find(id).is_some()).count();
        let mut keys = std::mem::take(&mut self.keys);
        keys.clear();
        // Moves are made one by one; so is a block with repeated ids that would not fit with all of them.
        if known > 0 || self.wheel.insert_batch(due_ms, ids, &mut keys).is_err() {
            self.keys = keys;
            return ids.iter().zip(due_ms).try_for_each(|(&id, &due_ms)| self.arm(id, due_ms));
        }
        for (&id, key) in ids.iter().zip(&keys) {
            self.note(id, key.index());
        }
        self.keys = keys;
        Ok(())
    }

    fn disarm(&mut self, id: u64) -> bool {
        let Some(key) = self.find(id) else { return false };
        self.forget(id, key.index());
        self.wheel.cancel(key)
    }

    fn disarm_batch(&mut self, ids: Column<'_>) -> usize {
        let mut block = [0; BLOCK];
        let mut count = 0;
        for start in (0..ids.len()).step_by(BLOCK) {
            self.keys.clear();
            self.cancelled.clear();
            for &id in ids.block(start, &mut block) {
                if let Ok(found) = self.index.find_entry(hash(id), |&index| self.ids[index as usize] == id) {
                    self.keys.extend(self.wheel.key_at(found.remove().0));
                }
            }
            count += self.wheel.cancel_batch(&self.keys, &mut self.cancelled);
        }
        count
    }

    /// Ids and due times of what fell due, packed; whether that was all.
    fn advance(&mut self, now_ms: u64, limit: usize) -> (Vec<u8>, Vec<u8>, bool) {
        let mut due = std::mem::take(&mut self.due);
        let done = fall_due(&mut self.wheel, now_ms, limit, &mut due);
        due.iter().for_each(|timer| self.forget(timer.payload, timer.key.index()));
        let ids = packed(due.iter().map(|timer| timer.payload));
        let due_ms = packed(due.iter().map(|timer| timer.deadline_ms));
        self.due = due;
        (ids, due_ms, done)
    }

    /// Names an armed timer. When another one has its name, which only a batch that repeats an id makes, that one
    /// goes: the last one given counts.
    fn note(&mut self, id: u64, index: u32) {
        if self.ids.len() <= index as usize {
            if self.ids.capacity() <= index as usize {
                self.ids
                    .reserve_exact((self.ids.len() / 8).max(1_024).max(index as usize + 1 - self.ids.len()));
            }
            self.ids.resize(index as usize + 1, 0);
        }
        self.ids[index as usize] = id;
        let ids = &self.ids;
        let same = |&other: &u32| ids[other as usize] == id;
        match self.index.entry(hash(id), same, |&other| hash(ids[other as usize])) {
            Entry::Vacant(place) => drop(place.insert(index)),
            Entry::Occupied(mut place) => {
                let older = std::mem::replace(place.get_mut(), index);
                self.wheel.key_at(older).map(|key| self.wheel.cancel(key));
            }
        }
    }

    fn forget(&mut self, id: u64, index: u32) {
        if let Ok(place) = self.index.find_entry(hash(id), |&other| other == index) {
            place.remove();
        }
    }

    fn memory_bytes(&self) -> usize {
        self.wheel.memory_bytes()
            + self.index.allocation_size()
            + self.ids.capacity() * size_of::<u64>()
            + self.due.capacity() * size_of::<Due>()
            + self.keys.capacity() * size_of::<TimerKey>()
            + self.cancelled.capacity()
    }
}

/// Moves the wheel and collects what fell due, at least one timer if there is any; says whether that was all.
pub fn fall_due(wheel: &mut Wheel, now_ms: u64, limit: usize, due: &mut Vec<Due>) -> bool {
    due.clear();
    loop {
        // After a jump the wheel may stop at its bound of moves with nothing due; Python is answered with something.
        let done = wheel.advance(now_ms, limit, due).done;
        if done || !due.is_empty() || limit == 0 {
            return done;
        }
    }
}

/// Timers by id. See `_core.pyi` for the contract.
#[pyclass(frozen, module = "cuptime._core")]
struct Timers {
    named: Mutex<Named>,
}

#[pymethods]
impl Timers {
    #[new]
    fn new(tick_ms: u64, start_ms: i64, capacity: usize) -> PyResult<Self> {
        let wheel = Wheel::new(Config { tick_ms, capacity }, instant(start_ms)?).map_err(refused)?;
        Ok(Self { named: Mutex::new(Named::new(wheel)) })
    }

    fn arm(&self, py: Python<'_>, ids: &Bound<'_, PyAny>, due_ms: &Bound<'_, PyAny>) -> PyResult<usize> {
        let (ids, due_ms) = (Longs::of(ids)?, Longs::of(due_ms)?);
        let (ids, due_ms) = (ids.column()?, due_ms.column()?);
        same_length(ids, due_ms)?;
        py.detach(|| {
            due_ms.check_instants()?;
            self.lock()?.arm_batch(ids, due_ms).map_err(refused)
        })
    }

    fn arm_one(&self, py: Python<'_>, timer_id: i64, due_ms: i64) -> PyResult<()> {
        let due_ms = instant(due_ms)?;
        self.briefly(py, |named| named.arm(timer_id as u64, due_ms))?.map_err(refused)
    }

    fn disarm(&self, py: Python<'_>, ids: &Bound<'_, PyAny>) -> PyResult<usize> {
        let ids = Longs::of(ids)?;
        let ids = ids.column()?;
        py.detach(|| Ok(self.lock()?.disarm_batch(ids)))
    }

    fn disarm_one(&self, py: Python<'_>, timer_id: i64) -> PyResult<bool> {
        self.briefly(py, |named| named.disarm(timer_id as u64))
    }

    fn advance<'py>(
        &self,
        py: Python<'py>,
        now_ms: i64,
        limit: usize,
    ) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyBytes>, bool)> {
        let now_ms = instant(now_ms)?;
        let (ids, due_ms, done) = py.detach(|| self.lock().map(|mut named| named.advance(now_ms, limit)))?;
        Ok((PyBytes::new(py, &ids), PyBytes::new(py, &due_ms), done))
    }

    fn next_event_ms(&self, py: Python<'_>) -> PyResult<Option<u64>> {
        self.briefly(py, |named| named.wheel.next_event_ms())
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        self.briefly(py, |named| named.wheel.len())
    }

    fn memory_bytes(&self, py: Python<'_>) -> PyResult<usize> {
        self.briefly(py, |named| named.memory_bytes())
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (stats, memory_bytes) = self.briefly(py, |named| (named.wheel.stats(), named.memory_bytes()))?;
        figures(py, &stats, memory_bytes)
    }
}

impl Timers {
    fn lock(&self) -> PyResult<MutexGuard<'_, Named>> {
        self.named.lock().map_err(|_| broken())
    }

    /// Runs something short; lets go of the GIL only when another thread is in the middle of a batch.
    fn briefly<T: Send>(&self, py: Python<'_>, work: impl FnOnce(&mut Named) -> T + Send) -> PyResult<T> {
        match self.named.try_lock() {
            Ok(mut named) => Ok(work(&mut named)),
            Err(TryLockError::Poisoned(_)) => Err(broken()),
            Err(TryLockError::WouldBlock) => py.detach(|| self.lock().map(|mut named| work(&mut named))),
        }
    }
}

pub fn broken() -> PyErr {
    PyRuntimeError::new_err("an earlier call failed half-way; make new timers from storage")
}

pub fn refused(refusal: WheelError) -> PyErr {
    match refusal {
        WheelError::Full { .. } => PyOverflowError::new_err(refusal.to_string()),
        WheelError::Tick { .. } | WheelError::Columns { .. } => PyValueError::new_err(refusal.to_string()),
    }
}

/// UTC ms, not before 1970.
pub fn instant(ms: i64) -> PyResult<u64> {
    u64::try_from(ms).map_err(|_| PyValueError::new_err(format!("an instant is not negative: {ms} ms")))
}

/// Counts and sums, by the names of the contract.
pub fn figures<'py>(
    py: Python<'py>,
    stats: &WheelStats,
    memory_bytes: usize,
) -> PyResult<Bound<'py, PyDict>> {
    let [ticks, seconds, minutes, hours, days] = stats.pending_by_level;
    let figures = PyDict::new(py);
    for (name, figure) in [
        ("pending", stats.pending),
        ("paused", stats.paused),
        ("pending_ticks", ticks),
        ("pending_seconds", seconds),
        ("pending_minutes", minutes),
        ("pending_hours", hours),
        ("pending_days", days),
        ("garbage", stats.garbage),
        ("armed", stats.inserted),
        ("rearmed", stats.rescheduled),
        ("disarmed", stats.cancelled),
        ("fired", stats.fired),
        ("moved", stats.moved),
        ("forced", stats.forced),
        ("compacted", stats.compacted),
        ("memory_bytes", memory_bytes as u64),
    ] {
        figures.set_item(name, figure)?;
    }
    Ok(figures)
}

/// What a column was given as, held for the length of a call.
pub enum Longs<'a, 'py> {
    /// Read where it is: nobody can write to it.
    Bytes(&'a Bound<'py, PyBytes>),
    /// Somebody else may write to its memory while the GIL is released, so it is copied as a block.
    Copied(Vec<i64>),
    CopiedBytes(Vec<u8>),
}

impl<'a, 'py> Longs<'a, 'py> {
    /// Little-endian bytes, or any contiguous buffer of bytes or of int64.
    pub fn of(column: &'a Bound<'py, PyAny>) -> PyResult<Self> {
        if let Ok(bytes) = column.cast::<PyBytes>() {
            return Ok(Self::Bytes(bytes));
        }
        if let Ok(buffer) = PyBuffer::<i64>::get(column) {
            return Ok(Self::Copied(buffer.to_vec(column.py())?));
        }
        Ok(Self::CopiedBytes(PyBuffer::<u8>::get(column)?.to_vec(column.py())?))
    }

    pub fn column(&self) -> PyResult<Column<'_>> {
        let bytes = match self {
            Self::Bytes(bytes) => bytes.as_bytes(),
            Self::CopiedBytes(bytes) => bytes,
            Self::Copied(longs) => return Ok(Column::Longs(longs)),
        };
        if bytes.len() % size_of::<i64>() != 0 {
            let message = format!("a column of int64 has a multiple of 8 bytes, not {}", bytes.len());
            return Err(PyValueError::new_err(message));
        }
        Ok(Column::Bytes(bytes))
    }
}

/// A column of 64-bit integers.
#[derive(Clone, Copy)]
pub enum Column<'a> {
    Bytes(&'a [u8]),
    Longs(&'a [i64]),
}

impl<'a> Column<'a> {
    pub fn len(self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len() / size_of::<i64>(),
            Self::Longs(longs) => longs.len(),
        }
    }

    /// Up to [`BLOCK`] numbers from `start` on.
    pub fn block(self, start: usize, block: &mut [u64; BLOCK]) -> &[u64] {
        let length = (self.len() - start).min(BLOCK);
        let block = &mut block[..length];
        match self {
            Self::Longs(longs) => {
                block.iter_mut().zip(&longs[start..]).for_each(|(to, &from)| *to = from as u64);
            }
            Self::Bytes(bytes) => {
                let eights = bytes[start * size_of::<i64>()..].chunks_exact(size_of::<i64>());
                block.iter_mut().zip(eights).for_each(|(to, eight)| {
                    let mut raw = [0; size_of::<i64>()];
                    raw.copy_from_slice(eight);
                    *to = u64::from_le_bytes(raw);
                });
            }
        }
        block
    }

    pub fn iter(self) -> impl Iterator<Item = u64> + 'a {
        let mut block = [0; BLOCK];
        (0..self.len()).step_by(BLOCK).flat_map(move |start| self.block(start, &mut block).to_vec())
    }

    /// Refuses a column with an instant before 1970.
    pub fn check_instants(self) -> PyResult<()> {
        // Where the numbers are, and their signs together: nothing is copied, and nothing asked of each.
        let sum = match self {
            Self::Longs(longs) => longs.iter().fold(0, |sum, &ms| sum | ms),
            Self::Bytes(bytes) => bytes
                .chunks_exact(size_of::<i64>())
                .fold(0, |sum, eight| sum | eight.try_into().map_or(0, i64::from_le_bytes)),
        };
        if sum < 0 {
            self.iter().try_for_each(|ms| instant(ms as i64).map(drop))?;
        }
        Ok(())
    }
}

/// Refuses columns of different lengths.
pub fn same_length(left: Column<'_>, right: Column<'_>) -> PyResult<()> {
    let (left, right) = (left.len(), right.len());
    if left == right {
        return Ok(());
    }
    Err(refused(WheelError::Columns { left, right }))
}

/// A column as bytes.
pub fn packed(numbers: impl ExactSizeIterator<Item = u64>) -> Vec<u8> {
    let mut bytes = vec![0; numbers.len() * size_of::<u64>()];
    for (eight, number) in bytes.chunks_exact_mut(size_of::<u64>()).zip(numbers) {
        eight.copy_from_slice(&number.to_le_bytes());
    }
    bytes
}
