//! The operators of the language on values, whatever their types turn out to be.
use std::cmp::Ordering;
use std::sync::Arc;

use crate::ast::BinaryOp;
use crate::limits::Limits;
use crate::program::FaultKind;
use crate::value::Value;

/// Whether an order satisfies a relation.
#[inline]
pub(crate) fn holds(op: BinaryOp, order: Ordering) -> bool {
    match op {
        BinaryOp::Eq => order == Ordering::Equal,
        BinaryOp::Ne => order != Ordering::Equal,
        BinaryOp::Lt => order == Ordering::Less,
        BinaryOp::Le => order != Ordering::Greater,
        BinaryOp::Gt => order == Ordering::Greater,
        BinaryOp::Ge => order != Ordering::Less,
        _ => false,
    }
}

/// Any two-sided operator on values. Comparisons take from `steps`.
pub(crate) fn binary(
    op: BinaryOp,
    left: &Value,
    right: &Value,
    limits: &Limits,
    steps: &mut u32,
) -> Result<Value, FaultKind> {
    match op {
        BinaryOp::Eq => equal(left, right, steps).map(Value::Bool),
        BinaryOp::Ne => equal(left, right, steps).map(|v| Value::Bool(!v)),
        BinaryOp::In => match right {
            Value::List(list) => {
                for element in list.iter() {
                    if equal(element, left, steps)? {
                        return Ok(Value::Bool(true));
                    }
                }
                Ok(Value::Bool(false))
            }
            Value::Map(map) => Ok(Value::Bool(map.get(left).is_some())),
            _ => Err(FaultKind::NoOverload),
        },
        BinaryOp::Lt | BinaryOp::Le | BinaryOp::Gt | BinaryOp::Ge => {
            let order = left.compare(right).ok_or(FaultKind::NoOverload)?;
            Ok(Value::Bool(order.is_some_and(|o| holds(op, o))))
        }
        _ => arithmetic(op, left, right, limits),
    }
}

fn equal(left: &Value, right: &Value, steps: &mut u32) -> Result<bool, FaultKind> {
    left.equals_within(right, steps).ok_or(FaultKind::TooManySteps)
}

fn arithmetic(op: BinaryOp, left: &Value, right: &Value, limits: &Limits) -> Result<Value, FaultKind> {
    use BinaryOp::{Add, Div, Mod, Mul, Sub};
    match (left, right) {
        (Value::Int(a), Value::Int(b)) => {
            let result = match op {
                Add => a.checked_add(*b),
                Sub => a.checked_sub(*b),
                Mul => a.checked_mul(*b),
                Div if *b == 0 => return Err(FaultKind::DivideByZero),
                Mod if *b == 0 => return Err(FaultKind::ModulusByZero),
                Div => a.checked_div(*b),
                Mod => a.checked_rem(*b),
                _ => return Err(FaultKind::NoOverload),
            };
            result.map(Value::Int).ok_or(FaultKind::Overflow)
        }
        (Value::Uint(a), Value::Uint(b)) => {
            let result = match op {
                Add => a.checked_add(*b),
                Sub => a.checked_sub(*b),
                Mul => a.checked_mul(*b),
                Div if *b == 0 => return Err(FaultKind::DivideByZero),
                Mod if *b == 0 => return Err(FaultKind::ModulusByZero),
                Div => a.checked_div(*b),
                Mod => a.checked_rem(*b),
                _ => return Err(FaultKind::NoOverload),
            };
            result.map(Value::Uint).ok_or(FaultKind::Overflow)
        }
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(match op {
            Add => a + b,
            Sub => a - b,
            Mul => a * b,
            Div => a / b,
            _ => return Err(FaultKind::NoOverload),
        })),
        _ if op == Add => joined(left, right, limits),
        (Value::Timestamp(a), Value::Timestamp(b)) if op == Sub => {
            a.since(*b).map(Value::Duration).ok_or(FaultKind::Overflow)
        }
        (Value::Timestamp(a), Value::Duration(b)) if op == Sub => {
            b.checked_neg().and_then(|b| a.plus(b)).map(Value::Timestamp).ok_or(FaultKind::Overflow)
        }
        (Value::Duration(a), Value::Duration(b)) if op == Sub => {
            a.checked_sub(*b).map(Value::Duration).ok_or(FaultKind::Overflow)
        }
        _ => Err(FaultKind::NoOverload),
    }
}

