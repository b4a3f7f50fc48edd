//! One order on its way to a decision: what is read, what the rules say, what the dispatcher is asked, what is told.
use cuptime_dispatch::{Decision, Lost, Order as Ask, TemperatureClass, NOBODY};
use cuptime_intake::facts::{place_of, GroupView, RuleAction, RuleCounts, Slots};
use cuptime_intake::wire::v1::{self, decision::Outcome};
use cuptime_intake::wire::Message;
use cuptime_intake::{order_name, project as to_metres, recheck};
use cuptime_rules::{Matches, Mode, RuleSet as Rules, Tally};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// The priority of an order that no rule gives one.
const PRIORITY_DEFAULT: i32 = 50;

/// Why an order that was admitted cannot be decided: it is not in storage as it was put there.
const ORDER_INVALID: &str = "ORDER_INVALID";

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
        Case { order_id, group, order, invalid, priority: PRIORITY_DEFAULT, matched: Vec::new() }
    }

    pub(super) fn is_cold(&self) -> bool {
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
pub(super) fn ask_rules(rules: &Rules, cases: &mut [Case], groups: &[Group], now_ms: i64) -> RuleCounts {
    let (slots, mut columns, mut tally) = (Slots::of(rules.schema()), rules.columns(), Tally::new(rules));
    for case in cases.iter().filter(|case| case.invalid.is_none()) {
        slots.fill(&mut columns, &case.order, &groups[case.group].view());
    }
    let mut matches = Matches::default();
    rules.evaluate_batch(&columns, now_ms, Mode::Collect, &mut matches, &mut tally);
    for (row, case) in cases.iter_mut().filter(|case| case.invalid.is_none()).enumerate() {
        let mut counted = false;
        for source in matches
            .of(row)
            .iter()
            .filter_map(|rank| rules.rules().get(*rank as usize))
            .map(|rule| rule.source())
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
pub(super) fn ask_of(case: &Case, group: &Group, sku: u32, origin: (f64, f64), lost: Vec<Lost>) -> Ask {
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

/// What holds for every decision of a call.
pub(super) struct Round {
    pub(super) now_ms: i64,
    pub(super) attempt: i32,
    pub(super) rule_revision: i64,
    pub(super) gap_bound: i64,
}

/// The message that is stored for a case; `decision` is `None` when it never got to the dispatcher.
pub(super) fn told(case: &Case, group: &Group, decision: Option<&Decision>, round: &Round) -> v1::Decision {
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
        told.commit_time_ms = chosen.commit_ms;
        told.pickup_time_ms = chosen.pickup_ms;
        told.dropoff_time_ms = chosen.dropoff_ms;
        told.distance_m = chosen.approach_m + chosen.delivery_m;
    }
    told
}
