//! The functions of the language on values: sizes, text tests, conversions, parts of instants.
use std::sync::Arc;

use crate::ext;
use crate::limits::Limits;
use crate::pattern;
use crate::program::{FaultKind, Function, Part};
use crate::time::{self, Timestamp};
use crate::value::{double_text, Value};

type Answer = Result<Value, FaultKind>;

/// Calls a function; the types of its arguments are checked here once more, because they can be dynamic.
/// Comparisons take from `steps`.
pub(crate) fn call(function: Function, args: &[Value], limits: &Limits, steps: &mut u32) -> Answer {
    match (function, args) {
        (Function::Size, [v]) => size(v),
        (Function::StartsWith, [Value::Str(a), Value::Str(b)]) => Ok(Value::Bool(a.starts_with(b.as_ref()))),
        (Function::EndsWith, [Value::Str(a), Value::Str(b)]) => Ok(Value::Bool(a.ends_with(b.as_ref()))),
        (Function::Contains, [Value::Str(a), Value::Str(b)]) => Ok(Value::Bool(a.contains(b.as_ref()))),
        // A pattern that is not a literal: the evaluator charges for its compilation.
        (Function::Matches, [Value::Str(text), Value::Str(source)]) => pattern::compile(source, limits)
            .map(|regex| Value::Bool(regex.is_match(text)))
            .map_err(|_| FaultKind::BadRegex),
        (Function::Int, [v]) => to_int(v),
        (Function::Uint, [v]) => to_uint(v),
        (Function::Double, [v]) => to_double(v),
        (Function::String, [v]) => to_string(v),
        (Function::Bool, [v]) => to_bool(v),
        (Function::Bytes, [Value::Bytes(v)]) => Ok(Value::Bytes(v.clone())),
        (Function::Bytes, [Value::Str(v)]) => Ok(Value::Bytes(v.as_bytes().into())),
        (Function::Type, [v]) => Ok(Value::Type(Arc::from(v.type_name()))),
        (Function::Dyn, [v]) => Ok(v.clone()),
        (Function::Timestamp, [v]) => to_timestamp(v),
        (Function::Duration, [Value::Duration(v)]) => Ok(Value::Duration(*v)),
        (Function::Duration, [Value::Str(v)]) => {
            time::parse_duration(v).map(Value::Duration).ok_or(FaultKind::Conversion)
        }
        (Function::Get(part), [Value::Duration(v)]) => duration_part(part, *v),
        (Function::Get(part), [Value::Timestamp(v)]) => timestamp_part(part, *v, 0),
        (Function::Get(part), [Value::Timestamp(v), Value::Str(zone)]) => {
            let offset = time::zone_offset_seconds(zone, *v).ok_or(FaultKind::Conversion)?;
            timestamp_part(part, *v, offset)
        }
        (other, args) => ext::call(other, args, limits, steps),
    }
}

fn size(value: &Value) -> Answer {
    let size = match value {
        Value::Str(v) => v.chars().count(),
        Value::Bytes(v) => v.len(),
        Value::List(v) => v.len(),
        Value::Map(v) => v.len(),
        _ => return Err(FaultKind::NoOverload),
    };
    i64::try_from(size).map(Value::Int).map_err(|_| FaultKind::Overflow)
}

fn to_int(value: &Value) -> Answer {
    match value {
        Value::Int(v) => Ok(Value::Int(*v)),
        Value::Uint(v) => i64::try_from(*v).map(Value::Int).map_err(|_| FaultKind::Range),
        // Both ends excluded, as the reference does: at 2^63 a double no longer tells neighbours apart.
        Value::Double(v) if *v > -9_223_372_036_854_775_808.0 && *v < 9_223_372_036_854_775_808.0 => {
            Ok(Value::Int(*v as i64))
        }
        Value::Double(_) => Err(FaultKind::Range),
        Value::Str(v) => v.parse().map(Value::Int).map_err(|_| FaultKind::Conversion),
        Value::Timestamp(v) => Ok(Value::Int(v.seconds())),
        _ => Err(FaultKind::NoOverload),
    }
}

