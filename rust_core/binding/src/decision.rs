//! Decisions for Python: groups and order bodies in; decision rows, reservations and reasons out.
//!
//! ```text
//! body -> order -> recheck -> rules (priority, tags) -> place in metres -> dispatcher -> cuptime.v1.Decision
//! ```
use std::collections::HashMap;
use std::sync::Mutex;

use cuptime_dispatch::{Decision, Decisions, Lost, Order as Ask, Policy, TemperatureClass, NOBODY};
use cuptime_intake::facts::{place_of, GroupView, RuleAction, RuleCounts, Slots, NAMES};
use cuptime_intake::wire::v1::{self, decision::Outcome};
use cuptime_intake::wire::Message;
use cuptime_intake::{group_seq_of, order_name, project as to_metres, recheck, Bytes};
use cuptime_rules::{Mode, RuleSet as Rules, Tally};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyList, PyTuple};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::dispatch::{decide_orders, read_policy, Dispatcher};
use crate::rules::RuleSet;

/// Adds this room's classes and functions to the module.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<SkuCodes>()?;
    m.add_class::<Decided>()?;
    m.add_function(wrap_pyfunction!(order_schema, m)?)?;
    m.add_function(wrap_pyfunction!(rule_actions, m)?)?;
    m.add_function(wrap_pyfunction!(check_action, m)?)?;
    m.add_function(wrap_pyfunction!(project, m)?)?;
    m.add_function(wrap_pyfunction!(decide, m)?)?;
    m.add_function(wrap_pyfunction!(explain, m)?)
}

/// The priority of an order that no rule gives one.
const PRIORITY_DEFAULT: i32 = 50;

/// Orders of one call, at most.
const ORDERS_MAX: usize = 100_000;

/// SKUs of one process, at most.
const SKUS_MAX: usize = 5_000_000;

/// The code of a SKU that no shop was ever given: nobody offers it.
const SKU_UNKNOWN: u32 = u32::MAX;

/// Why an order that was admitted cannot be decided: it is not in storage as it was put there.
const ORDER_INVALID: &str = "ORDER_INVALID";

/// (group_seq, group_id, park, capacity, member_count, latitude, longitude, complete_ms, pack_out_ms, deliver_until_ms)
type GroupColumns = (i64, i64, String, i64, i64, f64, f64, i64, i64, i64);

/// (order_id, shop_id, rider_id, sku, quantity, cold, pack_out_ms, pickup_ms)
type ReservationColumns = (i64, i64, i64, String, i32, bool, i64, i64);

/// (rule, verdict, condition, value, wanted, error)
type VerdictColumns = (String, i32, String, String, String, String);

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

/// Places in degrees to metres around an origin.
#[pyfunction]
fn project(origin: (f64, f64), places: Vec<(f64, f64)>) -> PyResult<Vec<(f64, f64)>> {
    std::iter::once(&origin).chain(&places).try_for_each(|place| on_earth(place.0, place.1))?;
    Ok(places.into_iter().map(|place| to_metres(origin, place)).collect())
}

fn on_earth(latitude: f64, longitude: f64) -> PyResult<()> {
    // NaN is in no range.
    if (-90.0..=90.0).contains(&latitude) && (-180.0..=180.0).contains(&longitude) {
        return Ok(());
    }
    Err(PyValueError::new_err(format!(
        "({latitude}, {longitude}) is not a latitude and a longitude in degrees"
    )))
}

/// From 1970 on, with room to add to it.
fn is_instant(ms: i64) -> bool {
    (0..=1 << 62).contains(&ms)
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

/// A group whose orders are decided.
struct Group {
    seq: i64,
    id: i64,
    park: String,
    capacity: i64,
    member_count: i64,
    latitude: f64,
    longitude: f64,
    complete_ms: i64,
    pack_out_ms: i64,
    deliver_until_ms: i64,
}

impl Group {
    fn read(columns: GroupColumns) -> PyResult<Group> {
        let (
            seq,
            id,
            park,
            capacity,
            member_count,
            latitude,
            longitude,
            complete_ms,
            pack_out_ms,
            deliver_until_ms,
        ) = columns;
        on_earth(latitude, longitude)?;
        if ![complete_ms, pack_out_ms, deliver_until_ms].into_iter().all(is_instant) {
            return Err(PyValueError::new_err(format!("groups/{id} has an instant that is none")));
        }
        Ok(Group {
            seq,
            id,
            park,
            capacity,
            member_count,
            latitude,
            longitude,
            complete_ms,
            pack_out_ms,
            deliver_until_ms,
        })
    }

    fn view(&self) -> GroupView<'_> {
        GroupView {
            group_id: self.id,
            park: &self.park,
            capacity: self.capacity,
            member_count: self.member_count,
            latitude: self.latitude,
            longitude: self.longitude,
        }
    }
}

