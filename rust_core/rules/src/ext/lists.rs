//! The sets and lists libraries. Elements are compared as `==` does.
use std::cmp::Ordering;

use super::{fits, Answer};
use crate::limits::Limits;
use crate::program::{FaultKind, ListFunction};
use crate::value::Value;

pub(super) fn call(function: ListFunction, args: &[Value], limits: &Limits, steps: &mut u32) -> Answer {
    use ListFunction as L;
    use Value::{Bool, Int, List};
    match (function, args) {
        (L::SetContains, [List(all), List(some)]) => Ok(Bool(contains_all(all, some, steps)?)),
        (L::SetEquivalent, [List(a), List(b)]) => {
            Ok(Bool(contains_all(a, b, steps)? && contains_all(b, a, steps)?))
        }
        (L::SetIntersects, [List(a), List(b)]) => {
            for element in b.iter() {
                if contains(a, element, steps)? {
                    return Ok(Bool(true));
                }
            }
            Ok(Bool(false))
        }
        (L::Slice, [List(list), Int(from), Int(to)]) => {
            let (from, to) = (usize::try_from(*from), usize::try_from(*to));
            let (Ok(from), Ok(to)) = (from, to) else { return Err(FaultKind::IndexOutOfRange) };
            list.get(from..to).map(|part| List(part.into())).ok_or(FaultKind::IndexOutOfRange)
        }
        (L::Flatten, [List(list)]) => flatten(list, 1, limits),
        (L::Flatten, [List(list), Int(depth)]) => {
            flatten(list, u32::try_from(*depth).map_err(|_| FaultKind::Range)?, limits)
        }
        (L::Distinct, [List(list)]) => {
            let mut out: Vec<Value> = Vec::new();
            for element in list.iter() {
                if !contains(&out, element, steps)? {
                    out.push(element.clone());
                }
            }
            Ok(List(out.into()))
        }
        (L::Sort, [List(list)]) => sort(list),
        (L::Range, [Int(count)]) => {
            let count = usize::try_from(*count).map_err(|_| FaultKind::Range)?;
            fits(count, limits)?;
            Ok(List((0..count as i64).map(Int).collect()))
        }
        (L::First, [List(list)]) => Ok(list.first().map_or(Value::NONE, |v| Value::some(v.clone()))),
        (L::Last, [List(list)]) => Ok(list.last().map_or(Value::NONE, |v| Value::some(v.clone()))),
        _ => Err(FaultKind::NoOverload),
    }
}

fn contains(all: &[Value], element: &Value, steps: &mut u32) -> Result<bool, FaultKind> {
    for candidate in all {
        if candidate.equals_within(element, steps).ok_or(FaultKind::TooManySteps)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn contains_all(all: &[Value], some: &[Value], steps: &mut u32) -> Result<bool, FaultKind> {
    for element in some {
        if !contains(all, element, steps)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn flatten(list: &[Value], depth: u32, limits: &Limits) -> Answer {
    let mut flat = list.to_vec();
    for _ in 0..depth {
        if !flat.iter().any(|v| matches!(v, Value::List(_))) {
            break;
        }
        let mut next = Vec::with_capacity(flat.len());
        for element in flat {
            match element {
                Value::List(inner) => next.extend(inner.iter().cloned()),
                other => next.push(other),
            }
            fits(next.len(), limits)?;
        }
        flat = next;
    }
    Ok(Value::List(flat.into()))
}

/// All elements must have an order among each other; `NaN` has none and stays where it was found.
fn sort(list: &[Value]) -> Answer {
    let mut sorted = list.to_vec();
    if let Some(first) = sorted.first() {
        let ordered = |v: &Value| v.type_name() == first.type_name() && v.compare(v).is_some();
        if !sorted.iter().all(ordered) {
            return Err(FaultKind::NoOverload);
        }
    }
    // A total order, so that the sort itself cannot go wrong whatever it is given.
    sorted.sort_by(|a, b| match (a, b) {
        (Value::Double(a), Value::Double(b)) => a.total_cmp(b),
        _ => a.compare(b).flatten().unwrap_or(Ordering::Equal),
    });
    Ok(Value::List(sorted.into()))
}
