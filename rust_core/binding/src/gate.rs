//! Counters with reservations for Python: lists of plain tuples in, one call a batch.
use std::sync::{Mutex, MutexGuard, PoisonError};

use cuptime_gate::{Counters as Core, Invalid, Need};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// (order id, body, [(key, amount, free_at_ms)])
type Wanted = (i64, String, Vec<(String, i64, i64)>);

/// Adds this room's classes to the module.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Counters>()
}

fn value_error(invalid: Invalid) -> PyErr {
    PyValueError::new_err(invalid.to_string())
}

fn needs(wanted: &Wanted) -> Vec<Need<'_>> {
    let parts = wanted.2.iter();
    parts.map(|(key, amount, free_at_ms)| Need { key, amount: *amount, free_at_ms: *free_at_ms }).collect()
}

/// Bounded counters; the contract is in `_core.pyi`.
#[pyclass(frozen)]
struct Counters {
    core: Mutex<Core>,
}

impl Counters {
    /// A panic while the lock was held is a fault of the core; the counters are then as they were left.
    fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Counters {
    #[new]
    fn new(reservations_max: usize, tombstone_ms: i64) -> Self {
        Self { core: Mutex::new(Core::new(reservations_max, tombstone_ms)) }
    }

    fn reset(
        &self,
        py: Python<'_>,
        limits: Vec<(String, i64)>,
        standing: Vec<Wanted>,
        now_ms: i64,
    ) -> PyResult<usize> {
        py.detach(|| {
            let mut core = self.core();
            core.reset();
            for (key, limit) in &limits {
                core.set_limit(key, *limit)?;
            }
            for wanted in &standing {
                core.stand(wanted.0, &wanted.1, &needs(wanted), now_ms)?;
            }
            Ok::<usize, Invalid>(core.len())
        })
        .map_err(value_error)
    }

    fn set_limits(&self, limits: Vec<(String, i64)>) -> PyResult<()> {
        let mut core = self.core();
        limits.iter().try_for_each(|(key, limit)| core.set_limit(key, *limit)).map_err(value_error)
    }

    fn stand(&self, py: Python<'_>, standing: Vec<Wanted>, now_ms: i64) -> PyResult<()> {
        py.detach(|| {
            let mut core = self.core();
            for wanted in &standing {
                core.stand(wanted.0, &wanted.1, &needs(wanted), now_ms)?;
            }
            Ok::<(), Invalid>(())
        })
        .map_err(value_error)
    }

    fn reserve(
        &self,
        py: Python<'_>,
        wanted: Vec<Wanted>,
        now_ms: i64,
        hold_ms: i64,
    ) -> PyResult<Vec<String>> {
        py.detach(|| {
            let mut core = self.core();
            let one = |wanted: &Wanted| {
                let answer = core.reserve(wanted.0, &wanted.1, &needs(wanted), now_ms, hold_ms)?;
                Ok(answer.err().map_or_else(String::new, |refusal| refusal.to_string()))
            };
            wanted.iter().map(one).collect::<Result<Vec<String>, Invalid>>()
        })
        .map_err(value_error)
    }

    fn commit(&self, order_ids: Vec<i64>) -> Vec<i64> {
        let mut core = self.core();
        order_ids.into_iter().filter(|&order_id| !core.commit(order_id)).collect()
    }

    fn release(&self, order_ids: Vec<i64>, now_ms: i64) -> Vec<String> {
        let mut core = self.core();
        order_ids.into_iter().filter_map(|order_id| core.release(order_id, now_ms)).collect()
    }

    fn expire(&self, py: Python<'_>, now_ms: i64) -> Vec<(String, i64)> {
        py.detach(|| self.core().expire(now_ms).into_iter().collect())
    }

    fn free(&self, keys: Vec<String>) -> Vec<i64> {
        let core = self.core();
        keys.iter().map(|key| core.free(key)).collect()
    }

    fn taken(&self, keys: Vec<String>) -> Vec<i64> {
        let core = self.core();
        keys.iter().map(|key| core.taken(key)).collect()
    }

    fn check(&self) -> PyResult<()> {
        self.core().check().map_err(PyValueError::new_err)
    }

    fn __len__(&self) -> usize {
        self.core().len()
    }
}