/// One order on its way to a decision.
struct Case {
    order_id: i64,
    /// Position in the groups.
    group: usize,
    order: v1::Order,
    /// Field and message, when the order is not what was admitted.
    invalid: Option<(String, String)>,
    priority: i32,
    matched: Vec<String>,
}

impl Case {
    fn read(order_id: i64, group: usize, body: &[u8], group_id: i64) -> Case {
        let (order, invalid) = match v1::Order::decode(body) {
            Err(error) => (v1::Order::default(), Some((String::new(), error.to_string()))),
            Ok(order) => {
                let refused = recheck(&order, group_id).err();
                (order, refused.map(|r| (r.metadata.get("field").cloned().unwrap_or_default(), r.message)))
            }
        };
        Case { order_id, group, order, invalid, priority: PRIORITY_DEFAULT, matched: Vec::new() }
    }

    fn is_cold(&self) -> bool {
        temperature(&self.order) == TemperatureClass::Cold
    }
}

fn temperature(order: &v1::Order) -> TemperatureClass {
    match v1::TemperatureClass::try_from(order.temperature_class) {
        Ok(v1::TemperatureClass::Hot) => TemperatureClass::Hot,
        Ok(v1::TemperatureClass::Cold) => TemperatureClass::Cold,
        _ => TemperatureClass::Ambient,
    }
}

/// Temperatures a drink may be carried at, C: as the proto says of its class.
fn range_c(class: TemperatureClass) -> (i16, i16) {
    match class {
        TemperatureClass::Hot => (55, i16::MAX),
        TemperatureClass::Ambient => (i16::MIN, i16::MAX),
        TemperatureClass::Cold => (i16::MIN, 8),
    }
}

/// Asks the rules about every valid case: priority and matched rules. Refuse rules had their say at admission.
fn ask_rules(rules: &Rules, cases: &mut [Case], groups: &[Group], now_ms: i64) -> RuleCounts {
    let (slots, mut columns, mut tally) = (Slots::of(rules.schema()), rules.columns(), Tally::new(rules));
    for case in cases.iter().filter(|case| case.invalid.is_none()) {
        slots.fill(&mut columns, &case.order, &groups[case.group].view());
    }
    let mut matches = Vec::new();
    for (row, case) in cases.iter_mut().filter(|case| case.invalid.is_none()).enumerate() {
        matches.clear();
        rules.evaluate(&columns, row, now_ms, Mode::Collect, &mut matches, &mut tally);
        let mut counted = false;
        for source in
            matches.iter().filter_map(|rank| rules.rules().get(*rank as usize)).map(|rule| rule.source())
        {
            match RuleAction::read(&source.action.kind, &source.action.value) {
                Ok(RuleAction::AssignRiderPriority(priority)) if !counted => {
                    counted = true;
                    case.priority = priority;
                    // First the one that counted.
                    case.matched.insert(0, source.id.clone());
                }
                Ok(RuleAction::AssignRiderPriority(_) | RuleAction::Tag(_)) => {
                    case.matched.push(source.id.clone())
                }
                // An action nobody registered does nothing; `check_action` keeps such rules from being loaded.
                Ok(RuleAction::Refuse(_)) | Err(_) => {}
            }
        }
    }
    RuleCounts::of(rules, &tally, |kind| kind != "refuse")
}

