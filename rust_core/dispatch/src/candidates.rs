//! From places, times and limits to the bare instance of `assign.rs`: who could make and carry what, at which
//! cost, and for whatever could not, the reason.
//!
//! Three levels, each computed once and shared by all that are equal at that level:
//! shop and temperature range (who is near and suits), shop and times (who is in time, at what cost), and
//! only where lateness or a deadline starts to depend on the very drop-off, the single order.
use crate::grid::distance_m;
use crate::instance::{Choice, Cohort, Instance, Lane};
use crate::judge::{percent_of, weighted, Judge, Said, AS_IT_IS};
use crate::limits::{self, StrandKey};
use crate::order::{Order, Policy, ReasonCode, NOBODY};
use crate::park::{Park, Rider, Shop, TemperatureClass};
use crate::reasons::Tally;
use crate::simplex::UNLIMITED;
use crate::trip::{self, Trip};
use rustc_hash::FxHashMap;

/// Room left when a lane is called independent of the drop-off: rounding never reaches this far.
const FLAT_MARGIN_M: f64 = 2.0;

/// The instance and what its indices stand for.
#[derive(Default)]
pub(crate) struct Candidates {
    pub instance: Instance,
    /// Positions in the batch, by cohort, sorted by order id.
    pub members: Vec<Vec<u32>>,
    /// Why not, by cohort.
    pub tallies: Vec<Tally>,
    /// Position of the shop in the park, by lane.
    pub lane_shop: Vec<u32>,
    /// Position of the rider in the park, by rider of the instance.
    pub rider_at: Vec<u32>,
    pub truncated: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Terms {
    need_min_c: i16,
    need_max_c: i16,
    ready_ms: i64,
    target_ms: i64,
    deadline_ms: i64,
    class: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Wish {
    sku: u32,
    quantity: i32,
    temperature: TemperatureClass,
    ready_ms: i64,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct CohortKey<'a> {
    place: (u64, u64),
    wish: Wish,
    terms: Terms,
    priority: i32,
    allowed: &'a [i64],
    lost: &'a [crate::order::Lost],
}

#[derive(Clone, Copy)]
enum Gate {
    Open,
    Shut(ReasonCode, i64, i64),
}

/// Riders near a shop that suit a temperature range, nearest first.
struct Near {
    riders: Vec<(u32, f64)>,
    tally: Tally,
}

struct Offered {
    at: u32,
    approach_m: f64,
    cost: i64,
}

/// Riders near a shop that can be in time for some drop-off.
struct Offer {
    riders: Vec<Offered>,
    /// Drop-offs up to this far see every rider, none of them late.
    flat_m: f64,
    flat: Option<(u32, i64)>,
    tally: Tally,
}

struct Builder<'a> {
    park: &'a Park,
    now_ms: i64,
    policy: &'a Policy,
    judge: &'a dyn Judge,
    out: Candidates,
    near: FxHashMap<(u32, i16, i16), Near>,
    offers: FxHashMap<(Terms, u32), Offer>,
    gates: FxHashMap<Wish, Vec<Option<Gate>>>,
    lanes: FxHashMap<(u32, Vec<(u32, i64)>), u32>,
    strands: FxHashMap<StrandKey, u32>,
    strand_keys: Vec<StrandKey>,
    rider_node: FxHashMap<u32, u32>,
}

/// Builds the instance of a batch. `sequence` holds the positions of the orders sorted by id.
pub(crate) fn build(
    park: &Park,
    orders: &[Order],
    sequence: &[u32],
    now_ms: i64,
    policy: &Policy,
    judge: &dyn Judge,
) -> Candidates {
    let mut builder = Builder {
        park,
        now_ms,
        policy,
        judge,
        out: Candidates::default(),
        near: FxHashMap::default(),
        offers: FxHashMap::default(),
        gates: FxHashMap::default(),
        lanes: FxHashMap::default(),
        strands: FxHashMap::default(),
        strand_keys: Vec::new(),
        rider_node: FxHashMap::default(),
    };
    let mut cohorts: FxHashMap<CohortKey<'_>, u32> = FxHashMap::default();
    for &at in sequence {
        let order = &orders[at as usize];
        let fresh = builder.out.members.len() as u32;
        let cohort = *cohorts.entry(cohort_key(order)).or_insert(fresh);
        if cohort == fresh {
            builder.out.members.push(Vec::new());
        }
        builder.out.members[cohort as usize].push(at);
    }
    for cohort in 0..builder.out.members.len() {
        let members = &builder.out.members[cohort];
        let (order, supply) = (&orders[members[0] as usize], members.len() as i32);
        builder.add_cohort(order, supply);
    }
    limits::add(park, &builder.strand_keys, &builder.out.lane_shop, &mut builder.out.instance);
    builder.out
}

fn wish_of(order: &Order) -> Wish {
    Wish {
        sku: order.sku,
        quantity: order.quantity,
        temperature: order.temperature,
        ready_ms: order.ready_ms,
    }
}

fn terms_of(order: &Order) -> Terms {
    Terms {
        need_min_c: order.need_min_c,
        need_max_c: order.need_max_c,
        ready_ms: order.ready_ms,
        target_ms: order.target_ms,
        deadline_ms: order.deadline_ms,
        class: order.class,
    }
}

fn cohort_key(order: &Order) -> CohortKey<'_> {
    CohortKey {
        place: (order.x_m.to_bits(), order.y_m.to_bits()),
        wish: wish_of(order),
        terms: terms_of(order),
        priority: order.priority,
        allowed: &order.allowed_shops,
        lost: &order.lost,
    }
}

