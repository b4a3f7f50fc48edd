//! What goes into a decision and what comes out of it.
use crate::park::TemperatureClass;

/// Stands for "no shop" or "no rider" in a reason, and for "any" in [`Lost`].
pub const NOBODY: i64 = -1;

/// One order that needs a shop and a rider.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// Identity; also the last tie-break.
    pub order_id: i64,
    /// Its group; carried through, not used in the choice.
    pub group_id: i64,
    /// Drop-off, metres east.
    pub x_m: f64,
    /// Drop-off, metres north.
    pub y_m: f64,
    /// SKU code.
    pub sku: u32,
    /// Cups, at least 1.
    pub quantity: i32,
    /// Temperature class of the drink.
    pub temperature: TemperatureClass,
    /// Lowest temperature it may be carried at, C.
    pub need_min_c: i16,
    /// Highest temperature it may be carried at, C. The vehicle can be set to any temperature of its range, so
    /// its range and the drink's must overlap.
    pub need_max_c: i16,
    /// 1 (highest) to 100.
    pub priority: i32,
    /// Pack-out: the drink stands ready at the shop.
    pub ready_ms: i64,
    /// Drop-off later than this is late and costs [`Policy::late_m_per_s`].
    pub target_ms: i64,
    /// Drop-off later than this is not allowed.
    pub deadline_ms: i64,
    /// Only these shops, when not empty (the delivery radius still holds).
    pub allowed_shops: Vec<i64>,
    /// Pairs whose reservation was refused before; they are not tried again.
    pub lost: Vec<Lost>,
    /// What the [`crate::Judge`] knows it by; 0: it has nothing to say of this order.
    pub class: u32,
}

/// A pair whose reservation was refused. [`NOBODY`] on one side means "with anyone".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lost {
    /// Shop, or [`NOBODY`] for every shop.
    pub shop_id: i64,
    /// Rider, or [`NOBODY`] for every rider.
    pub rider_id: i64,
}

impl Lost {
    pub(crate) fn covers(&self, shop_id: i64, rider_id: i64) -> bool {
        (self.shop_id == NOBODY || self.shop_id == shop_id)
            && (self.rider_id == NOBODY || self.rider_id == rider_id)
    }
}

/// Limits and prices of a decision. **Costs are integers; 1 = one metre.** Each part of a cost is rounded
/// on its own: distances to the nearest metre, times to the nearest millisecond, and `weight * ms / 1000`
/// downwards.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Rider to shop, at most.
    pub radius_m: f64,
    /// Shop to drop-off, at most.
    pub delivery_radius_m: f64,
    /// Nearest open shops considered for an order.
    pub max_shops_per_order: usize,
    /// Nearest suitable riders considered for a shop and a temperature range.
    pub max_riders_per_shop: usize,
    /// Price of leaving an order of priority 100 without a decision.
    pub unassigned_base_m: i64,
    /// What each step of priority above 100 adds to that price.
    pub unassigned_step_m: i64,
    /// Price of a second of lateness past the target.
    pub late_m_per_s: i64,
    /// Price of a metre from rider to shop.
    pub approach_weight: i64,
    /// Price of a metre from shop to drop-off.
    pub delivery_weight: i64,
    /// Further price of a metre from shop to drop-off for a COLD order: its way out of the cold.
    pub cold_delivery_weight: i64,
    /// Price of a second between ready and pick-up.
    pub wait_m_per_s: i64,
    /// Price of a second the rider stands at the shop before the order is ready.
    pub idle_m_per_s: i64,
    /// At the shop, before the order can be taken.
    pub pickup_before_ms: i64,
    /// At the shop, after the order was taken.
    pub pickup_after_ms: i64,
    /// At the drop-off, before the order is handed over.
    pub dropoff_before_ms: i64,
    /// At the drop-off, after it was handed over.
    pub dropoff_after_ms: i64,
    /// So long before the rider must set out the assignment is committed.
    pub leave_early_ms: i64,
    /// So long an assignment stays provisional at least: for trips one after the other, which a later look must match.
    pub provisional_min_ms: i64,
    /// True: the rider's window must contain the pick-up; false: the hand-over too.
    pub window_ends_at_pickup: bool,
    /// Simplex pivots spent, at most, on limits that are not a pure flow; about a microsecond each. A budget in
    /// pivots, not in time, keeps the answer reproducible.
    pub pivot_budget: u64,
    /// Alternatives reported with an assignment.
    pub alternatives_max: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            radius_m: 3_000.0,
            delivery_radius_m: 3_000.0,
            max_shops_per_order: 12,
            max_riders_per_shop: 50,
            unassigned_base_m: 1_000_000_000,
            unassigned_step_m: 10_000_000,
            late_m_per_s: 1_000,
            approach_weight: 1,
            delivery_weight: 1,
            cold_delivery_weight: 1,
            wait_m_per_s: 0,
            idle_m_per_s: 0,
            pickup_before_ms: 0,
            pickup_after_ms: 0,
            dropoff_before_ms: 0,
            dropoff_after_ms: 0,
            leave_early_ms: 0,
            provisional_min_ms: 0,
            window_ends_at_pickup: false,
            pivot_budget: 100_000,
            alternatives_max: 3,
        }
    }
}

impl Policy {
    /// The price of leaving an order of this priority unassigned (priorities are clamped to 1..=100).
    pub fn unassigned_price(&self, priority: i32) -> i64 {
        self.unassigned_base_m + self.unassigned_step_m * i64::from(100 - priority.clamp(1, 100))
    }
}

