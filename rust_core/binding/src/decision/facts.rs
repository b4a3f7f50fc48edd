//! The facts of a rider and of a shop as rules see them: into columns, and out again to be recorded.
use cuptime_dispatch::{Rider, Shop};
use cuptime_intake::facts::NAMES;
use cuptime_intake::unproject;
use cuptime_intake::wire::v1;
use cuptime_rules::{Columns, Facts, Value};

/// Where the facts of riders and shops begin; in the order of `PAIR_NAMES`.
const RIDER: usize = NAMES.len();
const SHOP: usize = NAMES.len() + 9;

/// A rider of the dispatcher, whose metres count from `origin`.
pub(super) fn rider_now(rider: &Rider, origin: (f64, f64)) -> v1::RiderFacts {
    let (latitude, longitude) = unproject(origin, (rider.x_m, rider.y_m));
    v1::RiderFacts {
        rider_id: rider.id,
        latitude,
        longitude,
        load_free: i64::from(rider.load_free),
        min_temperature_c: i64::from(rider.min_c),
        max_temperature_c: i64::from(rider.max_c),
        speed_m_per_min: rider.speed_m_per_min,
        available_from_ms: rider.available_from_ms,
        available_until_ms: rider.available_until_ms,
    }
}

/// A shop of the dispatcher.
pub(super) fn shop_now(shop: &Shop, origin: (f64, f64)) -> v1::ShopFacts {
    let (latitude, longitude) = unproject(origin, (shop.x_m, shop.y_m));
    v1::ShopFacts {
        shop_id: shop.id,
        latitude,
        longitude,
        capacity_free: i64::from(shop.capacity_free),
        fridge_free: i64::from(shop.fridge_free),
        open_until_ms: shop.open_until_ms,
    }
}

/// Puts a rider into the open row.
pub(super) fn put_rider(columns: &mut Columns, rider: &v1::RiderFacts) {
    columns.push_int(RIDER, rider.rider_id);
    columns.push_double(RIDER + 1, rider.latitude);
    columns.push_double(RIDER + 2, rider.longitude);
    columns.push_int(RIDER + 3, rider.load_free);
    columns.push_int(RIDER + 4, rider.min_temperature_c);
    columns.push_int(RIDER + 5, rider.max_temperature_c);
    columns.push_double(RIDER + 6, rider.speed_m_per_min);
    columns.push_int(RIDER + 7, rider.available_from_ms);
    columns.push_int(RIDER + 8, rider.available_until_ms);
}

/// Puts a shop into the open row.
pub(super) fn put_shop(columns: &mut Columns, shop: &v1::ShopFacts) {
    columns.push_int(SHOP, shop.shop_id);
    columns.push_double(SHOP + 1, shop.latitude);
    columns.push_double(SHOP + 2, shop.longitude);
    columns.push_int(SHOP + 3, shop.capacity_free);
    columns.push_int(SHOP + 4, shop.fridge_free);
    columns.push_int(SHOP + 5, shop.open_until_ms);
}

/// The rider of a row.
pub(super) fn rider(row: (&Columns, usize)) -> v1::RiderFacts {
    v1::RiderFacts {
        rider_id: whole(row, RIDER),
        latitude: double(row, RIDER + 1),
        longitude: double(row, RIDER + 2),
        load_free: whole(row, RIDER + 3),
        min_temperature_c: whole(row, RIDER + 4),
        max_temperature_c: whole(row, RIDER + 5),
        speed_m_per_min: double(row, RIDER + 6),
        available_from_ms: whole(row, RIDER + 7),
        available_until_ms: whole(row, RIDER + 8),
    }
}

/// The shop of a row.
pub(super) fn shop(row: (&Columns, usize)) -> v1::ShopFacts {
    v1::ShopFacts {
        shop_id: whole(row, SHOP),
        latitude: double(row, SHOP + 1),
        longitude: double(row, SHOP + 2),
        capacity_free: whole(row, SHOP + 3),
        fridge_free: whole(row, SHOP + 4),
        open_until_ms: whole(row, SHOP + 5),
    }
}

fn value((columns, row): (&Columns, usize), slot: usize) -> Option<Value> {
    Facts::Row { columns, row }.value(slot)
}

fn whole(row: (&Columns, usize), slot: usize) -> i64 {
    match value(row, slot) {
        Some(Value::Int(number)) => number,
        _ => 0,
    }
}

fn double(row: (&Columns, usize), slot: usize) -> f64 {
    match value(row, slot) {
        Some(Value::Double(number)) => number,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cuptime_intake::facts::schema;
    use cuptime_rules::{Limits, RuleSet};

    #[test]
    fn what_is_put_in_comes_out() {
        let set = RuleSet::compile(Vec::new(), &schema(), &Limits::default()).unwrap();
        let mut columns = set.columns();
        let one = v1::RiderFacts {
            rider_id: 1,
            latitude: 31.1,
            longitude: -121.2,
            load_free: 3,
            min_temperature_c: -5,
            max_temperature_c: 80,
            speed_m_per_min: 250.5,
            available_from_ms: 7,
            available_until_ms: 9,
        };
        let other = v1::ShopFacts {
            shop_id: 2,
            latitude: 0.1,
            longitude: 0.3,
            capacity_free: 4,
            fridge_free: 5,
            open_until_ms: 6,
        };
        put_rider(&mut columns, &one);
        columns.end_row();
        put_shop(&mut columns, &other);
        columns.end_row();
        assert_eq!((rider((&columns, 0)), shop((&columns, 1))), (one, other));
    }
}
