//! What somebody else has to say of single pairs: rules, in the service. The dispatcher asks of candidates only, those
//! that pass every limit of place and kind.
use crate::park::{Rider, Shop};

/// What is said of an order with one shop, or with one rider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// They may; what this order costs with them counts so many hundredths.
    May(i64),
    /// They may not; the number says whose word that is, for the reason.
    MayNot(u32),
}

/// Nothing against it.
pub const AS_IT_IS: Said = Said::May(100);

/// Bounds of what a cost may be multiplied by, hundredths, when everything said is put together.
pub const PERCENT_MIN: i64 = 1;
/// See [`PERCENT_MIN`].
pub const PERCENT_MAX: i64 = 1_000;

/// Says it. Orders of one [`crate::Order::class`] are one to a judge; class 0 is never asked about. The same question
/// must get the same answer during one decision.
pub trait Judge {
    /// Of orders of a class at a shop.
    fn of_shop(&self, class: u32, shop: &Shop) -> Said;
    /// Of orders of a class with a rider.
    fn of_rider(&self, class: u32, rider: &Rider) -> Said;
}

/// Has nothing to say.
#[derive(Clone, Copy, Debug)]
pub struct NoJudge;

impl Judge for NoJudge {
    fn of_shop(&self, _: u32, _: &Shop) -> Said {
        AS_IT_IS
    }

    fn of_rider(&self, _: u32, _: &Rider) -> Said {
        AS_IT_IS
    }
}

/// What costs of a pair are multiplied by, hundredths; `Err` says who is against it.
pub(crate) fn percent_of(judge: &dyn Judge, class: u32, shop: &Shop, rider: &Rider) -> Result<i64, u32> {
    if class == 0 {
        return Ok(100);
    }
    match (judge.of_shop(class, shop), judge.of_rider(class, rider)) {
        (Said::May(a), Said::May(b)) => {
            Ok(a.saturating_mul(b).div_euclid(100).clamp(PERCENT_MIN, PERCENT_MAX))
        }
        (Said::MayNot(who), _) | (_, Said::MayNot(who)) => Err(who),
    }
}

/// A cost under a percentage, rounded downwards.
pub(crate) fn weighted(cost: i64, percent: i64) -> i64 {
    if percent == 100 {
        return cost;
    }
    cost.saturating_mul(percent).div_euclid(100)
}
