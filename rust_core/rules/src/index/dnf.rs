//! Conditions as a disjunction of few conjunctions of literals.
//!
//! `&&`, `||` and `!` with a fault as third value are strong Kleene logic, in which De Morgan's laws, distribution
//! and double negation hold: the normal form has the same value as the condition, also when that is a fault. A
//! negated comparison stays itself, negated (`!(x >= 90)` is not `x < 90` for a `NaN`).
use crate::program::{Leaf, Node, Op, Test};
use crate::value::Value;

/// Conjunctions of one condition; where distribution would make more, the rest is left to the program.
const CONJUNCTIONS_MAX: usize = 16;

/// What is asked of a slot.
#[derive(Clone, Copy, Debug)]
pub(super) enum Atom<'p> {
    Leaf(&'p Leaf),
    Present(usize),
}

/// An atom that must be true, or must be false.
#[derive(Clone, Copy, Debug)]
pub(super) struct Literal<'p> {
    pub atom: Atom<'p>,
    pub wanted: bool,
}

/// Literals that must hold together.
#[derive(Clone, Debug, Default)]
pub(super) struct Conjunction<'p> {
    pub literals: Vec<Literal<'p>>,
    /// More must hold than the literals say.
    pub residual: bool,
}

/// The normal form of a condition. No conjunction at all: it is never true and never a fault.
pub(super) fn conjunctions(condition: &Node) -> Vec<Conjunction<'_>> {
    form(condition, true)
}

fn form(node: &Node, wanted: bool) -> Vec<Conjunction<'_>> {
    match &node.op {
        Op::Not(inner) => form(inner, !wanted),
        Op::And(terms) if wanted => all_of(terms.iter().map(|t| form(t, wanted))),
        Op::Or(terms) if !wanted => all_of(terms.iter().map(|t| form(t, wanted))),
        Op::And(terms) | Op::Or(terms) => any_of(terms.iter().map(|t| form(t, wanted))),
        Op::Conditional(parts) => {
            let [condition, then, otherwise] = parts.as_ref();
            // The last is never true; it is a fault when the condition is, as the whole then is.
            any_of([
                all_of([form(condition, true), form(then, wanted)]),
                all_of([form(condition, false), form(otherwise, wanted)]),
                all_of([form(condition, true), form(condition, false)]),
            ])
        }
        Op::Const(Value::Bool(value)) if *value == wanted => vec![Conjunction::default()],
        Op::Const(Value::Bool(_)) => Vec::new(),
        Op::Leaf(leaf) if is_indexable(leaf, wanted) => literal(Atom::Leaf(leaf), wanted),
        Op::Present(slot) => literal(Atom::Present(*slot), wanted),
        _ => vec![Conjunction { literals: Vec::new(), residual: true }],
    }
}

fn literal(atom: Atom<'_>, wanted: bool) -> Vec<Conjunction<'_>> {
    vec![Conjunction { literals: vec![Literal { atom, wanted }], residual: false }]
}

/// The order of texts, and a pattern that must not be found, are left to the program.
fn is_indexable(leaf: &Leaf, wanted: bool) -> bool {
    use crate::ast::BinaryOp::{Eq, Ne};
    match &leaf.test {
        Test::Str(op, _) => matches!(op, Eq | Ne),
        Test::StartsWith(_) | Test::EndsWith(_) | Test::Contains(_) | Test::Matches(_) => wanted,
        Test::Int(..) | Test::Double(..) | Test::Bool(_) | Test::IntIn(_) | Test::StrIn(_) => true,
    }
}

fn any_of<'p>(forms: impl IntoIterator<Item = Vec<Conjunction<'p>>>) -> Vec<Conjunction<'p>> {
    let all: Vec<Conjunction<'p>> = forms.into_iter().flatten().take(CONJUNCTIONS_MAX + 1).collect();
    if all.len() > CONJUNCTIONS_MAX {
        return vec![Conjunction { literals: Vec::new(), residual: true }];
    }
    all
}

fn all_of<'p>(forms: impl IntoIterator<Item = Vec<Conjunction<'p>>>) -> Vec<Conjunction<'p>> {
    let mut product = vec![Conjunction::default()];
    for form in forms {
        if product.len() * form.len() > CONJUNCTIONS_MAX {
            product.iter_mut().for_each(|c| c.residual = true);
            continue;
        }
        product = product
            .iter()
            .flat_map(|left| {
                form.iter().map(|right| Conjunction {
                    literals: left.literals.iter().chain(&right.literals).copied().collect(),
                    residual: left.residual || right.residual,
                })
            })
            .collect();
    }
    product
}
