//! Admission: from the bytes of a request to the bytes of its reply and the rows that must be stored first.
//!
//! ```text
//! bytes -> envelope -> request id -> form -> group -> credit -> limit -> stock -> rules -> seat
//!          (wire)      (requests)    (form)  '------------- judge --------------'        (table)
//! ```
//! [`Table`] is a cache of what storage knows: open groups, cups left, request ids of the last day. [`Table::admit`]
//! judges whole requests and lets orders in; the caller stores what it returns and only then lets the replies go.
//! Pure: no clock, no threads, no I/O, no Python; same calls, same answers.
#![forbid(unsafe_code)]

mod admission;
pub mod effects;
pub mod facts;
mod form;
mod judge;
pub mod limits;
pub mod phases;
mod place;
mod refusal;
mod requests;
mod table;
pub mod wire;

/// The buffers that requests, replies and bodies come in.
pub use bytes::Bytes;

pub use admission::{Admission, Kind, Reply};
pub use form::recheck;
pub use judge::{NewOrder, NoRules, OrderFacts, RefuseRules, RuleSays};
pub use place::{project, unproject};
pub use refusal::{Reason, Refusal};
pub use requests::{fingerprint, Answer};
pub use table::{
    group_seq_of, order_id_of, order_name, order_number_of, Cups, Group, GroupFacts, GroupState, Placed,
    Stats, StoredOrder, StoredRefusal, Table,
};
