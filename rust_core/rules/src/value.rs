//! Values at evaluation time, and the comparisons between them that CEL defines.
//!
//! Numbers of different types are compared by value. An integer meets a double as the nearest double: the suite
//! wants `dyn(9223372036854775807) < 9223372036854775808.0` to be false.
use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::ast::quote;
use crate::time::{self, Timestamp};

/// A value. Cloning is cheap: what is large is shared.
#[derive(Clone, Debug)]
pub enum Value {
    /// `null`
    Null,
    /// A truth value.
    Bool(bool),
    /// A signed integer.
    Int(i64),
    /// An unsigned integer.
    Uint(u64),
    /// A floating point number.
    Double(f64),
    /// Text.
    Str(Arc<str>),
    /// Bytes.
    Bytes(Arc<[u8]>),
    /// A list.
    List(Arc<[Value]>),
    /// A map.
    Map(Arc<Map>),
    /// A type, by CEL's name for it.
    Type(Arc<str>),
    /// An instant.
    Timestamp(Timestamp),
    /// A length of time, nanoseconds.
    Duration(i64),
    /// A value that may be missing, of the optionals library.
    Optional(Option<Arc<Value>>),
    /// A network address.
    Ip(IpAddr),
    /// A network address and the length of its prefix, bits.
    Cidr(IpAddr, u8),
}

/// A map in the order it was written; keys are bool, int, uint or string.
#[derive(Clone, Debug, Default)]
pub struct Map {
    entries: Vec<(Value, Value)>,
    index: HashMap<Key, usize>,
}

/// A key in the one form all equal keys share: a uint that fits an int is that int.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Bool(bool),
    Int(i64),
    /// Above `i64::MAX` only.
    Uint(u64),
    Str(Arc<str>),
}

impl Key {
    /// The key a value stands for when written in a map.
    fn of(value: &Value) -> Option<Key> {
        Some(match value {
            Value::Bool(v) => Key::Bool(*v),
            Value::Int(v) => Key::Int(*v),
            Value::Uint(v) => i64::try_from(*v).map_or(Key::Uint(*v), Key::Int),
            Value::Str(v) => Key::Str(v.clone()),
            _ => return None,
        })
    }

    /// The key a value finds: also a double that is a whole number.
    fn sought(value: &Value) -> Option<Key> {
        let Value::Double(v) = value else { return Key::of(value) };
        if v.fract() != 0.0 || !v.is_finite() {
            return None;
        }
        // Both bounds are exact doubles, so the casts below cannot round.
        if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(v) {
            Some(Key::Int(*v as i64))
        } else if (0.0..18_446_744_073_709_551_616.0).contains(v) {
            Some(Key::Uint(*v as u64))
        } else {
            None
        }
    }
}

/// Why an entry could not be added to a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyProblem {
    /// The key is there already.
    Duplicate,
    /// A value of this type cannot be a key.
    Type,
}

