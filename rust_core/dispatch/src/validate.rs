//! Checks decisions from scratch: every limit, every time, every cost and every reason.
//!
//! It shares only the plain values of the interface with the solver; what `trip.rs` and `candidates.rs` compute is
//! computed here again, so that a fault there is not repeated here.
use crate::judge::{Judge, Said, PERCENT_MAX, PERCENT_MIN};
use crate::order::{Decision, Decisions, Order, Policy, Reason, ReasonCode, NOBODY};
use crate::park::{Park, Rider, Shop, TemperatureClass};
use std::collections::BTreeMap;

/// Times and cost of one order with one shop and one rider, alone in the park.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// When the rider takes the order.
    pub pickup_ms: i64,
    /// When it is handed over.
    pub dropoff_ms: i64,
    /// Cost by the policy.
    pub cost: i64,
}

fn metres(ax: f64, ay: f64, bx: f64, by: f64) -> f64 {
    ((ax - bx).powi(2) + (ay - by).powi(2)).sqrt()
}

fn minutes_to_ms(distance_m: f64, speed_m_per_min: f64) -> i64 {
    (distance_m * 60_000.0 / speed_m_per_min).round() as i64
}

fn shop_refusal(order: &Order, shop: &Shop, policy: &Policy) -> Option<ReasonCode> {
    let cold = order.temperature == TemperatureClass::Cold;
    let offered = shop.offers_mask >> (order.temperature as u8) & 1 == 1;
    let cups = shop.stock.get(&order.sku);
    if metres(order.x_m, order.y_m, shop.x_m, shop.y_m) > policy.delivery_radius_m {
        Some(ReasonCode::NoShopInRadius)
    } else if order
        .lost
        .iter()
        .any(|lost| lost.rider_id == NOBODY && (lost.shop_id == NOBODY || lost.shop_id == shop.id))
    {
        Some(ReasonCode::ReservationLost)
    } else if shop.paused || order.ready_ms < shop.open_from_ms || order.ready_ms > shop.open_until_ms {
        Some(ReasonCode::ShopClosed)
    } else if !offered || cups.is_none() {
        Some(ReasonCode::SkuNotOffered)
    } else if cups.is_some_and(|&cups| cups < order.quantity) {
        Some(ReasonCode::SkuStock)
    } else if shop.capacity_free <= 0 {
        Some(ReasonCode::ShopDailyCapacity)
    } else if cold && shop.fridge_free <= 0 {
        Some(ReasonCode::FridgeSlots)
    } else {
        None
    }
}

