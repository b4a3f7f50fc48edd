//! From orders to decisions: build the instance, solve it, and say it in ids, instants and reasons.
use crate::assign::{assign, Outcome};
use crate::candidates::{build, Candidates};
use crate::grid::distance_m;
use crate::judge::{percent_of, weighted, Judge, NoJudge};
use crate::order::{Alternative, Assignment, Decision, Decisions, Order, Policy, Reason, ReasonCode};
use crate::park::{Hold, HoldRefused, Park, Rider, Shop, TemperatureClass};
use crate::trip;

/// Decides a batch. Pure: takes nothing from the park; see [`apply`]. The same input gives the same answer, and
/// the sequence of the orders does not matter to it: ties go by ids.
///
/// Priorities outside 1..=100 are clamped; quantities below 1 are not meaningful and must be kept out by the
/// caller, as must repeated order ids, non-finite coordinates and speeds that are not positive.
pub fn decide(park: &Park, orders: &[Order], now_ms: i64, policy: &Policy) -> Decisions {
    decide_under(park, orders, now_ms, policy, &NoJudge)
}

/// As [`decide`], where somebody has a word about single pairs.
pub fn decide_under(
    park: &Park,
    orders: &[Order],
    now_ms: i64,
    policy: &Policy,
    judge: &dyn Judge,
) -> Decisions {
    let mut sequence: Vec<u32> = (0..orders.len() as u32).collect();
    sequence.sort_unstable_by_key(|&at| orders[at as usize].order_id);
    let candidates = build(park, orders, &sequence, now_ms, policy, judge);
    let outcome = assign(&candidates.instance, policy.pivot_budget);
    let pairs = take_apart(&candidates, &outcome, orders);
    let teller = Teller {
        park,
        orders,
        now_ms,
        policy,
        judge,
        candidates: &candidates,
        outcome: &outcome,
        nearest: cheapest_riders(&outcome, policy),
    };
    let mut decisions: Vec<Option<Decision>> = vec![None; orders.len()];
    for (cohort, members) in candidates.members.iter().enumerate() {
        let options = teller.options(cohort);
        for &at in members {
            decisions[at as usize] = Some(teller.tell(cohort, at, pairs[at as usize], &options));
        }
    }
    let decisions: Vec<Decision> = decisions.into_iter().flatten().collect();
    let price = |(decision, order): (&Decision, &Order)| match &decision.assignment {
        Some(assignment) => assignment.cost,
        None => policy.unassigned_price(order.priority),
    };
    let total_cost = decisions.iter().zip(orders).map(price).sum();
    debug_assert_eq!(total_cost, outcome.plan.cost, "the flow and its orders cost the same");
    Decisions {
        decisions,
        total_cost,
        gap_bound: outcome.plan.cost - outcome.bound,
        nodes: outcome.nodes,
        truncated: candidates.truncated,
    }
}

/// Takes from the park what the assignments need, one after the other; the answers are in the sequence of the
/// decisions, `None` for what was unassigned.
pub fn apply(
    park: &mut Park,
    orders: &[Order],
    decisions: &Decisions,
) -> Vec<Option<Result<(), HoldRefused>>> {
    let take = |(decision, order): (&Decision, &Order)| {
        let assignment = decision.assignment.as_ref()?;
        Some(park.consume(&hold_of(order, assignment)))
    };
    decisions.decisions.iter().zip(orders).map(take).collect()
}

/// What an assignment takes.
pub fn hold_of(order: &Order, assignment: &Assignment) -> Hold {
    Hold {
        shop_id: assignment.shop_id,
        rider_id: assignment.rider_id,
        sku: order.sku,
        quantity: order.quantity,
        cold: order.temperature == TemperatureClass::Cold,
    }
}

/// (lane, rider of the lane) for each order of the batch that was assigned. Units of one lane are
/// interchangeable, so who rides with whom is free: by pack-out, then id, against the lane's nearest riders first.
fn take_apart(candidates: &Candidates, outcome: &Outcome, orders: &[Order]) -> Vec<Option<(u32, u32)>> {
    let mut entering: Vec<Vec<u32>> = vec![Vec::new(); candidates.instance.lanes.len()];
    for (cohort, chosen) in outcome.plan.chosen.iter().enumerate() {
        let mut members = candidates.members[cohort].iter();
        for (choice, &units) in candidates.instance.cohorts[cohort].choices.iter().zip(chosen) {
            let lane = candidates.instance.strands[choice.strand as usize].lane;
            entering[lane as usize].extend(members.by_ref().take(units as usize));
        }
    }
    let mut pairs = vec![None; orders.len()];
    for (lane, mut members) in entering.into_iter().enumerate() {
        members.sort_unstable_by_key(|&at| (orders[at as usize].ready_ms, orders[at as usize].order_id));
        let carried = outcome.plan.carried[lane].iter().enumerate();
        let seats = carried.flat_map(|(rider, &units)| std::iter::repeat_n(rider as u32, units as usize));
        for (at, rider) in members.into_iter().zip(seats) {
            pairs[at as usize] = Some((lane as u32, rider));
        }
    }
    pairs
}

