//! One order on its way to a decision: what is read, what the rules say, what the dispatcher is asked, what is told.
use cuptime_dispatch::{Decision, Lost, Order as Ask, ReasonCode, TemperatureClass, NOBODY};
use cuptime_intake::effects::Effect;
use cuptime_intake::facts::{place_of, GroupView, Slots};
use cuptime_intake::phases::{Phase, RuleCounts};
use cuptime_intake::wire::v1::{self, decision::Outcome};
use cuptime_intake::wire::Message;
use cuptime_intake::{order_name, project as to_metres, recheck};
use cuptime_rules::{Columns, Matches, Mode, RuleIndex, RuleSet as Rules, Tally};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::judging::{Bounds, RuleJudge};

/// The priority of an order that no rule gives one.
const PRIORITY_DEFAULT: i32 = 50;

/// Why an order that was admitted cannot be decided: it is not in storage as it was put there.
const ORDER_INVALID: &str = "ORDER_INVALID";
/// A rule has no value and does not let that pass.
const RULE_ERROR: &str = "RULE_ERROR";
/// A rule puts the decision off (measured: until when; limit: until when at most).
const RULE_DELAYED: &str = "RULE_DELAYED";
/// A rule makes the chosen pair dearer or cheaper (measured: hundredths; limit: 100).
const RULE_WEIGHTED: &str = "RULE_WEIGHTED";

/// (group_seq, group_id, park, capacity, member_count, latitude, longitude, complete_ms, pack_out_ms, deliver_until_ms)
pub(super) type GroupColumns = (i64, i64, String, i64, i64, f64, f64, i64, i64, i64);

/// Checks a latitude and a longitude.
pub(super) fn on_earth(latitude: f64, longitude: f64) -> PyResult<()> {
    // NaN is in no range.
    if (-90.0..=90.0).contains(&latitude) && (-180.0..=180.0).contains(&longitude) {
        return Ok(());
    }
    Err(PyValueError::new_err(format!(
        "({latitude}, {longitude}) is not a latitude and a longitude in degrees"
    )))
}

/// From 1970 on, with room to add to it.
pub(super) fn is_instant(ms: i64) -> bool {
    (0..=1 << 62).contains(&ms)
}

/// A group whose orders are decided.
pub(super) struct Group {
    pub(super) seq: i64,
    pub(super) id: i64,
    pub(super) park: String,
    pub(super) capacity: i64,
    pub(super) member_count: i64,
    pub(super) latitude: f64,
    pub(super) longitude: f64,
    pub(super) complete_ms: i64,
    pub(super) pack_out_ms: i64,
    pub(super) deliver_until_ms: i64,
}

