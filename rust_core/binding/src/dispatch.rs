//! The dispatcher for Python: shops and riders in batches, decisions as plain tuples.
//!
//! A read-write lock holds the park, so that previews and decisions may run side by side. It is only ever taken
//! with the GIL released: a thread that waits for the park never keeps Python waiting.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use cuptime_dispatch::{
    Decision, Decisions, Hold, HoldRefused, Judge, Lost, NoJudge, Order, Park, Policy, ReasonCode, Rider,
    Shop, TemperatureClass,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// Adds this room's classes to the module.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Dispatcher>()
}

/// Bytes of one packed rider position: i64, f64, f64.
const POSITION_BYTES: usize = 24;

/// Dearest price or weight that a policy may name; sums of them stay far inside 64 bits.
const WEIGHT_MAX: f64 = 1e10;

/// Largest coordinate, metres: twice around the Earth.
const COORDINATE_M_MAX: f64 = 1e8;

/// Largest instant: some 292 million years, and room to add to it.
const INSTANT_MS_MAX: i64 = 1 << 62;

/// Orders of one batch, at most.
const ORDERS_MAX: usize = 100_000;

/// Shops and riders of one park.
#[pyclass(frozen, module = "cuptime._core")]
pub(crate) struct Dispatcher {
    park: RwLock<Park>,
}

type ShopColumns = (i64, f64, f64, i64, i64, bool, i32, i32, u8, Vec<(u32, i32)>);
type RiderColumns = (i64, f64, f64, i64, i64, i32, i16, i16, f64, bool);
type HoldColumns = (i64, i64, u32, i32, bool);
type ReasonColumns = (u8, i64, i64, i64, i64, u32);
type AlternativeColumns = (i64, i64, i64);
pub(crate) type DecisionColumns =
    (i64, i64, i64, i64, i64, i64, i64, i64, i64, Vec<ReasonColumns>, Vec<AlternativeColumns>);
type Answer = (Vec<DecisionColumns>, i64, i64, u32, u32);
type Counters = (Vec<(i64, i32, i32)>, Vec<(i64, u32, i32)>, Vec<(i64, i32)>);

/// Decides orders that are already in Rust. The caller has released the GIL.
pub(crate) fn decide_orders(
    dispatcher: &Dispatcher,
    orders: &[Order],
    now_ms: i64,
    policy: &Policy,
    judge: &dyn Judge,
) -> Decisions {
    cuptime_dispatch::decide_under(&dispatcher.read(), orders, now_ms, policy, judge)
}

/// The default policy with some of its fields replaced, by name.
pub(crate) fn read_policy(overrides: Option<HashMap<String, f64>>) -> PyResult<Policy> {
    let mut policy = Policy::default();
    for (name, value) in overrides.unwrap_or_default() {
        if !(0.0..=WEIGHT_MAX).contains(&value) {
            return Err(PyValueError::new_err(format!(
                "policy {name} must be 0 to {WEIGHT_MAX:e}, not {value}"
            )));
        }
        match field(&mut policy, &name) {
            Some(Field::Metres(slot)) => *slot = value,
            Some(Field::Whole(slot)) => *slot = value as i64,
            Some(Field::Count(slot)) => *slot = value as usize,
            Some(Field::Budget(slot)) => *slot = value as u64,
            Some(Field::Flag(slot)) => *slot = value != 0.0,
            None => return Err(PyValueError::new_err(format!("policy has no {name}"))),
        }
    }
    Ok(policy)
}