/// By lane, its cheapest ways on to the sink: (price, rider of the lane), one more than is ever shown.
fn cheapest_riders(outcome: &Outcome, policy: &Policy) -> Vec<Vec<(i64, u32)>> {
    let keep = policy.alternatives_max + 1;
    let best = |prices: &Vec<i64>| {
        let mut ways: Vec<(i64, u32)> =
            prices.iter().enumerate().map(|(rider, &price)| (price, rider as u32)).collect();
        if ways.len() > keep {
            ways.select_nth_unstable(keep - 1);
            ways.truncate(keep);
        }
        ways.sort_unstable();
        ways
    };
    outcome.prices.lane.iter().map(best).collect()
}

/// A way for a cohort that the prices allow: (extra cost, choice, rider of the lane).
type Option3 = (i64, u32, u32);

struct Teller<'a> {
    park: &'a Park,
    orders: &'a [Order],
    now_ms: i64,
    policy: &'a Policy,
    judge: &'a dyn Judge,
    candidates: &'a Candidates,
    outcome: &'a Outcome,
    nearest: Vec<Vec<(i64, u32)>>,
}

impl Teller<'_> {
    fn lane_of(&self, cohort: usize, choice: u32) -> u32 {
        let choice = &self.candidates.instance.cohorts[cohort].choices[choice as usize];
        self.candidates.instance.strands[choice.strand as usize].lane
    }

    fn shop(&self, lane: u32) -> &Shop {
        &self.park.shops()[self.candidates.lane_shop[lane as usize] as usize]
    }

    fn rider(&self, lane: u32, rider: u32) -> &Rider {
        let (node, _) = self.candidates.instance.lanes[lane as usize].riders[rider as usize];
        &self.park.riders()[self.candidates.rider_at[node as usize] as usize]
    }

    /// The cheapest ways of a cohort by the final prices, cheapest first.
    fn options(&self, cohort: usize) -> Vec<Option3> {
        let mut options = Vec::new();
        for (choice, &into_lane) in self.outcome.prices.choice[cohort].iter().enumerate() {
            let lane = self.lane_of(cohort, choice as u32);
            for &(to_sink, rider) in &self.nearest[lane as usize] {
                options.push((self.outcome.path_price(into_lane, to_sink), choice as u32, rider));
            }
        }
        let keep = self.policy.alternatives_max + 1;
        if options.len() > keep {
            options.select_nth_unstable(keep - 1);
            options.truncate(keep);
        }
        options.sort_unstable();
        options
    }

    fn tell(&self, cohort: usize, at: u32, pair: Option<(u32, u32)>, options: &[Option3]) -> Decision {
        let order = &self.orders[at as usize];
        let mut reasons = self.candidates.tallies[cohort].sorted();
        let mut alternatives = Vec::new();
        let assignment = pair.map(|(lane, rider)| self.assignment(order, lane, rider));
        match &assignment {
            Some(assignment) => {
                for &(extra_cost, choice, rider) in options {
                    let lane = self.lane_of(cohort, choice);
                    let (shop_id, rider_id) = (self.shop(lane).id, self.rider(lane, rider).id);
                    let same = (shop_id, rider_id) == (assignment.shop_id, assignment.rider_id);
                    if !same && alternatives.len() < self.policy.alternatives_max {
                        alternatives.push(Alternative { shop_id, rider_id, extra_cost });
                    }
                }
            }
            None => {
                if let Some(&(extra_cost, choice, rider)) = options.first() {
                    let lane = self.lane_of(cohort, choice);
                    let limit = self.policy.unassigned_price(order.priority);
                    reasons.push(Reason {
                        code: ReasonCode::PriorityOutbid,
                        shop_id: self.shop(lane).id,
                        rider_id: self.rider(lane, rider).id,
                        measured: limit.saturating_add(extra_cost),
                        limit,
                        count: 1,
                    });
                    reasons.sort_unstable_by_key(|reason| reason.code);
                }
            }
        }
        Decision { order_id: order.order_id, assignment, reasons, alternatives }
    }

    fn assignment(&self, order: &Order, lane: u32, rider: u32) -> Assignment {
        let (shop, rider) = (self.shop(lane), self.rider(lane, rider));
        let place = (shop.x_m, shop.y_m);
        let approach_m = distance_m(place, (rider.x_m, rider.y_m));
        let delivery_m = distance_m((order.x_m, order.y_m), place);
        let trip = trip::trip(rider, approach_m, delivery_m, order.ready_ms, self.now_ms, self.policy);
        let cost = trip::approach_cost(&trip, approach_m, order.ready_ms, self.policy)
            + trip::late_cost(&trip, order.target_ms, self.policy)
            + trip::delivery_cost(order, delivery_m, self.policy);
        Assignment {
            shop_id: shop.id,
            rider_id: rider.id,
            commit_ms: trip::commit_ms(&trip, approach_m, rider, self.now_ms, self.policy),
            pickup_ms: trip.pickup_ms,
            dropoff_ms: trip.dropoff_ms,
            rider_free_ms: trip.rider_free_ms,
            cost: weighted(cost, percent_of(self.judge, order.class, shop, rider).unwrap_or(100)),
            approach_m: trip::whole_m(approach_m),
            delivery_m: trip::whole_m(delivery_m),
        }
    }
}
