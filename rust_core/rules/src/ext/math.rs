//! The math library.
use std::cmp::Ordering;

use super::Answer;
use crate::program::{FaultKind, MathFunction};
use crate::value::Value;

pub(super) fn call(function: MathFunction, args: &[Value]) -> Answer {
    use MathFunction as M;
    use Value::{Bool, Double, Int, List, Uint};
    Ok(match (function, args) {
        (M::Greatest, [List(list)]) => extreme(list, Ordering::Greater)?,
        (M::Least, [List(list)]) => extreme(list, Ordering::Less)?,
        (M::Greatest, all) => extreme(all, Ordering::Greater)?,
        (M::Least, all) => extreme(all, Ordering::Less)?,
        (M::Ceil, [Double(v)]) => Double(v.ceil()),
        (M::Floor, [Double(v)]) => Double(v.floor()),
        // Half away from zero.
        (M::Round, [Double(v)]) => Double(v.round()),
        (M::Trunc, [Double(v)]) => Double(v.trunc()),
        (M::Abs, [Int(v)]) => Int(v.checked_abs().ok_or(FaultKind::Overflow)?),
        (M::Abs, [Uint(v)]) => Uint(*v),
        (M::Abs, [Double(v)]) => Double(v.abs()),
        (M::Sign, [Int(v)]) => Int(v.signum()),
        (M::Sign, [Uint(v)]) => Uint(u64::from(*v > 0)),
        (M::Sign, [Double(v)]) => Double(if *v > 0.0 {
            1.0
        } else if *v < 0.0 {
            -1.0
        } else if v.is_nan() {
            f64::NAN
        } else {
            0.0
        }),
        (M::Sqrt, [Double(v)]) => Double(v.sqrt()),
        (M::Sqrt, [Int(v)]) => Double((*v as f64).sqrt()),
        (M::Sqrt, [Uint(v)]) => Double((*v as f64).sqrt()),
        (M::IsNan, [Double(v)]) => Bool(v.is_nan()),
        (M::IsInf, [Double(v)]) => Bool(v.is_infinite()),
        (M::IsFinite, [Double(v)]) => Bool(v.is_finite()),
        (M::BitAnd, [Int(a), Int(b)]) => Int(a & b),
        (M::BitAnd, [Uint(a), Uint(b)]) => Uint(a & b),
        (M::BitOr, [Int(a), Int(b)]) => Int(a | b),
        (M::BitOr, [Uint(a), Uint(b)]) => Uint(a | b),
        (M::BitXor, [Int(a), Int(b)]) => Int(a ^ b),
        (M::BitXor, [Uint(a), Uint(b)]) => Uint(a ^ b),
        (M::BitNot, [Int(v)]) => Int(!v),
        (M::BitNot, [Uint(v)]) => Uint(!v),
        // A right shift of an int fills with zeros, as if it were unsigned.
        (M::BitShiftLeft, [Int(v), Int(by)]) => Int(shift(*v as u64, *by, u64::checked_shl)? as i64),
        (M::BitShiftLeft, [Uint(v), Int(by)]) => Uint(shift(*v, *by, u64::checked_shl)?),
        (M::BitShiftRight, [Int(v), Int(by)]) => Int(shift(*v as u64, *by, u64::checked_shr)? as i64),
        (M::BitShiftRight, [Uint(v), Int(by)]) => Uint(shift(*v, *by, u64::checked_shr)?),
        _ => return Err(FaultKind::NoOverload),
    })
}

/// Nothing is left of a shift by 64 or more.
fn shift(value: u64, by: i64, shifted: fn(u64, u32) -> Option<u64>) -> Result<u64, FaultKind> {
    if by < 0 {
        return Err(FaultKind::Range);
    }
    Ok(u32::try_from(by).ok().and_then(|by| shifted(value, by)).unwrap_or(0))
}

/// The first of the largest or smallest numbers.
fn extreme(all: &[Value], wanted: Ordering) -> Answer {
    let mut best: Option<&Value> = None;
    for value in all {
        if !matches!(value, Value::Int(_) | Value::Uint(_) | Value::Double(_)) {
            return Err(FaultKind::NoOverload);
        }
        let better = best.is_none_or(|best| value.compare(best).flatten() == Some(wanted));
        if better {
            best = Some(value);
        }
    }
    best.cloned().ok_or(FaultKind::NoOverload)
}
