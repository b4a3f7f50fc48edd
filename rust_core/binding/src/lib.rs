//! The only crate that knows Python: batches of plain values in and out, the GIL released.
//! This file only registers; each room of the core has its own module beside it.
mod cron;
mod decision;
mod dispatch;
mod gate;
mod intake;
mod rules;
mod timers;
mod wheel;

use pyo3::prelude::*;

/// The extension module `cuptime._core`; its contract is `python/cuptime/_core.pyi`.
#[pymodule]
fn _core(m: &Bound<'_, PyModule>) -> PyResult<()> {
    timers::register(m)?;
    intake::register(m)?;
    decision::register(m)?;
    dispatch::register(m)?;
    gate::register(m)?;
    cron::register(m)?;
    rules::register(m)?;
    // PyO3 lists every name; nobody imports *, and the contract would have to repeat the list.
    m.delattr("__all__")
}