/// What one pair would mean, or the first limit it meets. Capacities are read as the park has them now.
pub fn judge_pair(
    order: &Order,
    shop: &Shop,
    rider: &Rider,
    now_ms: i64,
    policy: &Policy,
    judge: &dyn Judge,
) -> Result<Pair, ReasonCode> {
    if !order.allowed_shops.is_empty() && !order.allowed_shops.contains(&shop.id) {
        return Err(ReasonCode::NoShopInRadius);
    }
    if let Some(code) = shop_refusal(order, shop, policy) {
        return Err(code);
    }
    let approach_m = metres(rider.x_m, rider.y_m, shop.x_m, shop.y_m);
    let delivery_m = metres(order.x_m, order.y_m, shop.x_m, shop.y_m);
    if approach_m > policy.radius_m {
        return Err(ReasonCode::RiderRadius);
    }
    if !rider.on_duty {
        return Err(ReasonCode::RiderOffWindow);
    }
    if order.need_min_c > rider.max_c || order.need_max_c < rider.min_c {
        return Err(ReasonCode::TemperatureRange);
    }
    if rider.load_free <= 0 {
        return Err(ReasonCode::RiderLoad);
    }
    let matches = |wanted: i64, id: i64| wanted == NOBODY || wanted == id;
    if order.lost.iter().any(|lost| matches(lost.shop_id, shop.id) && matches(lost.rider_id, rider.id)) {
        return Err(ReasonCode::ReservationLost);
    }
    let at_shop_ms = now_ms.max(rider.available_from_ms) + minutes_to_ms(approach_m, rider.speed_m_per_min);
    let can_take_ms = at_shop_ms + policy.pickup_before_ms;
    let pickup_ms = can_take_ms.max(order.ready_ms);
    let dropoff_ms = pickup_ms
        + policy.pickup_after_ms
        + minutes_to_ms(delivery_m, rider.speed_m_per_min)
        + policy.dropoff_before_ms;
    let window_ms = if policy.window_ends_at_pickup { pickup_ms } else { dropoff_ms };
    if window_ms > rider.available_until_ms {
        return Err(ReasonCode::RiderOffWindow);
    }
    if dropoff_ms > order.deadline_ms {
        return Err(ReasonCode::Deadline);
    }
    let per_second = |weight: i64, duration_ms: i64| (weight * duration_ms.max(0)).div_euclid(1_000);
    let cold = if order.temperature == TemperatureClass::Cold { policy.cold_delivery_weight } else { 0 };
    let cost = policy.approach_weight * approach_m.round() as i64
        + (policy.delivery_weight + cold) * delivery_m.round() as i64
        + per_second(policy.wait_m_per_s, pickup_ms - order.ready_ms)
        + per_second(policy.idle_m_per_s, order.ready_ms - can_take_ms)
        + per_second(policy.late_m_per_s, dropoff_ms.saturating_sub(order.target_ms));
    let percent = match (order.class, judge.of_shop(order.class, shop), judge.of_rider(order.class, rider)) {
        (0, _, _) => 100,
        (_, Said::May(a), Said::May(b)) => (a * b).div_euclid(100).clamp(PERCENT_MIN, PERCENT_MAX),
        _ => return Err(ReasonCode::RuleExcluded),
    };
    Ok(Pair { pickup_ms, dropoff_ms, cost: (cost * percent).div_euclid(100) })
}

/// Everything that is wrong with the decisions; empty when nothing is.
pub fn validate(
    park: &Park,
    orders: &[Order],
    now_ms: i64,
    policy: &Policy,
    judge: &dyn Judge,
    decisions: &Decisions,
) -> Vec<String> {
    let mut check = Check { park, now_ms, policy, judge, decisions, faults: Vec::new() };
    if decisions.decisions.len() != orders.len() {
        return vec![format!("{} decisions for {} orders", decisions.decisions.len(), orders.len())];
    }
    let mut total_cost = 0i64;
    for (order, decision) in orders.iter().zip(&decisions.decisions) {
        if decision.order_id != order.order_id {
            check.fault(order, "the decision is of another order".into());
        }
        total_cost += match decision.assignment {
            Some(_) => check.assigned(order, decision),
            None => check.unassigned(order, decision),
        };
        for reason in &decision.reasons {
            check.reason(order, reason);
        }
    }
    if total_cost != decisions.total_cost {
        check.faults.push(format!("total cost is {total_cost}, said to be {}", decisions.total_cost));
    }
    if decisions.gap_bound < 0 {
        check.faults.push(format!("gap bound {} is negative", decisions.gap_bound));
    }
    check.capacities(orders);
    check.faults
}

struct Check<'a> {
    park: &'a Park,
    now_ms: i64,
    policy: &'a Policy,
    judge: &'a dyn Judge,
    decisions: &'a Decisions,
    faults: Vec<String>,
}

