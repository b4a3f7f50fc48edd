//! Dispatch: which shop makes an order and which rider carries it, exactly, with reasons.
#![forbid(unsafe_code)]
mod assign;
mod candidates;
mod decide;
mod grid;
mod instance;
mod model;
mod order;
mod park;
mod reasons;
mod shares;
mod sided;
mod simplex;
mod trip;
pub mod validate;

pub use decide::{apply, decide, hold_of};
pub use order::*;
pub use park::{Hold, HoldRefused, Park, Rider, Shop, ShopCounters, TemperatureClass, OFFERS_ALL};