/// `+` of everything that is not a number.
fn joined(left: &Value, right: &Value, limits: &Limits) -> Result<Value, FaultKind> {
    let fits =
        |a: usize, b: usize| if a + b <= limits.made_len_max { Ok(()) } else { Err(FaultKind::TooLong) };
    match (left, right) {
        (Value::Str(a), Value::Str(b)) => {
            fits(a.len(), b.len())?;
            Ok(Value::str(&[a.as_ref(), b.as_ref()].concat()))
        }
        (Value::Bytes(a), Value::Bytes(b)) => {
            fits(a.len(), b.len())?;
            Ok(Value::Bytes([a.as_ref(), b.as_ref()].concat().into()))
        }
        (Value::List(a), Value::List(b)) => {
            fits(a.len(), b.len())?;
            Ok(Value::List(a.iter().chain(b.iter()).cloned().collect()))
        }
        (Value::Duration(a), Value::Duration(b)) => {
            a.checked_add(*b).map(Value::Duration).ok_or(FaultKind::Overflow)
        }
        (Value::Timestamp(t), Value::Duration(d)) | (Value::Duration(d), Value::Timestamp(t)) => {
            t.plus(*d).map(Value::Timestamp).ok_or(FaultKind::Overflow)
        }
        _ => Err(FaultKind::NoOverload),
    }
}

/// `target[index]`; of an optional target the answer is optional, and missing when the element is.
pub(crate) fn index_into(target: &Value, index: &Value) -> Result<Value, FaultKind> {
    if let Value::Optional(inner) = target {
        return inner.as_deref().map_or(Ok(Value::NONE), |inner| index_optionally(inner, index));
    }
    let missing =
        if matches!(target, Value::Map(_)) { FaultKind::NoSuchKey } else { FaultKind::IndexOutOfRange };
    found_at(target, index)?.cloned().ok_or(missing)
}

/// `target[?index]`
pub(crate) fn index_optionally(target: &Value, index: &Value) -> Result<Value, FaultKind> {
    match target {
        Value::Optional(None) => Ok(Value::NONE),
        Value::Optional(Some(inner)) => index_optionally(inner, index),
        _ => Ok(Value::Optional(found_at(target, index)?.map(|v| Arc::new(v.clone())))),
    }
}

/// `target.field`, as [`index_into`] with a key.
pub(crate) fn select(target: &Value, field: &Arc<str>) -> Result<Value, FaultKind> {
    match target {
        Value::Map(map) => map.get(&Value::Str(field.clone())).cloned().ok_or(FaultKind::NoSuchKey),
        Value::Optional(Some(inner)) if !matches!(**inner, Value::Optional(_)) => {
            select_optionally(inner, field)
        }
        Value::Optional(None) => Ok(Value::NONE),
        _ => Err(FaultKind::NoOverload),
    }
}

/// `target.?field`
pub(crate) fn select_optionally(target: &Value, field: &Arc<str>) -> Result<Value, FaultKind> {
    match target {
        Value::Map(map) => {
            let found = map.get(&Value::Str(field.clone()));
            Ok(Value::Optional(found.map(|v| Arc::new(v.clone()))))
        }
        Value::Optional(None) => Ok(Value::NONE),
        Value::Optional(Some(inner)) => select_optionally(inner, field),
        _ => Err(FaultKind::NoSuchKey),
    }
}

/// `has(target.field)`
pub(crate) fn has(target: &Value, field: &Arc<str>) -> Result<bool, FaultKind> {
    match target {
        Value::Map(map) => Ok(map.get(&Value::Str(field.clone())).is_some()),
        Value::Optional(None) => Ok(false),
        Value::Optional(Some(inner)) => has(inner, field),
        _ => Err(FaultKind::NoOverload),
    }
}

fn found_at<'v>(target: &'v Value, index: &Value) -> Result<Option<&'v Value>, FaultKind> {
    match target {
        Value::List(list) => {
            let position = match index {
                Value::Int(v) => usize::try_from(*v).ok(),
                Value::Uint(v) => usize::try_from(*v).ok(),
                Value::Double(v) if v.fract() == 0.0 && (0.0..9_007_199_254_740_992.0).contains(v) => {
                    Some(*v as usize)
                }
                Value::Double(_) => None,
                _ => return Err(FaultKind::NoOverload),
            };
            Ok(position.and_then(|p| list.get(p)))
        }
        Value::Map(map) => Ok(map.get(index)),
        _ => Err(FaultKind::NoOverload),
    }
}
