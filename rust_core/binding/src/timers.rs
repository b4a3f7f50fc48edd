//! The timing wheel for Python: timers named by the caller's own 64-bit ids, batches as packed columns.
//!
//! The id is the wheel's payload, so finding a timer by id needs no second copy of it: the index is a
//! hash table of bare slab indices, 4 bytes and a control byte each, compared through the wheel.

use std::collections::HashSet;
use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, TryLockError};

use cuptime_wheel::{Config, Due, TimerKey, Wheel, WheelError};
use hashbrown::HashTable;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyOverflowError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use rustc_hash::FxBuildHasher;

/// The index is made for this many timers at once (2 MiB touched), and only beyond grows with a pause.
const INDEX_RESERVED_MAX: usize = 1 << 20;

/// Adds this room's classes to the module.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Timers>()
}

/// A wheel whose timers have names.
struct Named {
    wheel: Wheel,
    /// By hash of the id: the indices of the armed timers' keys.
    index: HashTable<u32>,
    /// Reused by every advance.
    due: Vec<Due>,
}

fn hash(id: u64) -> u64 {
    FxBuildHasher.hash_one(id)
}

/// The id of the armed timer at an index of the slab.
fn id_at(wheel: &Wheel, index: u32) -> Option<u64> {
    wheel.payload(wheel.key_at(index)?)
}

impl Named {
    fn find(&self, id: u64) -> Option<TimerKey> {
        let found = self.index.find(hash(id), |&index| id_at(&self.wheel, index) == Some(id))?;
        self.wheel.key_at(*found)
    }

    /// Arms a timer, or moves it.
    fn arm(&mut self, id: u64, due_ms: u64) -> Result<(), WheelError> {
        match self.find(id) {
            Some(key) => {
                let moved = self.wheel.reschedule(key, due_ms).map(TimerKey::index);
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
    fn arm_batch(&mut self, ids: &[i64], due_ms: &[i64]) -> Result<usize, WheelError> {
        let capacity = self.wheel.capacity();
        // Only near the limit is it worth finding out which ids are new.
        if ids.len() > capacity - self.wheel.len() {
            let new: HashSet<u64, FxBuildHasher> =
                ids.iter().map(|&id| id as u64).filter(|&id| self.find(id).is_none()).collect();
            if new.len() > capacity - self.wheel.len() {
                return Err(WheelError::Full { capacity });
            }
        }
        for (&id, &due_ms) in ids.iter().zip(due_ms) {
            self.arm(id as u64, due_ms as u64)?;
        }
        Ok(ids.len())
    }

    fn disarm(&mut self, id: u64) -> bool {
        let Some(key) = self.find(id) else { return false };
        self.forget(id, key.index());
        self.wheel.cancel(key)
    }

    /// Ids and due times of what fell due, packed; whether that was all.
    fn advance(&mut self, now_ms: u64, limit: usize) -> (Vec<u8>, Vec<u8>, bool) {
        let mut due = std::mem::take(&mut self.due);
        due.clear();
        let mut progress = self.wheel.advance(now_ms, limit, &mut due);
        // After a jump the wheel may stop at its bound of moves with nothing due; Python is answered with something.
        while !progress.done && due.is_empty() && limit > 0 {
            progress = self.wheel.advance(now_ms, limit, &mut due);
        }
        let mut ids = Vec::with_capacity(due.len() * size_of::<i64>());
        let mut due_ms = Vec::with_capacity(due.len() * size_of::<i64>());
        for timer in &due {
            self.forget(timer.payload, timer.key.index());
            ids.extend_from_slice(&timer.payload.to_le_bytes());
            due_ms.extend_from_slice(&timer.deadline_ms.to_le_bytes());
        }
        self.due = due;
        (ids, due_ms, progress.done)
    }

    fn note(&mut self, id: u64, index: u32) {
        let wheel = &self.wheel;
        // Every index in the table is armed, so the fallback is never hashed.
        self.index.insert_unique(hash(id), index, |&other| hash(id_at(wheel, other).unwrap_or_default()));
    }

    fn forget(&mut self, id: u64, index: u32) {
        if let Ok(place) = self.index.find_entry(hash(id), |&other| other == index) {
            place.remove();
        }
    }

    fn memory_bytes(&self) -> usize {
        self.wheel.memory_bytes() + self.index.allocation_size() + self.due.capacity() * size_of::<Due>()
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
        let index = HashTable::with_capacity(wheel.capacity().min(INDEX_RESERVED_MAX));
        Ok(Self { named: Mutex::new(Named { wheel, index, due: Vec::new() }) })
    }

    fn arm(&self, py: Python<'_>, ids: &Bound<'_, PyAny>, due_ms: &Bound<'_, PyAny>) -> PyResult<usize> {
        let (ids, due_ms) = (longs(ids)?, longs(due_ms)?);
        if ids.len() != due_ms.len() {
            return Err(refused(WheelError::Columns { left: ids.len(), right: due_ms.len() }));
        }
        due_ms.iter().try_for_each(|&due_ms| instant(due_ms).map(drop))?;
        py.detach(|| self.lock()?.arm_batch(&ids, &due_ms).map_err(refused))
    }

    fn arm_one(&self, py: Python<'_>, timer_id: i64, due_ms: i64) -> PyResult<()> {
        let due_ms = instant(due_ms)?;
        self.briefly(py, |named| named.arm(timer_id as u64, due_ms))?.map_err(refused)
    }

    fn disarm(&self, py: Python<'_>, ids: &Bound<'_, PyAny>) -> PyResult<usize> {
        let ids = longs(ids)?;
        py.detach(|| {
            let mut named = self.lock()?;
            Ok(ids.iter().filter(|&&id| named.disarm(id as u64)).count())
        })
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
        let [ticks, seconds, minutes, hours, days] = stats.pending_by_level;
        let figures = PyDict::new(py);
        for (name, figure) in [
            ("pending", stats.pending),
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

fn broken() -> PyErr {
    PyRuntimeError::new_err("an earlier call failed half-way; make new timers from storage")
}

fn refused(refusal: WheelError) -> PyErr {
    match refusal {
        WheelError::Full { .. } => PyOverflowError::new_err(refusal.to_string()),
        WheelError::Tick { .. } | WheelError::Columns { .. } => PyValueError::new_err(refusal.to_string()),
    }
}

/// UTC ms, not before 1970.
fn instant(ms: i64) -> PyResult<u64> {
    u64::try_from(ms).map_err(|_| PyValueError::new_err(format!("an instant is not negative: {ms} ms")))
}

/// A column of 64-bit integers: little-endian bytes, or any contiguous buffer of bytes or of int64.
fn longs(column: &Bound<'_, PyAny>) -> PyResult<Vec<i64>> {
    if let Ok(bytes) = column.cast::<PyBytes>() {
        return unpack(bytes.as_bytes());
    }
    if let Ok(buffer) = PyBuffer::<i64>::get(column) {
        return buffer.to_vec(column.py());
    }
    unpack(&PyBuffer::<u8>::get(column)?.to_vec(column.py())?)
}

fn unpack(bytes: &[u8]) -> PyResult<Vec<i64>> {
    if bytes.len() % size_of::<i64>() != 0 {
        let message = format!("a column of int64 has a multiple of 8 bytes, not {}", bytes.len());
        return Err(PyValueError::new_err(message));
    }
    let unpacked = bytes.chunks_exact(size_of::<i64>()).map(|eight| {
        let mut raw = [0; size_of::<i64>()];
        raw.copy_from_slice(eight);
        i64::from_le_bytes(raw)
    });
    Ok(unpacked.collect())
}