impl Check<'_> {
    fn fault(&mut self, order: &Order, what: String) {
        self.faults.push(format!("order {}: {what}", order.order_id));
    }

    fn judge(&self, order: &Order, shop_id: i64, rider_id: i64) -> Option<Result<Pair, ReasonCode>> {
        let (shop, rider) = (self.park.shop(shop_id)?, self.park.rider(rider_id)?);
        Some(judge_pair(order, shop, rider, self.now_ms, self.policy, self.judge))
    }

    fn assigned(&mut self, order: &Order, decision: &Decision) -> i64 {
        let Some(assignment) = decision.assignment else {
            return 0;
        };
        match self.judge(order, assignment.shop_id, assignment.rider_id) {
            None => self.fault(order, "shop or rider is not known".into()),
            Some(Err(code)) => self.fault(order, format!("assigned against {}", code.name())),
            Some(Ok(pair)) => {
                let said = Pair {
                    pickup_ms: assignment.pickup_ms,
                    dropoff_ms: assignment.dropoff_ms,
                    cost: assignment.cost,
                };
                if said != pair {
                    self.fault(order, format!("said {said:?}, found {pair:?}"));
                }
            }
        }
        let mut last = 0;
        for alternative in &decision.alternatives {
            if !matches!(self.judge(order, alternative.shop_id, alternative.rider_id), Some(Ok(_))) {
                self.fault(order, format!("alternative {alternative:?} is not possible"));
            }
            if alternative.extra_cost < last {
                self.fault(order, "alternatives are not sorted by price, from zero".into());
            }
            last = alternative.extra_cost;
        }
        assignment.cost
    }

    fn unassigned(&mut self, order: &Order, decision: &Decision) -> i64 {
        if decision.reasons.is_empty() {
            self.fault(order, "unassigned without a reason".into());
        }
        let outbid = decision.reasons.iter().any(|reason| reason.code == ReasonCode::PriorityOutbid);
        if !outbid && self.decisions.truncated == 0 {
            for shop in self.park.shops() {
                for rider in self.park.riders() {
                    if judge_pair(order, shop, rider, self.now_ms, self.policy, self.judge).is_ok() {
                        self.fault(
                            order,
                            format!("called impossible, but shop {} and rider {} can", shop.id, rider.id),
                        );
                        return self.policy.unassigned_price(order.priority);
                    }
                }
            }
        }
        self.policy.unassigned_price(order.priority)
    }

    /// A reason is true when its own limit is missed as measured, by the very shop and rider it names.
    fn reason(&mut self, order: &Order, reason: &Reason) {
        let shop = self.park.shop(reason.shop_id);
        let rider = self.park.rider(reason.rider_id);
        let (measured, limit) = (reason.measured, reason.limit);
        let told = match reason.code {
            ReasonCode::NoShopInRadius => {
                let allowed =
                    |shop: &&Shop| order.allowed_shops.is_empty() || order.allowed_shops.contains(&shop.id);
                let away = |shop: &Shop| metres(order.x_m, order.y_m, shop.x_m, shop.y_m);
                let nearest =
                    self.park.shops().iter().filter(allowed).map(away).fold(f64::INFINITY, f64::min);
                nearest > self.policy.delivery_radius_m
                    && (measured == -1) == nearest.is_infinite()
                    && (measured == -1 || nearest.ceil() as i64 == measured)
            }
            ReasonCode::RiderRadius => {
                let away =
                    |rider: &Rider| shop.map_or(0.0, |shop| metres(rider.x_m, rider.y_m, shop.x_m, shop.y_m));
                let nearest = self.park.riders().iter().map(away).fold(f64::INFINITY, f64::min);
                nearest > self.policy.radius_m
                    && (measured == -1) == nearest.is_infinite()
                    && (measured == -1 || nearest.ceil() as i64 == measured)
            }
            ReasonCode::ShopClosed => {
                shop.is_some_and(|shop| {
                    shop.paused || measured < shop.open_from_ms || measured > shop.open_until_ms
                }) && measured == order.ready_ms
            }
            ReasonCode::ShopDailyCapacity => {
                shop.is_some_and(|shop| i64::from(shop.capacity_free) == measured) && measured < limit
            }
            ReasonCode::FridgeSlots => {
                shop.is_some_and(|shop| i64::from(shop.fridge_free) == measured) && measured < limit
            }
            ReasonCode::SkuNotOffered => shop.is_some_and(|shop| {
                shop_refusal(order, shop, self.policy) == Some(ReasonCode::SkuNotOffered)
            }),
            ReasonCode::SkuStock => {
                shop.is_some_and(|shop| shop.stock.get(&order.sku).copied().map(i64::from) == Some(measured))
                    && measured < limit
                    && limit == i64::from(order.quantity)
            }
            ReasonCode::TemperatureRange => rider.is_some_and(|rider| {
                let gap = (order.need_min_c - rider.max_c).max(rider.min_c - order.need_max_c);
                i64::from(gap) == measured && measured > limit
            }),
            ReasonCode::RiderLoad => {
                rider.is_some_and(|rider| i64::from(rider.load_free) == measured) && measured < limit
            }
            ReasonCode::RiderOffWindow => rider.is_some_and(|rider| {
                !rider.on_duty || (measured > limit && limit == rider.available_until_ms)
            }),
            ReasonCode::Deadline => {
                let free = Order { deadline_ms: i64::MAX, lost: Vec::new(), class: 0, ..order.clone() };
                let forever = rider.map(|rider| Rider { available_until_ms: i64::MAX, ..rider.clone() });
                let pair = shop.zip(forever).and_then(|(shop, rider)| {
                    judge_pair(&free, shop, &rider, self.now_ms, self.policy, self.judge).ok()
                });
                limit == order.deadline_ms
                    && measured > limit
                    && pair.is_some_and(|pair| pair.dropoff_ms == measured)
            }
            ReasonCode::ReservationLost => {
                let covers = |lost: &&crate::order::Lost| {
                    (lost.shop_id == NOBODY || lost.shop_id == reason.shop_id)
                        && (lost.rider_id == NOBODY || lost.rider_id == reason.rider_id)
                };
                order.lost.iter().filter(covers).count() as i64 == measured && measured > 0
            }
            ReasonCode::RuleExcluded => {
                let shut = shop
                    .is_some_and(|shop| matches!(self.judge.of_shop(order.class, shop), Said::MayNot(_)))
                    || rider.is_some_and(|rider| {
                        matches!(self.judge.of_rider(order.class, rider), Said::MayNot(_))
                    });
                order.class != 0 && shut && measured == limit
            }
            ReasonCode::PriorityOutbid => {
                let possible = matches!(self.judge(order, reason.shop_id, reason.rider_id), Some(Ok(_)));
                possible && limit == self.policy.unassigned_price(order.priority) && measured >= limit
            }
        };
        if !told || reason.count == 0 {
            self.fault(order, format!("reason is not true: {reason:?}"));
        }
    }

    fn capacities(&mut self, orders: &[Order]) {
        let mut by_shop: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
        let mut by_stock: BTreeMap<(i64, u32), i64> = BTreeMap::new();
        let mut by_rider: BTreeMap<i64, i64> = BTreeMap::new();
        for (order, decision) in orders.iter().zip(&self.decisions.decisions) {
            if let Some(assignment) = decision.assignment {
                let shop = by_shop.entry(assignment.shop_id).or_default();
                shop.0 += 1;
                shop.1 += i64::from(order.temperature == TemperatureClass::Cold);
                *by_stock.entry((assignment.shop_id, order.sku)).or_default() += i64::from(order.quantity);
                *by_rider.entry(assignment.rider_id).or_default() += 1;
            }
        }
        for (id, (orders_taken, cold)) in by_shop {
            let over = self.park.shop(id).is_none_or(|shop| {
                orders_taken > i64::from(shop.capacity_free) || cold > i64::from(shop.fridge_free.max(0))
            });
            if over {
                self.faults.push(format!("shop {id}: {orders_taken} orders, {cold} cold, more than it has"));
            }
        }
        for ((id, sku), cups) in by_stock {
            let free = self.park.shop(id).and_then(|shop| shop.stock.get(&sku).copied()).unwrap_or(0);
            if cups > i64::from(free) {
                self.faults.push(format!("shop {id}: {cups} cups of SKU {sku}, of {free}"));
            }
        }
        for (id, load) in by_rider {
            if self.park.rider(id).is_none_or(|rider| load > i64::from(rider.load_free)) {
                self.faults.push(format!("rider {id}: {load} orders, more than fit"));
            }
        }
    }
}
