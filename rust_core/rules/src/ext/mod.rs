//! The functions of the extension libraries on values.
//!
//! Each takes values whose types are still unknown and answers `NoOverload` for those it does not take. What makes
//! a text or a list asks first whether it fits [`Limits::made_len_max`].
pub(crate) mod domain;
mod encode;
mod format;
mod lists;
mod math;
mod network;
mod optionals;
mod strings;

use crate::limits::Limits;
use crate::program::{FaultKind, Function};
use crate::value::Value;

pub(crate) use network::text as network_text;

/// What a function gives.
pub(crate) type Answer = Result<Value, FaultKind>;

/// Calls a function of an extension library.
pub(crate) fn call(function: Function, args: &[Value], limits: &Limits, steps: &mut u32) -> Answer {
    match function {
        Function::Text(function) => strings::call(function, args, limits),
        Function::Math(function) => math::call(function, args),
        Function::List(function) => lists::call(function, args, limits, steps),
        Function::Net(function) => network::call(function, args),
        Function::Opt(function) => optionals::call(function, args),
        Function::Base64Encode | Function::Base64Decode => encode::call(function, args),
        Function::DistanceM => domain::distance_m(args),
        Function::InWindow => domain::in_window(args),
        Function::Wrap(wrapper) => encode::wrap(wrapper, args),
        Function::Unbound => Err(FaultKind::UnknownFunction),
        _ => Err(FaultKind::NoOverload),
    }
}

/// Whether something of this length may be made.
pub(crate) fn fits(len: usize, limits: &Limits) -> Result<(), FaultKind> {
    if len <= limits.made_len_max {
        Ok(())
    } else {
        Err(FaultKind::TooLong)
    }
}