/// What the dispatcher is asked about a valid case.
fn ask_of(case: &Case, group: &Group, sku: u32, origin: (f64, f64), lost: Vec<Lost>) -> Ask {
    let place = place_of(&case.order, &group.view());
    let (x_m, y_m) = to_metres(origin, (place.latitude, place.longitude));
    let class = temperature(&case.order);
    let (need_min_c, need_max_c) = range_c(class);
    Ask {
        order_id: case.order_id,
        group_id: group.id,
        x_m,
        y_m,
        sku,
        quantity: case.order.quantity,
        temperature: class,
        need_min_c,
        need_max_c,
        priority: case.priority,
        ready_ms: group.pack_out_ms,
        target_ms: group.deliver_until_ms,
        deadline_ms: group.deliver_until_ms,
        allowed_shops: Vec::new(),
        lost,
    }
}

/// What all decisions of a call have in common.
struct Round {
    now_ms: i64,
    attempt: i32,
    rule_revision: i64,
    gap_bound: i64,
}

/// The message that is stored for a case; `decision` is `None` when it never got to the dispatcher.
fn told(case: &Case, group: &Group, decision: Option<&Decision>, round: &Round) -> v1::Decision {
    let mut told = v1::Decision {
        name: format!("{}/decision", order_name(group.id, case.order_id)),
        outcome: Outcome::Unassigned as i32,
        priority: case.priority,
        rule_revision: round.rule_revision,
        matched_rules: case.matched.clone(),
        complete_time_ms: group.complete_ms,
        decide_time_ms: round.now_ms,
        attempt: round.attempt,
        gap_bound: round.gap_bound,
        ..Default::default()
    };
    if let Some((field, _)) = &case.invalid {
        told.reasons.push(v1::Reason {
            code: ORDER_INVALID.into(),
            subject: field.clone(),
            ..Default::default()
        });
    }
    let Some(decision) = decision else { return told };
    told.reasons.extend(decision.reasons.iter().map(|reason| v1::Reason {
        code: reason.code.name().into(),
        measured: reason.measured as f64,
        limit: reason.limit as f64,
        subject: match (reason.rider_id, reason.shop_id) {
            (NOBODY, NOBODY) => String::new(),
            (NOBODY, shop_id) => format!("shops/{shop_id}"),
            (rider_id, _) => format!("riders/{rider_id}"),
        },
    }));
    told.alternatives.extend(decision.alternatives.iter().map(|other| v1::Alternative {
        shop: format!("shops/{}", other.shop_id),
        rider: format!("riders/{}", other.rider_id),
        extra_cost: other.extra_cost,
    }));
    if let Some(chosen) = &decision.assignment {
        told.outcome = Outcome::Assigned as i32;
        told.shop = format!("shops/{}", chosen.shop_id);
        told.rider = format!("riders/{}", chosen.rider_id);
        told.pickup_time_ms = chosen.pickup_ms;
        told.dropoff_time_ms = chosen.dropoff_ms;
        told.distance_m = chosen.approach_m + chosen.delivery_m;
    }
    told
}

/// Everything between the arguments and the rows; runs without the GIL.
struct Work<'a> {
    dispatcher: &'a Dispatcher,
    skus: &'a SkuCodes,
    rules: Option<&'a Rules>,
    groups: Vec<Group>,
    orders: Vec<(i64, PyBackedBytes)>,
    lost: FxHashMap<i64, Vec<Lost>>,
    origin: (f64, f64),
    policy: Policy,
}

/// Cases, the position of each in the decisions, the decisions, and how the rules fared.
type Worked = (Vec<Case>, Vec<Option<usize>>, Decisions, RuleCounts);

