//! When a rider is where, and what that costs: the one place where metres and minutes become integers.
use crate::order::{Order, Policy};
use crate::park::{Rider, TemperatureClass};

/// Longest ride that is told apart; keeps sums of instants far from the ends of `i64`.
const RIDE_MS_MAX: i64 = 1_000_000_000_000;

/// Dearest single part of a cost; a hundred thousand orders at such prices still add up within 64 bits.
const COST_MAX: i64 = 100_000_000_000;

/// One order's way with one rider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trip {
    pub arrival_ms: i64,
    pub pickup_ms: i64,
    pub dropoff_ms: i64,
    pub rider_free_ms: i64,
}

pub(crate) fn whole_m(distance_m: f64) -> i64 {
    distance_m.round() as i64
}

pub(crate) fn ride_ms(distance_m: f64, speed_m_per_min: f64) -> i64 {
    ((distance_m * 60_000.0 / speed_m_per_min).round() as i64).clamp(0, RIDE_MS_MAX)
}

/// The times of a trip: rider to shop over `approach_m`, shop to drop-off over `delivery_m`.
pub(crate) fn trip(
    rider: &Rider,
    approach_m: f64,
    delivery_m: f64,
    ready_ms: i64,
    now_ms: i64,
    policy: &Policy,
) -> Trip {
    let start_ms = now_ms.max(rider.available_from_ms);
    let arrival_ms = start_ms.saturating_add(ride_ms(approach_m, rider.speed_m_per_min));
    let pickup_ms = ready_ms.max(arrival_ms.saturating_add(policy.pickup_before_ms));
    let departure_ms = pickup_ms.saturating_add(policy.pickup_after_ms);
    let there_ms = departure_ms.saturating_add(ride_ms(delivery_m, rider.speed_m_per_min));
    let dropoff_ms = there_ms.saturating_add(policy.dropoff_before_ms);
    let rider_free_ms = dropoff_ms.saturating_add(policy.dropoff_after_ms);
    Trip { arrival_ms, pickup_ms, dropoff_ms, rider_free_ms }
}

/// When the rider must be told, at the latest: waiting longer would make the pick-up later. Not while the rider is not
/// free anyway.
pub(crate) fn commit_ms(trip: &Trip, approach_m: f64, rider: &Rider, now_ms: i64, policy: &Policy) -> i64 {
    let way_ms = ride_ms(approach_m, rider.speed_m_per_min);
    let leave_ms = trip.pickup_ms.saturating_sub(policy.pickup_before_ms).saturating_sub(way_ms);
    let due_ms = leave_ms.saturating_sub(policy.leave_early_ms).max(rider.available_from_ms);
    due_ms.max(now_ms.saturating_add(policy.provisional_min_ms))
}

fn priced(weight_m_per_s: i64, duration_ms: i64) -> i64 {
    if weight_m_per_s == 0 || duration_ms <= 0 {
        return 0;
    }
    weight_m_per_s.saturating_mul(duration_ms).div_euclid(1_000).min(COST_MAX)
}

/// What depends on rider and shop, but not on where the order goes.
pub(crate) fn approach_cost(trip: &Trip, approach_m: f64, ready_ms: i64, policy: &Policy) -> i64 {
    let stands_ms = trip.arrival_ms.saturating_add(policy.pickup_before_ms);
    let way = policy.approach_weight.saturating_mul(whole_m(approach_m)).min(COST_MAX);
    way + priced(policy.wait_m_per_s, trip.pickup_ms.saturating_sub(ready_ms))
        + priced(policy.idle_m_per_s, ready_ms.saturating_sub(stands_ms))
}

pub(crate) fn late_cost(trip: &Trip, target_ms: i64, policy: &Policy) -> i64 {
    priced(policy.late_m_per_s, trip.dropoff_ms.saturating_sub(target_ms))
}

/// What depends on order and shop only.
pub(crate) fn delivery_cost(order: &Order, delivery_m: f64, policy: &Policy) -> i64 {
    let cold = order.temperature == TemperatureClass::Cold;
    let weight = policy.delivery_weight + if cold { policy.cold_delivery_weight } else { 0 };
    weight.saturating_mul(whole_m(delivery_m)).min(COST_MAX)
}

/// The instant that the rider's window must contain.
pub(crate) fn window_instant_ms(trip: &Trip, policy: &Policy) -> i64 {
    if policy.window_ends_at_pickup {
        trip.pickup_ms
    } else {
        trip.dropoff_ms
    }
}

/// Degrees between the vehicle's range and the drink's; 0 when they overlap.
pub(crate) fn degrees_missing(rider: &Rider, need_min_c: i16, need_max_c: i16) -> i64 {
    let below = i64::from(need_min_c) - i64::from(rider.max_c);
    let above = i64::from(rider.min_c) - i64::from(need_max_c);
    below.max(above).max(0)
}
