//! Which rules count at an instant, and what happened to them: counters that cost an order nothing when it misses.
//!
//! A rule that was asked and neither matched nor failed is a miss; nobody counts it. A tally counts orders and the
//! hits and faults of single rules; `evaluated` is the orders that were asked while the rule was active.
use std::sync::Arc;

use crate::index::Scratch;
use crate::matcher::RuleSet;

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
    pub(crate) rules: Vec<RuleTally>,
    pub(crate) active: Option<Arc<Active>>,
    /// Orders asked about under `active` and not yet in `rules`.
    asked: u64,
    pub(crate) scratch: Scratch,
}

impl Tally {
    /// Counters at zero for `set`.
    pub fn new(set: &RuleSet) -> Tally {
        Tally { rules: vec![RuleTally::default(); set.len()], ..Tally::default() }
    }

    /// Sets all counters to zero and keeps the memory.
    pub fn clear(&mut self) {
        self.settle();
        for count in &mut self.rules {
            *count = RuleTally::default();
        }
    }

    /// Counters in rank order.
    pub fn rules(&self) -> Vec<RuleTally> {
        let mut rules = self.rules.clone();
        add_asked(&mut rules, self.active.as_deref(), self.asked);
        rules
    }

    /// Adds `other`, counted on the same set, and leaves it at zero.
    pub fn fold(&mut self, other: &mut Tally) {
        if self.rules.len() < other.rules.len() {
            self.rules.resize(other.rules.len(), RuleTally::default());
        }
        other.settle();
        for (mine, theirs) in self.rules.iter_mut().zip(&mut other.rules) {
            mine.evaluated += theirs.evaluated;
            mine.hits += theirs.hits;
            mine.errors += theirs.errors;
            *theirs = RuleTally::default();
        }
    }

    /// Moves what was asked into the counters.
    fn settle(&mut self) {
        add_asked(&mut self.rules, self.active.as_deref(), self.asked);
        self.asked = 0;
    }

    /// Counts an order; behind it `active` is what counts for it.
    #[inline]
    pub(crate) fn ask(&mut self, set: &RuleSet, now_ms: i64) {
        let covered = self.active.as_ref().is_some_and(|active| active.covers(set, now_ms));
        if !covered {
            self.settle();
            self.rules.resize(set.len(), RuleTally::default());
            self.active = Some(Arc::new(Active::at(now_ms, set)));
        }
        self.asked += 1;
    }
}

fn add_asked(rules: &mut [RuleTally], active: Option<&Active>, asked: u64) {
    if asked == 0 {
        return;
    }
    for (rank, count) in rules.iter_mut().enumerate() {
        count.evaluated += if active.is_some_and(|a| a.has(rank)) { asked } else { 0 };
    }
}
