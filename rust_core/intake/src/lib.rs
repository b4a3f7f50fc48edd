#![forbid(unsafe_code)]
//! wip
pub mod wire;
