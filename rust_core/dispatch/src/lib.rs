//! Dispatch (work in progress: types first).
#![forbid(unsafe_code)]
mod grid;
mod order;
mod park;
mod simplex;

pub use order::*;
pub use park::{Hold, HoldRefused, Park, Rider, Shop, ShopCounters, TemperatureClass, OFFERS_ALL};
