//! Admission for Python: request bytes in; reply bytes and rows for storage out, the GIL released while judging.
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

use cuptime_intake::phases::{Phases, RefuseSet, RuleCounts};
use cuptime_intake::{
    limits, Admission as Admitted, Bytes, GroupFacts, GroupState, Kind, NewOrder, NoRules, Reason,
    StoredOrder, StoredRefusal, Table,
};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};

use crate::rules::RuleSet;

/// Adds this room's classes and functions to the module.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Intake>()?;
    m.add_class::<Admission>()?;
    m.add_function(wrap_pyfunction!(intake_limits, m)?)?;
    m.add_function(wrap_pyfunction!(intake_reasons, m)?)
}

/// `cuptime.v1.Order.State.STATE_ADMITTED`.
const ADMITTED: i64 = 1;

/// The table, and the refuse rules of the rule set used last.
struct Inner {
    table: Table,
    refuse: Option<(Arc<Phases>, Option<RefuseSet>)>,
}

impl Inner {
    fn admit(
        &mut self,
        entries: &[(Kind, Bytes)],
        now_ms: i64,
        rules: Option<Arc<Phases>>,
        rule_revision: i64,
    ) -> (Admitted, RuleCounts) {
        let known = matches!((&self.refuse, &rules), (Some((old, _)), Some(new)) if Arc::ptr_eq(old, new));
        if !known {
            self.refuse = rules.map(|phases| {
                let refuse = phases.admission.as_ref().map(RefuseSet::of);
                (phases, refuse)
            });
        }
        match &mut self.refuse {
            Some((_, Some(refuse))) => {
                refuse.start(now_ms);
                let admitted = self.table.admit(entries, now_ms, rule_revision, refuse);
                (admitted, refuse.counts())
            }
            _ => (self.table.admit(entries, now_ms, rule_revision, &mut NoRules), RuleCounts::default()),
        }
    }
}

/// The admission table. See `_core.pyi` for the contract.
#[pyclass(frozen, module = "cuptime._core")]
struct Intake {
    inner: Mutex<Inner>,
}

/// What came of one `Intake.admit`. See `_core.pyi` for the contract.
#[pyclass(frozen, get_all, module = "cuptime._core")]
struct Admission {
    replies: Py<PyList>,
    orders: Py<PyList>,
    refusals: Py<PyList>,
    completed: Vec<(i64, i64, u32)>,
    member_counts: Vec<(i64, u32)>,
    refused: Py<PyDict>,
    rule_hits: Vec<(String, u64)>,
    rule_errors: Vec<(String, u64)>,
    rules_evaluated: u64,
}

impl Admission {
    fn new(py: Python<'_>, admitted: &Admitted, counts: RuleCounts) -> PyResult<Admission> {
        let replies = admitted.replies.iter().map(|reply| (reply.code, PyBytes::new(py, &reply.bytes)));
        let refused = PyDict::new(py);
        for (reason, count) in &admitted.refused {
            refused.set_item(reason.name(), count)?;
        }
        Ok(Admission {
            replies: PyList::new(py, replies)?.unbind(),
            orders: PyList::new(py, admitted.orders.iter().map(|order| order_row(py, order)))?.unbind(),
            refusals: PyList::new(py, admitted.refusals.iter().map(|refusal| refusal_row(py, refusal)))?
                .unbind(),
            completed: admitted.completed.clone(),
            member_counts: admitted.member_counts.clone(),
            refused: refused.unbind(),
            rule_hits: counts.hits,
            rule_errors: counts.errors,
            rules_evaluated: counts.evaluated,
        })
    }
}

