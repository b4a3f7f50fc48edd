//! Decisions for Python: groups and order bodies in; decision rows, reservations and reasons out.
//!
//! ```text
//! body -> order -> recheck -> rules (priority, tags) -> place in metres -> dispatcher -> cuptime.v1.Decision
//! ```
//! The cases between arguments and rows are in `cases`.
mod again;
mod cases;
mod explaining;
mod facts;
mod judging;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use cuptime_dispatch::{Decisions, Judge, Lost, NoJudge, Policy};
use cuptime_intake::effects::{self, Effect};
use cuptime_intake::facts::all_names;
use cuptime_intake::phases::{Phases, RuleCounts};
use cuptime_intake::wire::v1::decision::Outcome;
use cuptime_intake::wire::Message;
use cuptime_intake::{group_seq_of, project as to_metres, Bytes};
use cuptime_rules::RuleSet as Rules;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyList, PyTuple};
use rustc_hash::{FxHashMap, FxHashSet};

use self::cases::{
    ask_of, ask_rules, facts_of, is_instant, on_earth, told, Case, Group, GroupColumns, Round, Word,
};
use self::judging::RuleJudge;
use crate::dispatch::{decide_orders, read_policy, Dispatcher};
use crate::rules::RuleSet;

/// Adds this room's classes and functions to the module.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<SkuCodes>()?;
    m.add_class::<Decided>()?;
    m.add_function(wrap_pyfunction!(order_schema, m)?)?;
    m.add_function(wrap_pyfunction!(rule_effects, m)?)?;
    m.add_function(wrap_pyfunction!(check_effect, m)?)?;
    m.add_function(wrap_pyfunction!(project, m)?)?;
    m.add_function(wrap_pyfunction!(decide, m)?)?;
    again::register(m)?;
    explaining::register(m)
}

/// Orders of one call, at most.
const ORDERS_MAX: usize = 100_000;

/// SKUs of one process, at most.
const SKUS_MAX: usize = 5_000_000;

/// The code of a SKU that no shop was ever given: nobody offers it.
const SKU_UNKNOWN: u32 = u32::MAX;

/// (order_id, shop_id, rider_id, sku, quantity, cold, pack_out_ms, pickup_ms, dropoff_ms)
type ReservationColumns = (i64, i64, i64, String, i32, bool, i64, i64, i64);

/// Every name a condition may use, with its type.
#[pyfunction]
fn order_schema() -> Vec<(&'static str, &'static str)> {
    all_names()
}

/// The effects that rules can have: (kind, what its value must be, what its rule must be about).
#[pyfunction]
fn rule_effects() -> Vec<(&'static str, &'static str, &'static str)> {
    let about = |about| match about {
        effects::About::Order => "order",
        effects::About::Pair => "pair",
        effects::About::Any => "any",
    };
    effects::KINDS.iter().map(|(kind, wanted, of)| (*kind, *wanted, about(*of))).collect()
}

/// "" when the effect is one that the service can have, else what is wrong with it.
#[pyfunction]
fn check_effect(kind: &str, value: &str) -> String {
    Effect::read(kind, value).err().unwrap_or_default()
}

/// Places in degrees to metres around an origin.
#[pyfunction]
fn project(origin: (f64, f64), places: Vec<(f64, f64)>) -> PyResult<Vec<(f64, f64)>> {
    std::iter::once(&origin).chain(&places).try_for_each(|place| on_earth(place.0, place.1))?;
    Ok(places.into_iter().map(|place| to_metres(origin, place)).collect())
}

/// SKUs by number. See `_core.pyi` for the contract.
#[pyclass(frozen, module = "cuptime._core")]
struct SkuCodes {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    codes: HashMap<String, u32>,
    names: Vec<String>,
}

#[pymethods]
impl SkuCodes {
    #[new]
    fn new() -> Self {
        Self { known: Mutex::default() }
    }

    fn codes(&self, skus: Vec<String>) -> PyResult<Vec<u32>> {
        let mut known = self.known.lock().map_err(|_| broken())?;
        let Known { codes, names } = &mut *known;
        let mut given = Vec::with_capacity(skus.len());
        for sku in skus {
            if let Some(code) = codes.get(&sku) {
                given.push(*code);
                continue;
            }
            if names.len() >= SKUS_MAX {
                return Err(PyValueError::new_err(format!("at most {SKUS_MAX} SKUs")));
            }
            let code = names.len() as u32;
            names.push(sku.clone());
            codes.insert(sku, code);
            given.push(code);
        }
        Ok(given)
    }

    fn names(&self, codes: Vec<u32>) -> PyResult<Vec<String>> {
        let known = self.known.lock().map_err(|_| broken())?;
        let name = |code: u32| {
            let never = || PyValueError::new_err(format!("no SKU has the code {code}"));
            known.names.get(code as usize).cloned().ok_or_else(never)
        };
        codes.into_iter().map(name).collect()
    }
}

