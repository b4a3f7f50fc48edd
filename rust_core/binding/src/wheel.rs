//! The wheel by its own keys, for callers that can keep one: no table of ids, every operation in batches.

use std::sync::{Mutex, MutexGuard};

use cuptime_wheel::{Config, Due, TimerKey, Wheel};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::timers::{broken, fall_due, figures, instant, packed, refused, same_length, Column, Longs, BLOCK};

/// The wheel, and room that every call uses again.
struct Inner {
    wheel: Wheel,
    keys: Vec<TimerKey>,
    moved: Vec<Option<TimerKey>>,
    cancelled: Vec<bool>,
    due: Vec<Due>,
}

/// Timers by key. See `_core.pyi` for the contract.
#[pyclass(frozen, name = "Wheel", module = "cuptime._core")]
pub struct Keyed {
    inner: Mutex<Inner>,
}

/// A key of the caller's; any number is safe to ask with.
fn key(raw: u64) -> TimerKey {
    TimerKey::from_raw(raw).unwrap_or(TimerKey::NOBODY)
}

impl Inner {
    fn insert(&mut self, due_ms: Column<'_>, payloads: Column<'_>, slack_ms: u64) -> PyResult<Vec<u8>> {
        if due_ms.len() > self.wheel.capacity() - self.wheel.len() - self.wheel.paused() {
            return Err(refused(cuptime_wheel::WheelError::Full { capacity: self.wheel.capacity() }));
        }
        self.keys.clear();
        let (mut due_block, mut payload_block) = ([0; BLOCK], [0; BLOCK]);
        for start in (0..due_ms.len()).step_by(BLOCK) {
            let due_ms = due_ms.block(start, &mut due_block);
            let payloads = payloads.block(start, &mut payload_block);
            if slack_ms == 0 {
                self.wheel.insert_batch(due_ms, payloads, &mut self.keys).map_err(refused)?;
                continue;
            }
            for (&due_ms, &payload) in due_ms.iter().zip(payloads) {
                let key = self.wheel.insert_within(due_ms, slack_ms, payload).map_err(refused)?;
                self.keys.push(key);
            }
        }
        Ok(packed(self.keys.iter().map(|key| key.to_raw())))
    }

    fn cancel(&mut self, keys: Column<'_>) -> usize {
        let mut block = [0; BLOCK];
        let mut count = 0;
        for start in (0..keys.len()).step_by(BLOCK) {
            self.keys.clear();
            self.keys.extend(keys.block(start, &mut block).iter().map(|&raw| key(raw)));
            self.cancelled.clear();
            count += self.wheel.cancel_batch(&self.keys, &mut self.cancelled);
        }
        count
    }

    fn reschedule(&mut self, keys: Column<'_>, due_ms: Column<'_>) -> PyResult<Vec<u8>> {
        let (mut key_block, mut due_block) = ([0; BLOCK], [0; BLOCK]);
        self.moved.clear();
        for start in (0..keys.len()).step_by(BLOCK) {
            self.keys.clear();
            self.keys.extend(keys.block(start, &mut key_block).iter().map(|&raw| key(raw)));
            let due_ms = due_ms.block(start, &mut due_block);
            self.wheel.reschedule_batch(&self.keys, due_ms, &mut self.moved).map_err(refused)?;
        }
        Ok(self.packed_moved())
    }

    /// Pauses a batch, or lets it go on.
    fn stop_or_go(&mut self, keys: Column<'_>, stop: bool) -> Vec<u8> {
        self.moved.clear();
        for raw in keys.iter() {
            let key = key(raw);
            self.moved.push(if stop { self.wheel.pause(key) } else { self.wheel.resume(key) });
        }
        self.packed_moved()
    }

    fn packed_moved(&self) -> Vec<u8> {
        packed(self.moved.iter().map(|key| key.map_or(0, TimerKey::to_raw)))
    }

    fn memory_bytes(&self) -> usize {
        self.wheel.memory_bytes()
            + (self.keys.capacity() + self.moved.capacity()) * size_of::<TimerKey>()
            + self.cancelled.capacity()
            + self.due.capacity() * size_of::<Due>()
    }
}

impl Keyed {
    fn lock(&self) -> PyResult<MutexGuard<'_, Inner>> {
        self.inner.lock().map_err(|_| broken())
    }
}

