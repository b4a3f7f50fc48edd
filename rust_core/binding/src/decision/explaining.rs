//! A decision's rules asked again about what it recorded: verdicts of the order, and of each recorded rider and shop.
use cuptime_intake::facts::{Slots, NAMES};
use cuptime_intake::phases::{Level, Phases};
use cuptime_intake::wire::v1::{self, rule_verdict::Verdict as Code};
use cuptime_intake::wire::Message;
use cuptime_rules::{
    Columns, Facts, HitPolicy, OnError, Outcome as Said, PairRules, RuleIndex, RuleSet as Rules, Verdict,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;
use rustc_hash::FxHashSet;

use super::cases::{on_earth, Group, GroupColumns};
use super::facts;
use crate::dispatch::Dispatcher;
use crate::rules::RuleSet;

/// Adds this room's functions to the module.
pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(judged_by_hand, m)?)?;
    m.add_function(wrap_pyfunction!(explain, m)?)
}

/// Verdicts about pairs in one explanation, at most: whoever was chosen comes first.
const PAIR_VERDICTS_MAX: usize = 10_000;

/// (rule, verdict, condition, value, wanted, error)
type VerdictColumns = (String, i32, String, String, String, String);

/// (`riders/1` or `shops/1`, what the rules about pairs say of it)
type PairColumns = (String, Vec<VerdictColumns>);

/// A decision with the facts of whom a person chose. See `_core.pyi` for the contract.
#[pyfunction]
fn judged_by_hand<'py>(
    py: Python<'py>,
    dispatcher: &Bound<'py, Dispatcher>,
    decision: PyBackedBytes,
    shop_id: i64,
    rider_id: i64,
    origin: (f64, f64),
) -> PyResult<Bound<'py, PyBytes>> {
    on_earth(origin.0, origin.1)?;
    let mut decision = v1::Decision::decode(&*decision)
        .map_err(|e| PyValueError::new_err(format!("not a Decision: {e}")))?;
    if let Some(judged) = &mut decision.judged {
        let park = dispatcher.get().read();
        judged.riders =
            park.rider(rider_id).map(|rider| facts::rider_now(rider, origin)).into_iter().collect();
        judged.shops = park.shop(shop_id).map(|shop| facts::shop_now(shop, origin)).into_iter().collect();
    }
    Ok(PyBytes::new(py, &decision.encode_to_vec()))
}

/// What every rule says about one order. See `_core.pyi` for the contract.
#[pyfunction]
fn explain(
    py: Python<'_>,
    rules: &Bound<'_, RuleSet>,
    group: GroupColumns,
    order: PyBackedBytes,
    decision: PyBackedBytes,
    now_ms: i64,
) -> PyResult<(Vec<VerdictColumns>, Vec<PairColumns>)> {
    let (rules, phases) = (rules.get().inner(), rules.get().phases(py));
    let group = Group::read(group)?;
    let order =
        v1::Order::decode(&*order).map_err(|e| PyValueError::new_err(format!("not an Order: {e}")))?;
    let decision = v1::Decision::decode(&*decision)
        .map_err(|e| PyValueError::new_err(format!("not a Decision: {e}")))?;
    Ok(py.detach(|| {
        let judged = decision.judged.unwrap_or(v1::JudgedFacts {
            judge_time_ms: now_ms,
            member_count: group.member_count,
            ..Default::default()
        });
        let mut columns = rules.columns();
        let view = cuptime_intake::facts::GroupView { member_count: judged.member_count, ..group.view() };
        Slots::of(rules.schema()).fill(&mut columns, &order, &view);
        let asked = Asked { rules: &rules, phases: &phases, order: &columns, now_ms: judged.judge_time_ms };
        let open = asked.open();
        (asked.of_order(&open), asked.of_pairs(&open, &judged))
    }))
}

/// What was asked: an order under its rules, at its time.
struct Asked<'a> {
    rules: &'a Rules,
    phases: &'a Phases,
    /// One row.
    order: &'a Columns,
    now_ms: i64,
}