/// What the shop itself says to an order of this kind, wherever it goes.
fn gate_of(shop: &Shop, wish: &Wish) -> Gate {
    if shop.paused {
        return Gate::Shut(ReasonCode::ShopClosed, wish.ready_ms, 0);
    }
    if wish.ready_ms < shop.open_from_ms {
        return Gate::Shut(ReasonCode::ShopClosed, wish.ready_ms, shop.open_from_ms);
    }
    if wish.ready_ms > shop.open_until_ms {
        return Gate::Shut(ReasonCode::ShopClosed, wish.ready_ms, shop.open_until_ms);
    }
    let wanted = i64::from(wish.quantity);
    let free = match shop.stock.get(&wish.sku) {
        Some(&free) if shop.offers_mask & (1 << wish.temperature as u8) != 0 => free,
        _ => return Gate::Shut(ReasonCode::SkuNotOffered, 0, wanted),
    };
    if i64::from(free) < wanted {
        return Gate::Shut(ReasonCode::SkuStock, i64::from(free), wanted);
    }
    if shop.capacity_free < 1 {
        return Gate::Shut(ReasonCode::ShopDailyCapacity, i64::from(shop.capacity_free), 1);
    }
    if wish.temperature == TemperatureClass::Cold && shop.fridge_free < 1 {
        return Gate::Shut(ReasonCode::FridgeSlots, i64::from(shop.fridge_free), 1);
    }
    Gate::Open
}

impl<'a> Builder<'a> {
    fn add_cohort(&mut self, order: &'a Order, supply: i32) {
        let mut tally = Tally::default();
        let shops = self.shops_for(order, &mut tally);
        let mut choices = Vec::with_capacity(shops.len());
        for (delivery_m, shop_at) in shops {
            let Some((lane, base)) = self.lane_for(order, shop_at, delivery_m, &mut tally) else {
                continue;
            };
            let key = StrandKey {
                lane,
                sku: order.sku,
                quantity: order.quantity,
                cold: order.temperature == TemperatureClass::Cold,
            };
            let fresh = self.strand_keys.len() as u32;
            let strand = *self.strands.entry(key).or_insert(fresh);
            if strand == fresh {
                self.strand_keys.push(key);
            }
            // Where the judge weighs, each rider's part has the way to the drop-off in it already.
            let way = if order.class == 0 { trip::delivery_cost(order, delivery_m, self.policy) } else { 0 };
            choices.push(Choice { strand, cost: base + way });
        }
        let price = self.policy.unassigned_price(order.priority);
        self.out.instance.cohorts.push(Cohort { supply, price, choices });
        self.out.tallies.push(tally);
    }

