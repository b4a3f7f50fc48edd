//! What rules may know of an order: names, types, and how the columns of the rule engine are filled.
use cuptime_rules::{Columns, Limits, Mode, RuleSet, Schema, SlotSize, Tally, Type};

use crate::judge::{OrderFacts, RefuseRules};
use crate::limits::{LABEL_CHARS_MAX, SKU_CHARS_MAX, SKU_VERSION_CHARS_MAX};
use crate::wire::v1::{BeverageKind, BusinessContext, Location, Order, TemperatureClass, User};

/// Every name a condition may use, with its type as [`Type::parse`] reads it.
///
/// Places are degrees; `order.latitude` and `order.longitude` are the group's when the order names no place.
/// `group.member_count` is, while an order asks to be admitted, the number of members before it.
pub const NAMES: [(&str, &str); 19] = [
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
];

/// The schema of [`NAMES`].
pub fn schema() -> Schema {
    let typed = |(name, ty): &(&str, &str)| (name.to_string(), Type::parse(ty).unwrap_or(Type::Dyn));
    Schema::new(NAMES.iter().map(typed).collect()).with_sizes(size_of)
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
        columns.end_row();
    }
}

/// Where an order goes: its own place, or its group's.
pub fn place_of(order: &Order, group: &GroupView<'_>) -> Location {
    order.drop_off.unwrap_or(Location { latitude: group.latitude, longitude: group.longitude })
}

fn kind_name(kind: i32) -> &'static str {
    match BeverageKind::try_from(kind) {
        Ok(BeverageKind::Coffee) => "coffee",
        Ok(BeverageKind::Tea) => "tea",
        Ok(BeverageKind::Juice) => "juice",
        Ok(BeverageKind::Unspecified) | Err(_) => "",
    }
}

fn temperature_name(class: i32) -> &'static str {
    match TemperatureClass::try_from(class) {
        Ok(TemperatureClass::Hot) => "hot",
        Ok(TemperatureClass::Ambient) => "ambient",
        Ok(TemperatureClass::Cold) => "cold",
        Ok(TemperatureClass::Unspecified) | Err(_) => "",
    }
}

/// What a rule does when it matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleAction {
    /// `assign_rider_priority: 1` to 100; 1 is the highest. The first match by rank counts.
    AssignRiderPriority(i32),
    /// `tag: text`: recorded among the matched rules, nothing else.
    Tag(String),
    /// `refuse: why`: the order is not admitted.
    Refuse(String),
}

/// Characters of an action's text.
const ACTION_CHARS_MAX: usize = 200;

impl RuleAction {
    /// The kinds there are, with what their value must be.
    pub const KINDS: [(&str, &str); 3] = [
        ("assign_rider_priority", "a whole number from 1 (highest) to 100"),
        ("tag", "1 to 200 characters"),
        ("refuse", "1 to 200 characters"),
    ];

    /// Reads an action.
    ///
    /// # Errors
    /// What is wrong with it, for whoever wrote the rule.
    pub fn read(kind: &str, value: &str) -> Result<RuleAction, String> {
        let Some((_, wanted)) = Self::KINDS.iter().find(|(known, _)| *known == kind) else {
            let known = Self::KINDS.map(|(known, _)| known).join(", ");
            return Err(format!("no action is called {kind:?}; there are {known}"));
        };
        let value = value.trim();
        let wrong = || format!("the value of {kind} must be {wanted}, not {value:?}");
        if kind == "assign_rider_priority" {
            let priority = value.parse().ok().filter(|n| (1..=100).contains(n)).ok_or_else(wrong)?;
            return Ok(RuleAction::AssignRiderPriority(priority));
        }
        if value.is_empty() || value.chars().count() > ACTION_CHARS_MAX {
            return Err(wrong());
        }
        Ok(match kind {
            "tag" => RuleAction::Tag(value.to_string()),
            _ => RuleAction::Refuse(value.to_string()),
        })
    }
}

/// The rules of a set that refuse orders, ready to judge one order after the other.
#[derive(Clone, Debug)]
pub struct RefuseSet {
    set: RuleSet,
    slots: Slots,
    columns: Columns,
    tally: Tally,
    matches: Vec<u32>,
    now_ms: i64,
}

impl RefuseSet {
    /// The `refuse` rules of a set; `None` when it has none.
    pub fn of(set: &RuleSet) -> Option<RefuseSet> {
        let sources: Vec<_> =
            set.rules().iter().map(|r| r.source()).filter(|r| r.action.kind == "refuse").cloned().collect();
        if sources.is_empty() {
            return None;
        }
        // They were compiled before, under limits that may have been wider than the defaults; then the whole set
        // judges, and the rules of other kinds are passed over.
        let set = RuleSet::compile(sources, set.schema(), &Limits::default()).unwrap_or_else(|_| set.clone());
        let (slots, columns, tally) = (Slots::of(set.schema()), set.columns(), Tally::new(&set));
        Some(RefuseSet { set, slots, columns, tally, matches: Vec::new(), now_ms: 0 })
    }

