//! The live picture of one park: its shops, its riders and what each has left.
//!
//! A `Park` is a cache: the caller rebuilds it from storage at start and keeps it current with batches of
//! changes. Nothing here reads a clock; every instant is UTC milliseconds handed in.
use crate::grid::Grid;
use rustc_hash::FxHashMap;

/// Temperature class of a drink. Bits in [`Shop::offers_mask`] use the same numbers: `1 << class`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum TemperatureClass {
    /// Kept hot.
    Hot = 0,
    /// Needs no cooling and no heat.
    Ambient = 1,
    /// Kept cold: takes one fridge slot of its shop from pack-out to pick-up.
    Cold = 2,
}

impl TemperatureClass {
    /// The class of a number on the wire (0 hot, 1 ambient, 2 cold); `None` for any other.
    pub fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Hot),
            1 => Some(Self::Ambient),
            2 => Some(Self::Cold),
            _ => None,
        }
    }
}

/// A shop that offers every temperature class.
pub const OFFERS_ALL: u8 = 0b111;

/// One shop. Coordinates are planar metres of the park's own frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Shop {
    /// Identity.
    pub id: i64,
    /// East, metres.
    pub x_m: f64,
    /// North, metres.
    pub y_m: f64,
    /// First instant at which an order may be packed out.
    pub open_from_ms: i64,
    /// Last instant at which an order may be packed out.
    pub open_until_ms: i64,
    /// Takes no new orders while true.
    pub paused: bool,
    /// Orders still possible today.
    pub capacity_free: i32,
    /// Free cold slots; one per COLD order.
    pub fridge_free: i32,
    /// Bits of the temperature classes it makes (`1 << class`).
    pub offers_mask: u8,
    /// Cups left by SKU code. A SKU that is absent is not offered here.
    pub stock: FxHashMap<u32, i32>,
}

/// One rider, at a place and with a vehicle.
#[derive(Clone, Debug, PartialEq)]
pub struct Rider {
    /// Identity.
    pub id: i64,
    /// East, metres: where the rider is, or will be when `available_from_ms` lies ahead.
    pub x_m: f64,
    /// North, metres.
    pub y_m: f64,
    /// Rides from this instant on (or from now, if that is later).
    pub available_from_ms: i64,
    /// Window end; see [`crate::Policy::window_ends_at_pickup`] for what must happen before it.
    pub available_until_ms: i64,
    /// Orders that still fit.
    pub load_free: i32,
    /// Lowest temperature the vehicle can hold, C.
    pub min_c: i16,
    /// Highest temperature the vehicle can hold, C.
    pub max_c: i16,
    /// Riding speed, metres a minute; must be positive.
    pub speed_m_per_min: f64,
    /// Takes orders while true.
    pub on_duty: bool,
}

/// What one assignment takes from the park.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Shop that makes it.
    pub shop_id: i64,
    /// Rider that carries it.
    pub rider_id: i64,
    /// SKU code.
    pub sku: u32,
    /// Cups.
    pub quantity: i32,
    /// Whether it takes a fridge slot.
    pub cold: bool,
}

/// Why a hold was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldRefused {
    /// No such shop.
    UnknownShop,
    /// No such rider.
    UnknownRider,
    /// The shop's capacity for today is used up.
    ShopCapacity,
    /// No fridge slot is free.
    FridgeSlots,
    /// Too few cups of the SKU.
    SkuStock,
    /// The rider is full.
    RiderLoad,
}

/// Shops and riders of one park, with their free capacities.
#[derive(Clone, Debug, Default)]
pub struct Park {
    shops: Vec<Shop>,
    shop_at: FxHashMap<i64, u32>,
    riders: Vec<Rider>,
    rider_at: FxHashMap<i64, u32>,
    pub(crate) shop_grid: Grid,
    pub(crate) rider_grid: Grid,
}

impl Park {
    /// An empty park.
    pub fn new() -> Self {
        Self::default()
    }

    /// All shops, in no promised sequence.
    pub fn shops(&self) -> &[Shop] {
        &self.shops
    }

    /// All riders, in no promised sequence.
    pub fn riders(&self) -> &[Rider] {
        &self.riders
    }

    /// The shop with this id.
    pub fn shop(&self, id: i64) -> Option<&Shop> {
        self.shop_at.get(&id).map(|&at| &self.shops[at as usize])
    }

    /// The rider with this id.
    pub fn rider(&self, id: i64) -> Option<&Rider> {
        self.rider_at.get(&id).map(|&at| &self.riders[at as usize])
    }

    pub(crate) fn shop_position(&self, id: i64) -> Option<u32> {
        self.shop_at.get(&id).copied()
    }

    pub(crate) fn rider_position(&self, id: i64) -> Option<u32> {
        self.rider_at.get(&id).copied()
    }

    /// Adds or replaces a shop.
    pub fn upsert_shop(&mut self, shop: Shop) {
        let place = (shop.x_m, shop.y_m);
        match self.shop_at.get(&shop.id) {
            Some(&at) => {
                let old = &self.shops[at as usize];
                self.shop_grid.relocate(at, (old.x_m, old.y_m), place);
                self.shops[at as usize] = shop;
            }
            None => {
                let at = self.shops.len() as u32;
                self.shop_at.insert(shop.id, at);
                self.shop_grid.insert(at, place);
                self.shops.push(shop);
            }
        }
    }

