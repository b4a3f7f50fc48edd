//! What can be said of rules without any order: conditions that never or always hold, rules that say the same, and
//! rules whose answer an earlier one always gives first.
//!
//! Said on the same codes the index is made of, so on real intervals and sets of texts, not on the looks of a
//! condition. Everything found is true of every order whose facts are there; what is not found may be so all the same.
use std::collections::{BTreeMap, HashMap};

use super::cells::Cells;
use super::dimension::{place, Reading};
use super::dnf::{self, Conjunction, Literal};
use super::ranges::Ranges;
use crate::eval::{Evaluation, Facts};
use crate::matcher::{Rule, RuleIndex};
use crate::program::{Node, Op};
use crate::{parser, Limits};

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
    /// An earlier rule with the same kind of action matches whenever this one does, so where the first match of a
    /// kind counts, this one never does.
    Shadowed,
}

/// Something odd about one rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule's rank.
    pub rule: RuleIndex,
    /// What it is.
    pub oddity: Oddity,
    /// The rank of the earlier rule, if there is one in it.
    pub other: Option<RuleIndex>,
}

type Place = (usize, Reading);

/// A conjunction as one set of codes for each place it asks about.
struct Cube {
    sets: BTreeMap<Place, Ranges>,
    residual: bool,
}

/// Everything found, in rank order.
pub(crate) fn findings(rules: &[Rule], limits: &Limits) -> Vec<Finding> {
    let forms: Vec<Vec<Conjunction<'_>>> = rules.iter().map(|r| dnf::conjunctions(r.root())).collect();
    let cells = cells_of(&forms);
    let cubes: Vec<Vec<Cube>> =
        forms.iter().map(|form| form.iter().filter_map(|c| cube(c, &cells)).collect()).collect();
    let mut found = Vec::new();
    let mut texts: HashMap<(String, &str, &str), usize> = HashMap::new();
    let compares = rules.len().saturating_mul(rules.len()) / 2 <= PAIRS_MAX;
    for (rank, rule) in rules.iter().enumerate() {
        let source = rule.source();
        let mut add = |oddity, other: Option<usize>| {
            let other = other.map(|o| o as RuleIndex);
            found.push(Finding { rule: rank as RuleIndex, oddity, other });
        };
        if always_faults(rule.root(), limits) {
            add(Oddity::AlwaysFault, None);
            continue;
        }
        if cubes[rank].is_empty() {
            add(Oddity::NeverTrue, None);
            continue;
        }
        if source.condition.trim() != "true" && covers_all(&cubes[rank], &cells) {
            add(Oddity::AlwaysTrue, None);
        }
        let text = parser::parse(&source.condition, limits)
            .map_or_else(|_| source.condition.clone(), |e| e.to_string());
        let same = *texts.entry((text, &source.action.kind, &source.action.value)).or_insert(rank);
        if same != rank && is_active_whenever(&rules[same], rule) {
            add(Oddity::Duplicate, Some(same));
            continue;
        }
        if !compares {
            continue;
        }
        let shadow = (0..rank).find(|earlier| {
            rules[*earlier].source().action.kind == source.action.kind
                && is_active_whenever(&rules[*earlier], rule)
                && cubes[rank].iter().all(|cube| cubes[*earlier].iter().any(|other| implies(cube, other)))
        });
        if let Some(earlier) = shadow {
            add(Oddity::Shadowed, Some(earlier));
        }
    }
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

fn cells_of(forms: &[Vec<Conjunction<'_>>]) -> HashMap<Place, Cells> {
    let mut literals: HashMap<Place, Vec<(u32, Literal<'_>)>> = HashMap::new();
    for literal in forms.iter().flatten().flat_map(|c| &c.literals) {
        if let Some(place) = place(literal) {
            literals.entry(place).or_default().push((0, *literal));
        }
    }
    literals.into_iter().map(|(place, all)| (place, Cells::of(place.1, &all))).collect()
}

/// `None` when no order can be in it.
fn cube(conjunction: &Conjunction<'_>, cells: &HashMap<Place, Cells>) -> Option<Cube> {
    let mut cube = Cube { sets: BTreeMap::new(), residual: conjunction.residual };
    for literal in &conjunction.literals {
        let Some((place, cells)) = place(literal).and_then(|p| cells.get(&p).map(|c| (p, c))) else {
            // A pattern: true of some texts.
            cube.residual = true;
            continue;
        };
        let set = cells.ranges(literal).intersect(&cells.possible());
        let set = cube.sets.get(&place).map_or(set.clone(), |known| known.intersect(&set));
        if set.is_empty() {
            return None;
        }
        cube.sets.insert(place, set);
    }
    Some(cube)
}

/// Whether the cubes are all there is: one without a test, or several about one place that leave no value out.
fn covers_all(cubes: &[Cube], cells: &HashMap<Place, Cells>) -> bool {
    let sound: Vec<&Cube> = cubes.iter().filter(|c| !c.residual).collect();
    if sound.iter().any(|c| c.sets.is_empty()) {
        return true;
    }
    cells.iter().any(|(place, cells)| {
        let alone = sound.iter().filter(|c| c.sets.len() == 1).filter_map(|c| c.sets.get(place));
        let union = alone.fold(Ranges::whole(0), |all, set| all.union(set));
        cells.possible().intersect(&union) == cells.possible()
    })
}

/// Whether every order in `cube` is in `other`.
fn implies(cube: &Cube, other: &Cube) -> bool {
    !other.residual
        && other
            .sets
            .iter()
            .all(|(place, wide)| cube.sets.get(place).is_some_and(|narrow| narrow.intersect(wide) == *narrow))
}

fn is_active_whenever(earlier: &Rule, later: &Rule) -> bool {
    let (a, b) = (earlier.source(), later.source());
    let from = a.valid_from_ms.is_none_or(|from| b.valid_from_ms.is_some_and(|later| from <= later));
    let to = a.valid_to_ms.is_none_or(|to| b.valid_to_ms.is_some_and(|later| to >= later));
    a.enabled && from && to
}
