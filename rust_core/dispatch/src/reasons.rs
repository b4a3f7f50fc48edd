//! Collects what stood in the way: for each code how often, and the case that came closest to passing.
use crate::order::{Reason, ReasonCode};

/// Reasons by code, at most one for each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    reasons: Vec<Reason>,
}

fn miss(reason: &Reason) -> (i64, i64, i64) {
    (reason.measured.saturating_sub(reason.limit).saturating_abs(), reason.shop_id, reason.rider_id)
}

impl Tally {
    /// Counts one more case.
    pub fn add(&mut self, code: ReasonCode, shop_id: i64, rider_id: i64, measured: i64, limit: i64) {
        self.merge_one(Reason { code, shop_id, rider_id, measured, limit, count: 1 });
    }

    /// Counts all the cases behind a reason.
    pub fn merge_one(&mut self, reason: Reason) {
        match self.reasons.iter_mut().find(|known| known.code == reason.code) {
            Some(known) => {
                let count = known.count.saturating_add(reason.count);
                if miss(&reason) < miss(known) {
                    *known = reason;
                }
                known.count = count;
            }
            None => self.reasons.push(reason),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Reason> {
        self.reasons.iter()
    }

    /// Sorted by code.
    pub fn sorted(&self) -> Vec<Reason> {
        let mut reasons = self.reasons.clone();
        reasons.sort_unstable_by_key(|reason| reason.code);
        reasons
    }
}
