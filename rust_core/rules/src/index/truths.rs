//! Which of the three values a condition can have, from what is constant in it.
use crate::eval::{Evaluation, Facts};
use crate::program::{Node, Op};
use crate::Limits;

/// The values that are not ruled out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Truths {
    pub hold: bool,
    pub fail_to_hold: bool,
    pub fault: bool,
}

const ANY: Truths = Truths { hold: true, fail_to_hold: true, fault: true };

/// A part that reads nothing is evaluated; whatever reads a fact may be anything.
pub(super) fn truths(node: &Node, limits: &Limits) -> Truths {
    let all = |terms: &[Node]| -> Vec<Truths> { terms.iter().map(|term| truths(term, limits)).collect() };
    match &node.op {
        Op::Not(inner) => {
            let of = truths(inner, limits);
            Truths { hold: of.fail_to_hold, fail_to_hold: of.hold, fault: of.fault }
        }
        Op::And(terms) => {
            let of = all(terms);
            // A side that is surely false absorbs what the others fault.
            let surely = of.iter().any(|t| !t.hold && !t.fault);
            Truths {
                hold: of.iter().all(|t| t.hold),
                fail_to_hold: of.iter().any(|t| t.fail_to_hold),
                fault: !surely && of.iter().any(|t| t.fault),
            }
        }
        Op::Or(terms) => {
            let of = all(terms);
            let surely = of.iter().any(|t| !t.fail_to_hold && !t.fault);
            Truths {
                hold: of.iter().any(|t| t.hold),
                fail_to_hold: of.iter().all(|t| t.fail_to_hold),
                fault: !surely && of.iter().any(|t| t.fault),
            }
        }
        _ => {
            let mut slots = Vec::new();
            node.collect_slots(&mut slots);
            if !slots.is_empty() {
                return ANY;
            }
            match Evaluation::new(Facts::Values(&[]), limits).condition(node) {
                Ok(value) => Truths { hold: value, fail_to_hold: !value, fault: false },
                Err(_) => Truths { hold: false, fail_to_hold: false, fault: true },
            }
        }
    }
}