    /// Nearest shops that could make the order, by (metres, position); nearest first.
    fn shops_for(&mut self, order: &Order, tally: &mut Tally) -> Vec<(f64, u32)> {
        let (park, policy, judge) = (self.park, self.policy, self.judge);
        let place = (order.x_m, order.y_m);
        let wish = wish_of(order);
        let gates = self.gates.entry(wish).or_insert_with(|| vec![None; park.shops().len()]);
        let mut found: Vec<(f64, i64, u32)> = Vec::new();
        let mut in_radius = false;
        let away = |at: u32| {
            let shop = &park.shops()[at as usize];
            (distance_m(place, (shop.x_m, shop.y_m)), shop.id)
        };
        let look = |at: u32| {
            let shop = &park.shops()[at as usize];
            let (delivery_m, _) = away(at);
            if delivery_m > policy.delivery_radius_m {
                return;
            }
            in_radius = true;
            let lost = order
                .lost
                .iter()
                .filter(|lost| lost.rider_id == NOBODY && lost.covers(shop.id, NOBODY))
                .count();
            if lost > 0 {
                tally.add(ReasonCode::ReservationLost, shop.id, NOBODY, lost as i64, 0);
                return;
            }
            match *gates[at as usize].get_or_insert_with(|| gate_of(shop, &wish)) {
                Gate::Open => {
                    match if order.class == 0 { AS_IT_IS } else { judge.of_shop(order.class, shop) } {
                        Said::May(_) => found.push((delivery_m, shop.id, at)),
                        Said::MayNot(who) => {
                            tally.add(
                                ReasonCode::RuleExcluded,
                                shop.id,
                                NOBODY,
                                i64::from(who),
                                i64::from(who),
                            );
                        }
                    }
                }
                Gate::Shut(code, measured, limit) => tally.add(code, shop.id, NOBODY, measured, limit),
            }
        };
        if order.allowed_shops.is_empty() {
            park.shop_grid.around(place, policy.delivery_radius_m, look);
        } else {
            order.allowed_shops.iter().filter_map(|&id| park.shop_position(id)).for_each(look);
        }
        if !in_radius {
            let every: Vec<u32> = if order.allowed_shops.is_empty() {
                (0..park.shops().len() as u32).collect()
            } else {
                order.allowed_shops.iter().filter_map(|&id| park.shop_position(id)).collect()
            };
            let nearest = every.into_iter().map(away).min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            let (measured, shop_id) = nearest.map_or((-1, NOBODY), |(metres, id)| (metres.ceil() as i64, id));
            tally.add(ReasonCode::NoShopInRadius, shop_id, NOBODY, measured, policy.delivery_radius_m as i64);
        }
        found.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        found.dedup_by_key(|entry| entry.2);
        if found.len() > policy.max_shops_per_order {
            found.truncate(policy.max_shops_per_order);
            self.out.truncated += 1;
        }
        found.into_iter().map(|(delivery_m, _, at)| (delivery_m, at)).collect()
    }

