//! Base64 (RFC 4648, padding optional when reading), and the well-known messages that are plain values.
use super::Answer;
use crate::program::{FaultKind, Function, Wrapper};
use crate::value::Value;

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

pub(super) fn call(function: Function, args: &[Value]) -> Answer {
    match (function, args) {
        (Function::Base64Encode, [Value::Bytes(bytes)]) => Ok(Value::str(&encode(bytes))),
        (Function::Base64Decode, [Value::Str(text)]) => {
            decode(text.as_bytes()).map(|bytes| Value::Bytes(bytes.into())).ok_or(FaultKind::Conversion)
        }
        _ => Err(FaultKind::NoOverload),
    }
}

fn encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word =
            chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let letter = LETTERS[(word >> (18 - 6 * i) & 63) as usize];
            out.push(if i <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    out
}

fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let padding = text.iter().rev().take_while(|b| **b == b'=').count();
    let text = &text[..text.len() - padding];
    if padding > 2 || (padding > 0 && (text.len() + padding) % 4 != 0) || text.len() % 4 == 1 {
        return None;
    }
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for chunk in text.chunks(4) {
        let mut word = 0u32;
        for byte in chunk {
            word = word << 6 | LETTERS.iter().position(|l| l == byte)? as u32;
        }
        word <<= 6 * (4 - chunk.len());
        out.extend_from_slice(&word.to_be_bytes()[1..chunk.len()]);
    }
    Some(out)
}

/// The value of `google.protobuf.Int32Value{value: v}` and its like.
pub(super) fn wrap(wrapper: Wrapper, args: &[Value]) -> Answer {
    let [value] = args else { return Err(FaultKind::NoOverload) };
    match (wrapper, value) {
        (Wrapper::Int32, Value::Int(v)) if i32::try_from(*v).is_err() => Err(FaultKind::Range),
        (Wrapper::Uint32, Value::Uint(v)) if u32::try_from(*v).is_err() => Err(FaultKind::Range),
        (Wrapper::Float, Value::Double(v)) => Ok(Value::Double(f64::from(*v as f32))),
        (Wrapper::Bool, Value::Bool(_))
        | (Wrapper::Int32 | Wrapper::Int64, Value::Int(_))
        | (Wrapper::Uint32 | Wrapper::Uint64, Value::Uint(_))
        | (Wrapper::Double, Value::Double(_))
        | (Wrapper::String, Value::Str(_))
        | (Wrapper::Bytes, Value::Bytes(_)) => Ok(value.clone()),
        _ => Err(FaultKind::NoOverload),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_comes_back() {
        for len in 0..70u8 {
            let bytes: Vec<u8> = (0..len).map(|i| i.wrapping_mul(37)).collect();
            let text = encode(&bytes);
            assert_eq!(decode(text.as_bytes()).unwrap(), bytes);
            assert_eq!(decode(text.trim_end_matches('=').as_bytes()).unwrap(), bytes);
        }
        assert_eq!(encode(b"hello"), "aGVsbG8=");
        for bad in ["a", "a=", "ab=", "a-bc", "====", "abcd="] {
            assert_eq!(decode(bad.as_bytes()), None, "{bad}");
        }
    }
}
