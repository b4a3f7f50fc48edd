//! What rules can bring about: the closed set that admission and dispatch honour.
use crate::wire::v1::TemperatureClass;

/// One effect of a rule that matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// 1 (highest) to 100. The first by rank counts.
    Priority(i32),
    /// Recorded, nothing else.
    Tag(String),
    /// The order is not admitted, with this text.
    Refuse(String),
    /// Only these shops may make it. All that match hold together.
    OnlyShops(Vec<i64>),
    /// None of these shops may make it.
    NotShops(Vec<i64>),
    /// Only these riders may carry it.
    OnlyRiders(Vec<i64>),
    /// None of these riders may carry it.
    NotRiders(Vec<i64>),
    /// It is made and carried as an order of this class. The first by rank counts.
    TemperatureClass(TemperatureClass),
    /// It is decided so much later than its group completes, milliseconds. The first by rank counts.
    DelayMs(i64),
    /// Its costs count so many hundredths; of a pair, the cost of this pair. The first by rank counts.
    WeightPercent(i32),
    /// The pair is not tried, with this text.
    Exclude(String),
}

/// Characters of an effect's text.
const TEXT_CHARS_MAX: usize = 200;
/// Ids in one list.
const IDS_MAX: usize = 100;
/// The longest delay of a decision, milliseconds.
pub const DELAY_MS_MAX: i64 = 24 * 3_600_000;

/// What a condition must be about for an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// The order alone.
    Order,
    /// The order and one rider, or the order and one shop.
    Pair,
    /// Either.
    Any,
}

/// Kinds, what their value must be, and what their rule must be about.
pub const KINDS: [(&str, &str, About); 11] = [
    ("assign_rider_priority", "a whole number from 1 (highest) to 100", About::Order),
    ("tag", "1 to 200 characters", About::Order),
    ("refuse", "1 to 200 characters", About::Order),
    ("only_shops", "1 to 100 ids with commas between", About::Order),
    ("not_shops", "1 to 100 ids with commas between", About::Order),
    ("only_riders", "1 to 100 ids with commas between", About::Order),
    ("not_riders", "1 to 100 ids with commas between", About::Order),
    ("temperature_class", "HOT, AMBIENT or COLD", About::Order),
    ("delay_ms", "a whole number from 1 to 86400000", About::Order),
    ("weight_percent", "a whole number from 10 to 1000", About::Any),
    ("exclude", "1 to 200 characters", About::Pair),
];

impl Effect {
    /// Reads an effect.
    ///
    /// # Errors
    /// What is wrong with it, for whoever wrote the action.
    pub fn read(kind: &str, value: &str) -> Result<Effect, String> {
        let Some((_, wanted, _)) = KINDS.iter().find(|(known, ..)| *known == kind) else {
            let known = KINDS.map(|(known, ..)| known).join(", ");
            return Err(format!("no action is called {kind:?}; there are {known}"));
        };
        let value = value.trim();
        let wrong = || format!("the value of {kind} must be {wanted}, not {value:?}");
        let whole = |low: i64, high: i64| {
            value.parse::<i64>().ok().filter(|n| (low..=high).contains(n)).ok_or_else(wrong)
        };
        let text = || {
            let sound = !value.is_empty() && value.chars().count() <= TEXT_CHARS_MAX;
            if sound {
                Ok(value.to_string())
            } else {
                Err(wrong())
            }
        };
        let ids = || {
            let ids: Option<Vec<i64>> = value.split(',').map(|id| id.trim().parse().ok()).collect();
            ids.filter(|ids| ids.len() <= IDS_MAX && ids.iter().all(|id| *id > 0)).ok_or_else(wrong)
        };
        Ok(match kind {
            "assign_rider_priority" => Effect::Priority(whole(1, 100)? as i32),
            "tag" => Effect::Tag(text()?),
            "refuse" => Effect::Refuse(text()?),
            "only_shops" => Effect::OnlyShops(ids()?),
            "not_shops" => Effect::NotShops(ids()?),
            "only_riders" => Effect::OnlyRiders(ids()?),
            "not_riders" => Effect::NotRiders(ids()?),
            "temperature_class" => Effect::TemperatureClass(match value {
                "HOT" => TemperatureClass::Hot,
                "AMBIENT" => TemperatureClass::Ambient,
                "COLD" => TemperatureClass::Cold,
                _ => return Err(wrong()),
            }),
            "delay_ms" => Effect::DelayMs(whole(1, DELAY_MS_MAX)?),
            "weight_percent" => Effect::WeightPercent(whole(10, 1_000)? as i32),
            _ => Effect::Exclude(text()?),
        })
    }
}

/// What the rule of an effect must be about; `None` for a kind that is not there.
pub fn about(kind: &str) -> Option<About> {
    KINDS.iter().find(|(known, ..)| *known == kind).map(|(.., about)| *about)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effects_are_a_closed_set() {
        assert_eq!(Effect::read("assign_rider_priority", " 7 "), Ok(Effect::Priority(7)));
        assert_eq!(Effect::read("only_shops", "7, 8"), Ok(Effect::OnlyShops(vec![7, 8])));
        assert_eq!(Effect::read("weight_percent", "10"), Ok(Effect::WeightPercent(10)));
        let bad = [
            ("assign_rider_priority", "0"),
            ("assign_rider_priority", "101"),
            ("assign_rider_priority", "1.5"),
            ("refuse", " "),
            ("only_shops", ""),
            ("only_shops", "7,,8"),
            ("not_riders", "-1"),
            ("temperature_class", "cold"),
            ("delay_ms", "0"),
            ("delay_ms", "86400001"),
            ("weight_percent", "9"),
        ];
        for (kind, value) in bad {
            let wanted = KINDS.iter().find(|(known, ..)| *known == kind).map_or("", |(_, wanted, _)| wanted);
            assert!(Effect::read(kind, value).unwrap_err().contains(wanted), "{kind} {value}");
        }
        assert!(Effect::read("explode", "1").unwrap_err().contains("there are assign_rider_priority"));
    }
}