fn broken() -> PyErr {
    PyRuntimeError::new_err("an earlier call failed half-way; make new SkuCodes and a new Dispatcher")
}

/// A rule set with its phases.
type Ready = (Arc<Rules>, Arc<Phases>);

/// Everything between the arguments and the rows; runs without the GIL.
struct Work<'a> {
    dispatcher: &'a Dispatcher,
    skus: &'a SkuCodes,
    rules: Option<Ready>,
    groups: Vec<Group>,
    orders: Vec<(i64, PyBackedBytes)>,
    lost: FxHashMap<i64, Vec<Lost>>,
    origin: (f64, f64),
    policy: Policy,
}

/// What came of it.
struct Worked {
    cases: Vec<Case>,
    /// The position of each in the decisions.
    positions: Vec<Option<usize>>,
    decisions: Decisions,
    counts: RuleCounts,
    /// By case.
    bodies: Vec<Bytes>,
    /// (order id, until when it is put off)
    delayed: Vec<(i64, i64)>,
}

impl Work<'_> {
    fn run(&mut self, round: &Round) -> PyResult<Worked> {
        let mut cases = self.cases()?;
        let Some((whole, phases)) = self.rules.clone() else {
            return self.decided(cases, RuleCounts::default(), None, None, round);
        };
        let columns = facts_of(&phases.decision.set, &cases, &self.groups);
        let counts = ask_rules(&phases.decision, &columns, &mut cases, round.now_ms);
        let judge = RuleJudge::new(&phases, &columns, self.origin);
        self.decided(cases, counts, Some(judge), Some(&whole), round)
    }

    fn decided(
        &mut self,
        cases: Vec<Case>,
        mut counts: RuleCounts,
        mut judge: Option<RuleJudge<'_>>,
        rules: Option<&Rules>,
        round: &Round,
    ) -> PyResult<Worked> {
        let mut asks = Vec::with_capacity(cases.len());
        let mut positions = Vec::with_capacity(cases.len());
        let mut delayed = Vec::new();
        let known = self.skus.known.lock().map_err(|_| broken())?;
        let mut row = 0;
        for case in &cases {
            let group = &self.groups[case.group];
            let asked = case.is_asked(group, round);
            positions.push(asked.then_some(asks.len()));
            if asked {
                let sku = known.codes.get(&case.order.sku).copied().unwrap_or(SKU_UNKNOWN);
                let lost = self.lost.remove(&case.order_id).unwrap_or_default();
                let class = judge.as_mut().map_or(0, |j| j.class_of(row, case.bounds.clone(), round.now_ms));
                asks.push(ask_of(case, group, sku, self.origin, lost, class));
            } else if let Some((_, until_ms, _)) = case.delayed_until_ms(group, round) {
                delayed.push((case.order_id, until_ms));
            }
            row += usize::from(case.invalid.is_none());
        }
        drop(known);
        let says: &dyn Judge = judge.as_ref().map_or(&NoJudge as &dyn Judge, |judge| judge);
        let decisions = decide_orders(self.dispatcher, &asks, round.now_ms, &self.policy, says);
        if let Some(judge) = &judge {
            judge.count(&mut counts);
        }
        let told = cases.iter().zip(&positions).map(|(case, at)| {
            let word = at.and_then(|at| {
                let decision = decisions.decisions.get(at)?;
                Some(Word { decision, class: asks[at].class, judge: judge.as_ref() })
            });
            let round = Round { gap_bound: decisions.gap_bound, ..*round };
            Bytes::from(told(case, &self.groups[case.group], word.as_ref(), rules, &round).encode_to_vec())
        });
        let bodies: Vec<Bytes> = told.collect();
        Ok(Worked { cases, positions, decisions, counts, bodies, delayed })
    }

    fn cases(&self) -> PyResult<Vec<Case>> {
        let by_seq: FxHashMap<i64, usize> =
            self.groups.iter().enumerate().map(|(at, g)| (g.seq, at)).collect();
        let mut seen = FxHashSet::default();
        let case = |(order_id, body): &(i64, PyBackedBytes)| {
            let Some(&group) = by_seq.get(&group_seq_of(*order_id)) else {
                return Err(PyValueError::new_err(format!("the group of order {order_id} is not listed")));
            };
            if !seen.insert(*order_id) {
                return Err(PyValueError::new_err(format!("order {order_id} is there twice")));
            }
            Ok(Case::read(*order_id, group, body, self.groups[group].id))
        };
        self.orders.iter().map(case).collect()
    }
}

