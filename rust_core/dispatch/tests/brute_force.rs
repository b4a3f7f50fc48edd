//! Tiny parks with every limit in play: the decision must cost what the best of all plans costs.
use cuptime_dispatch::validate::{judge_pair, validate};
use cuptime_dispatch::{
    apply, decide_under, Judge, Lost, Order, Park, Policy, Rider, Said, Shop, TemperatureClass, AS_IT_IS,
};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Small numbers out of a seed.
struct Draw(u64);

impl Draw {
    fn below(&mut self, limit: i64) -> i64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) % limit as u64) as i64
    }

    fn one_in(&mut self, n: i64) -> bool {
        self.below(n) == 0
    }
}

const MINUTE_MS: i64 = 60_000;
const NOW_MS: i64 = 1_700_000_000_000;

/// Has something to say of every third shop and rider, another thing to every class.
struct Opinions(u64);

impl Opinions {
    fn of(&self, class: u32, id: i64) -> Said {
        let mut draw = Draw((self.0 ^ (id as u64) << 8 ^ u64::from(class)).max(1));
        draw.below(100);
        match draw.below(9) {
            0 => Said::MayNot(class),
            1 => Said::May(50),
            2 => Said::May(301),
            _ => AS_IT_IS,
        }
    }
}

impl Judge for Opinions {
    fn of_shop(&self, class: u32, shop: &Shop) -> Said {
        self.of(class, shop.id)
    }

    fn of_rider(&self, class: u32, rider: &Rider) -> Said {
        self.of(class, rider.id)
    }
}

/// Cups of two SKUs; now and then one is not offered.
fn stock(draw: &mut Draw, tight: i64) -> Vec<(u32, i32)> {
    let mut stock = Vec::new();
    for sku in 0..2 {
        if !draw.one_in(8) {
            stock.push((sku, draw.below(2 * tight + 2) as i32));
        }
    }
    stock
}

fn park(draw: &mut Draw, shops: usize, riders: usize, tight: i64) -> Park {
    let mut park = Park::new();
    for id in 0..shops as i64 {
        park.upsert_shop(Shop {
            id: 100 + id,
            x_m: draw.below(3_000) as f64,
            y_m: draw.below(3_000) as f64,
            open_from_ms: NOW_MS - MINUTE_MS,
            open_until_ms: if draw.one_in(8) { NOW_MS + 5 * MINUTE_MS } else { i64::MAX },
            paused: draw.one_in(12),
            capacity_free: draw.below(tight + 1) as i32,
            fridge_free: draw.below(tight) as i32,
            offers_mask: if draw.one_in(6) { 0b011 } else { 0b111 },
            stock: stock(draw, tight).into_iter().collect(),
        });
    }
    for id in 0..riders as i64 {
        park.upsert_rider(Rider {
            id: 900 + id,
            x_m: draw.below(3_000) as f64,
            y_m: draw.below(3_000) as f64,
            available_from_ms: NOW_MS + draw.below(10) * MINUTE_MS,
            available_until_ms: NOW_MS + (15 + draw.below(60)) * MINUTE_MS,
            load_free: draw.below(tight) as i32,
            min_c: if draw.one_in(3) { 15 } else { 0 },
            max_c: if draw.one_in(2) { 70 } else { 20 },
            speed_m_per_min: 150.0 + draw.below(4) as f64 * 60.0,
            on_duty: !draw.one_in(10),
        });
    }
    park
}

fn orders(draw: &mut Draw, count: usize) -> Vec<Order> {
    let mut orders = Vec::new();
    for id in 0..count as i64 {
        let temperature = TemperatureClass::from_code(draw.below(3) as u8).expect("below 3");
        let (need_min_c, need_max_c) = match temperature {
            TemperatureClass::Hot => (55, 100),
            TemperatureClass::Ambient => (-40, 100),
            TemperatureClass::Cold => (-40, 8),
        };
        let ready_ms = NOW_MS + draw.below(3) * 6 * MINUTE_MS;
        let mut order = Order {
            order_id: 7_000 - id,
            group_id: 10_000,
            x_m: draw.below(3_000) as f64,
            y_m: draw.below(3_000) as f64,
            sku: draw.below(2) as u32,
            quantity: 1 + draw.below(3) as i32,
            temperature,
            need_min_c,
            need_max_c,
            priority: 1 + draw.below(5) as i32 * 20,
            ready_ms,
            target_ms: ready_ms + (4 + draw.below(20)) * MINUTE_MS,
            deadline_ms: ready_ms + (8 + draw.below(30)) * MINUTE_MS,
            allowed_shops: if draw.one_in(6) { vec![100, 101] } else { Vec::new() },
            lost: if draw.one_in(6) { vec![Lost { shop_id: 100, rider_id: 900 }] } else { Vec::new() },
            class: draw.below(4) as u32,
        };
        if draw.one_in(3) {
            if let Some(twin) = orders.last() {
                order = Order { order_id: order.order_id, ..Order::clone(twin) };
            }
        }
        orders.push(order);
    }
    orders
}

/// The least cost over all plans, by trying them all.
struct Everything<'a> {
    orders: &'a [Order],
    pairs: Vec<Vec<(i64, i64, i64)>>,
    left: BTreeMap<(u8, i64, u32), i64>,
    policy: &'a Policy,
    best: i64,
}