impl Work<'_> {
    fn run(&mut self, now_ms: i64) -> PyResult<Worked> {
        let mut cases = self.cases()?;
        let counts = match self.rules {
            Some(rules) => ask_rules(rules, &mut cases, &self.groups, now_ms),
            None => RuleCounts::default(),
        };
        let mut asks = Vec::with_capacity(cases.len());
        let mut positions = Vec::with_capacity(cases.len());
        let known = self.skus.known.lock().map_err(|_| broken())?;
        for case in &cases {
            positions.push(case.invalid.is_none().then_some(asks.len()));
            if case.invalid.is_none() {
                let sku = known.codes.get(&case.order.sku).copied().unwrap_or(SKU_UNKNOWN);
                let lost = self.lost.remove(&case.order_id).unwrap_or_default();
                asks.push(ask_of(case, &self.groups[case.group], sku, self.origin, lost));
            }
        }
        drop(known);
        let decisions = decide_orders(self.dispatcher, &asks, now_ms, &self.policy);
        Ok((cases, positions, decisions, counts))
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
    let rules = rules.map(|set| set.get().inner());
    let mut work = Work {
        dispatcher: dispatcher.get(),
        skus: skus.get(),
        rules: rules.as_deref(),
        groups: groups.into_iter().map(Group::read).collect::<PyResult<_>>()?,
        orders,
        lost: lost_pairs,
        origin,
        policy: read_policy(policy)?,
    };
    let (cases, positions, decisions, counts, bodies, round) = py.detach(|| {
        let (cases, positions, decisions, counts) = work.run(now_ms)?;
        let round = Round { now_ms, attempt, rule_revision, gap_bound: decisions.gap_bound };
        let told = cases.iter().zip(&positions).map(|(case, at)| {
            let decision = at.and_then(|at| decisions.decisions.get(at));
            Bytes::from(told(case, &work.groups[case.group], decision, &round).encode_to_vec())
        });
        let bodies: Vec<Bytes> = told.collect();
        PyResult::Ok((cases, positions, decisions, counts, bodies, round))
    })?;
    Decided::new(py, &work.groups, &cases, &positions, &decisions, &bodies, &round, counts)
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
}

impl Decided {
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        groups: &[Group],
        cases: &[Case],
        positions: &[Option<usize>],
        decisions: &Decisions,
        bodies: &[Bytes],
        round: &Round,
        counts: RuleCounts,
    ) -> PyResult<Decided> {
        let (mut reservations, mut unassigned, mut invalid) = (Vec::new(), Vec::new(), Vec::new());
        let rows = PyList::empty(py);
        for ((case, at), body) in cases.iter().zip(positions).zip(bodies) {
            let group = &groups[case.group];
            let chosen = at.and_then(|at| decisions.decisions.get(at)?.assignment.as_ref());
            let (sku, quantity, cold) = (&case.order.sku, case.order.quantity, case.is_cold());
            let (shop_id, rider_id, pickup_ms) =
                chosen.map_or((0, 0, 0), |c| (c.shop_id, c.rider_id, c.pickup_ms));
            match chosen {
                Some(_) => reservations.push((
                    case.order_id,
                    shop_id,
                    rider_id,
                    sku.clone(),
                    quantity,
                    cold,
                    group.pack_out_ms,
                    pickup_ms,
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
            gap_bound: round.gap_bound,
        })
    }
}

/// What every rule says about one order. See `_core.pyi` for the contract.
#[pyfunction]
fn explain(
    py: Python<'_>,
    rules: &Bound<'_, RuleSet>,
    group: GroupColumns,
    order: PyBackedBytes,
    now_ms: i64,
) -> PyResult<Vec<VerdictColumns>> {
    let rules = rules.get().inner();
    let group = Group::read(group)?;
    let order =
        v1::Order::decode(&*order).map_err(|e| PyValueError::new_err(format!("not an Order: {e}")))?;
    Ok(py.detach(|| {
        let mut columns = rules.columns();
        Slots::of(rules.schema()).fill(&mut columns, &order, &group.view());
        rules
            .explain(&columns, 0, now_ms)
            .into_iter()
            .map(|verdict| verdict_columns(&rules, verdict))
            .collect()
    }))
}

fn verdict_columns(rules: &Rules, verdict: cuptime_rules::Verdict) -> VerdictColumns {
    use cuptime_rules::Outcome as Said;
    use v1::rule_verdict::Verdict as Code;
    let id =
        rules.rules().get(verdict.rule as usize).map(|rule| rule.source().id.clone()).unwrap_or_default();
    let none = String::new;
    match verdict.outcome {
        Said::Matched => (id, Code::Matched as i32, none(), none(), none(), none()),
        Said::NotMatched { leaf, value, wanted, .. } => {
            (id, Code::NotMatched as i32, leaf, value, wanted, none())
        }
        Said::Error { kind, message, .. } => {
            (id, Code::Error as i32, none(), none(), none(), format!("{kind}: {message}"))
        }
        Said::Inactive => (id, Code::Inactive as i32, none(), none(), none(), none()),
    }
}