/// Decides orders of completed groups together. See `_core.pyi` for the contract.
#[pyfunction]
#[allow(clippy::too_many_arguments)]
#[pyo3(signature = (
    dispatcher, skus, rules, rule_revision, groups, orders, now_ms, attempt, origin, policy=None, lost=None
))]
fn decide(
    py: Python<'_>,
    dispatcher: &Bound<'_, Dispatcher>,
    skus: &Bound<'_, SkuCodes>,
    rules: Option<&Bound<'_, RuleSet>>,
    rule_revision: i64,
    groups: Vec<GroupColumns>,
    orders: Vec<(i64, PyBackedBytes)>,
    now_ms: i64,
    attempt: i32,
    origin: (f64, f64),
    policy: Option<HashMap<String, f64>>,
    lost: Option<Vec<(i64, i64, i64)>>,
) -> PyResult<Decided> {
    on_earth(origin.0, origin.1)?;
    if orders.len() > ORDERS_MAX {
        return Err(PyValueError::new_err(format!("at most {ORDERS_MAX} orders at once")));
    }
    if !is_instant(now_ms) {
        return Err(PyValueError::new_err(format!("now_ms is not an instant: {now_ms}")));
    }
    let mut lost_pairs: FxHashMap<i64, Vec<Lost>> = FxHashMap::default();
    for (order_id, shop_id, rider_id) in lost.unwrap_or_default() {
        lost_pairs.entry(order_id).or_default().push(Lost { shop_id, rider_id });
    }
    let rules = rules.map(|set| (set.get().inner(), set.get().phases(py)));
    let mut work = Work {
        dispatcher: dispatcher.get(),
        skus: skus.get(),
        rules,
        groups: groups.into_iter().map(Group::read).collect::<PyResult<_>>()?,
        orders,
        lost: lost_pairs,
        origin,
        policy: read_policy(policy)?,
    };
    let round = Round { now_ms, attempt, rule_revision, gap_bound: 0 };
    let worked = py.detach(|| work.run(&round))?;
    Decided::new(py, &work.groups, worked, &round)
}

/// What came of one `decide`. See `_core.pyi` for the contract.
#[pyclass(frozen, get_all, module = "cuptime._core")]
struct Decided {
    rows: Py<PyList>,
    reservations: Vec<ReservationColumns>,
    unassigned: Vec<i64>,
    invalid: Vec<(i64, String, String)>,
    rule_hits: Vec<(String, u64)>,
    rule_errors: Vec<(String, u64)>,
    rules_evaluated: u64,
    gap_bound: i64,
    delayed: Vec<(i64, i64)>,
}

impl Decided {
    fn new(py: Python<'_>, groups: &[Group], worked: Worked, round: &Round) -> PyResult<Decided> {
        let Worked { cases, positions, decisions, counts, bodies, delayed } = worked;
        let (mut reservations, mut unassigned, mut invalid) = (Vec::new(), Vec::new(), Vec::new());
        let rows = PyList::empty(py);
        for ((case, at), body) in cases.iter().zip(positions).zip(&bodies) {
            let group = &groups[case.group];
            let chosen = at.and_then(|at| decisions.decisions.get(at)?.assignment.as_ref());
            let (sku, quantity, cold) = (&case.order.sku, case.order.quantity, case.is_cold());
            let (shop_id, rider_id, pickup_ms) =
                chosen.map_or((0, 0, 0), |c| (c.shop_id, c.rider_id, c.pickup_ms));
            match chosen {
                Some(c) => reservations.push((
                    case.order_id,
                    shop_id,
                    rider_id,
                    sku.clone(),
                    quantity,
                    cold,
                    group.pack_out_ms,
                    pickup_ms,
                    c.dropoff_ms,
                )),
                None => unassigned.push(case.order_id),
            }
            if let Some((field, message)) = &case.invalid {
                invalid.push((case.order_id, field.clone(), message.clone()));
            }
            let outcome = if chosen.is_some() { Outcome::Assigned } else { Outcome::Unassigned } as i32;
            // The columns of `domain.values.DecisionRow` without `sequence`, in two parts: a tuple has at most 12.
            let head = (
                case.order_id,
                round.attempt,
                outcome,
                shop_id,
                rider_id,
                case.priority,
                group.complete_ms,
                round.now_ms,
                round.rule_revision,
            );
            let tail = (sku, quantity, cold, group.pack_out_ms, pickup_ms, PyBytes::new(py, body));
            let (head, tail) = (head.into_pyobject(py)?, tail.into_pyobject(py)?);
            rows.append(PyTuple::new(py, head.iter().chain(tail.iter()).collect::<Vec<_>>())?)?;
        }
        Ok(Decided {
            rows: rows.unbind(),
            reservations,
            unassigned,
            invalid,
            rule_hits: counts.hits,
            rule_errors: counts.errors,
            rules_evaluated: counts.evaluated,
            gap_bound: decisions.gap_bound,
            delayed,
        })
    }
}
