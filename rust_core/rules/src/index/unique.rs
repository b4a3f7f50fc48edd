//! The proof that of some rules at most one matches an order, or the pairs for which there is none.
//!
//! Two rules are apart when every conjunction of the one rules out every conjunction of the other: some place has no
//! code that both allow. That is sound for every order, also where facts are absent: a literal about an absent fact is
//! a fault, and null allows no two literals of which no value allows both. What cannot be seen so is refused. Where the
//! codes that both allow give an order for which both conditions do hold, it is shown.
use std::collections::BTreeMap;

use super::cells::Cells;
use super::cubes::{cells_of, common, cube, Cube, Place};
use super::dimension::Reading;
use super::dnf::{self, Conjunction};
use super::ranges::Ranges;
use crate::diagnostic::{Code, Diagnostic, Position, Span};
use crate::eval::{Evaluation, Facts};
use crate::matcher::Rule;
use crate::program::{Node, Op, Test};
use crate::schema::{Schema, Type};
use crate::sources::{HitPolicy, Namespace};
use crate::value::Value;
use crate::Limits;

/// Rules of one namespace that are compared with each other; more are refused.
const RULES_MAX: usize = 4_000;
/// Orders tried for a pair of rules, to find one that both match.
const TRIES_MAX: usize = 512;

/// Every pair of rules that may both match where at most one may, told about the later one.
pub(crate) fn violations(
    rules: &[Rule],
    namespaces: &[Namespace],
    schema: &Schema,
    limits: &Limits,
) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for (at, namespace) in namespaces.iter().enumerate() {
        if namespace.hit_policy != HitPolicy::Unique {
            continue;
        }
        let mine: Vec<&Rule> =
            rules.iter().filter(|r| r.source().namespace == at && r.source().enabled).collect();
        if let (true, Some(rule)) = (mine.len() > RULES_MAX, mine.first()) {
            let message = format!("{} rules are too many to prove unique; at most {RULES_MAX}", mine.len());
            found.push(about(rule, message, "another hit policy, or several namespaces".into()));
            continue;
        }
        Proof::of(&mine, schema, limits).violations(&mut found);
    }
    found
}

struct Proof<'a> {
    rules: &'a [&'a Rule],
    cells: std::collections::HashMap<Place, Cells>,
    cubes: Vec<Vec<Cube>>,
    schema: &'a Schema,
    limits: &'a Limits,
}