impl Everything<'_> {
    fn search(&mut self, at: usize, cost: i64) {
        if cost >= self.best {
            return;
        }
        let Some(order) = self.orders.get(at) else {
            self.best = cost;
            return;
        };
        for (shop_id, rider_id, pair_cost) in self.pairs[at].clone() {
            let cold = i64::from(order.temperature == TemperatureClass::Cold);
            let takes = [
                ((0, shop_id, 0), 1),
                ((1, shop_id, 0), cold),
                ((2, shop_id, order.sku), i64::from(order.quantity)),
                ((3, rider_id, 0), 1),
            ];
            if takes.iter().all(|(key, units)| self.left[key] >= *units) {
                takes.iter().for_each(|(key, units)| *self.left.get_mut(key).expect("seen") -= units);
                self.search(at + 1, cost + pair_cost);
                takes.iter().for_each(|(key, units)| *self.left.get_mut(key).expect("seen") += units);
            }
        }
        self.search(at + 1, cost + self.policy.unassigned_price(order.priority));
    }
}

fn least_cost(park: &Park, orders: &[Order], policy: &Policy, judge: &dyn Judge) -> i64 {
    let mut left = BTreeMap::new();
    for shop in park.shops() {
        left.insert((0, shop.id, 0), i64::from(shop.capacity_free));
        left.insert((1, shop.id, 0), i64::from(shop.fridge_free));
        for (&sku, &free) in &shop.stock {
            left.insert((2, shop.id, sku), i64::from(free));
        }
    }
    for rider in park.riders() {
        left.insert((3, rider.id, 0), i64::from(rider.load_free));
    }
    let mut pairs = Vec::new();
    for order in orders {
        let mut own = Vec::new();
        for shop in park.shops() {
            for rider in park.riders() {
                if let Ok(pair) = judge_pair(order, shop, rider, NOW_MS, policy, judge) {
                    own.push((shop.id, rider.id, pair.cost));
                }
            }
        }
        own.sort_by_key(|&(_, _, cost)| cost);
        pairs.push(own);
    }
    let mut everything = Everything { orders, pairs, left, policy, best: i64::MAX };
    everything.search(0, 0);
    everything.best
}

fn policy(draw: &mut Draw) -> Policy {
    Policy {
        unassigned_base_m: 200_000 + draw.below(2) * 100_000_000,
        unassigned_step_m: draw.below(3) * 1_000,
        late_m_per_s: draw.below(3) * 20,
        wait_m_per_s: draw.below(2) * 3,
        idle_m_per_s: draw.below(2),
        pickup_before_ms: draw.below(2) * MINUTE_MS,
        pickup_after_ms: draw.below(2) * MINUTE_MS,
        dropoff_before_ms: draw.below(2) * MINUTE_MS,
        dropoff_after_ms: MINUTE_MS,
        window_ends_at_pickup: draw.one_in(2),
        radius_m: if draw.one_in(3) { 1_500.0 } else { 3_000.0 },
        delivery_radius_m: if draw.one_in(3) { 1_800.0 } else { 4_000.0 },
        ..Policy::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn a_decision_costs_what_the_best_of_all_plans_costs(
        seed in 1u64..u64::MAX, shops in 1usize..4, riders in 1usize..5, count in 1usize..7, tight in 1i64..5,
    ) {
        let draw = &mut Draw(seed);
        let (park, orders, policy) = (park(draw, shops, riders, tight), orders(draw, count), policy(draw));
        let decisions = decide_under(&park, &orders, NOW_MS, &policy, &Opinions(seed));
        let faults = validate(&park, &orders, NOW_MS, &policy, &Opinions(seed), &decisions);
        prop_assert!(faults.is_empty(), "{faults:#?}");
        prop_assert_eq!(decisions.gap_bound, 0);
        prop_assert_eq!(decisions.total_cost, least_cost(&park, &orders, &policy, &Opinions(seed)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn the_sequence_of_the_orders_does_not_matter(seed in 1u64..u64::MAX, count in 2usize..12) {
        let draw = &mut Draw(seed);
        let (park, mut orders, policy) = (park(draw, 3, 5, 5), orders(draw, count), policy(draw));
        let forward = decide_under(&park, &orders, NOW_MS, &policy, &Opinions(seed));
        prop_assert_eq!(&forward, &decide_under(&park, &orders, NOW_MS, &policy, &Opinions(seed)));
        orders.reverse();
        let mut backward = decide_under(&park, &orders, NOW_MS, &policy, &Opinions(seed));
        backward.decisions.reverse();
        prop_assert_eq!(forward, backward);
    }

    #[test]
    fn larger_batches_hold_every_limit_and_can_be_taken(seed in 1u64..u64::MAX, count in 10usize..80) {
        let draw = &mut Draw(seed);
        let (mut park, orders, policy) = (park(draw, 6, 14, 12), orders(draw, count), policy(draw));
        let decisions = decide_under(&park, &orders, NOW_MS, &policy, &Opinions(seed));
        let faults = validate(&park, &orders, NOW_MS, &policy, &Opinions(seed), &decisions);
        prop_assert!(faults.is_empty(), "{faults:#?}");
        for (decision, taken) in decisions.decisions.iter().zip(apply(&mut park, &orders, &decisions)) {
            prop_assert_eq!(taken, decision.assignment.map(|_| Ok(())));
        }
    }
}