enum Field<'a> {
    Metres(&'a mut f64),
    Whole(&'a mut i64),
    Count(&'a mut usize),
    Budget(&'a mut u64),
    Flag(&'a mut bool),
}

const FIELDS: [&str; 21] = [
    "radius_m",
    "delivery_radius_m",
    "max_shops_per_order",
    "max_riders_per_shop",
    "unassigned_base_m",
    "unassigned_step_m",
    "late_m_per_s",
    "approach_weight",
    "delivery_weight",
    "cold_delivery_weight",
    "wait_m_per_s",
    "idle_m_per_s",
    "pickup_before_ms",
    "pickup_after_ms",
    "dropoff_before_ms",
    "dropoff_after_ms",
    "leave_early_ms",
    "provisional_min_ms",
    "window_ends_at_pickup",
    "pivot_budget",
    "alternatives_max",
];

fn field<'a>(policy: &'a mut Policy, name: &str) -> Option<Field<'a>> {
    Some(match name {
        "radius_m" => Field::Metres(&mut policy.radius_m),
        "delivery_radius_m" => Field::Metres(&mut policy.delivery_radius_m),
        "max_shops_per_order" => Field::Count(&mut policy.max_shops_per_order),
        "max_riders_per_shop" => Field::Count(&mut policy.max_riders_per_shop),
        "unassigned_base_m" => Field::Whole(&mut policy.unassigned_base_m),
        "unassigned_step_m" => Field::Whole(&mut policy.unassigned_step_m),
        "late_m_per_s" => Field::Whole(&mut policy.late_m_per_s),
        "approach_weight" => Field::Whole(&mut policy.approach_weight),
        "delivery_weight" => Field::Whole(&mut policy.delivery_weight),
        "cold_delivery_weight" => Field::Whole(&mut policy.cold_delivery_weight),
        "wait_m_per_s" => Field::Whole(&mut policy.wait_m_per_s),
        "idle_m_per_s" => Field::Whole(&mut policy.idle_m_per_s),
        "pickup_before_ms" => Field::Whole(&mut policy.pickup_before_ms),
        "pickup_after_ms" => Field::Whole(&mut policy.pickup_after_ms),
        "dropoff_before_ms" => Field::Whole(&mut policy.dropoff_before_ms),
        "dropoff_after_ms" => Field::Whole(&mut policy.dropoff_after_ms),
        "leave_early_ms" => Field::Whole(&mut policy.leave_early_ms),
        "provisional_min_ms" => Field::Whole(&mut policy.provisional_min_ms),
        "window_ends_at_pickup" => Field::Flag(&mut policy.window_ends_at_pickup),
        "pivot_budget" => Field::Budget(&mut policy.pivot_budget),
        "alternatives_max" => Field::Count(&mut policy.alternatives_max),
        _ => return None,
    })
}

fn refuse<T>(what: &str, id: i64) -> PyResult<T> {
    Err(PyValueError::new_err(format!("{what} (id {id})")))
}

fn in_plane(x_m: f64, y_m: f64) -> bool {
    x_m.abs() <= COORDINATE_M_MAX && y_m.abs() <= COORDINATE_M_MAX
}

fn instant(ms: i64) -> bool {
    (-INSTANT_MS_MAX..=INSTANT_MS_MAX).contains(&ms)
}

fn read_shop(columns: ShopColumns) -> PyResult<Shop> {
    let (id, x_m, y_m, open_from_ms, open_until_ms, paused, capacity_free, fridge_free, offers_mask, stock) =
        columns;
    if !in_plane(x_m, y_m) {
        return refuse("shop coordinates are not in the plane", id);
    }
    let stock = stock.into_iter().collect();
    Ok(Shop {
        id,
        x_m,
        y_m,
        open_from_ms,
        open_until_ms,
        paused,
        capacity_free,
        fridge_free,
        offers_mask,
        stock,
    })
}

fn read_rider(columns: RiderColumns) -> PyResult<Rider> {
    let (
        id,
        x_m,
        y_m,
        available_from_ms,
        available_until_ms,
        load_free,
        min_c,
        max_c,
        speed_m_per_min,
        on_duty,
    ) = columns;
    if !in_plane(x_m, y_m) {
        return refuse("rider coordinates are not in the plane", id);
    }
    if !(speed_m_per_min.is_finite() && speed_m_per_min > 0.0) {
        return refuse("rider speed must be positive", id);
    }
    if !instant(available_from_ms) {
        return refuse("rider window is not an instant", id);
    }
    Ok(Rider {
        id,
        x_m,
        y_m,
        available_from_ms,
        available_until_ms,
        load_free,
        min_c,
        max_c,
        speed_m_per_min,
        on_duty,
    })
}

/// Columns of an order; see `_core.pyi`.
fn read_order(columns: &Bound<'_, PyTuple>) -> PyResult<Order> {
    if columns.len() != 15 {
        return Err(PyValueError::new_err(format!("an order has 15 columns, not {}", columns.len())));
    }
    let order_id: i64 = columns.get_item(0)?.extract()?;
    let code: u8 = columns.get_item(6)?.extract()?;
    let Some(temperature) = TemperatureClass::from_code(code) else {
        return refuse("temperature must be 0, 1 or 2", order_id);
    };
    let lost: Vec<(i64, i64)> = columns.get_item(14)?.extract()?;
    let order = Order {
        order_id,
        group_id: columns.get_item(1)?.extract()?,
        x_m: columns.get_item(2)?.extract()?,
        y_m: columns.get_item(3)?.extract()?,
        sku: columns.get_item(4)?.extract()?,
        quantity: columns.get_item(5)?.extract()?,
        temperature,
        need_min_c: columns.get_item(7)?.extract()?,
        need_max_c: columns.get_item(8)?.extract()?,
        priority: columns.get_item(9)?.extract()?,
        ready_ms: columns.get_item(10)?.extract()?,
        target_ms: columns.get_item(11)?.extract()?,
        deadline_ms: columns.get_item(12)?.extract()?,
        allowed_shops: columns.get_item(13)?.extract()?,
        lost: lost.into_iter().map(|(shop_id, rider_id)| Lost { shop_id, rider_id }).collect(),
        class: 0,
    };
    if !in_plane(order.x_m, order.y_m) {
        return refuse("drop-off is not in the plane", order_id);
    }
    if order.quantity < 1 {
        return refuse("quantity must be at least 1", order_id);
    }
    if !(1..=100).contains(&order.priority) {
        return refuse("priority must be 1 to 100", order_id);
    }
    if !instant(order.ready_ms) {
        return refuse("ready_ms is not an instant", order_id);
    }
    Ok(order)
}

pub(crate) fn read_orders(orders: Vec<Bound<'_, PyTuple>>, now_ms: i64) -> PyResult<Vec<Order>> {
    if orders.len() > ORDERS_MAX {
        return Err(PyValueError::new_err(format!("at most {ORDERS_MAX} orders at once")));
    }
    if !instant(now_ms) {
        return Err(PyValueError::new_err("now_ms is not an instant"));
    }
    let orders: Vec<Order> = orders.iter().map(read_order).collect::<PyResult<_>>()?;
    let mut ids: Vec<i64> = orders.iter().map(|order| order.order_id).collect();
    ids.sort_unstable();
    match ids.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => refuse("the order is there twice", pair[0]),
        None => Ok(orders),
    }
}

fn read_hold((shop_id, rider_id, sku, quantity, cold): HoldColumns) -> PyResult<Hold> {
    if quantity < 1 {
        return refuse("quantity of a hold must be at least 1, shop", shop_id);
    }
    Ok(Hold { shop_id, rider_id, sku, quantity, cold })
}

fn refused_name(refused: HoldRefused) -> &'static str {
    match refused {
        HoldRefused::UnknownShop => "UNKNOWN_SHOP",
        HoldRefused::UnknownRider => "UNKNOWN_RIDER",
        HoldRefused::ShopCapacity => ReasonCode::ShopDailyCapacity.name(),
        HoldRefused::FridgeSlots => ReasonCode::FridgeSlots.name(),
        HoldRefused::SkuStock => ReasonCode::SkuStock.name(),
        HoldRefused::RiderLoad => ReasonCode::RiderLoad.name(),
    }
}