impl Map {
    /// An empty map.
    pub fn new() -> Map {
        Map::default()
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// The key exists (numerically equal counts) or has a type keys cannot have.
    pub fn insert(&mut self, key: Value, value: Value) -> Result<(), KeyProblem> {
        let canonical = Key::of(&key).ok_or(KeyProblem::Type)?;
        if self.index.contains_key(&canonical) {
            return Err(KeyProblem::Duplicate);
        }
        self.index.insert(canonical, self.entries.len());
        self.entries.push((key, value));
        Ok(())
    }

    /// The value of a key; numbers are found by value whatever their type.
    pub fn get(&self, key: &Value) -> Option<&Value> {
        let at = *self.index.get(&Key::sought(key)?)?;
        self.entries.get(at).map(|(_, v)| v)
    }

    /// Entries in the order they were added.
    pub fn entries(&self) -> &[(Value, Value)] {
        &self.entries
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl Value {
    /// A string value.
    pub fn str(text: &str) -> Value {
        Value::Str(Arc::from(text))
    }

    /// `optional.of(value)`.
    pub(crate) fn some(value: Value) -> Value {
        Value::Optional(Some(Arc::new(value)))
    }

    /// `optional.none()`.
    pub(crate) const NONE: Value = Value::Optional(None);

    /// CEL's name of the value's type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Null => "null_type",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Uint(_) => "uint",
            Value::Double(_) => "double",
            Value::Str(_) => "string",
            Value::Bytes(_) => "bytes",
            Value::List(_) => "list",
            Value::Map(_) => "map",
            Value::Type(_) => "type",
            Value::Timestamp(_) => "google.protobuf.Timestamp",
            Value::Duration(_) => "google.protobuf.Duration",
            Value::Optional(_) => "optional_type",
            Value::Ip(_) => "net.IP",
            Value::Cidr(..) => "net.CIDR",
        }
    }

    /// CEL's `==`: values of unrelated types are unequal, `NaN` equals nothing. `None` when `steps` run out first:
    /// a value that shares its parts can be exponentially larger than its memory.
    pub(crate) fn equals_within(&self, other: &Value, steps: &mut u32) -> Option<bool> {
        *steps = steps.checked_sub(1)?;
        Some(match (self, other) {
            (Value::Null, Value::Null) => true,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Str(a), Value::Str(b)) => a == b,
            (Value::Bytes(a), Value::Bytes(b)) => a == b,
            (Value::Type(a), Value::Type(b)) => a == b,
            (Value::Timestamp(a), Value::Timestamp(b)) => a == b,
            (Value::Duration(a), Value::Duration(b)) => a == b,
            (Value::Ip(a), Value::Ip(b)) => a == b,
            (Value::Cidr(a, n), Value::Cidr(b, m)) => a == b && n == m,
            (Value::Optional(Some(a)), Value::Optional(Some(b))) => return a.equals_within(b, steps),
            (Value::Optional(a), Value::Optional(b)) => a.is_none() && b.is_none(),
            (Value::List(a), Value::List(b)) => {
                if a.len() != b.len() {
                    return Some(false);
                }
                for (a, b) in a.iter().zip(b.iter()) {
                    if !a.equals_within(b, steps)? {
                        return Some(false);
                    }
                }
                true
            }
            (Value::Map(a), Value::Map(b)) => {
                if a.len() != b.len() {
                    return Some(false);
                }
                for (key, value) in a.entries.iter() {
                    let Some(other) = b.get(key) else { return Some(false) };
                    if !value.equals_within(other, steps)? {
                        return Some(false);
                    }
                }
                true
            }
            _ => compare_numbers(self, other) == Some(Some(Ordering::Equal)),
        })
    }

