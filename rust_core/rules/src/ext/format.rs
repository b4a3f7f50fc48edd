//! `format()`: a text with clauses `%s %d %f %e %b %o %x %X`, each taking the next argument.
use super::{fits, Answer};
use crate::limits::Limits;
use crate::program::FaultKind;
use crate::time;
use crate::value::Value;

/// Digits behind the point when none are asked for, and the most that may be.
const PRECISION: usize = 6;
const PRECISION_MAX: usize = 1_000;
/// Lists and maps inside each other that are written out.
const DEPTH_MAX: usize = 64;

pub(super) fn format(text: &str, args: &[Value], limits: &Limits) -> Answer {
    let mut out = String::with_capacity(text.len());
    let mut args = args.iter();
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        let precision;
        (precision, rest) = read_precision(rest)?;
        let letter = rest.chars().next().ok_or(FaultKind::BadFormat)?;
        rest = &rest[letter.len_utf8()..];
        if !"sdfebxXo".contains(letter) {
            return Err(FaultKind::BadFormat);
        }
        let arg = args.next().ok_or(FaultKind::BadFormat)?;
        clause(letter, precision, arg, &mut out, limits)?;
        fits(out.len(), limits)?;
    }
    out.push_str(rest);
    fits(out.len(), limits)?;
    Ok(Value::str(&out))
}

fn read_precision(rest: &str) -> Result<(usize, &str), FaultKind> {
    let Some(after) = rest.strip_prefix('.') else { return Ok((PRECISION, rest)) };
    let digits = after.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = after.split_at(digits);
    let precision: usize = number.parse().map_err(|_| FaultKind::BadFormat)?;
    if precision > PRECISION_MAX {
        return Err(FaultKind::BadFormat);
    }
    Ok((precision, rest))
}

fn clause(
    letter: char,
    precision: usize,
    arg: &Value,
    out: &mut String,
    limits: &Limits,
) -> Result<(), FaultKind> {
    match (letter, arg) {
        ('s', value) => write_value(value, out, limits, 0)?,
        ('d', Value::Int(v)) => out.push_str(&v.to_string()),
        ('d', Value::Uint(v)) => out.push_str(&v.to_string()),
        ('d', Value::Double(v)) => out.push_str(&plain_double(*v)),
        ('f' | 'e', number) => {
            let number = match number {
                Value::Int(v) => *v as f64,
                Value::Uint(v) => *v as f64,
                Value::Double(v) => *v,
                _ => return Err(FaultKind::NoOverload),
            };
            out.push_str(&match letter {
                _ if !number.is_finite() => plain_double(number),
                'f' => format!("{number:.precision$}"),
                _ => scientific(number, precision),
            });
        }
        ('b', Value::Bool(v)) => out.push(if *v { '1' } else { '0' }),
        ('b' | 'o' | 'x' | 'X', Value::Int(v)) => {
            out.push_str(if *v < 0 { "-" } else { "" });
            out.push_str(&in_base(letter, v.unsigned_abs()));
        }
        ('b' | 'o' | 'x' | 'X', Value::Uint(v)) => out.push_str(&in_base(letter, *v)),
        ('x' | 'X', Value::Str(v)) => write_hex(letter, v.as_bytes(), out, limits)?,
        ('x' | 'X', Value::Bytes(v)) => write_hex(letter, v, out, limits)?,
        _ => return Err(FaultKind::NoOverload),
    }
    Ok(())
}

fn in_base(letter: char, value: u64) -> String {
    match letter {
        'b' => format!("{value:b}"),
        'o' => format!("{value:o}"),
        'x' => format!("{value:x}"),
        _ => format!("{value:X}"),
    }
}

fn write_hex(letter: char, bytes: &[u8], out: &mut String, limits: &Limits) -> Result<(), FaultKind> {
    fits(out.len().saturating_add(bytes.len().saturating_mul(2)), limits)?;
    for byte in bytes {
        out.push_str(&if letter == 'x' { format!("{byte:02x}") } else { format!("{byte:02X}") });
    }
    Ok(())
}

/// All digits, never an exponent.
fn plain_double(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_string()
    } else if value.is_infinite() {
        if value > 0.0 { "Infinity" } else { "-Infinity" }.to_string()
    } else {
        format!("{value}")
    }
}