    /// Sets the instant that validity is judged at, and the counters to zero.
    pub fn start(&mut self, now_ms: i64) {
        self.now_ms = now_ms;
        // Not a new one: it remembers which rules are active, and its memory serves every call.
        self.tally.clear();
    }

    /// What happened since [`RefuseSet::start`].
    pub fn counts(&self) -> RuleCounts {
        RuleCounts::of(&self.set, &self.tally, |kind| kind == "refuse")
    }
}

impl RefuseRules for RefuseSet {
    fn refuses(&mut self, facts: &OrderFacts<'_>) -> Option<(String, String)> {
        let group = GroupView {
            group_id: facts.group.group_id,
            park: &facts.group.park,
            capacity: i64::from(facts.group.capacity),
            member_count: i64::from(facts.members),
            latitude: facts.group.latitude,
            longitude: facts.group.longitude,
        };
        self.columns.clear();
        self.matches.clear();
        self.slots.fill(&mut self.columns, facts.order, &group);
        self.set.evaluate(&self.columns, 0, self.now_ms, Mode::Collect, &mut self.matches, &mut self.tally);
        let rules = self.set.rules();
        let refusing =
            self.matches.iter().filter_map(|rank| rules.get(*rank as usize)).map(|rule| rule.source());
        let first = refusing.into_iter().find(|source| source.action.kind == "refuse")?;
        Some((first.id.clone(), first.action.value.clone()))
    }
}

/// How rules fared in one call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleCounts {
    /// (rule id, times it matched), by rank, no zeros.
    pub hits: Vec<(String, u64)>,
    /// (rule id, times its condition had no value), by rank, no zeros.
    pub errors: Vec<(String, u64)>,
    /// Conditions evaluated.
    pub evaluated: u64,
}

impl RuleCounts {
    /// Reads a tally of a set, of the rules whose kind of action counts here.
    pub fn of(set: &RuleSet, tally: &Tally, counts_here: impl Fn(&str) -> bool) -> RuleCounts {
        let mut counts = RuleCounts::default();
        let counted = set.rules().iter().zip(tally.rules());
        for (rule, figures) in counted.filter(|(rule, _)| counts_here(&rule.source().action.kind)) {
            counts.evaluated += figures.evaluated;
            for (list, figure) in [(&mut counts.hits, figures.hits), (&mut counts.errors, figures.errors)] {
                if figure > 0 {
                    list.push((rule.source().id.clone(), figure));
                }
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cuptime_rules::{Action, RuleSource};

    fn rule(id: &str, condition: &str, kind: &str, value: &str) -> RuleSource {
        RuleSource {
            id: id.into(),
            name: id.into(),
            priority: 1,
            enabled: true,
            valid_from_ms: None,
            valid_to_ms: None,
            condition: condition.into(),
            action: Action { kind: kind.into(), value: value.into() },
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
            ("order.kind", "== 'coffee'"),
            ("order.temperature_class", "== 'cold'"),
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
        let counts = RuleCounts::of(&set, &tally, |_| true);
        assert_eq!((matches.len(), counts.errors.len()), (NAMES.len(), 0));
        assert_eq!(counts.evaluated, NAMES.len() as u64);
    }

    #[test]
    fn only_refuse_rules_are_asked() {
        let rules = vec![
            rule("tagged", "true", "tag", "t"),
            rule("no_gold", "user.tier == 'gold'", "refuse", "not today"),
            rule("never", "order.quantity > 50", "refuse", "too much"),
        ];
        let set = RuleSet::compile(rules, &schema(), &Limits::default()).unwrap();
        let mut refuse = RefuseSet::of(&set).unwrap();
        refuse.start(0);
        let facts = crate::table::GroupFacts::example(10_001);
        let refused = refuse.refuses(&OrderFacts { order: &order(), group: &facts, members: 0 });
        assert_eq!(refused, Some(("no_gold".into(), "not today".into())));
        assert_eq!(refuse.counts().hits, [("no_gold".to_string(), 1)]);
        assert_eq!(refuse.counts().evaluated, 2);
        let tags =
            RuleSet::compile(vec![rule("t", "true", "tag", "t")], &schema(), &Limits::default()).unwrap();
        assert!(RefuseSet::of(&tags).is_none());
    }

    #[test]
    fn actions_are_a_closed_set() {
        assert_eq!(RuleAction::read("assign_rider_priority", " 7 "), Ok(RuleAction::AssignRiderPriority(7)));
        for bad in ["0", "101", "x", "", "1.5"] {
            assert!(RuleAction::read("assign_rider_priority", bad)
                .unwrap_err()
                .contains("1 (highest) to 100"));
        }
        assert!(RuleAction::read("explode", "1").unwrap_err().contains("there are assign_rider_priority"));
        assert!(RuleAction::read("refuse", " ").is_err());
    }
}
