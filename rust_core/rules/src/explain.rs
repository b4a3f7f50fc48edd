//! Why a rule matched or not: the leaf that decided, what it found and what it wanted.
//!
//! A *leaf* is the smallest part of a condition that is true or false by itself: a comparison, a test, a macro. For
//! a conjunction the first false side is the reason; for a disjunction every side was false and the last one
//! is shown; under `!` the roles are exchanged.
use std::fmt::{self, Write};

use crate::diagnostic::Span;
use crate::eval::{Evaluation, Facts};
use crate::matcher::{RuleIndex, RuleSet};
use crate::program::{Fault, Node, Op, Test};
use crate::schema::Schema;
use crate::sources::{HitPolicy, OnError};
use crate::value::Value;

/// Longest value shown, bytes.
const SHOWN_BYTES_MAX: usize = 200;

/// What one rule says about one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The rule's rank.
    pub rule: RuleIndex,
    /// What it says.
    pub outcome: Outcome,
}

/// What a rule says about a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The condition is true.
    Matched,
    /// The condition is false.
    NotMatched {
        /// The text of the leaf that decided.
        leaf: String,
        /// Its place in the condition.
        span: Span,
        /// What was found, as `user.credit_score = 70`.
        value: String,
        /// What was wanted, as `>= 90`.
        wanted: String,
    },
    /// The condition has no value.
    Error {
        /// Stable spelling of the fault's kind.
        kind: &'static str,
        /// What happened, naming the part of the condition.
        message: String,
        /// That part.
        span: Span,
    },
    /// The rule is disabled, or not valid at this time.
    Inactive,
    /// The condition is true, and does not count: an earlier rule of the namespace decides.
    Shadowed {
        /// The rank of that rule.
        by: RuleIndex,
    },
}

impl Verdict {
    /// In a few words: the fault of a rule that has no value, and for any other nothing.
    pub fn told(&self) -> String {
        match &self.outcome {
            Outcome::Error { message, .. } => message.clone(),
            _ => String::new(),
        }
    }
}

pub(crate) fn explain(
    set: &RuleSet,
    facts: Facts<'_>,
    now_ms: i64,
    speaks: impl Fn(RuleIndex) -> bool,
) -> Vec<Verdict> {
    // By namespace, the rule that decides it where the first match does.
    let mut deciding: Vec<Option<RuleIndex>> = vec![None; set.namespaces().len()];
    let told = set.rules().iter().enumerate().map(|(rank, rule)| {
        let (rank, source) = (rank as RuleIndex, rule.source());
        let teller = Teller { facts, set, source: &source.condition };
        let mut outcome =
            if rule.is_active(now_ms) { teller.outcome(&rule.program().root) } else { Outcome::Inactive };
        let decides = match outcome {
            Outcome::Matched => true,
            Outcome::Error { .. } => source.on_error != OnError::Skip,
            _ => false,
        };
        if decides && set.namespaces()[source.namespace].hit_policy == HitPolicy::First {
            match deciding[source.namespace] {
                Some(by) if outcome == Outcome::Matched => outcome = Outcome::Shadowed { by },
                None if speaks(rank) => deciding[source.namespace] = Some(rank),
                _ => {}
            }
        }
        Verdict { rule: rank, outcome }
    });
    told.collect()
}

struct Teller<'a> {
    facts: Facts<'a>,
    set: &'a RuleSet,
    source: &'a str,
}

