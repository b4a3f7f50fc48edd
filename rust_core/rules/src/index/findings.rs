//! What can be said of rules without any order: conditions that never or always hold, rules that say the same, and
//! rules whose answer an earlier one always gives first.
//!
//! Said on the same codes the index is made of, so on real intervals and sets of texts, not on the looks of a
//! condition. Everything found is true of every order whose facts are there; what is not found may be so all the same.
use std::collections::{HashMap, HashSet};

use super::cubes::{cells_of, covers_all, cube, implies, Cube};
use super::dnf::{self, Conjunction};
use super::truths::truths;
use crate::eval::{Evaluation, Facts};
use crate::matcher::{Rule, RuleIndex};
use crate::program::{Node, Op};
use crate::sources::{Action, HitPolicy, Namespace};
use crate::{parser, variables, Limits};

/// Pairs of rules compared; a larger set is looked at rule by rule only.
const PAIRS_MAX: usize = 8_000_000;

/// What is odd about a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oddity {
    /// No order can match it.
    NeverTrue,
    /// It has no value, whatever the order: a fault that is always met, so it never matches and is always counted.
    AlwaysFault,
    /// Every order matches it, if the facts it asks for are there; and it is not the literal `true`.
    AlwaysTrue,
    /// An earlier rule has the same condition and the same action.
    Duplicate,
    /// An earlier rule matches whenever this one does, and leaves it nothing to do: in a namespace of which the first
    /// match acts, whatever it does; else when it has the same kinds of action.
    Shadowed,
    /// No condition and no other variable of its namespace names the variable.
    UnusedVariable,
}

/// Something odd about one rule, or one variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule's rank; for a variable its place among the variables of all namespaces.
    pub rule: RuleIndex,
    /// What it is.
    pub oddity: Oddity,
    /// The rank of the earlier rule, if there is one in it.
    pub other: Option<RuleIndex>,
}

/// Everything found, in rank order.
pub(crate) fn findings(rules: &[Rule], namespaces: &[Namespace], limits: &Limits) -> Vec<Finding> {
    let forms: Vec<Vec<Conjunction<'_>>> = rules.iter().map(|r| dnf::conjunctions(r.root())).collect();
    let cells = cells_of(&forms);
    let cubes: Vec<Vec<Cube>> =
        forms.iter().map(|form| form.iter().filter_map(|c| cube(c, &cells)).collect()).collect();
    let mut found = Vec::new();
    let mut texts: HashMap<(usize, String, &[Action]), usize> = HashMap::new();
    let compares = rules.len().saturating_mul(rules.len()) / 2 <= PAIRS_MAX;
    for (rank, rule) in rules.iter().enumerate() {
        let source = rule.source();
        let mut add = |oddity, other: Option<usize>| {
            let other = other.map(|o| o as RuleIndex);
            found.push(Finding { rule: rank as RuleIndex, oddity, other });
        };
        let can = truths(rule.root(), limits);
        if always_faults(rule.root(), limits) || !can.hold && !can.fail_to_hold {
            add(Oddity::AlwaysFault, None);
            continue;
        }
        if cubes[rank].is_empty() || !can.hold {
            add(Oddity::NeverTrue, None);
            continue;
        }
        if source.condition.trim() != "true" && covers_all(&cubes[rank], &cells) {
            add(Oddity::AlwaysTrue, None);
        }
        let text = parser::parse(&source.condition, limits)
            .map_or_else(|_| source.condition.clone(), |e| e.to_string());
        let same = *texts.entry((source.namespace, text, &source.actions)).or_insert(rank);
        if same != rank && is_active_whenever(&rules[same], rule) {
            add(Oddity::Duplicate, Some(same));
            continue;
        }
        if !compares {
            continue;
        }
        let shadow = (0..rank).find(|earlier| {
            leaves_nothing(&rules[*earlier], rule, namespaces)
                && is_active_whenever(&rules[*earlier], rule)
                && cubes[rank].iter().all(|cube| cubes[*earlier].iter().any(|other| implies(cube, other)))
        });
        if let Some(earlier) = shadow {
            add(Oddity::Shadowed, Some(earlier));
        }
    }
    found.extend(unused(rules, namespaces, limits));
    found
}