pub(crate) fn decision_columns(decision: Decision) -> DecisionColumns {
    let reason = |reason: &cuptime_dispatch::Reason| {
        (reason.code as u8, reason.shop_id, reason.rider_id, reason.measured, reason.limit, reason.count)
    };
    let alternative =
        |other: &cuptime_dispatch::Alternative| (other.shop_id, other.rider_id, other.extra_cost);
    let reasons = decision.reasons.iter().map(reason).collect();
    let alternatives = decision.alternatives.iter().map(alternative).collect();
    match decision.assignment {
        Some(chosen) => (
            decision.order_id,
            chosen.shop_id,
            chosen.rider_id,
            chosen.pickup_ms,
            chosen.dropoff_ms,
            chosen.rider_free_ms,
            chosen.cost,
            chosen.approach_m,
            chosen.delivery_m,
            reasons,
            alternatives,
        ),
        None => (decision.order_id, -1, -1, -1, -1, -1, -1, -1, -1, reasons, alternatives),
    }
}

impl Dispatcher {
    // A panic cannot leave the park half-changed in a way that matters: it is a cache, and each change is one field.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Park> {
        self.park.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Park> {
        self.park.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Dispatcher {
    #[new]
    fn new() -> Self {
        Self { park: RwLock::new(Park::new()) }
    }

    fn upsert_shops(&self, py: Python<'_>, shops: Vec<ShopColumns>) -> PyResult<()> {
        let shops: Vec<Shop> = shops.into_iter().map(read_shop).collect::<PyResult<_>>()?;
        py.detach(|| {
            let mut park = self.write();
            shops.into_iter().for_each(|shop| park.upsert_shop(shop));
        });
        Ok(())
    }

    fn upsert_riders(&self, py: Python<'_>, riders: Vec<RiderColumns>) -> PyResult<()> {
        let riders: Vec<Rider> = riders.into_iter().map(read_rider).collect::<PyResult<_>>()?;
        py.detach(|| {
            let mut park = self.write();
            riders.into_iter().for_each(|rider| park.upsert_rider(rider));
        });
        Ok(())
    }

    fn remove_shops(&self, py: Python<'_>, shop_ids: Vec<i64>) -> usize {
        py.detach(|| {
            let mut park = self.write();
            shop_ids.into_iter().filter(|&id| park.remove_shop(id)).count()
        })
    }

    fn remove_riders(&self, py: Python<'_>, rider_ids: Vec<i64>) -> usize {
        py.detach(|| {
            let mut park = self.write();
            rider_ids.into_iter().filter(|&id| park.remove_rider(id)).count()
        })
    }

    fn move_riders(&self, py: Python<'_>, packed: &[u8]) -> PyResult<usize> {
        if packed.len() % POSITION_BYTES != 0 {
            return Err(PyValueError::new_err(format!("positions are {POSITION_BYTES} bytes each")));
        }
        let mut moves = Vec::with_capacity(packed.len() / POSITION_BYTES);
        for position in packed.chunks_exact(POSITION_BYTES) {
            let word = |at: usize| <[u8; 8]>::try_from(&position[at..at + 8]).expect("8 bytes of 24");
            let (id, x_m, y_m) =
                (i64::from_le_bytes(word(0)), f64::from_le_bytes(word(8)), f64::from_le_bytes(word(16)));
            if !in_plane(x_m, y_m) {
                return refuse("rider coordinates are not in the plane", id);
            }
            moves.push((id, x_m, y_m));
        }
        Ok(py.detach(|| {
            let mut park = self.write();
            moves.into_iter().filter(|&(id, x_m, y_m)| !park.move_rider(id, x_m, y_m)).count()
        }))
    }

    fn set_counters(
        &self,
        py: Python<'_>,
        shops: Vec<(i64, i32, i32)>,
        stock: Vec<(i64, u32, i32)>,
        riders: Vec<(i64, i32)>,
    ) -> usize {
        py.detach(|| {
            let mut park = self.write();
            let mut unknown = 0;
            for (id, capacity_free, fridge_free) in shops {
                match park.shop_mut(id) {
                    Some(counters) => {
                        *counters.capacity_free = capacity_free;
                        *counters.fridge_free = fridge_free;
                    }
                    None => unknown += 1,
                }
            }
            for (id, sku, free) in stock {
                match park.shop_mut(id) {
                    Some(counters) => drop(counters.stock.insert(sku, free)),
                    None => unknown += 1,
                }
            }
            for (id, load_free) in riders {
                unknown += usize::from(!park.set_rider_load(id, load_free));
            }
            unknown
        })
    }

    #[pyo3(signature = (orders, now_ms, policy=None))]
    fn decide(
        &self,
        py: Python<'_>,
        orders: Vec<Bound<'_, PyTuple>>,
        now_ms: i64,
        policy: Option<HashMap<String, f64>>,
    ) -> PyResult<Answer> {
        let (orders, policy) = (read_orders(orders, now_ms)?, read_policy(policy)?);
        let answer = py.detach(|| decide_orders(self, &orders, now_ms, &policy, &NoJudge));
        let Decisions { decisions, total_cost, gap_bound, nodes, truncated } = answer;
        Ok((decisions.into_iter().map(decision_columns).collect(), total_cost, gap_bound, nodes, truncated))
    }

    #[pyo3(signature = (orders, now_ms, policy=None))]
    fn validate(
        &self,
        py: Python<'_>,
        orders: Vec<Bound<'_, PyTuple>>,
        now_ms: i64,
        policy: Option<HashMap<String, f64>>,
    ) -> PyResult<Vec<String>> {
        let (orders, policy) = (read_orders(orders, now_ms)?, read_policy(policy)?);
        Ok(py.detach(|| {
            let park = self.read();
            let decisions = cuptime_dispatch::decide(&park, &orders, now_ms, &policy);
            cuptime_dispatch::validate::validate(&park, &orders, now_ms, &policy, &NoJudge, &decisions)
        }))
    }

    fn consume(&self, py: Python<'_>, holds: Vec<HoldColumns>) -> PyResult<Vec<&'static str>> {
        let holds: Vec<Hold> = holds.into_iter().map(read_hold).collect::<PyResult<_>>()?;
        Ok(py.detach(|| {
            let mut park = self.write();
            holds.iter().map(|hold| park.consume(hold).map_or_else(refused_name, |()| "")).collect()
        }))
    }

    fn release(&self, py: Python<'_>, holds: Vec<HoldColumns>) -> PyResult<()> {
        let holds: Vec<Hold> = holds.into_iter().map(read_hold).collect::<PyResult<_>>()?;
        py.detach(|| {
            let mut park = self.write();
            holds.iter().for_each(|hold| park.release(hold));
        });
        Ok(())
    }

    fn counters(&self, py: Python<'_>) -> Counters {
        py.detach(|| {
            let park = self.read();
            let mut shops: Vec<_> =
                park.shops().iter().map(|shop| (shop.id, shop.capacity_free, shop.fridge_free)).collect();
            let each =
                |shop: &Shop| shop.stock.iter().map(|(&sku, &free)| (shop.id, sku, free)).collect::<Vec<_>>();
            let mut stock: Vec<_> = park.shops().iter().flat_map(each).collect();
            let mut riders: Vec<_> = park.riders().iter().map(|rider| (rider.id, rider.load_free)).collect();
            shops.sort_unstable();
            stock.sort_unstable();
            riders.sort_unstable();
            (shops, stock, riders)
        })
    }

    #[staticmethod]
    fn policy_defaults() -> HashMap<&'static str, f64> {
        let mut policy = Policy::default();
        let mut defaults = HashMap::new();
        for name in FIELDS {
            let value = match field(&mut policy, name) {
                Some(Field::Metres(slot)) => *slot,
                Some(Field::Whole(slot)) => *slot as f64,
                Some(Field::Count(slot)) => *slot as f64,
                Some(Field::Budget(slot)) => *slot as f64,
                Some(Field::Flag(slot)) => f64::from(u8::from(*slot)),
                None => continue,
            };
            defaults.insert(name, value);
        }
        defaults
    }

    #[staticmethod]
    fn reason_names() -> HashMap<u8, &'static str> {
        ReasonCode::ALL.iter().map(|code| (*code as u8, code.name())).collect()
    }
}