    /// The lane of an order at a shop, with the constant that goes on the order's own arc.
    fn lane_for(
        &mut self,
        order: &Order,
        shop_at: u32,
        delivery_m: f64,
        tally: &mut Tally,
    ) -> Option<(u32, i64)> {
        let key = (terms_of(order), shop_at);
        if !self.offers.contains_key(&key) {
            let offer = self.offer(order, shop_at);
            self.offers.insert(key, offer);
        }
        let offer = &self.offers[&key];
        let (park, policy) = (self.park, self.policy);
        let shop = &park.shops()[shop_at as usize];
        for reason in offer.tally.iter() {
            let mut reason = *reason;
            // The offer was judged as if the drop-off were next door; say what it is for this one.
            if matches!(reason.code, ReasonCode::Deadline | ReasonCode::RiderOffWindow) && reason.limit != 0 {
                let rider = &park.riders()[park.rider_position(reason.rider_id)? as usize];
                let approach_m = distance_m((rider.x_m, rider.y_m), (shop.x_m, shop.y_m));
                let trip = trip::trip(rider, approach_m, delivery_m, order.ready_ms, self.now_ms, policy);
                reason.measured = match reason.code {
                    ReasonCode::Deadline => trip.dropoff_ms,
                    _ => trip::window_instant_ms(&trip, policy),
                };
            }
            tally.merge_one(reason);
        }
        let lost_here =
            order.lost.iter().any(|lost| lost.covers(shop.id, lost.rider_id) && lost.rider_id != NOBODY);
        if delivery_m <= offer.flat_m && !lost_here && order.class == 0 {
            return offer.flat;
        }
        let mut profile = Vec::with_capacity(offer.riders.len());
        for offered in &offer.riders {
            let rider = &park.riders()[offered.at as usize];
            let lost = order.lost.iter().filter(|lost| lost.covers(shop.id, rider.id)).count();
            if lost > 0 {
                tally.add(ReasonCode::ReservationLost, shop.id, rider.id, lost as i64, 0);
                continue;
            }
            let trip = trip::trip(rider, offered.approach_m, delivery_m, order.ready_ms, self.now_ms, policy);
            if in_time(shop, rider, &trip, order.deadline_ms, policy, tally) {
                let mut cost = offered.cost + trip::late_cost(&trip, order.target_ms, policy);
                if order.class != 0 {
                    // Both are allowed: the shop's word was asked with the shops, the rider's with the offer.
                    let percent = percent_of(self.judge, order.class, shop, rider).unwrap_or(100);
                    cost = weighted(cost + trip::delivery_cost(order, delivery_m, policy), percent);
                }
                profile.push((offered.at, cost));
            }
        }
        self.lane(shop_at, profile)
    }

    /// The lane with this profile of (rider, cost), after its least cost is taken off.
    fn lane(&mut self, shop_at: u32, mut profile: Vec<(u32, i64)>) -> Option<(u32, i64)> {
        let base = profile.iter().map(|&(_, cost)| cost).min()?;
        profile.iter_mut().for_each(|(_, cost)| *cost -= base);
        let fresh = self.out.instance.lanes.len() as u32;
        let key = (shop_at, profile);
        if let Some(&lane) = self.lanes.get(&key) {
            return Some((lane, base));
        }
        let mut riders = Vec::with_capacity(key.1.len());
        for &(at, cost) in &key.1 {
            let next = self.out.rider_at.len() as u32;
            let node = *self.rider_node.entry(at).or_insert(next);
            if node == next {
                self.out.rider_at.push(at);
                self.out.instance.riders.push(self.park.riders()[at as usize].load_free);
            }
            riders.push((node, cost));
        }
        self.out.instance.lanes.push(Lane { capacity: UNLIMITED, riders });
        self.out.lane_shop.push(shop_at);
        self.lanes.insert(key, fresh);
        Some((fresh, base))
    }