    /// CEL's order. `None`: the types have no order. `Some(None)`: a `NaN` is involved.
    pub fn compare(&self, other: &Value) -> Option<Option<Ordering>> {
        Some(Some(match (self, other) {
            (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
            (Value::Str(a), Value::Str(b)) => a.cmp(b),
            (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
            (Value::Timestamp(a), Value::Timestamp(b)) => a.cmp(b),
            (Value::Duration(a), Value::Duration(b)) => a.cmp(b),
            _ => return compare_numbers(self, other),
        }))
    }
}

/// The order of two numbers of any types; `None` when one is not a number.
fn compare_numbers(left: &Value, right: &Value) -> Option<Option<Ordering>> {
    Some(match (left, right) {
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Uint(a), Value::Uint(b)) => Some(a.cmp(b)),
        (Value::Double(a), Value::Double(b)) => a.partial_cmp(b),
        (Value::Int(a), Value::Uint(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
        (Value::Uint(a), Value::Int(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
        (Value::Int(a), Value::Double(b)) => (*a as f64).partial_cmp(b),
        (Value::Uint(a), Value::Double(b)) => (*a as f64).partial_cmp(b),
        (Value::Double(a), Value::Int(b)) => a.partial_cmp(&(*b as f64)),
        (Value::Double(a), Value::Uint(b)) => a.partial_cmp(&(*b as f64)),
        _ => return None,
    })
}

/// As CEL would write it.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("null"),
            Value::Bool(v) => write!(f, "{v}"),
            Value::Int(v) => write!(f, "{v}"),
            Value::Uint(v) => write!(f, "{v}u"),
            Value::Double(v) => write!(f, "{v:?}"),
            Value::Str(v) => f.write_str(&quote(v)),
            Value::Bytes(v) => write!(f, "b'{}'", v.escape_ascii()),
            Value::List(v) => {
                f.write_str("[")?;
                for (i, element) in v.iter().enumerate() {
                    write!(f, "{}{element}", if i == 0 { "" } else { ", " })?;
                }
                f.write_str("]")
            }
            Value::Map(v) => {
                f.write_str("{")?;
                for (i, (key, value)) in v.entries.iter().enumerate() {
                    write!(f, "{}{key}: {value}", if i == 0 { "" } else { ", " })?;
                }
                f.write_str("}")
            }
            Value::Type(v) => f.write_str(v),
            Value::Timestamp(v) => write!(f, "timestamp('{v}')"),
            Value::Duration(v) => write!(f, "duration('{}')", time::duration_text(*v)),
            Value::Optional(Some(v)) => write!(f, "optional.of({v})"),
            Value::Optional(None) => f.write_str("optional.none()"),
            Value::Ip(v) => write!(f, "ip('{v}')"),
            Value::Cidr(v, bits) => write!(f, "cidr('{v}/{bits}')"),
        }
    }
}

/// A double as Go's `%g` writes it, which is what CEL's reference `string(double)` gives.
pub(crate) fn double_text(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_string();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf".to_string() } else { "-Inf".to_string() };
    }
    // `{:e}` gives the shortest digits that read back the same: `d.ddde[-]x`.
    let shortest = format!("{value:e}");
    let Some((digits, exponent)) = shortest.split_once('e') else { return shortest };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    // Outside these the shortest `%g` turns to an exponent.
    if (-4..6).contains(&exponent) {
        return format!("{value}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn equal(a: &Value, b: &Value) -> bool {
        a.equals_within(b, &mut 1_000).unwrap()
    }

    #[test]
    fn numbers_compare_across_types() {
        let order = |a: Value, b: Value| a.compare(&b).unwrap().unwrap();
        assert_eq!(order(Value::Int(-1), Value::Uint(u64::MAX)), Ordering::Less);
        assert_eq!(order(Value::Int(i64::MAX), Value::Double(9_223_372_036_854_775_808.0)), Ordering::Equal);
        assert_eq!(order(Value::Int(i64::MAX), Value::Double(9_223_372_036_854_777_857.0)), Ordering::Less);
        assert_eq!(order(Value::Double(-0.5), Value::Int(0)), Ordering::Less);
        assert_eq!(order(Value::Double(f64::INFINITY), Value::Uint(u64::MAX)), Ordering::Greater);
        assert_eq!(Value::Double(f64::NAN).compare(&Value::Int(1)), Some(None));
        assert_eq!(Value::Bool(true).compare(&Value::Int(1)), None);
    }

    #[test]
    fn equality_is_total() {
        assert!(equal(&Value::Int(1), &Value::Uint(1)) && equal(&Value::Int(1), &Value::Double(1.0)));
        assert!(!equal(&Value::Int(1), &Value::str("1")) && !equal(&Value::Null, &Value::Bool(false)));
        assert!(!equal(&Value::Double(f64::NAN), &Value::Double(f64::NAN)));
        assert!(equal(&Value::Double(0.0), &Value::Double(-0.0)));
    }

    #[test]
    fn equality_of_shared_values_ends() {
        let mut value = Value::Int(1);
        for _ in 0..60 {
            value = Value::List(Arc::from([value.clone(), value]));
        }
        assert_eq!(value.equals_within(&value.clone(), &mut 10_000), None);
    }

    #[test]
    fn map_keys_are_numbers_by_value() {
        let mut map = Map::new();
        map.insert(Value::Int(1), Value::str("one")).unwrap();
        assert_eq!(map.insert(Value::Uint(1), Value::Null), Err(KeyProblem::Duplicate));
        assert_eq!(map.insert(Value::Double(1.0), Value::Null), Err(KeyProblem::Type));
        map.insert(Value::Uint(u64::MAX), Value::Null).unwrap();
        assert!(map.get(&Value::Double(1.0)).is_some() && map.get(&Value::Double(1.5)).is_none());
        assert!(map.get(&Value::Double(18_446_744_073_709_551_616.0)).is_none());
    }

    #[test]
    fn doubles_are_written_as_the_reference_does() {
        for (value, text) in [
            (123.456, "123.456"),
            (-987.654, "-987.654"),
            (1e-7, "1e-07"),
            (0.0001, "0.0001"),
            (6.02214e23, "6.02214e+23"),
            (1.38e-23, "1.38e-23"),
            (-0.0, "-0"),
            (100.0, "100"),
            (999999.5, "999999.5"),
            (1_234_567.0, "1.234567e+06"),
        ] {
            assert_eq!(double_text(value), text);
        }
    }
}