impl Group {
    pub(super) fn read(columns: GroupColumns) -> PyResult<Group> {
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

    pub(super) fn view(&self) -> GroupView<'_> {
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
pub(super) struct Case {
    pub(super) order_id: i64,
    /// Position in the groups.
    pub(super) group: usize,
    pub(super) order: v1::Order,
    /// Field and message, when the order is not what was admitted.
    pub(super) invalid: Option<(String, String)>,
    pub(super) priority: i32,
    pub(super) matched: Vec<String>,
    /// What rules brought about, as far as it counts.
    pub(super) applied: Vec<v1::AppliedAction>,
    pub(super) bounds: Bounds,
    /// The temperature class that a rule gives it.
    class: Option<TemperatureClass>,
    /// The rule that puts it off, and by how much.
    delay: Option<(RuleIndex, i64)>,
    /// The rule that has no value and does not let that pass, and what happened.
    pub(super) fault: Option<(String, String)>,
}

impl Case {
    pub(super) fn read(order_id: i64, group: usize, body: &[u8], group_id: i64) -> Case {
        let (order, invalid) = match v1::Order::decode(body) {
            Err(error) => (v1::Order::default(), Some((String::new(), error.to_string()))),
            Ok(order) => {
                let refused = recheck(&order, group_id).err();
                (order, refused.map(|r| (r.metadata.get("field").cloned().unwrap_or_default(), r.message)))
            }
        };
        Case {
            order_id,
            group,
            order,
            invalid,
            priority: PRIORITY_DEFAULT,
            matched: Vec::new(),
            applied: Vec::new(),
            bounds: Bounds::default(),
            class: None,
            delay: None,
            fault: None,
        }
    }

    pub(super) fn is_cold(&self) -> bool {
        self.temperature() == TemperatureClass::Cold
    }

    fn temperature(&self) -> TemperatureClass {
        self.class.unwrap_or_else(|| temperature(self.order.temperature_class))
    }
}

fn temperature(class: i32) -> TemperatureClass {
    match v1::TemperatureClass::try_from(class) {
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

/// Asks the rules about every valid case, each a row of `columns`. Refuse rules had their say at admission.
///
/// Of what excludes each other the first rule by rank counts: priority, temperature class, delay, weight. Bounds of
/// shops and riders hold together.
pub(super) fn ask_rules(phase: &Phase, columns: &Columns, cases: &mut [Case], now_ms: i64) -> RuleCounts {
    let set = &phase.set;
    let mut tally = Tally::new(set);
    let mut matches = Matches::default();
    set.evaluate_batch(columns, now_ms, Mode::Policy, &mut matches, &mut tally);
    for (row, case) in cases.iter_mut().filter(|case| case.invalid.is_none()).enumerate() {
        if let Some(fault) = matches.faults_of(row).next() {
            let told = set.explain(columns, row, now_ms);
            let why = told.get(fault as usize).map_or_else(String::new, |verdict| verdict.told());
            case.fault = Some((phase.id(fault).to_string(), why));
        }
        for rank in matches.of(row) {
            case.matched.push(phase.id(*rank).to_string());
            if let Some(namespace) = phase.first_of(*rank) {
                case.bounds.deciders.push((namespace, phase.whole_ranks[*rank as usize]));
            }
            let source = phase.set.rules()[*rank as usize].source();
            for (effect, action) in phase.effects[*rank as usize].iter().zip(&source.actions) {
                if case.apply(phase.whole_ranks[*rank as usize], effect) {
                    case.applied.push(v1::AppliedAction {
                        rule: source.id.clone(),
                        kind: action.kind.clone(),
                        value: action.value.clone(),
                    });
                }
            }
        }
        if let Some(at) = case.applied.iter().position(|a| a.kind == "assign_rider_priority") {
            // First the one that counted.
            let counted = case.matched.iter().position(|rule| *rule == case.applied[at].rule).unwrap_or(0);
            case.matched[..=counted].rotate_right(1);
        }
    }
    RuleCounts::of(set, &tally, |_| (true, true))
}

/// Puts the facts of every valid case into columns, a row each.
pub(super) fn facts_of(set: &Rules, cases: &[Case], groups: &[Group]) -> Columns {
    let (slots, mut columns) = (Slots::of(set.schema()), set.columns());
    for case in cases.iter().filter(|case| case.invalid.is_none()) {
        slots.fill(&mut columns, &case.order, &groups[case.group].view());
    }
    columns
}

/// How long before the pack-out a decision is made at the latest, whatever a rule puts off, milliseconds.
const DELAY_ENDS_BEFORE_MS: i64 = 300_000;

impl Case {
    /// Takes an effect of a rule that matched. Whether it counts.
    fn apply(&mut self, rank: RuleIndex, effect: &Effect) -> bool {
        match effect {
            Effect::Priority(priority) => {
                let counts = !self.has("assign_rider_priority");
                self.priority = if counts { *priority } else { self.priority };
                counts
            }
            Effect::Tag(_) => true,
            Effect::OnlyShops(ids) => bound(&mut self.bounds.shops, rank, ids, true),
            Effect::NotShops(ids) => bound(&mut self.bounds.shops, rank, ids, false),
            Effect::OnlyRiders(ids) => bound(&mut self.bounds.riders, rank, ids, true),
            Effect::NotRiders(ids) => bound(&mut self.bounds.riders, rank, ids, false),
            Effect::TemperatureClass(class) => {
                let counts = self.class.is_none();
                self.class = self.class.or(Some(temperature(*class as i32)));
                counts
            }
            Effect::DelayMs(delay_ms) => {
                let counts = self.delay.is_none();
                self.delay = self.delay.or(Some((rank, *delay_ms)));
                counts
            }
            Effect::WeightPercent(percent) => {
                let counts = self.bounds.percent.is_none();
                self.bounds.percent = self.bounds.percent.or(Some(i64::from(*percent)));
                counts
            }
            Effect::Refuse(_) | Effect::Exclude(_) => false,
        }
    }

    fn has(&self, kind: &str) -> bool {
        self.applied.iter().any(|applied| applied.kind == kind)
    }

    /// Until when the decision is put off; `None` when it is not. Only the first try is.
    pub(super) fn delayed_until_ms(&self, group: &Group, round: &Round) -> Option<(RuleIndex, i64, i64)> {
        let (rank, delay_ms) = self.delay.filter(|_| round.attempt == 1)?;
        let latest_ms = group.pack_out_ms.saturating_sub(DELAY_ENDS_BEFORE_MS);
        let until_ms = group.complete_ms.saturating_add(delay_ms).min(latest_ms);
        (until_ms > round.now_ms).then_some((rank, until_ms, latest_ms))
    }

    /// Whether it goes to the dispatcher.
    pub(super) fn is_asked(&self, group: &Group, round: &Round) -> bool {
        self.invalid.is_none() && self.fault.is_none() && self.delayed_until_ms(group, round).is_none()
    }
}

fn bound(bounds: &mut Vec<(RuleIndex, Vec<i64>, bool)>, rank: RuleIndex, ids: &[i64], only: bool) -> bool {
    bounds.push((rank, ids.to_vec(), only));
    true
}

/// What the dispatcher is asked about a valid case.
pub(super) fn ask_of(
    case: &Case,
    group: &Group,
    sku: u32,
    origin: (f64, f64),
    lost: Vec<Lost>,
    class: u32,
) -> Ask {
    let place = place_of(&case.order, &group.view());
    let (x_m, y_m) = to_metres(origin, (place.latitude, place.longitude));
    let temperature = case.temperature();
    let (need_min_c, need_max_c) = range_c(temperature);
    Ask {
        order_id: case.order_id,
        group_id: group.id,
        x_m,
        y_m,
        sku,
        quantity: case.order.quantity,
        temperature,
        need_min_c,
        need_max_c,
        priority: case.priority,
        ready_ms: group.pack_out_ms,
        target_ms: group.deliver_until_ms,
        deadline_ms: group.deliver_until_ms,
        allowed_shops: Vec::new(),
        lost,
        class,
    }
}

/// What holds for every decision of a call.
pub(super) struct Round {
    pub(super) now_ms: i64,
    pub(super) attempt: i32,
    pub(super) rule_revision: i64,
    pub(super) gap_bound: i64,
}

/// What a decision was made by.
pub(super) struct Word<'a> {
    pub(super) decision: &'a Decision,
    pub(super) class: u32,
    pub(super) judge: Option<&'a RuleJudge<'a>>,
}

/// What the rules were asked about, as far as it changes afterwards.
fn judged(group: &Group, word: Option<&Word<'_>>, round: &Round) -> v1::JudgedFacts {
    let seen = word.and_then(|word| Some(word.judge?.seen(word.class, word.decision)));
    let (riders, shops) = seen.unwrap_or_default();
    v1::JudgedFacts { judge_time_ms: round.now_ms, member_count: group.member_count, riders, shops }
}

/// The message that is stored for a case; `word` is `None` when it never got to the dispatcher. `rules` is the whole
/// set, by whose ranks rules are known.
pub(super) fn told(
    case: &Case,
    group: &Group,
    word: Option<&Word<'_>>,
    rules: Option<&Rules>,
    round: &Round,
) -> v1::Decision {
    let id = |rank: i64| {
        let rule = rules.and_then(|set| set.rules().get(rank as usize));
        rule.map_or_else(String::new, |rule| rule.source().id.clone())
    };
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
        actions: case.applied.clone(),
        bound_by_rules: case.class.is_some() || word.is_some_and(|word| word.class != 0),
        judged: rules.map(|_| judged(group, word, round)),
        ..Default::default()
    };
    if let Some((field, _)) = &case.invalid {
        told.reasons.push(v1::Reason {
            code: ORDER_INVALID.into(),
            subject: field.clone(),
            ..Default::default()
        });
    }
    if let Some((rule, _)) = &case.fault {
        told.reasons.push(v1::Reason {
            code: RULE_ERROR.into(),
            subject: format!("rules/{rule}"),
            ..Default::default()
        });
    }
    if let Some((rank, until_ms, latest_ms)) = case.delayed_until_ms(group, round) {
        told.delayed_until_time_ms = until_ms;
        told.reasons.push(v1::Reason {
            code: RULE_DELAYED.into(),
            measured: until_ms as f64,
            limit: latest_ms as f64,
            subject: format!("rules/{}", id(i64::from(rank))),
        });
    }
    let Some(&Word { decision, class, judge }) = word else { return told };
    told.reasons.extend(decision.reasons.iter().map(|reason| {
        let of_rule = reason.code == ReasonCode::RuleExcluded;
        v1::Reason {
            code: reason.code.name().into(),
            // Of a rule: how many shops or riders it shuts out.
            measured: if of_rule { f64::from(reason.count) } else { reason.measured as f64 },
            limit: if of_rule { 0.0 } else { reason.limit as f64 },
            subject: match (reason.rider_id, reason.shop_id) {
                _ if of_rule => format!("rules/{}", id(reason.measured)),
                (NOBODY, NOBODY) => String::new(),
                (NOBODY, shop_id) => format!("shops/{shop_id}"),
                (rider_id, _) => format!("riders/{rider_id}"),
            },
        }
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
        told.commit_time_ms = chosen.commit_ms;
        told.pickup_time_ms = chosen.pickup_ms;
        told.dropoff_time_ms = chosen.dropoff_ms;
        told.distance_m = chosen.approach_m + chosen.delivery_m;
        let weighing = judge.map(|judge| judge.weighing(class, chosen.shop_id, chosen.rider_id));
        if let (Some(rules), Some(weighing)) = (rules, weighing) {
            weighted(&mut told, rules, weighing);
        }
    }
    told
}

/// Tells which rules about pairs weigh the chosen one: (rank, hundredths).
pub(super) fn weighted(told: &mut v1::Decision, rules: &Rules, weighing: Vec<(RuleIndex, i64)>) {
    for (rank, percent) in weighing {
        let rule = rules.rules().get(rank as usize).map_or_else(String::new, |rule| rule.source().id.clone());
        told.reasons.push(v1::Reason {
            code: RULE_WEIGHTED.into(),
            measured: percent as f64,
            limit: 100.0,
            subject: format!("rules/{rule}"),
        });
        told.matched_rules.push(rule);
    }
}
