//! The optionals library.
use super::Answer;
use crate::program::{FaultKind, OptFunction};
use crate::value::Value;

pub(super) fn call(function: OptFunction, args: &[Value]) -> Answer {
    use OptFunction as O;
    match (function, args) {
        (O::None, []) => Ok(Value::NONE),
        (O::Of, [value]) => Ok(Value::some(value.clone())),
        (O::OfNonZeroValue, [value]) if is_zero(value) => Ok(Value::NONE),
        (O::OfNonZeroValue, [value]) => Ok(Value::some(value.clone())),
        (O::HasValue, [Value::Optional(inner)]) => Ok(Value::Bool(inner.is_some())),
        (O::Value, [Value::Optional(inner)]) => inner.as_deref().cloned().ok_or(FaultKind::NoValue),
        (O::UnwrapAll, [Value::List(list)]) => {
            let mut out = Vec::new();
            for element in list.iter() {
                match element {
                    Value::Optional(Some(inner)) => out.push(Value::clone(inner)),
                    Value::Optional(None) => {}
                    _ => return Err(FaultKind::NoOverload),
                }
            }
            Ok(Value::List(out.into()))
        }
        _ => Err(FaultKind::NoOverload),
    }
}

/// Whether a value is what its type is when nobody set it.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(v) => !v,
        Value::Int(v) => *v == 0,
        Value::Uint(v) => *v == 0,
        Value::Double(v) => *v == 0.0,
        Value::Str(v) => v.is_empty(),
        Value::Bytes(v) => v.is_empty(),
        Value::List(v) => v.is_empty(),
        Value::Map(v) => v.is_empty(),
        Value::Timestamp(v) => v.seconds() == 0 && v.nanos() == 0,
        Value::Duration(v) => *v == 0,
        Value::Optional(v) => v.is_none(),
        Value::Type(_) | Value::Ip(_) | Value::Cidr(..) => false,
    }
}
