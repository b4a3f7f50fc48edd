//! Orders that have an assignment, solved anew under the rules that they were decided by.
//!
//! What a decision recorded of the moment its rules were asked is taken as it is: time and members. The riders and
//! shops are those of now, for it is with them that an order would go. So a better assignment never goes where the
//! rules of its decision forbid it, and costs what they make it cost.
use std::collections::HashMap;
use std::sync::Arc;

use cuptime_dispatch::{
    Decision, Judge, Order as Ask, Rider, Said, Shop, AS_IT_IS, PERCENT_MAX, PERCENT_MIN,
};
use cuptime_intake::phases::Phases;
use cuptime_intake::wire::v1;
use cuptime_intake::wire::Message;
use cuptime_rules::{Columns, RuleSet as Rules};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyTuple};
use rustc_hash::FxHashMap;

use super::cases::{ask_rules, facts_of, on_earth, weighted, Case, Group, GroupColumns};
use super::judging::RuleJudge;
use crate::dispatch::{
    decide_orders, decision_columns, read_orders, read_policy, DecisionColumns, Dispatcher,
};
use crate::rules::RuleSet;

/// Adds this room's functions to the module.
pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(decide_again, m)?)
}

/// (rules, group, order, its decision, its shop, its rider)
type BoundColumns<'py> = (Bound<'py, RuleSet>, GroupColumns, PyBackedBytes, PyBackedBytes, i64, i64);

/// (hundredths that costs count now, and where it would go; a Decision with what the rules say there)
type WordColumns<'py> = (i64, i64, Bound<'py, PyBytes>);

/// An order whose decision rules had a say in.
struct Binding {
    rules: Arc<Rules>,
    phases: Arc<Phases>,
    group: Group,
    order: PyBackedBytes,
    judged: v1::JudgedFacts,
    shop_id: i64,
    rider_id: i64,
}

/// Orders that were judged at one time under one rule set, each a row of the columns.
struct Batch {
    phases: Arc<Phases>,
    rules: Arc<Rules>,
    judge_time_ms: i64,
    /// Places among all orders.
    at: Vec<usize>,
    groups: Vec<Group>,
    cases: Vec<Case>,
}

/// Decides orders again. See `_core.pyi` for the contract.
#[pyfunction]
#[pyo3(signature = (dispatcher, orders, bound, now_ms, origin, policy=None))]
#[allow(clippy::type_complexity)] // Rows and words, as the contract names them.
fn decide_again<'py>(
    py: Python<'py>,
    dispatcher: &Bound<'py, Dispatcher>,
    orders: Vec<Bound<'py, PyTuple>>,
    bound: Vec<Option<BoundColumns<'py>>>,
    now_ms: i64,
    origin: (f64, f64),
    policy: Option<HashMap<String, f64>>,
) -> PyResult<(Vec<DecisionColumns>, Vec<Option<WordColumns<'py>>>)> {
    on_earth(origin.0, origin.1)?;
    let (orders, policy) = (read_orders(orders, now_ms)?, read_policy(policy)?);
    if bound.len() != orders.len() {
        return Err(PyValueError::new_err("one binding, or None, for each order"));
    }
    let bound: Vec<Option<Binding>> = bound
        .into_iter()
        .map(|one| one.map(|one| Binding::read(py, one)).transpose())
        .collect::<PyResult<_>>()?;
    let dispatcher = dispatcher.get();
    let (decisions, words) = py.detach(|| solved(dispatcher, orders, bound, now_ms, origin, &policy));
    let rows = decisions.into_iter().map(decision_columns).collect();
    let word = |word: Option<Word>| {
        word.map(|word| (word.before, word.after, PyBytes::new(py, &word.told.encode_to_vec())))
    };
    Ok((rows, words.into_iter().map(word).collect()))
}

impl Binding {
    fn read(py: Python<'_>, columns: BoundColumns<'_>) -> PyResult<Binding> {
        let (rules, group, order, decision, shop_id, rider_id) = columns;
        let decision = v1::Decision::decode(&*decision)
            .map_err(|e| PyValueError::new_err(format!("not a Decision: {e}")))?;
        let mut group = Group::read(group)?;
        let judged = decision.judged.unwrap_or(v1::JudgedFacts {
            judge_time_ms: decision.decide_time_ms,
            member_count: group.member_count,
            ..Default::default()
        });
        group.member_count = judged.member_count;
        let set = rules.get();
        Ok(Binding { rules: set.inner(), phases: set.phases(py), group, order, judged, shop_id, rider_id })
    }
}

/// What rules say of an order where it is, and where it would go.
struct Word {
    before: i64,
    after: i64,
    told: v1::Decision,
}

