//! The strings library. Positions are counted in code points.
use std::sync::Arc;

use super::{fits, format, Answer};
use crate::limits::Limits;
use crate::program::{FaultKind, TextFunction};
use crate::value::Value;

pub(super) fn call(function: TextFunction, args: &[Value], limits: &Limits) -> Answer {
    use TextFunction as T;
    use Value::{Int, List, Str};
    match (function, args) {
        (T::CharAt, [Str(text), Int(at)]) => char_at(text, *at),
        (T::IndexOf, [Str(text), Str(part)]) => Ok(Int(index_of(text, part, 0))),
        (T::IndexOf, [Str(text), Str(part), Int(from)]) => {
            Ok(Int(index_of(text, part, position(text, *from)?)))
        }
        (T::LastIndexOf, [Str(text), Str(part)]) => Ok(Int(last_index_of(text, part, usize::MAX))),
        (T::LastIndexOf, [Str(text), Str(part), Int(from)]) => {
            Ok(Int(last_index_of(text, part, position(text, *from)?)))
        }
        (T::Join, [List(parts)]) => join(parts, "", limits),
        (T::Join, [List(parts), Str(between)]) => join(parts, between, limits),
        (T::LowerAscii, [Str(text)]) => Ok(Value::str(&text.to_ascii_lowercase())),
        (T::UpperAscii, [Str(text)]) => Ok(Value::str(&text.to_ascii_uppercase())),
        (T::Replace, [Str(text), Str(old), Str(new)]) => replace(text, old, new, -1, limits),
        (T::Replace, [Str(text), Str(old), Str(new), Int(most)]) => replace(text, old, new, *most, limits),
        (T::Split, [Str(text), Str(at)]) => split(text, at, -1, limits),
        (T::Split, [Str(text), Str(at), Int(most)]) => split(text, at, *most, limits),
        (T::Substring, [Str(text), Int(from)]) => substring(text, *from, None),
        (T::Substring, [Str(text), Int(from), Int(to)]) => substring(text, *from, Some(*to)),
        (T::Trim, [Str(text)]) => Ok(Value::str(text.trim())),
        (T::Format, [Str(text), List(args)]) => format::format(text, args, limits),
        (T::Quote, [Str(text)]) => Ok(Value::str(&quote(text))),
        (T::Reverse, [Str(text)]) => Ok(Value::str(&text.chars().rev().collect::<String>())),
        (T::Reverse, [List(list)]) => Ok(List(list.iter().rev().cloned().collect())),
        _ => Err(FaultKind::NoOverload),
    }
}

/// A position the caller gave: 0 to the length, both included.
fn position(text: &str, at: i64) -> Result<usize, FaultKind> {
    let at = usize::try_from(at).map_err(|_| FaultKind::IndexOutOfRange)?;
    if at <= text.chars().count() {
        Ok(at)
    } else {
        Err(FaultKind::IndexOutOfRange)
    }
}

/// Bytes before the code point at `at`.
fn byte_offset(text: &str, at: usize) -> usize {
    text.char_indices().nth(at).map_or(text.len(), |(offset, _)| offset)
}

fn char_at(text: &str, at: i64) -> Answer {
    let at = position(text, at)?;
    Ok(text.chars().nth(at).map_or_else(|| Value::str(""), |c| Value::str(c.encode_utf8(&mut [0; 4]))))
}

fn index_of(text: &str, part: &str, from: usize) -> i64 {
    let start = byte_offset(text, from);
    text[start..].find(part).map_or(-1, |at| (from + text[start..start + at].chars().count()) as i64)
}

/// The last occurrence that begins at `from` or before it.
fn last_index_of(text: &str, part: &str, from: usize) -> i64 {
    let start = byte_offset(text, from);
    let end = (start + part.len()).min(text.len());
    // An end inside a code point is no occurrence's end.
    let end = (0..=end).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text[..end].rfind(part).map_or(-1, |at| text[..at].chars().count() as i64)
}

fn join(parts: &[Value], between: &str, limits: &Limits) -> Answer {
    let mut out = String::new();
    for (i, part) in parts.iter().enumerate() {
        let Value::Str(part) = part else { return Err(FaultKind::NoOverload) };
        fits(out.len() + between.len() + part.len(), limits)?;
        out.push_str(if i == 0 { "" } else { between });
        out.push_str(part);
    }
    Ok(Value::str(&out))
}

fn replace(text: &str, old: &str, new: &str, most: i64, limits: &Limits) -> Answer {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let found = text.matches(old).take(most).count();
    fits(text.len().saturating_add(found.saturating_mul(new.len())), limits)?;
    Ok(Value::str(&text.replacen(old, new, most)))
}

fn split(text: &str, at: &str, most: i64, limits: &Limits) -> Answer {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    if most == 0 {
        return Ok(Value::List(Arc::from([])));
    }
    let parts: Vec<Value> = if at.is_empty() {
        let count = text.chars().count().min(most);
        let last = byte_offset(text, count.saturating_sub(1));
        let single = text[..last].chars().map(|c| Value::str(c.encode_utf8(&mut [0; 4])));
        single.chain((!text.is_empty()).then(|| Value::str(&text[last..]))).collect()
    } else {
        text.splitn(most, at).map(Value::str).collect()
    };
    fits(parts.len(), limits)?;
    Ok(Value::List(parts.into()))
}

fn substring(text: &str, from: i64, to: Option<i64>) -> Answer {
    let from = position(text, from)?;
    let to = to.map_or(Ok(usize::MAX), |to| position(text, to))?;
    if to < from {
        return Err(FaultKind::IndexOutOfRange);
    }
    Ok(Value::str(&text[byte_offset(text, from)..byte_offset(text, to)]))
}

/// `text` between double quotes, with the escapes of the language.
fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_code_points() {
        assert_eq!(index_of("ta©o©αT", "©", 3), 4);
        assert_eq!(last_index_of("ta©o©αT", "©α", 4), 4);
        assert_eq!(last_index_of("ta©o©αT", "©", 3), 2);
        assert_eq!(last_index_of("bananananana", "nana", 7), 6);
        assert_eq!(last_index_of("", "@@", usize::MAX), -1);
        assert_eq!(last_index_of("αβγ", "x", 1), -1);
    }

    #[test]
    fn splitting_by_nothing_gives_code_points() {
        let limits = Limits::default();
        for (most, wanted) in [(-1, "['a', 'β', 'c']"), (2, "['a', 'βc']"), (1, "['aβc']"), (0, "[]")] {
            assert_eq!(split("aβc", "", most, &limits).unwrap().to_string(), wanted);
        }
        assert_eq!(split("", "", -1, &limits).unwrap().to_string(), "[]");
        assert_eq!(split("a,b", ",", 1, &limits).unwrap().to_string(), "['a,b']");
    }

    #[test]
    fn what_would_be_too_long_is_not_made() {
        let limits = Limits { made_len_max: 10, ..Limits::default() };
        assert_eq!(replace("aaaa", "a", "bbbb", -1, &limits).unwrap_err(), FaultKind::TooLong);
        assert_eq!(replace("aaaa", "a", "bbbb", 1, &limits).unwrap().to_string(), "'bbbbaaa'");
        assert!(join(&[Value::str("123456"), Value::str("78901")], "", &limits).is_err());
    }
}