    /// Adds or replaces a rider.
    pub fn upsert_rider(&mut self, rider: Rider) {
        let place = (rider.x_m, rider.y_m);
        match self.rider_at.get(&rider.id) {
            Some(&at) => {
                let old = &self.riders[at as usize];
                self.rider_grid.relocate(at, (old.x_m, old.y_m), place);
                self.riders[at as usize] = rider;
            }
            None => {
                let at = self.riders.len() as u32;
                self.rider_at.insert(rider.id, at);
                self.rider_grid.insert(at, place);
                self.riders.push(rider);
            }
        }
    }

    /// Forgets a shop; false when there was none.
    pub fn remove_shop(&mut self, id: i64) -> bool {
        let Some(at) = self.shop_at.remove(&id) else {
            return false;
        };
        let gone = self.shops.swap_remove(at as usize);
        self.shop_grid.remove(at, (gone.x_m, gone.y_m));
        if let Some(moved) = self.shops.get(at as usize) {
            let place = (moved.x_m, moved.y_m);
            self.shop_grid.remove(self.shops.len() as u32, place);
            self.shop_grid.insert(at, place);
            self.shop_at.insert(moved.id, at);
        }
        true
    }

    /// Forgets a rider; false when there was none.
    pub fn remove_rider(&mut self, id: i64) -> bool {
        let Some(at) = self.rider_at.remove(&id) else {
            return false;
        };
        let gone = self.riders.swap_remove(at as usize);
        self.rider_grid.remove(at, (gone.x_m, gone.y_m));
        if let Some(moved) = self.riders.get(at as usize) {
            let place = (moved.x_m, moved.y_m);
            self.rider_grid.remove(self.riders.len() as u32, place);
            self.rider_grid.insert(at, place);
            self.rider_at.insert(moved.id, at);
        }
        true
    }

    /// Moves a rider; false when unknown.
    pub fn move_rider(&mut self, id: i64, x_m: f64, y_m: f64) -> bool {
        let Some(&at) = self.rider_at.get(&id) else {
            return false;
        };
        let rider = &mut self.riders[at as usize];
        self.rider_grid.relocate(at, (rider.x_m, rider.y_m), (x_m, y_m));
        (rider.x_m, rider.y_m) = (x_m, y_m);
        true
    }

    /// A shop's state that may change without moving it; `None` when unknown.
    pub fn shop_mut(&mut self, id: i64) -> Option<ShopCounters<'_>> {
        let at = *self.shop_at.get(&id)? as usize;
        let shop = &mut self.shops[at];
        Some(ShopCounters {
            capacity_free: &mut shop.capacity_free,
            fridge_free: &mut shop.fridge_free,
            paused: &mut shop.paused,
            stock: &mut shop.stock,
        })
    }

    /// Sets how many orders a rider can still take; false when unknown.
    pub fn set_rider_load(&mut self, id: i64, load_free: i32) -> bool {
        let Some(&at) = self.rider_at.get(&id) else {
            return false;
        };
        self.riders[at as usize].load_free = load_free;
        true
    }

    /// Takes everything one assignment needs, or nothing.
    pub fn consume(&mut self, hold: &Hold) -> Result<(), HoldRefused> {
        let shop_at = *self.shop_at.get(&hold.shop_id).ok_or(HoldRefused::UnknownShop)? as usize;
        let rider_at = *self.rider_at.get(&hold.rider_id).ok_or(HoldRefused::UnknownRider)? as usize;
        let shop = &mut self.shops[shop_at];
        let rider = &mut self.riders[rider_at];
        let cups = shop.stock.get_mut(&hold.sku);
        if shop.capacity_free < 1 {
            return Err(HoldRefused::ShopCapacity);
        }
        if hold.cold && shop.fridge_free < 1 {
            return Err(HoldRefused::FridgeSlots);
        }
        if rider.load_free < 1 {
            return Err(HoldRefused::RiderLoad);
        }
        match cups {
            Some(cups) if *cups >= hold.quantity => *cups -= hold.quantity,
            _ => return Err(HoldRefused::SkuStock),
        }
        shop.capacity_free -= 1;
        shop.fridge_free -= i32::from(hold.cold);
        rider.load_free -= 1;
        Ok(())
    }

    /// Gives back what [`Park::consume`] took. A shop or rider that is gone is passed over:
    /// its counters went with it.
    pub fn release(&mut self, hold: &Hold) {
        if let Some(&at) = self.shop_at.get(&hold.shop_id) {
            let shop = &mut self.shops[at as usize];
            shop.capacity_free = shop.capacity_free.saturating_add(1);
            if hold.cold {
                shop.fridge_free = shop.fridge_free.saturating_add(1);
            }
            if let Some(cups) = shop.stock.get_mut(&hold.sku) {
                *cups = cups.saturating_add(hold.quantity);
            }
        }
        if let Some(&at) = self.rider_at.get(&hold.rider_id) {
            let rider = &mut self.riders[at as usize];
            rider.load_free = rider.load_free.saturating_add(1);
        }
    }
}

/// Mutable access to what a shop has left.
#[derive(Debug)]
pub struct ShopCounters<'a> {
    /// Orders still possible today.
    pub capacity_free: &'a mut i32,
    /// Free cold slots.
    pub fridge_free: &'a mut i32,
    /// Takes no new orders while true.
    pub paused: &'a mut bool,
    /// Cups left by SKU code.
    pub stock: &'a mut FxHashMap<u32, i32>,
}
