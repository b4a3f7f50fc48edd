//! Collects what stood in the way: for each code how often, and the case that came closest to passing.
use crate::order::{Reason, ReasonCode};

/// Reasons of one order from which on the judge's words share one.
const REASONS_MAX: usize = 32;

/// Reasons by code, at most one for each but those of the judge.
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

    /// Counts all the cases behind a reason. Each word of the judge is a reason of its own, up to a bound.
    pub fn merge_one(&mut self, reason: Reason) {
        let judged = reason.code == ReasonCode::RuleExcluded && self.reasons.len() < REASONS_MAX;
        let same =
            |known: &&mut Reason| known.code == reason.code && (!judged || known.measured == reason.measured);
        match self.reasons.iter_mut().find(same) {
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
        reasons.sort_unstable_by_key(|reason| (reason.code, reason.measured));
        reasons
    }
}
