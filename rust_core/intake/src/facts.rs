//! What rules may know of an order: names, types, and how the columns of the rule engine are filled.
use cuptime_rules::{Columns, Schema, SlotSize, Type};

use crate::limits::{LABEL_CHARS_MAX, SKU_CHARS_MAX, SKU_VERSION_CHARS_MAX};
use crate::wire::v1::{BeverageKind, BusinessContext, Location, Order, TemperatureClass, User};

/// Every name a condition may use, with its type as [`Type::parse`] reads it.
///
/// Places are degrees; `order.latitude` and `order.longitude` are the group's when the order names no place.
/// `group.member_count` is, while an order asks to be admitted, the number of members before it.
pub const NAMES: [(&str, &str); 21] = [
    ("order.sku", "string"),
    ("order.sku_version", "string"),
    ("order.quantity", "int"),
    ("order.amount_cents", "int"),
    ("order.kind", "string"),
    ("order.temperature_class", "string"),
    ("order.ice_level", "string"),
    ("order.time_slot", "string"),
    ("order.stock_snapshot", "int"),
    ("order.timestamp_ms", "int"),
    ("order.latitude", "double"),
    ("order.longitude", "double"),
    ("user.user_id", "int"),
    ("user.credit_score", "int"),
    ("user.tier", "string"),
    ("group.group_id", "int"),
    ("group.park", "string"),
    ("group.capacity", "int"),
    ("group.member_count", "int"),
    ("group.latitude", "double"),
    ("group.longitude", "double"),
];

/// Names that make a rule one about pairs: of an order with a rider, or with a shop. Places are degrees.
pub const PAIR_NAMES: [(&str, &str); 15] = [
    ("rider.rider_id", "int"),
    ("rider.latitude", "double"),
    ("rider.longitude", "double"),
    ("rider.load_free", "int"),
    ("rider.min_temperature_c", "int"),
    ("rider.max_temperature_c", "int"),
    ("rider.speed_m_per_min", "double"),
    ("rider.available_from_ms", "int"),
    ("rider.available_until_ms", "int"),
    ("shop.shop_id", "int"),
    ("shop.latitude", "double"),
    ("shop.longitude", "double"),
    ("shop.capacity_free", "int"),
    ("shop.fridge_free", "int"),
    ("shop.open_until_ms", "int"),
];

/// Every name, those about the order first.
pub fn all_names() -> Vec<(&'static str, &'static str)> {
    NAMES.iter().chain(&PAIR_NAMES).copied().collect()
}

/// The schema of [`all_names`].
pub fn schema() -> Schema {
    let typed = |(name, ty): (&str, &str)| (name.to_string(), Type::parse(ty).unwrap_or(Type::Dyn));
    Schema::new(all_names().into_iter().map(typed).collect()).with_sizes(size_of)
}

/// How large the fact of a name can be, as intake admits it; `None` for a name that is not among them.
pub fn size_of(name: &str) -> Option<SlotSize> {
    // A character is at most four bytes of UTF-8.
    let characters = match name {
        "order.sku" => SKU_CHARS_MAX,
        "order.sku_version" => SKU_VERSION_CHARS_MAX,
        "order.ice_level" | "order.time_slot" | "user.tier" => LABEL_CHARS_MAX,
        "order.kind" | "order.temperature_class" => 16,
        _ => return None,
    };
    Some(SlotSize { text_bytes: 4 * characters as u32, ..SlotSize::default() })
}

/// What rules know of a group.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupView<'a> {
    /// The caller's id.
    pub group_id: i64,
    /// Campus or office park.
    pub park: &'a str,
    /// Members when full.
    pub capacity: i64,
    /// Members now.
    pub member_count: i64,
    /// Degrees.
    pub latitude: f64,
    /// Degrees.
    pub longitude: f64,
}

/// Where the names are in the schema of one rule set. A name that the schema has not, or has with another type, is
/// left out: the set was compiled without it.
#[derive(Clone, Debug)]
pub struct Slots([Option<usize>; NAMES.len()]);

impl Slots {
    /// The slots of a schema.
    pub fn of(schema: &Schema) -> Slots {
        Slots(NAMES.map(|(name, ty)| {
            schema.slot(name).filter(|slot| Type::parse(ty).as_ref() == Ok(schema.ty(*slot)))
        }))
    }

