//! Rules about pairs: conditions over an order and one thing more, a rider or a shop.
//!
//! The order's slots come first, the other's behind them; each side has columns of its own. What a condition says of
//! the order alone is asked once for each order: where one of the terms that it joins by `&&` is false, the rule matches
//! no pair of this order (a fault elsewhere is absorbed by it); where all of them are true, only the rest is asked again
//! for each pair.
use crate::columns::Columns;
use crate::eval::{Evaluation, Facts};
use crate::matcher::{Rule, RuleIndex, RuleSet};
use crate::program::{Fault, Node, Op};

/// A rule that may match some pair of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Open {
    /// Its rank.
    pub rule: RuleIndex,
    /// What it says of the order alone is true.
    rest_only: bool,
}

/// Both sides of a pair, each as columns and a row of them.
#[derive(Clone, Copy, Debug)]
pub struct Sides<'a> {
    /// The order's.
    pub order: (&'a Columns, usize),
    /// The rider's or the shop's.
    pub other: (&'a Columns, usize),
}

/// The rules of a set, for pairs.
#[derive(Clone, Debug)]
pub struct PairRules {
    /// First slot of the other side.
    split: usize,
    /// By rank, for each term of a condition that is one `&&`, whether it is about the order alone.
    of_order: Vec<Vec<bool>>,
}

impl PairRules {
    /// Of a set whose slots from `split` on are the other side's.
    pub fn of(set: &RuleSet, split: usize) -> PairRules {
        let alone = |term: &Node| {
            let mut slots = Vec::new();
            term.collect_slots(&mut slots);
            slots.iter().all(|slot| *slot < split)
        };
        let terms = |rule: &Rule| match &rule.root().op {
            Op::And(terms) => terms.iter().map(alone).collect(),
            _ => Vec::new(),
        };
        PairRules { split, of_order: set.rules().iter().map(terms).collect() }
    }

    /// The rules active at `now_ms` that may match a pair of this order, in rank order.
    pub fn open(&self, set: &RuleSet, order: (&Columns, usize), now_ms: i64) -> Vec<Open> {
        let facts = Facts::Row { columns: order.0, row: order.1 };
        let mut evaluation = Evaluation::new(facts, set.limits());
        let mut open = Vec::new();
        for (rank, rule) in set.rules().iter().enumerate().filter(|(_, rule)| rule.is_active(now_ms)) {
            let Op::And(terms) = &rule.root().op else {
                open.push(Open { rule: rank as RuleIndex, rest_only: false });
                continue;
            };
            let of_order = terms.iter().zip(&self.of_order[rank]).filter(|(_, alone)| **alone);
            let said: Vec<_> = of_order.map(|(term, _)| evaluation.condition(term)).collect();
            if !said.contains(&Ok(false)) {
                let rest_only = said.iter().all(|answer| *answer == Ok(true));
                open.push(Open { rule: rank as RuleIndex, rest_only });
            }
        }
        open
    }

    /// Whether an open rule matches a pair.
    ///
    /// # Errors
    /// The fault that left the condition without a value.
    pub fn matches(&self, set: &RuleSet, open: Open, sides: Sides<'_>) -> Result<bool, Fault> {
        let Some(rule) = set.rules().get(open.rule as usize) else { return Ok(false) };
        let facts = Facts::Pair { order: sides.order, other: sides.other, split: self.split };
        let mut evaluation = Evaluation::new(facts, set.limits());
        let (Op::And(terms), true) = (&rule.root().op, open.rest_only) else {
            return evaluation.condition(rule.root());
        };
        let rest = terms.iter().zip(&self.of_order[open.rule as usize]).filter(|(_, alone)| !**alone);
        let mut fault = None;
        for (term, _) in rest {
            match evaluation.condition(term) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(found) => fault = fault.or(Some(found)),
            }
        }
        fault.map_or(Ok(true), Err)
    }
}
