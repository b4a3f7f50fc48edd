//! Which rules count at an instant, and what happened to them: counters that cost an order nothing when it misses.
//!
//! A rule that was asked and neither matched nor failed is a miss; nobody counts it. A tally counts orders and the
//! hits and faults of single rules; `evaluated` is the orders that were asked while the rule was active.
use std::sync::Arc;

use crate::index::Scratch;
use crate::matcher::{RuleIndex, RuleSet};

/// The rules that count from one instant to another.
#[derive(Debug)]
pub(crate) struct Active {
    /// The digest of their set, which decides their ranks.
    digest: Arc<str>,
    from_ms: i64,
    /// First instant after.
    until_ms: i64,
    /// Bits by rank.
    rules: Vec<u64>,
    /// Their conjunctions in the index; empty without one.
    pub row: Vec<u64>,
}

impl Active {
    /// The rules of a set that count at `now_ms`.
    fn at(now_ms: i64, set: &RuleSet) -> Active {
        let rules = set.rules();
        let (mut from_ms, mut until_ms) = (i64::MIN, i64::MAX);
        let mut bits = vec![0u64; rules.len().div_ceil(64)];
        for (rank, rule) in rules.iter().enumerate() {
            let source = rule.source();
            for boundary in [source.valid_from_ms, source.valid_to_ms].into_iter().flatten() {
                if boundary <= now_ms {
                    from_ms = from_ms.max(boundary);
                } else {
                    until_ms = until_ms.min(boundary);
                }
            }
            if rule.is_active(now_ms) {
                bits[rank / 64] |= 1 << (rank % 64);
            }
        }
        let row = set.index().map_or_else(Vec::new, |index| index.row_of_rules(&bits));
        Active { digest: set.shared_digest().clone(), from_ms, until_ms, rules: bits, row }
    }

    #[inline]
    fn covers(&self, set: &RuleSet, now_ms: i64) -> bool {
        let in_time = self.from_ms <= now_ms && (now_ms < self.until_ms || self.until_ms == i64::MAX);
        in_time && Arc::ptr_eq(&self.digest, set.shared_digest())
    }

    /// `orders` when the rule counts, else 0.
    #[inline]
    fn times(&self, rank: usize, orders: u64) -> u64 {
        u64::from(self.has(rank)) * orders
    }

    /// Whether a rule counts.
    #[inline]
    pub(crate) fn has(&self, rank: usize) -> bool {
        self.rules.get(rank / 64).is_some_and(|word| word >> (rank % 64) & 1 == 1)
    }
}

/// What happened to one rule over some evaluations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleTally {
    /// Orders the set was asked about while the rule was active.
    pub evaluated: u64,
    /// Times it was true.
    pub hits: u64,
    /// Times it had no value; such a rule does not match.
    pub errors: u64,
}

/// Counters by rank, owned by the caller: one per thread, folded into one per batch.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    evaluated: Vec<u64>,
    pub(crate) hits: Vec<u64>,
    pub(crate) errors: Vec<u64>,
    pub(crate) active: Option<Arc<Active>>,
    /// Orders asked about under `active` and not yet in `evaluated`.
    asked: u64,
    pub(crate) scratch: Scratch,
    /// Memory for one answer after the other.
    pub(crate) ends: Vec<usize>,
    pub(crate) faults: Vec<RuleIndex>,
}

impl Tally {
    /// Counters at zero for `set`.
    pub fn new(set: &RuleSet) -> Tally {
        let mut tally = Tally::default();
        tally.resize(set.len());
        tally
    }

    fn resize(&mut self, rules: usize) {
        for counters in [&mut self.evaluated, &mut self.hits, &mut self.errors] {
            counters.resize(rules, 0);
        }
    }

    /// Sets all counters to zero and keeps the memory.
    pub fn clear(&mut self) {
        self.asked = 0;
        for counters in [&mut self.evaluated, &mut self.hits, &mut self.errors] {
            counters.fill(0);
        }
    }

    /// Counters in rank order.
    pub fn rules(&self) -> Vec<RuleTally> {
        let asked = |rank| self.active.as_deref().map_or(0, |active| active.times(rank, self.asked));
        let counted = self.evaluated.iter().zip(&self.hits).zip(&self.errors).enumerate();
        counted
            .map(|(rank, ((evaluated, hits), errors))| RuleTally {
                evaluated: evaluated + asked(rank),
                hits: *hits,
                errors: *errors,
            })
            .collect()
    }

    /// Rules of the order asked about last, by itself and under [`crate::Mode::Policy`], that have no value and say that
    /// this is not to be passed over.
    pub fn faults(&self) -> &[RuleIndex] {
        &self.faults
    }

    /// Adds `other`, counted on the same set, and leaves it at zero.
    pub fn fold(&mut self, other: &mut Tally) {
        if self.hits.len() < other.hits.len() {
            self.resize(other.hits.len());
        }
        other.settle();
        let both = [
            (&mut self.evaluated, &other.evaluated),
            (&mut self.hits, &other.hits),
            (&mut self.errors, &other.errors),
        ];
        for (mine, theirs) in both {
            mine.iter_mut().zip(theirs).for_each(|(mine, theirs)| *mine += theirs);
        }
        other.clear();
    }

    /// Moves what was asked into the counters.
    fn settle(&mut self) {
        if let Some(active) = self.active.as_deref().filter(|_| self.asked > 0) {
            for (rank, evaluated) in self.evaluated.iter_mut().enumerate() {
                *evaluated += active.times(rank, self.asked);
            }
        }
        self.asked = 0;
    }

    /// Counts some orders; behind it `active` is what counts for them.
    #[inline]
    pub(crate) fn ask(&mut self, set: &RuleSet, now_ms: i64, orders: usize) {
        let covered = self.active.as_ref().is_some_and(|active| active.covers(set, now_ms));
        if !covered {
            self.settle();
            self.resize(set.len());
            self.active = Some(Arc::new(Active::at(now_ms, set)));
        }
        self.asked += orders as u64;
    }
}