fn to_uint(value: &Value) -> Answer {
    match value {
        Value::Uint(v) => Ok(Value::Uint(*v)),
        Value::Int(v) => u64::try_from(*v).map(Value::Uint).map_err(|_| FaultKind::Range),
        Value::Double(v) if *v >= 0.0 && *v < 18_446_744_073_709_551_616.0 => Ok(Value::Uint(*v as u64)),
        Value::Double(_) => Err(FaultKind::Range),
        Value::Str(v) if v.starts_with('+') => Err(FaultKind::Conversion),
        Value::Str(v) => v.parse().map(Value::Uint).map_err(|_| FaultKind::Conversion),
        _ => Err(FaultKind::NoOverload),
    }
}

fn to_double(value: &Value) -> Answer {
    match value {
        Value::Double(v) => Ok(Value::Double(*v)),
        Value::Int(v) => Ok(Value::Double(*v as f64)),
        Value::Uint(v) => Ok(Value::Double(*v as f64)),
        Value::Str(v) => v.parse().map(Value::Double).map_err(|_| FaultKind::Conversion),
        _ => Err(FaultKind::NoOverload),
    }
}

fn to_string(value: &Value) -> Answer {
    Ok(match value {
        Value::Str(v) => Value::Str(v.clone()),
        Value::Bool(v) => Value::str(if *v { "true" } else { "false" }),
        Value::Int(v) => Value::str(&v.to_string()),
        Value::Uint(v) => Value::str(&v.to_string()),
        Value::Double(v) => Value::str(&double_text(*v)),
        Value::Bytes(v) => Value::str(std::str::from_utf8(v).map_err(|_| FaultKind::InvalidUtf8)?),
        Value::Timestamp(v) => Value::str(&v.to_string()),
        Value::Duration(v) => Value::str(&time::duration_text(*v)),
        other => return ext::network_text(other).map(|t| Value::str(&t)).ok_or(FaultKind::NoOverload),
    })
}

fn to_bool(value: &Value) -> Answer {
    match value {
        Value::Bool(v) => Ok(Value::Bool(*v)),
        Value::Str(v) => match v.as_ref() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
            _ => Err(FaultKind::Conversion),
        },
        _ => Err(FaultKind::NoOverload),
    }
}

fn to_timestamp(value: &Value) -> Answer {
    match value {
        Value::Timestamp(v) => Ok(Value::Timestamp(*v)),
        Value::Int(v) => Timestamp::new(*v, 0).map(Value::Timestamp).ok_or(FaultKind::Range),
        Value::Str(v) => Timestamp::parse(v).map(Value::Timestamp).ok_or(FaultKind::Conversion),
        _ => Err(FaultKind::NoOverload),
    }
}

fn duration_part(part: Part, nanos: i64) -> Answer {
    Ok(Value::Int(match part {
        Part::Hours => nanos / 3_600_000_000_000,
        Part::Minutes => nanos / 60_000_000_000,
        Part::Seconds => nanos / 1_000_000_000,
        Part::Milliseconds => nanos / 1_000_000,
        _ => return Err(FaultKind::NoOverload),
    }))
}

fn timestamp_part(part: Part, instant: Timestamp, offset_seconds: i64) -> Answer {
    let civil = instant.civil(offset_seconds);
    Ok(Value::Int(match part {
        Part::FullYear => civil.year,
        Part::Month => civil.month - 1,
        Part::Date => civil.day,
        Part::DayOfMonth => civil.day - 1,
        Part::DayOfWeek => civil.weekday,
        Part::DayOfYear => civil.day_of_year,
        Part::Hours => civil.second_of_day / 3_600,
        Part::Minutes => civil.second_of_day / 60 % 60,
        Part::Seconds => civil.second_of_day % 60,
        Part::Milliseconds => i64::from(instant.nanos() / 1_000_000),
    }))
}