impl Asked<'_> {
    /// Rules about pairs that may match some pair of this order, by their rank in the whole set.
    fn open(&self) -> FxHashSet<RuleIndex> {
        let Some(phase) = &self.phases.pairs else { return FxHashSet::default() };
        let open = PairRules::of(&phase.set, NAMES.len()).open(&phase.set, (self.order, 0), self.now_ms);
        open.into_iter().map(|open| phase.whole_ranks[open.rule as usize]).collect()
    }

    /// The level of a rule about pairs.
    fn pair_level(&self, rank: RuleIndex) -> Option<Level> {
        let phase = self.phases.pairs.as_ref()?;
        phase.whole_ranks.binary_search(&rank).ok().map(|at| phase.levels[at])
    }

    fn decides(&self, rank: RuleIndex) -> bool {
        self.phases.decision.whole_ranks.binary_search(&rank).is_ok()
    }

    fn of_order(&self, open: &FxHashSet<RuleIndex>) -> Vec<VerdictColumns> {
        let facts = Facts::Row { columns: self.order, row: 0 };
        let told = self.rules.explain_facts(facts, self.now_ms, |rank| self.decides(rank));
        let deciders = self.deciders(&told);
        let verdict = |verdict: Verdict| {
            let rank = verdict.rule;
            let Some(level) = self.pair_level(rank) else {
                let only_refuses = verdict.outcome == Said::Matched && !self.decides(rank);
                return if only_refuses {
                    self.word(rank, Code::ForSubmission)
                } else {
                    self.columns(verdict)
                };
            };
            let never = matches!(verdict.outcome, Said::NotMatched { .. }) && !open.contains(&rank);
            if never || verdict.outcome == Said::Inactive {
                return self.columns(verdict);
            }
            match self.decider(&deciders, rank) {
                Some(by) if by < rank => self.columns(Verdict { rule: rank, outcome: Said::Shadowed { by } }),
                _ => {
                    let mut word = self.word(rank, Code::ForPairs);
                    word.2 = if level == Level::Shop { "each shop" } else { "each rider" }.to_string();
                    word
                }
            }
        };
        told.into_iter().map(verdict).collect()
    }

    fn of_pairs(&self, open: &FxHashSet<RuleIndex>, judged: &v1::JudgedFacts) -> Vec<PairColumns> {
        let mut others = self.rules.columns();
        let mut subjects = Vec::new();
        for rider in &judged.riders {
            facts::put_rider(&mut others, rider);
            subjects.push((format!("riders/{}", rider.rider_id), Level::Rider, others.end_row()));
        }
        for shop in &judged.shops {
            facts::put_shop(&mut others, shop);
            subjects.push((format!("shops/{}", shop.shop_id), Level::Shop, others.end_row()));
        }
        // Those chosen stand first in either list.
        subjects.sort_by_key(|(_, level, row)| match level {
            Level::Shop => row - judged.riders.len(),
            _ => *row,
        });
        let mut room = PAIR_VERDICTS_MAX;
        let mut pairs = Vec::new();
        for (subject, level, row) in subjects {
            let facts = Facts::Pair { order: (self.order, 0), other: (&others, row), split: NAMES.len() };
            let speaks = |rank| self.decides(rank) || self.pair_level(rank) == Some(level);
            let told = self.rules.explain_facts(facts, self.now_ms, speaks);
            let of_level = told.into_iter().filter(|verdict| {
                self.pair_level(verdict.rule) == Some(level) && open.contains(&verdict.rule)
            });
            let verdicts: Vec<VerdictColumns> =
                of_level.take(room).map(|verdict| self.columns(verdict)).collect();
            room -= verdicts.len();
            if !verdicts.is_empty() {
                pairs.push((subject, verdicts));
            }
        }
        pairs
    }

    /// By namespace of which the first match decides: the rule about the order that does.
    fn deciders(&self, told: &[Verdict]) -> Vec<Option<RuleIndex>> {
        let mut deciders = vec![None; self.rules.namespaces().len()];
        for verdict in told.iter().filter(|verdict| self.decides(verdict.rule)) {
            let source = self.rules.rules()[verdict.rule as usize].source();
            let decides = match verdict.outcome {
                Said::Matched => true,
                Said::Error { .. } => source.on_error != OnError::Skip,
                _ => false,
            };
            if decides && self.rules.namespaces()[source.namespace].hit_policy == HitPolicy::First {
                deciders[source.namespace].get_or_insert(verdict.rule);
            }
        }
        deciders
    }

    fn decider(&self, deciders: &[Option<RuleIndex>], rank: RuleIndex) -> Option<RuleIndex> {
        deciders[self.rules.rules()[rank as usize].source().namespace]
    }

    fn id(&self, rank: RuleIndex) -> String {
        self.rules.rules().get(rank as usize).map_or_else(String::new, |rule| rule.source().id.clone())
    }

    fn word(&self, rank: RuleIndex, code: Code) -> VerdictColumns {
        (self.id(rank), code as i32, String::new(), String::new(), String::new(), String::new())
    }

    fn columns(&self, verdict: Verdict) -> VerdictColumns {
        let mut word = self.word(verdict.rule, Code::Matched);
        match verdict.outcome {
            Said::Matched => {}
            Said::NotMatched { leaf, value, wanted, .. } => {
                (word.1, word.2, word.3, word.4) = (Code::NotMatched as i32, leaf, value, wanted);
            }
            Said::Error { kind, message, .. } => {
                (word.1, word.5) = (Code::Error as i32, format!("{kind}: {message}"));
            }
            Said::Inactive => word.1 = Code::Inactive as i32,
            Said::Shadowed { by } => (word.1, word.3) = (Code::Shadowed as i32, self.id(by)),
        }
        word
    }
}