    /// Adds a row for an order.
    pub fn fill(&self, columns: &mut Columns, order: &Order, group: &GroupView<'_>) {
        let (nobody, nothing) = (User::default(), BusinessContext::default());
        let user = order.user.as_ref().unwrap_or(&nobody);
        let context = order.context.as_ref().unwrap_or(&nothing);
        let place = place_of(order, group);
        let texts = [
            (0, order.sku.as_str()),
            (1, context.sku_version.as_str()),
            (4, kind_name(order.kind)),
            (5, temperature_name(order.temperature_class)),
            (6, order.ice_level.as_str()),
            (7, order.time_slot.as_str()),
            (14, user.tier.as_str()),
            (16, group.park),
        ];
        let numbers = [
            (2, i64::from(order.quantity)),
            (3, order.amount_cents),
            (8, context.stock_snapshot),
            (9, context.timestamp_ms),
            (12, user.user_id),
            (13, i64::from(user.credit_score)),
            (15, group.group_id),
            (17, group.capacity),
            (18, group.member_count),
        ];
        for (name, text) in texts {
            self.0[name].into_iter().for_each(|slot| columns.push_str(slot, text));
        }
        for (name, number) in numbers {
            self.0[name].into_iter().for_each(|slot| columns.push_int(slot, number));
        }
        self.0[10].into_iter().for_each(|slot| columns.push_double(slot, place.latitude));
        self.0[11].into_iter().for_each(|slot| columns.push_double(slot, place.longitude));
        self.0[19].into_iter().for_each(|slot| columns.push_double(slot, group.latitude));
        self.0[20].into_iter().for_each(|slot| columns.push_double(slot, group.longitude));
        columns.end_row();
    }
}

/// Where an order goes: its own place, or its group's.
pub fn place_of(order: &Order, group: &GroupView<'_>) -> Location {
    order.drop_off.unwrap_or(Location { latitude: group.latitude, longitude: group.longitude })
}

fn kind_name(kind: i32) -> &'static str {
    match BeverageKind::try_from(kind) {
        Ok(BeverageKind::Coffee) => "COFFEE",
        Ok(BeverageKind::Tea) => "TEA",
        Ok(BeverageKind::Juice) => "JUICE",
        Ok(BeverageKind::Unspecified) | Err(_) => "",
    }
}

fn temperature_name(class: i32) -> &'static str {
    match TemperatureClass::try_from(class) {
        Ok(TemperatureClass::Hot) => "HOT",
        Ok(TemperatureClass::Ambient) => "AMBIENT",
        Ok(TemperatureClass::Cold) => "COLD",
        Ok(TemperatureClass::Unspecified) | Err(_) => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phases::RuleCounts;
    use crate::wire::v1::{BeverageKind, TemperatureClass};
    use cuptime_rules::{Action, Limits, Mode, RuleSet, RuleSource, Tally};

    fn rule(id: &str, condition: &str, kind: &str, value: &str) -> RuleSource {
        RuleSource {
            id: id.into(),
            name: id.into(),
            priority: 1,
            enabled: true,
            valid_from_ms: None,
            valid_to_ms: None,
            condition: condition.into(),
            actions: vec![Action { kind: kind.into(), value: value.into() }],
            ..RuleSource::default()
        }
    }

    fn order() -> Order {
        Order {
            user: Some(User { user_id: 7, credit_score: 93, tier: "gold".into() }),
            sku: "latte".into(),
            quantity: 2,
            amount_cents: 2_400,
            kind: BeverageKind::Coffee as i32,
            temperature_class: TemperatureClass::Cold as i32,
            ice_level: "less".into(),
            time_slot: "morning".into(),
            drop_off: Some(Location { latitude: 31.5, longitude: 121.25 }),
            context: Some(BusinessContext {
                group_id: 10_001,
                sku_version: "2.1".into(),
                stock_snapshot: 40,
                timestamp_ms: 1_000,
            }),
            ..Default::default()
        }
    }

    #[test]
    fn every_name_carries_its_own_fact() {
        let conditions = [
            ("order.sku", "== 'latte'"),
            ("order.sku_version", "== '2.1'"),
            ("order.quantity", "== 2"),
            ("order.amount_cents", "== 2400"),
            ("order.kind", "== 'COFFEE'"),
            ("order.temperature_class", "== 'COLD'"),
            ("order.ice_level", "== 'less'"),
            ("order.time_slot", "== 'morning'"),
            ("order.stock_snapshot", "== 40"),
            ("order.timestamp_ms", "== 1000"),
            ("order.latitude", "== 31.5"),
            ("order.longitude", "== 121.25"),
            ("user.user_id", "== 7"),
            ("user.credit_score", "== 93"),
            ("user.tier", "== 'gold'"),
            ("group.group_id", "== 10001"),
            ("group.park", "== 'north'"),
            ("group.capacity", "== 40"),
            ("group.member_count", "== 5"),
            ("group.latitude", "== 1.0"),
            ("group.longitude", "== 2.0"),
        ];
        let rules =
            conditions.iter().map(|(name, test)| rule(name, &format!("{name} {test}"), "tag", "t")).collect();
        let set = RuleSet::compile(rules, &schema(), &Limits::default()).unwrap();
        let group = GroupView {
            group_id: 10_001,
            park: "north",
            capacity: 40,
            member_count: 5,
            latitude: 1.0,
            longitude: 2.0,
        };
        let (mut columns, mut matches, mut tally) = (set.columns(), Vec::new(), Tally::new(&set));
        Slots::of(set.schema()).fill(&mut columns, &order(), &group);
        set.evaluate(&columns, 0, 0, Mode::Collect, &mut matches, &mut tally);
        let counts = RuleCounts::of(&set, &tally, |_| (true, true));
        assert_eq!((matches.len(), counts.errors.len()), (NAMES.len(), 0));
        assert_eq!(counts.evaluated, NAMES.len() as u64);
    }
}