/// The columns of `domain.values.OrderRow`.
type OrderRow<'a, 'py> = (i64, i64, &'a str, i64, &'a str, i32, i64, i64, i64, Bound<'py, PyBytes>);

fn order_row<'a, 'py>(py: Python<'py>, order: &'a NewOrder) -> OrderRow<'a, 'py> {
    (
        order.order_id,
        order.user_id,
        &order.request_id,
        order.fingerprint,
        &order.sku,
        order.quantity,
        order.created_ms,
        order.rule_revision,
        ADMITTED,
        PyBytes::new(py, &order.body),
    )
}

/// The columns of `domain.values.RefusalRow`.
type RefusalRow<'a, 'py> = (&'a str, i64, i64, i64, &'a str, i64, Bound<'py, PyBytes>);

fn refusal_row<'a, 'py>(py: Python<'py>, refusal: &'a StoredRefusal) -> RefusalRow<'a, 'py> {
    (
        &refusal.request_id,
        refusal.fingerprint,
        refusal.group_id,
        refusal.user_id,
        &refusal.reason,
        refusal.created_ms,
        PyBytes::new(py, &refusal.status),
    )
}

#[pymethods]
impl Intake {
    #[new]
    fn new(seed: &[u8], credit_min: i32, purchase_limit_default: u32) -> PyResult<Self> {
        let seed: &[u8; 16] = seed
            .try_into()
            .map_err(|_| PyValueError::new_err(format!("a seed has 16 bytes, not {}", seed.len())))?;
        let table = Table::new(seed, credit_min, purchase_limit_default);
        Ok(Self { inner: Mutex::new(Inner { table, refuse: None }) })
    }

    fn open_groups(&self, py: Python<'_>, rows: Vec<Bound<'_, PyTuple>>) -> PyResult<()> {
        let groups = rows.iter().map(group_facts).collect::<PyResult<Vec<_>>>()?;
        self.briefly(py, |table| groups.into_iter().for_each(|facts| table.open_group(facts)))
    }

    #[allow(clippy::type_complexity)]
    fn restore_orders(
        &self,
        py: Python<'_>,
        rows: Vec<(i64, i64, String, i64, i64, i64, i64, PyBackedBytes)>,
    ) -> PyResult<()> {
        let whole = py.detach(|| {
            let mut inner = self.lock()?;
            let mut unread = None;
            for (order_id, user_id, request_id, fingerprint, created_ms, rule_revision, state, body) in &rows
            {
                let stored = StoredOrder {
                    order_id: *order_id,
                    user_id: *user_id,
                    request_id: request_id.clone(),
                    fingerprint: *fingerprint,
                    created_ms: *created_ms,
                    rule_revision: *rule_revision,
                    state: *state,
                    body: Bytes::copy_from_slice(body),
                };
                if !inner.table.restore_order(stored) {
                    unread = Some(*order_id);
                }
            }
            PyResult::Ok(unread)
        })?;
        match whole {
            None => Ok(()),
            Some(order_id) => {
                Err(PyValueError::new_err(format!("the body of order {order_id} is not an Order")))
            }
        }
    }

    #[allow(clippy::type_complexity)]
    fn restore_refusals(
        &self,
        py: Python<'_>,
        rows: Vec<(String, i64, i64, i64, String, i64, PyBackedBytes)>,
    ) -> PyResult<()> {
        let stored = |(request_id, fingerprint, group_id, user_id, reason, created_ms, status)| {
            let status: PyBackedBytes = status;
            let status = Bytes::copy_from_slice(&status);
            StoredRefusal { request_id, fingerprint, group_id, user_id, reason, created_ms, status }
        };
        let rows: Vec<StoredRefusal> = rows.into_iter().map(stored).collect();
        self.briefly(py, |table| rows.into_iter().for_each(|row| table.restore_refusal(row)))
    }

    fn set_available(&self, py: Python<'_>, rows: Vec<(String, i64)>) -> PyResult<()> {
        self.briefly(py, |table| {
            rows.iter().for_each(|(sku, cups)| table.set_available(sku, (*cups >= 0).then_some(*cups)));
        })
    }

    fn settle(&self, py: Python<'_>, rows: Vec<(String, i64)>) -> PyResult<()> {
        self.briefly(py, |table| rows.iter().for_each(|(sku, cups)| table.settle(sku, (*cups).max(0))))
    }

    fn complete_group(&self, py: Python<'_>, group_id: i64) -> PyResult<bool> {
        self.briefly(py, |table| table.complete_group(group_id))
    }

    fn close_group(&self, py: Python<'_>, group_id: i64, state: i64) -> PyResult<bool> {
        let state = group_state(state)?;
        self.briefly(py, |table| table.close_group(group_id, state))
    }

    fn forget_group(&self, py: Python<'_>, group_seq: i64) -> PyResult<bool> {
        self.briefly(py, |table| table.forget_group(group_seq))
    }

    fn cancel_order(&self, py: Python<'_>, order_id: i64) -> PyResult<bool> {
        self.briefly(py, |table| table.cancel_order(order_id))
    }

    fn orders_of<'py>(&self, py: Python<'py>, group_seq: i64) -> PyResult<Vec<(i64, Bound<'py, PyBytes>)>> {
        let orders = self.briefly(py, |table| table.orders_of(group_seq))?;
        Ok(orders.into_iter().map(|(order_id, body)| (order_id, PyBytes::new(py, &body))).collect())
    }

    fn group_counts(&self, py: Python<'_>) -> PyResult<Vec<(i64, i64, u8, u32)>> {
        let counts = self.briefly(py, |table| table.group_counts())?;
        Ok(counts.into_iter().map(|(seq, id, state, members)| (seq, id, state as u8, members)).collect())
    }

    fn cups(&self, py: Python<'_>, sku: &str) -> PyResult<(i64, i64)> {
        let cups = self.briefly(py, |table| table.cups(sku))?;
        Ok((cups.available.unwrap_or(-1), cups.pending))
    }

    fn expire_requests(&self, py: Python<'_>, before_ms: i64) -> PyResult<usize> {
        py.detach(|| Ok(self.lock()?.table.expire_requests(before_ms)))
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = self.briefly(py, |table| table.stats())?;
        let figures = PyDict::new(py);
        for (name, figure) in [
            ("groups", stats.groups as i64),
            ("groups_open", stats.groups_open as i64),
            ("groups_closed", stats.groups_closed as i64),
            ("orders", stats.orders as i64),
            ("request_ids", stats.request_ids as i64),
            ("skus", stats.skus as i64),
            ("pending_cups", stats.pending_cups),
        ] {
            figures.set_item(name, figure)?;
        }
        Ok(figures)
    }

    fn admit(
        &self,
        py: Python<'_>,
        entries: Vec<(i64, PyBackedBytes)>,
        now_ms: i64,
        rules: Option<&Bound<'_, RuleSet>>,
        rule_revision: i64,
    ) -> PyResult<Admission> {
        let rules = rules.map(|set| set.get().phases(py));
        let entries = entries
            .into_iter()
            .map(|(kind, bytes)| match Kind::from_code(kind) {
                Some(kind) => Ok((kind, Bytes::from_owner(bytes))),
                None => Err(PyValueError::new_err(format!(
                    "no kind of request is {kind}; 0 unary, 1 batch, 2 ingest"
                ))),
            })
            .collect::<PyResult<Vec<_>>>()?;
        // The entries own Python objects, so they are let go after the GIL is back.
        let (admitted, counts) = py.detach(|| {
            let mut inner = self.lock()?;
            PyResult::Ok(inner.admit(&entries, now_ms, rules, rule_revision))
        })?;
        Admission::new(py, &admitted, counts)
    }
}

impl Intake {
    fn lock(&self) -> PyResult<MutexGuard<'_, Inner>> {
        self.inner.lock().map_err(|_| broken())
    }

    /// Runs something short; lets go of the GIL only when another thread is in the middle of a long call.
    fn briefly<T: Send>(&self, py: Python<'_>, work: impl FnOnce(&mut Table) -> T + Send) -> PyResult<T> {
        match self.inner.try_lock() {
            Ok(mut inner) => Ok(work(&mut inner.table)),
            Err(TryLockError::Poisoned(_)) => Err(broken()),
            Err(TryLockError::WouldBlock) => {
                py.detach(|| self.lock().map(|mut inner| work(&mut inner.table)))
            }
        }
    }
}