/// Whether a part is without a value for every order: it asks about no fact and fails, or is made of such a part in a
/// way that does not absorb it. Bodies of macros are not looked into, since they may never be reached.
fn always_faults(node: &Node, limits: &Limits) -> bool {
    let fails = |node: &Node| always_faults(node, limits);
    match &node.op {
        Op::Fail(_) => true,
        Op::And(terms) | Op::Or(terms) => terms.iter().all(fails),
        Op::Not(inner) | Op::Negate(inner) | Op::Select(inner, _) | Op::Has(inner, _) => fails(inner),
        Op::Conditional(parts) => {
            let [condition, then, otherwise] = parts.as_ref();
            fails(condition) || (fails(then) && fails(otherwise))
        }
        Op::Binary(_, sides) | Op::Index(sides) => {
            sides.iter().any(fails) || (sides.iter().all(is_constant) && is_faulty(node, limits))
        }
        Op::Call(_, args) => {
            args.iter().any(fails) || (args.iter().all(is_constant) && is_faulty(node, limits))
        }
        Op::List(elements) => elements.iter().any(fails),
        Op::Matches(text, _) => fails(text),
        Op::Fold(fold) => fails(&fold.target),
        Op::Bind(parts) | Op::OptMap(parts, _) => !matches!(node.op, Op::Bind(_)) && fails(&parts[0]),
        _ => false,
    }
}

/// Whether a part asks about no fact and no variable.
fn is_constant(node: &Node) -> bool {
    match &node.op {
        Op::Const(_) => true,
        Op::Not(inner) | Op::Negate(inner) => is_constant(inner),
        Op::And(terms) | Op::Or(terms) | Op::List(terms) | Op::Call(_, terms) => {
            terms.iter().all(is_constant)
        }
        Op::Binary(_, sides) | Op::Index(sides) => sides.iter().all(is_constant),
        _ => false,
    }
}

fn is_faulty(node: &Node, limits: &Limits) -> bool {
    Evaluation::new(Facts::Values(&[]), limits).value(node).is_err()
}

/// Whether an earlier rule that matches too leaves a later one nothing to do.
fn leaves_nothing(earlier: &Rule, later: &Rule, namespaces: &[Namespace]) -> bool {
    let (a, b) = (earlier.source(), later.source());
    let policy = |at: usize| namespaces.get(at).map_or(HitPolicy::Collect, |n| n.hit_policy);
    if a.namespace == b.namespace && policy(a.namespace) == HitPolicy::First {
        return true;
    }
    let surely = policy(a.namespace) != HitPolicy::First;
    surely && !b.actions.is_empty() && b.actions.iter().all(|action| a.has_action(&action.kind))
}

fn unused(rules: &[Rule], namespaces: &[Namespace], limits: &Limits) -> Vec<Finding> {
    let mut used: HashSet<(usize, String)> = HashSet::new();
    let mut read = |namespace: usize, text: &str| {
        if let Ok(expr) = parser::parse(text, limits) {
            used.extend(variables::read_by(&expr).into_iter().map(|name| (namespace, name)));
        }
    };
    for rule in rules {
        read(rule.source().namespace, &rule.source().condition);
    }
    for (at, namespace) in namespaces.iter().enumerate() {
        namespace.variables.iter().for_each(|variable| read(at, &variable.expression));
    }
    let all =
        namespaces.iter().enumerate().flat_map(|(at, n)| n.variables.iter().map(move |v| (at, &v.name)));
    all.enumerate()
        .filter(|(_, (namespace, name))| !used.contains(&(*namespace, (*name).clone())))
        .map(|(at, _)| Finding { rule: at as RuleIndex, oddity: Oddity::UnusedVariable, other: None })
        .collect()
}

fn is_active_whenever(earlier: &Rule, later: &Rule) -> bool {
    let (a, b) = (earlier.source(), later.source());
    let from = a.valid_from_ms.is_none_or(|from| b.valid_from_ms.is_some_and(|later| from <= later));
    let to = a.valid_to_ms.is_none_or(|to| b.valid_to_ms.is_some_and(|later| to >= later));
    a.enabled && from && to
}