impl Teller<'_> {
    fn truth(&self, node: &Node) -> Result<bool, Fault> {
        Evaluation::new(self.facts, self.set.limits()).truth(node)
    }

    fn value(&self, node: &Node) -> Result<Value, Fault> {
        Evaluation::new(self.facts, self.set.limits()).value(node)
    }

    fn outcome(&self, root: &Node) -> Outcome {
        match self.truth(root) {
            Ok(true) => Outcome::Matched,
            Ok(false) => {
                let (leaf, needed) = self.deciding(root, true);
                let (value, wanted) = self.found_and_wanted(leaf, needed);
                Outcome::NotMatched {
                    leaf: leaf.span.text(self.source).to_string(),
                    span: leaf.span,
                    value,
                    wanted,
                }
            }
            Err(fault) => Outcome::Error {
                kind: fault.kind.as_str(),
                message: self.fault_message(fault),
                span: fault.span,
            },
        }
    }

    fn fault_message(&self, fault: Fault) -> String {
        let part = fault.span.text(self.source);
        let what = fault.kind.as_str().replace('_', " ");
        shown(format_args!("{what} in {part}"))
    }

    /// The leaf below `node` because of which it is not `needed`, and what that leaf itself needed to be.
    fn deciding<'n>(&self, node: &'n Node, needed: bool) -> (&'n Node, bool) {
        match &node.op {
            Op::Not(inner) => self.deciding(inner, !needed),
            Op::And(terms) | Op::Or(terms) => {
                // The term that alone made it so, else the last of the terms that all had to agree.
                let culprit = terms.iter().find(|t| self.truth(t) == Ok(!needed));
                let is_and = matches!(node.op, Op::And(_));
                let chosen = if is_and == needed { culprit } else { culprit.and(terms.last()) };
                chosen.map_or((node, needed), |term| self.deciding(term, needed))
            }
            Op::Conditional(parts) => {
                let [condition, then, otherwise] = parts.as_ref();
                match self.truth(condition) {
                    Ok(true) => self.deciding(then, needed),
                    Ok(false) => self.deciding(otherwise, needed),
                    Err(_) => (node, needed),
                }
            }
            _ => (node, needed),
        }
    }

    fn found_and_wanted(&self, leaf: &Node, needed: bool) -> (String, String) {
        let not = if needed { "" } else { "not " };
        match &leaf.op {
            Op::Leaf(inner) => {
                let name = self.set.schema().name(inner.slot);
                let value = self
                    .facts
                    .value(inner.slot)
                    .map_or_else(|| "absent".to_string(), |v| shown(format_args!("{v}")));
                (format!("{name} = {value}"), format!("{not}{}", wanted(&inner.test)))
            }
            Op::Present(slot) => {
                let name = self.set.schema().name(*slot);
                let state = if needed { "absent" } else { "present" };
                (format!("{name} is {state}"), format!("{not}present"))
            }
            Op::Binary(op, sides) => {
                let [left, right] = sides.as_ref();
                let found = self.described(left);
                let other =
                    self.value(right).map_or_else(|f| self.fault_message(f), |v| shown(format_args!("{v}")));
                (found, format!("{not}{} {other}", op.symbol()))
            }
            _ => {
                let value = if needed { "false" } else { "true" };
                let names = self.slots_read(leaf);
                let found = if names.is_empty() {
                    value.to_string()
                } else {
                    shown(format_args!("{value}; {names}"))
                };
                (found, if needed { "true".to_string() } else { "false".to_string() })
            }
        }
    }

    /// `text = value` of a part of the condition; just the value of a literal.
    fn described(&self, node: &Node) -> String {
        let value = self.value(node).map_or_else(|f| self.fault_message(f), |v| shown(format_args!("{v}")));
        match &node.op {
            Op::Const(_) => value,
            Op::Slot { slot, .. } => format!("{} = {value}", self.set.schema().name(*slot)),
            _ => format!("{} = {value}", node.span.text(self.source)),
        }
    }

    /// The slots a part of the condition reads, with their values.
    fn slots_read(&self, node: &Node) -> String {
        let mut slots = Vec::new();
        node.collect_slots(&mut slots);
        slots.sort_unstable();
        slots.dedup();
        let schema: &Schema = self.set.schema();
        let shown_slots = slots.into_iter().map(|slot| {
            let value =
                self.facts.value(slot).map_or_else(|| "absent".to_string(), |v| shown(format_args!("{v}")));
            format!("{} = {value}", schema.name(slot))
        });
        shown_slots.collect::<Vec<_>>().join(", ")
    }
}

fn wanted(test: &Test) -> String {
    match test {
        Test::Int(op, v) => format!("{} {v}", op.symbol()),
        Test::Double(op, v) => format!("{} {v:?}", op.symbol()),
        Test::Bool(v) => format!("== {v}"),
        Test::Str(op, v) => shown(format_args!("{} {}", op.symbol(), crate::ast::quote(v))),
        Test::IntIn(all) => {
            let all: Vec<String> = all.iter().take(50).map(ToString::to_string).collect();
            shown(format_args!("in [{}]", all.join(", ")))
        }
        Test::StrIn(all) => {
            let all: Vec<String> = all.iter().take(50).map(|v| crate::ast::quote(v)).collect();
            shown(format_args!("in [{}]", all.join(", ")))
        }
        Test::StartsWith(v) => shown(format_args!("startsWith {}", crate::ast::quote(v))),
        Test::EndsWith(v) => shown(format_args!("endsWith {}", crate::ast::quote(v))),
        Test::Contains(v) => shown(format_args!("contains {}", crate::ast::quote(v))),
        Test::Matches(v) => shown(format_args!("matches {}", crate::ast::quote(v.as_str()))),
    }
}

/// The text, cut at [`SHOWN_BYTES_MAX`]; a value whose text would be enormous is not written out first.
fn shown(text: fmt::Arguments<'_>) -> String {
    struct Bounded(String);
    impl Write for Bounded {
        fn write_str(&mut self, part: &str) -> fmt::Result {
            let room = SHOWN_BYTES_MAX.saturating_sub(self.0.len());
            if part.len() <= room {
                self.0.push_str(part);
                return Ok(());
            }
            let mut cut = room;
            while !part.is_char_boundary(cut) {
                cut -= 1;
            }
            self.0.push_str(&part[..cut]);
            Err(fmt::Error)
        }
    }
    let mut bounded = Bounded(String::new());
    if bounded.write_fmt(text).is_err() {
        bounded.0.push('…');
    }
    bounded.0
}