    fn offer(&mut self, order: &Order, shop_at: u32) -> Offer {
        let near_key = (shop_at, order.need_min_c, order.need_max_c);
        if !self.near.contains_key(&near_key) {
            let near = self.near(order, shop_at);
            self.near.insert(near_key, near);
        }
        let near = &self.near[&near_key];
        let (park, policy) = (self.park, self.policy);
        let shop = &park.shops()[shop_at as usize];
        let mut tally = near.tally.clone();
        let mut riders = Vec::new();
        let mut flat_m = f64::INFINITY;
        let mut cut = false;
        for &(at, approach_m) in &near.riders {
            let rider = &park.riders()[at as usize];
            let trip = trip::trip(rider, approach_m, 0.0, order.ready_ms, self.now_ms, policy);
            if !in_time(shop, rider, &trip, order.deadline_ms, policy, &mut tally) {
                continue;
            }
            if order.class != 0 {
                if let Said::MayNot(who) = self.judge.of_rider(order.class, rider) {
                    tally.add(ReasonCode::RuleExcluded, shop.id, rider.id, i64::from(who), i64::from(who));
                    continue;
                }
            }
            if riders.len() == policy.max_riders_per_shop {
                cut = true;
                break;
            }
            let mut last_ms = order.deadline_ms.min(order.target_ms);
            if !policy.window_ends_at_pickup {
                last_ms = last_ms.min(rider.available_until_ms);
            }
            let spare_ms = last_ms.saturating_sub(trip.dropoff_ms) as f64;
            flat_m = flat_m.min(spare_ms * rider.speed_m_per_min / 60_000.0 - FLAT_MARGIN_M);
            riders.push(Offered {
                at,
                approach_m,
                cost: trip::approach_cost(&trip, approach_m, order.ready_ms, policy),
            });
        }
        self.out.truncated += u32::from(cut);
        let profile = riders.iter().map(|offered| (offered.at, offered.cost)).collect();
        let flat = if flat_m >= 0.0 && order.class == 0 { self.lane(shop_at, profile) } else { None };
        Offer { riders, flat_m, flat, tally }
    }

    fn near(&self, order: &Order, shop_at: u32) -> Near {
        let (park, policy) = (self.park, self.policy);
        let shop = &park.shops()[shop_at as usize];
        let place = (shop.x_m, shop.y_m);
        let mut tally = Tally::default();
        let mut riders: Vec<(u32, f64)> = Vec::new();
        let mut in_radius = false;
        park.rider_grid.around(place, policy.radius_m, |at| {
            let rider = &park.riders()[at as usize];
            let approach_m = distance_m(place, (rider.x_m, rider.y_m));
            if approach_m > policy.radius_m {
                return;
            }
            in_radius = true;
            let missing = trip::degrees_missing(rider, order.need_min_c, order.need_max_c);
            if !rider.on_duty {
                tally.add(ReasonCode::RiderOffWindow, shop.id, rider.id, self.now_ms, 0);
            } else if missing > 0 {
                tally.add(ReasonCode::TemperatureRange, shop.id, rider.id, missing, 0);
            } else if rider.load_free < 1 {
                tally.add(ReasonCode::RiderLoad, shop.id, rider.id, i64::from(rider.load_free), 1);
            } else {
                riders.push((at, approach_m));
            }
        });
        if !in_radius {
            let away = |rider: &Rider| (distance_m(place, (rider.x_m, rider.y_m)), rider.id);
            let nearest =
                park.riders().iter().map(away).min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            let (measured, rider_id) =
                nearest.map_or((-1, NOBODY), |(metres, id)| (metres.ceil() as i64, id));
            tally.add(ReasonCode::RiderRadius, shop.id, rider_id, measured, policy.radius_m as i64);
        }
        let id = |at: u32| park.riders()[at as usize].id;
        riders.sort_unstable_by(|a, b| a.1.total_cmp(&b.1).then_with(|| id(a.0).cmp(&id(b.0))));
        Near { riders, tally }
    }
}

fn in_time(
    shop: &Shop,
    rider: &Rider,
    trip: &Trip,
    deadline_ms: i64,
    policy: &Policy,
    tally: &mut Tally,
) -> bool {
    let instant_ms = trip::window_instant_ms(trip, policy);
    if instant_ms > rider.available_until_ms {
        tally.add(ReasonCode::RiderOffWindow, shop.id, rider.id, instant_ms, rider.available_until_ms);
        return false;
    }
    if trip.dropoff_ms > deadline_ms {
        tally.add(ReasonCode::Deadline, shop.id, rider.id, trip.dropoff_ms, deadline_ms);
        return false;
    }
    true
}