fn solved(
    dispatcher: &Dispatcher,
    mut orders: Vec<Ask>,
    bound: Vec<Option<Binding>>,
    now_ms: i64,
    origin: (f64, f64),
    policy: &cuptime_dispatch::Policy,
) -> (Vec<Decision>, Vec<Option<Word>>) {
    // By order: where it is, when its rules were asked, and where its case is.
    let mut places = vec![None; orders.len()];
    let mut batches = batches(&orders, bound, &mut places);
    let facts: Vec<Columns> = batches.iter_mut().map(asked).collect();
    let judges: Vec<RuleJudge<'_>> = batches
        .iter()
        .zip(&facts)
        .map(|(batch, facts)| RuleJudge::new(&batch.phases, facts, origin))
        .collect();
    let mut judges = Judges { judges, of: Vec::new() };
    for (at, batch) in batches.iter().enumerate() {
        judges.class(at, batch, &mut orders);
    }
    let decisions = decide_orders(dispatcher, &orders, now_ms, policy, &judges).decisions;
    let word = |(at, place): (usize, Option<Place>)| {
        let place = place?;
        let (batch, class) = (&batches[place.batch], orders[at].class);
        let chosen = decisions[at].assignment.as_ref();
        let after = chosen.map(|chosen| (chosen.shop_id, chosen.rider_id)).unwrap_or(place.now);
        let case = &batch.cases[place.case];
        let mut told = v1::Decision { matched_rules: case.matched.clone(), ..Default::default() };
        let (mut riders, mut shops) = (Vec::new(), Vec::new());
        if let Some((judge, own)) = judges.own(class) {
            (riders, shops) = judge.seen(own, &decisions[at]);
            weighted(&mut told, &batch.rules, judge.weighing(own, after.0, after.1));
        }
        let member_count = batch.groups[place.case].member_count;
        let judge_time_ms = batch.judge_time_ms;
        told.judged = Some(v1::JudgedFacts { judge_time_ms, member_count, riders, shops });
        let percent = |pair| judges.percent(dispatcher, class, pair);
        Some(Word { before: percent(place.now), after: percent(after), told })
    };
    let words = places.into_iter().enumerate().map(word).collect();
    (decisions, words)
}

#[derive(Clone, Copy)]
struct Place {
    batch: usize,
    case: usize,
    now: (i64, i64),
}

fn batches(orders: &[Ask], bound: Vec<Option<Binding>>, places: &mut [Option<Place>]) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    let mut by_key: FxHashMap<(usize, i64), usize> = FxHashMap::default();
    for (at, one) in bound.into_iter().enumerate() {
        let Some(one) = one else { continue };
        let key = (Arc::as_ptr(&one.rules) as usize, one.judged.judge_time_ms);
        let batch = *by_key.entry(key).or_insert_with(|| {
            batches.push(Batch {
                phases: Arc::clone(&one.phases),
                rules: Arc::clone(&one.rules),
                judge_time_ms: one.judged.judge_time_ms,
                at: Vec::new(),
                groups: Vec::new(),
                cases: Vec::new(),
            });
            batches.len() - 1
        });
        let case = batches[batch].cases.len();
        batches[batch].cases.push(Case::read(orders[at].order_id, case, &one.order, one.group.id));
        batches[batch].groups.push(one.group);
        batches[batch].at.push(at);
        places[at] = Some(Place { batch, case, now: (one.shop_id, one.rider_id) });
    }
    batches
}

/// Asks the rules about the orders themselves; gives the facts of those that are valid.
fn asked(batch: &mut Batch) -> Columns {
    let phase = &batch.phases.decision;
    let columns = facts_of(&phase.set, &batch.cases, &batch.groups);
    ask_rules(phase, &columns, &mut batch.cases, batch.judge_time_ms);
    columns
}

/// The judges of all batches as one: a class is one of theirs.
struct Judges<'a> {
    judges: Vec<RuleJudge<'a>>,
    /// By class less one: the judge, and its class.
    of: Vec<(usize, u32)>,
}

impl Judges<'_> {
    /// Gives the orders of a batch their classes.
    fn class(&mut self, judge: usize, batch: &Batch, orders: &mut [Ask]) {
        let mut known: FxHashMap<u32, u32> = FxHashMap::default();
        let mut row = 0;
        for (case, at) in batch.cases.iter().zip(&batch.at) {
            if case.invalid.is_some() || case.fault.is_some() {
                // It is not as it was decided: nobody may have it, so it stays where it is.
                orders[*at].allowed_shops = vec![i64::MIN];
                row += usize::from(case.invalid.is_none());
                continue;
            }
            let own = self.judges[judge].class_of(row, case.bounds.clone(), batch.judge_time_ms);
            row += 1;
            if own != 0 {
                let of = &mut self.of;
                orders[*at].class = *known.entry(own).or_insert_with(|| {
                    of.push((judge, own));
                    of.len() as u32
                });
            }
        }
    }

    fn own(&self, class: u32) -> Option<(&RuleJudge<'_>, u32)> {
        let (judge, own) = self.of.get((class as usize).checked_sub(1)?)?;
        Some((&self.judges[*judge], *own))
    }

    /// What the costs of a pair are multiplied by, hundredths; of one that may not be, as dear as any can be.
    fn percent(&self, dispatcher: &Dispatcher, class: u32, (shop_id, rider_id): (i64, i64)) -> i64 {
        let park = dispatcher.read();
        let (Some(shop), Some(rider), true) = (park.shop(shop_id), park.rider(rider_id), class != 0) else {
            return 100;
        };
        match (self.of_shop(class, shop), self.of_rider(class, rider)) {
            (Said::May(one), Said::May(other)) => (one * other / 100).clamp(PERCENT_MIN, PERCENT_MAX),
            _ => PERCENT_MAX,
        }
    }
}

impl Judge for Judges<'_> {
    fn of_shop(&self, class: u32, shop: &Shop) -> Said {
        self.own(class).map_or(AS_IT_IS, |(judge, own)| judge.of_shop(own, shop))
    }

    fn of_rider(&self, class: u32, rider: &Rider) -> Said {
        self.own(class).map_or(AS_IT_IS, |(judge, own)| judge.of_rider(own, rider))
    }
}