#[pymethods]
impl Keyed {
    #[new]
    fn new(tick_ms: u64, start_ms: i64, capacity: usize) -> PyResult<Self> {
        let wheel = Wheel::new(Config { tick_ms, capacity }, instant(start_ms)?).map_err(refused)?;
        let (keys, moved, cancelled, due) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Ok(Self { inner: Mutex::new(Inner { wheel, keys, moved, cancelled, due }) })
    }

    #[pyo3(signature = (due_ms, payloads, slack_ms = 0))]
    fn insert<'py>(
        &self,
        py: Python<'py>,
        due_ms: &Bound<'_, PyAny>,
        payloads: &Bound<'_, PyAny>,
        slack_ms: i64,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let (due_ms, payloads) = (Longs::of(due_ms)?, Longs::of(payloads)?);
        let (due_ms, payloads) = (due_ms.column()?, payloads.column()?);
        let slack_ms = instant(slack_ms)?;
        same_length(due_ms, payloads)?;
        let keys = py.detach(|| {
            due_ms.check_instants()?;
            self.lock()?.insert(due_ms, payloads, slack_ms)
        })?;
        Ok(PyBytes::new(py, &keys))
    }

    fn cancel(&self, py: Python<'_>, keys: &Bound<'_, PyAny>) -> PyResult<usize> {
        let keys = Longs::of(keys)?;
        let keys = keys.column()?;
        py.detach(|| Ok(self.lock()?.cancel(keys)))
    }

    fn reschedule<'py>(
        &self,
        py: Python<'py>,
        keys: &Bound<'_, PyAny>,
        due_ms: &Bound<'_, PyAny>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let (keys, due_ms) = (Longs::of(keys)?, Longs::of(due_ms)?);
        let (keys, due_ms) = (keys.column()?, due_ms.column()?);
        same_length(keys, due_ms)?;
        let moved = py.detach(|| {
            due_ms.check_instants()?;
            self.lock()?.reschedule(keys, due_ms)
        })?;
        Ok(PyBytes::new(py, &moved))
    }

    fn pause<'py>(&self, py: Python<'py>, keys: &Bound<'_, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        let keys = Longs::of(keys)?;
        let keys = keys.column()?;
        let paused = py.detach(|| self.lock().map(|mut inner| inner.stop_or_go(keys, true)))?;
        Ok(PyBytes::new(py, &paused))
    }

    fn resume<'py>(&self, py: Python<'py>, keys: &Bound<'_, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        let keys = Longs::of(keys)?;
        let keys = keys.column()?;
        let resumed = py.detach(|| self.lock().map(|mut inner| inner.stop_or_go(keys, false)))?;
        Ok(PyBytes::new(py, &resumed))
    }

    fn advance<'py>(
        &self,
        py: Python<'py>,
        now_ms: i64,
        limit: usize,
    ) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyBytes>, bool)> {
        let now_ms = instant(now_ms)?;
        let (payloads, due_ms, done) = py.detach(|| {
            let mut inner = self.lock()?;
            let Inner { wheel, due, .. } = &mut *inner;
            let done = fall_due(wheel, now_ms, limit, due);
            let payloads = packed(due.iter().map(|timer| timer.payload));
            PyResult::Ok((payloads, packed(due.iter().map(|timer| timer.deadline_ms)), done))
        })?;
        Ok((PyBytes::new(py, &payloads), PyBytes::new(py, &due_ms), done))
    }

    fn snapshot<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
        let timers: Vec<Due> = py.detach(|| PyResult::Ok(self.lock()?.wheel.iter().collect()))?;
        let column = |bytes: Vec<u8>| PyBytes::new(py, &bytes);
        Ok((
            column(packed(timers.iter().map(|timer| timer.key.to_raw()))),
            column(packed(timers.iter().map(|timer| timer.payload))),
            column(packed(timers.iter().map(|timer| timer.deadline_ms))),
        ))
    }

    fn next_event_ms(&self, py: Python<'_>) -> PyResult<Option<u64>> {
        py.detach(|| Ok(self.lock()?.wheel.next_event_ms()))
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        py.detach(|| Ok(self.lock()?.wheel.len()))
    }

    fn memory_bytes(&self, py: Python<'_>) -> PyResult<usize> {
        py.detach(|| Ok(self.lock()?.memory_bytes()))
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (stats, memory_bytes) = py.detach(|| {
            let inner = self.lock()?;
            PyResult::Ok((inner.wheel.stats(), inner.memory_bytes()))
        })?;
        figures(py, &stats, memory_bytes)
    }
}