fn broken() -> PyErr {
    PyRuntimeError::new_err("an earlier call failed half-way; make a new Intake from storage")
}

fn group_state(code: i64) -> PyResult<GroupState> {
    GroupState::from_code(code).ok_or_else(|| PyValueError::new_err(format!("no state of a group is {code}")))
}

/// Reads a row in the field order of `domain.values.Group`; what follows `state` is not read.
fn group_facts(row: &Bound<'_, PyTuple>) -> PyResult<GroupFacts> {
    Ok(GroupFacts {
        group_seq: row.get_item(0)?.extract()?,
        group_id: row.get_item(1)?.extract()?,
        park: row.get_item(2)?.extract()?,
        latitude: row.get_item(3)?.extract()?,
        longitude: row.get_item(4)?.extract()?,
        capacity: row.get_item(5)?.extract()?,
        min_size: row.get_item(6)?.extract()?,
        deadline_ms: row.get_item(7)?.extract()?,
        purchase_limit: row.get_item(8)?.extract()?,
        pack_out_after_ms: row.get_item(9)?.extract()?,
        deliver_within_ms: row.get_item(10)?.extract()?,
        state: group_state(row.get_item(11)?.extract()?)?,
    })
}

/// The limits that admission applies, by their names in `domain.limits`.
#[pyfunction]
fn intake_limits() -> Vec<(&'static str, i64)> {
    limits::ALL.to_vec()
}

/// The reasons that admission gives, with their codes and whether such refusals are kept.
#[pyfunction]
fn intake_reasons() -> Vec<(&'static str, i32, bool)> {
    Reason::ALL.iter().map(|reason| (reason.name(), reason.code(), reason.is_business())).collect()
}