impl<'a> Proof<'a> {
    fn of(rules: &'a [&'a Rule], schema: &'a Schema, limits: &'a Limits) -> Proof<'a> {
        let forms: Vec<Vec<Conjunction<'_>>> = rules.iter().map(|r| dnf::conjunctions(r.root())).collect();
        let cells = cells_of(&forms);
        let cubes = forms.iter().map(|form| form.iter().filter_map(|c| cube(c, &cells)).collect()).collect();
        Proof { rules, cells, cubes, schema, limits }
    }

    fn violations(&self, found: &mut Vec<Diagnostic>) {
        for later in 0..self.rules.len() {
            for earlier in 0..later {
                if found.len() >= self.limits.diagnostics_max {
                    return;
                }
                if are_active_together(self.rules[earlier], self.rules[later]) {
                    found.extend(self.violation(earlier, later));
                }
            }
        }
    }

    fn violation(&self, earlier: usize, later: usize) -> Option<Diagnostic> {
        let mut overlaps = self.cubes[earlier]
            .iter()
            .flat_map(|a| self.cubes[later].iter().map(move |b| common(a, b)))
            .flatten()
            .peekable();
        overlaps.peek()?;
        let (a, b) = (self.rules[earlier], self.rules[later]);
        let mut tries = TRIES_MAX;
        let example = overlaps.find_map(|sets| self.example(a, b, &sets, &mut tries));
        let differ = if a.source().actions == b.source().actions { "the same" } else { "different" };
        let ids = (&b.source().id, &a.source().id);
        let message = match &example {
            Some(facts) => {
                format!("`{}` and `{}` both match {facts}, with {differ} actions", ids.0, ids.1)
            }
            None => format!(
                "it is not proved that `{}` and `{}` never both match; their actions are {differ}",
                ids.0, ids.1
            ),
        };
        let hint = match example {
            Some(_) => "narrow one of them, or take the hit policy first or collect".to_string(),
            None => "say it by comparisons of a fact with literals that shut each other out".to_string(),
        };
        Some(about(b, message, hint))
    }

    /// An order that both rules match, as `name = value, ...`, from the codes that both allow.
    fn example(
        &self,
        a: &Rule,
        b: &Rule,
        sets: &BTreeMap<Place, Ranges>,
        tries: &mut usize,
    ) -> Option<String> {
        let mut slots = Vec::new();
        a.root().collect_slots(&mut slots);
        b.root().collect_slots(&mut slots);
        slots.sort_unstable();
        slots.dedup();
        let choices: Vec<Vec<Option<Value>>> =
            slots.iter().map(|slot| self.choices(*slot, sets, a, b)).collect();
        let mut values: Vec<Option<Value>> = vec![None; self.schema.len()];
        let mut picked = vec![0usize; slots.len()];
        loop {
            for ((slot, choice), at) in slots.iter().zip(&choices).zip(&picked) {
                values[*slot] = choice[*at].clone();
            }
            let holds = |rule: &Rule| {
                Evaluation::new(Facts::Values(&values), self.limits).condition(rule.root()) == Ok(true)
            };
            if holds(a) && holds(b) {
                return Some(self.told(&slots, &values));
            }
            *tries = tries.checked_sub(1)?;
            // The next combination, the first slot fastest.
            let next = picked.iter().zip(&choices).position(|(at, choice)| at + 1 < choice.len())?;
            picked[next] += 1;
            picked[..next].fill(0);
        }
    }

    /// A few values of a slot that both rules allow as far as their literals say.
    fn choices(&self, slot: usize, sets: &BTreeMap<Place, Ranges>, a: &Rule, b: &Rule) -> Vec<Option<Value>> {
        let mut out: Vec<Option<Value>> = Vec::new();
        if let (Some(set), Some(cells)) =
            (sets.get(&(slot, Reading::Value)), self.cells.get(&(slot, Reading::Value)))
        {
            out.extend(set.codes().filter_map(|code| cells.value_of(code)).take(CHOICES_MAX).map(Some));
        } else {
            texts_asked(a.root(), slot, &mut out);
            texts_asked(b.root(), slot, &mut out);
            out.extend(plain_values(self.schema.ty(slot)).into_iter().map(Some));
        }
        let presence = sets.get(&(slot, Reading::Presence));
        if presence.is_some_and(|set| set.codes().eq([0])) {
            return vec![None];
        }
        if presence.is_none() && out.is_empty() {
            out.push(None);
        }
        out.truncate(2 * CHOICES_MAX);
        out
    }

    fn told(&self, slots: &[usize], values: &[Option<Value>]) -> String {
        let shown = slots.iter().map(|slot| {
            let name = self.schema.name(*slot);
            values[*slot].as_ref().map_or_else(|| format!("no {name}"), |value| format!("{name} = {value}"))
        });
        let all: Vec<String> = shown.collect();
        if all.is_empty() {
            return "every order".to_string();
        }
        all.join(", ")
    }
}

/// Values of one slot that are tried.
const CHOICES_MAX: usize = 8;

/// Texts that a condition asks a slot for: literals it is compared with, and pieces it must have.
fn texts_asked(node: &Node, slot: usize, out: &mut Vec<Option<Value>>) {
    if let Op::Leaf(leaf) = &node.op {
        if leaf.slot == slot {
            match &leaf.test {
                Test::StartsWith(text) | Test::EndsWith(text) | Test::Contains(text) | Test::Str(_, text) => {
                    out.push(Some(Value::Str(text.clone())));
                }
                Test::Matches(regex) => out.push(Some(Value::str(regex.as_str()))),
                _ => {}
            }
        }
    }
    node.each_child(&mut |child| texts_asked(child, slot, out));
}

/// Values that say little, of a slot that no literal is about.
fn plain_values(ty: &Type) -> Vec<Value> {
    match ty {
        Type::Int => vec![Value::Int(1), Value::Int(0), Value::Int(100)],
        Type::Double => vec![Value::Double(0.0), Value::Double(1.0), Value::Double(100.0)],
        Type::Bool => vec![Value::Bool(true), Value::Bool(false)],
        Type::String => vec![Value::str(""), Value::str("x")],
        Type::List(_) => vec![Value::List(Vec::new().into())],
        Type::Nullable(inner) => plain_values(inner),
        _ => Vec::new(),
    }
}

fn are_active_together(a: &Rule, b: &Rule) -> bool {
    let (a, b) = (a.source(), b.source());
    let before =
        |to: Option<i64>, from: Option<i64>| matches!((to, from), (Some(to), Some(from)) if to <= from);
    !before(a.valid_to_ms, b.valid_from_ms) && !before(b.valid_to_ms, a.valid_from_ms)
}

fn about(rule: &Rule, message: String, hint: String) -> Diagnostic {
    let position = Position { line: 1, column: 1 };
    Diagnostic {
        code: Code::NotUnique,
        rule: Some(rule.source_index()),
        span: Span::default(),
        position,
        message,
        hint,
    }
}