/// Why something was not possible. The numbers are part of the contract and never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum ReasonCode {
    /// No shop lies within the delivery radius (measured: nearest, metres, -1 when there is none; limit: radius).
    NoShopInRadius = 1,
    /// Paused or closed at pack-out (measured: `ready_ms`; limit: the end of the opening hours that is missed, 0 when
    /// paused).
    ShopClosed = 2,
    /// No capacity left today (measured: free; limit: needed).
    ShopDailyCapacity = 3,
    /// No cold slot (measured: free; limit: needed).
    FridgeSlots = 4,
    /// The shop has not this SKU or this temperature class (measured: 0; limit: cups wanted).
    SkuNotOffered = 5,
    /// Too few cups (measured: free; limit: wanted).
    SkuStock = 6,
    /// The vehicle cannot hold the drink's range (measured: degrees missing; limit: 0).
    TemperatureRange = 7,
    /// Off duty, or the window ends too early (measured: instant needed; limit: window end, 0 when off duty).
    RiderOffWindow = 8,
    /// The rider is full (measured: free; limit: needed).
    RiderLoad = 9,
    /// No rider is near enough to a shop (measured: nearest, metres, -1 when there is none; limit: radius).
    RiderRadius = 10,
    /// Cannot be there in time (measured: earliest hand-over; limit: the deadline).
    Deadline = 11,
    /// It was possible, but others made better use of the capacity (measured: what it would have cost all
    /// in all, displaced orders included; limit: the price of leaving it).
    PriorityOutbid = 12,
    /// A reservation of this pair was refused before (measured: pairs lost; limit: 0).
    ReservationLost = 13,
    /// The judge is against it (measured: whose word that is; limit: the same).
    RuleExcluded = 14,
}

impl ReasonCode {
    /// The catalogue name.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoShopInRadius => "NO_SHOP_IN_RADIUS",
            Self::ShopClosed => "SHOP_CLOSED",
            Self::ShopDailyCapacity => "SHOP_DAILY_CAPACITY",
            Self::FridgeSlots => "FRIDGE_SLOTS",
            Self::SkuNotOffered => "SKU_NOT_OFFERED",
            Self::SkuStock => "SKU_STOCK",
            Self::TemperatureRange => "TEMPERATURE_RANGE",
            Self::RiderOffWindow => "RIDER_OFF_WINDOW",
            Self::RiderLoad => "RIDER_LOAD",
            Self::RiderRadius => "RIDER_RADIUS",
            Self::Deadline => "DEADLINE",
            Self::PriorityOutbid => "PRIORITY_OUTBID",
            Self::ReservationLost => "RESERVATION_LOST",
            Self::RuleExcluded => "RULE_EXCLUDED",
        }
    }

    /// Every code, in the sequence of their numbers.
    pub const ALL: [Self; 14] = [
        Self::NoShopInRadius,
        Self::ShopClosed,
        Self::ShopDailyCapacity,
        Self::FridgeSlots,
        Self::SkuNotOffered,
        Self::SkuStock,
        Self::TemperatureRange,
        Self::RiderOffWindow,
        Self::RiderLoad,
        Self::RiderRadius,
        Self::Deadline,
        Self::PriorityOutbid,
        Self::ReservationLost,
        Self::RuleExcluded,
    ];
}

/// One code with the case that came closest to passing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Which limit was met.
    pub code: ReasonCode,
    /// The shop of the closest case, or [`NOBODY`].
    pub shop_id: i64,
    /// The rider of the closest case, or [`NOBODY`].
    pub rider_id: i64,
    /// What was found.
    pub measured: i64,
    /// What was needed.
    pub limit: i64,
    /// How many shops (or pairs of shop and rider) met this limit.
    pub count: u32,
}

/// A shop and a rider for an order, with the times and metres expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Who makes it.
    pub shop_id: i64,
    /// Who carries it.
    pub rider_id: i64,
    /// The latest responsible moment: [`Policy::leave_early_ms`] before the rider must set out.
    pub commit_ms: i64,
    /// When the rider takes it.
    pub pickup_ms: i64,
    /// When it is handed over.
    pub dropoff_ms: i64,
    /// When the rider is free again, at the drop-off.
    pub rider_free_ms: i64,
    /// Cost of this choice alone.
    pub cost: i64,
    /// Rider to shop.
    pub approach_m: i64,
    /// Shop to drop-off.
    pub delivery_m: i64,
}

/// Another choice and its price: the total cost of all orders rises by at least `extra_cost` if it is forced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alternative {
    /// Who would make it.
    pub shop_id: i64,
    /// Who would carry it.
    pub rider_id: i64,
    /// Least rise of the total.
    pub extra_cost: i64,
}

/// The answer for one order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Which order.
    pub order_id: i64,
    /// `None` when it could not be assigned; the reasons then say why.
    pub assignment: Option<Assignment>,
    /// What stood in the way, of the whole order or of better choices; sorted by code.
    pub reasons: Vec<Reason>,
    /// Best other choices, cheapest first; empty when unassigned.
    pub alternatives: Vec<Alternative>,
}

/// The answers for a batch.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Decisions {
    /// One per order, in the sequence of the input.
    pub decisions: Vec<Decision>,
    /// Sum of costs of the assigned and prices of the unassigned.
    pub total_cost: i64,
    /// No plan over the same candidates can cost more than this much less; 0 = proved optimal.
    pub gap_bound: i64,
    /// Branch-and-bound nodes spent; 0 when the problem was a pure flow.
    pub nodes: u32,
    /// Orders or shops whose candidates were cut to the nearest few: the optimum is over what was kept.
    pub truncated: u32,
}
