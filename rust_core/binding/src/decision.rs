//! Decisions for Python: groups and order bodies in, decision rows out.
use cuptime_intake::facts::{RuleAction, NAMES};
use pyo3::prelude::*;

/// Adds this room's functions to the module.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(order_schema, m)?)?;
    m.add_function(wrap_pyfunction!(rule_actions, m)?)?;
    m.add_function(wrap_pyfunction!(check_action, m)?)
}

/// Every name a condition may use, with its type.
#[pyfunction]
fn order_schema() -> Vec<(&'static str, &'static str)> {
    NAMES.to_vec()
}

/// The actions rules may take, with what their value must be.
#[pyfunction]
fn rule_actions() -> Vec<(&'static str, &'static str)> {
    RuleAction::KINDS.to_vec()
}

/// "" when the action is one that the service can take, else what is wrong with it.
#[pyfunction]
fn check_action(kind: &str, value: &str) -> String {
    RuleAction::read(kind, value).err().unwrap_or_default()
}