/// `d.ddde+xx`: an exponent has a sign and at least two digits.
fn scientific(value: f64, precision: usize) -> String {
    let text = format!("{value:.precision$e}");
    let Some((digits, exponent)) = text.split_once('e') else { return text };
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
    format!("{digits}e{sign}{exponent:0>2}")
}

/// `%s` of any value; the entries of a map by the text of their keys.
fn write_value(value: &Value, out: &mut String, limits: &Limits, depth: usize) -> Result<(), FaultKind> {
    if depth > DEPTH_MAX {
        return Err(FaultKind::TooLong);
    }
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(v) => out.push_str(if *v { "true" } else { "false" }),
        Value::Int(v) => out.push_str(&v.to_string()),
        Value::Uint(v) => out.push_str(&v.to_string()),
        Value::Double(v) => out.push_str(&plain_double(*v)),
        Value::Str(v) => out.push_str(v),
        Value::Bytes(v) => out.push_str(&String::from_utf8_lossy(v)),
        Value::Type(v) => out.push_str(v),
        Value::Timestamp(v) => out.push_str(&v.to_string()),
        Value::Duration(v) => out.push_str(&time::duration_text(*v)),
        Value::List(list) => {
            out.push('[');
            for (i, element) in list.iter().enumerate() {
                out.push_str(if i == 0 { "" } else { ", " });
                write_value(element, out, limits, depth + 1)?;
            }
            out.push(']');
        }
        Value::Map(map) => {
            let mut entries = Vec::with_capacity(map.len());
            let mut total = out.len();
            for (key, value) in map.entries() {
                let mut written = (String::new(), String::new());
                write_value(key, &mut written.0, limits, depth + 1)?;
                write_value(value, &mut written.1, limits, depth + 1)?;
                total += written.0.len() + written.1.len();
                fits(total, limits)?;
                entries.push(written);
            }
            entries.sort();
            let entries: Vec<String> = entries.iter().map(|(k, v)| format!("{k}: {v}")).collect();
            out.push('{');
            out.push_str(&entries.join(", "));
            out.push('}');
        }
        Value::Optional(_) | Value::Ip(_) | Value::Cidr(..) => return Err(FaultKind::NoOverload),
    }
    // Checked after each part: a value that shares its parts can be exponentially longer than its memory.
    fits(out.len(), limits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn made(text: &str, args: &[Value]) -> Result<String, FaultKind> {
        match format(text, args, &Limits::default())? {
            Value::Str(text) => Ok(text.to_string()),
            other => Ok(other.to_string()),
        }
    }

    #[test]
    fn numbers_are_written_as_the_definition_says() {
        assert_eq!(made("%.3f", &[Value::Double(1.2345)]).unwrap(), "1.234");
        assert_eq!(made("%.0f|%.0f", &[Value::Double(1.5), Value::Double(2.5)]).unwrap(), "2|2");
        assert_eq!(made("%e", &[Value::Double(1052.0329)]).unwrap(), "1.052033e+03");
        assert_eq!(made("%e", &[Value::Double(1e-300)]).unwrap(), "1.000000e-300");
        assert_eq!(
            made("%x %b %o", &[Value::Int(-30), Value::Int(-5), Value::Int(11)]).unwrap(),
            "-1e -101 13"
        );
    }

    #[test]
    fn bad_clauses_and_missing_arguments_are_faults() {
        for bad in ["%", "%a", "%.f", "%.f5", "%.9999f", "%E"] {
            assert_eq!(made(bad, &[Value::Int(1)]), Err(FaultKind::BadFormat), "{bad}");
        }
        assert_eq!(made("%d %d", &[Value::Int(1)]), Err(FaultKind::BadFormat));
        assert_eq!(made("%d", &[Value::Null]), Err(FaultKind::NoOverload));
    }

    #[test]
    fn a_value_larger_than_its_memory_is_not_written_out() {
        let mut value = Value::Int(1);
        for _ in 0..60 {
            value = Value::List(Arc::from([value.clone(), value]));
        }
        assert_eq!(made("%s", &[value]), Err(FaultKind::TooLong));
    }
}
