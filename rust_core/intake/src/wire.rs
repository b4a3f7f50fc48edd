//! Messages on the wire: those of `proto/cuptime/v1`, and the three of `google.rpc` that a refusal needs.
//!
//! A request is read through an *envelope* that keeps the order inside as the bytes it came in. A message field and a
//! bytes field look the same on the wire, and a message field given twice means the concatenation of both (protobuf
//! encoding, "Last One Wins"), so the joined pieces of a repeated bytes field are exactly the order the caller meant.
//! Those bytes are stored and sent back as they are: fields this build does not know survive.
use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use prost::encoding::{encode_key, encode_varint, encoded_len_varint, WireType};
pub use prost::Message;

/// The messages of package `cuptime.v1`, generated.
#[allow(missing_docs, clippy::all)]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/cuptime.v1.rs"));
}

/// `SubmitOrderRequest` with its order unread.
#[derive(Clone, PartialEq, Message)]
pub struct SubmitEnvelope {
    /// `groups/{group_id}`.
    #[prost(string, tag = "1")]
    pub parent: String,
    /// The pieces of the order.
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub order: Vec<Bytes>,
    /// The caller's name for this request.
    #[prost(string, tag = "3")]
    pub request_id: String,
    /// Judge and keep nothing.
    #[prost(bool, tag = "4")]
    pub validate_only: bool,
}

impl SubmitEnvelope {
    /// The order's bytes; `None` when the request has none.
    pub fn order_bytes(&self) -> Option<Bytes> {
        match self.order.as_slice() {
            [] => None,
            [one] => Some(one.clone()),
            pieces => {
                let mut whole = BytesMut::new();
                pieces.iter().for_each(|piece| whole.extend_from_slice(piece));
                Some(whole.freeze())
            }
        }
    }
}

/// `BatchSubmitOrdersRequest` with its requests unread.
#[derive(Clone, PartialEq, Message)]
pub struct BatchEnvelope {
    /// `groups/{group_id}` or `groups/-`.
    #[prost(string, tag = "1")]
    pub parent: String,
    /// One `SubmitOrderRequest` each.
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub requests: Vec<Bytes>,
}

/// `IngestOrdersRequest` with its requests unread.
#[derive(Clone, PartialEq, Message)]
pub struct IngestEnvelope {
    /// The caller's number for this request.
    #[prost(int64, tag = "1")]
    pub sequence: i64,
    /// One `SubmitOrderRequest` each.
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub requests: Vec<Bytes>,
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
pub struct Status {
    /// A `google.rpc.Code`.
    #[prost(int32, tag = "1")]
    pub code: i32,
    /// For people.
    #[prost(string, tag = "2")]
    pub message: String,
    /// For machines.
    #[prost(message, repeated, tag = "3")]
    pub details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
pub struct Any {
    /// Which message `value` is.
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// The message.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
}

/// `google.rpc.ErrorInfo`.
#[derive(Clone, PartialEq, Message)]
pub struct ErrorInfo {
    /// Of the closed catalogue.
    #[prost(string, tag = "1")]
    pub reason: String,
    /// Always [`ERROR_DOMAIN`].
    #[prost(string, tag = "2")]
    pub domain: String,
    /// What, where, measured and wanted.
    #[prost(btree_map = "string, string", tag = "3")]
    pub metadata: BTreeMap<String, String>,
}

/// The `domain` of every `ErrorInfo` of ours.
pub const ERROR_DOMAIN: &str = "cuptime";

/// The `type_url` of an `ErrorInfo` inside an `Any`.
pub const ERROR_INFO_URL: &str = "type.googleapis.com/google.rpc.ErrorInfo";

// Field numbers of the fields of `Order` that only the server sets.
const ORDER_NAME: u32 = 1;
const ORDER_STATE: u32 = 20;
const ORDER_CREATE_TIME_MS: u32 = 21;
const ORDER_RULE_REVISION: u32 = 22;

/// What the server says about an order it answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderOutputs<'a> {
    /// `groups/{group_id}/orders/{number}`; empty when the order was only judged.
    pub name: &'a str,
    /// When it was admitted.
    pub create_time_ms: i64,
    /// Under which rules.
    pub rule_revision: i64,
}

impl OrderOutputs<'_> {
    /// Bytes that [`OrderOutputs::append`] adds.
    fn encoded_len(&self) -> usize {
        1 + encoded_len_varint(self.name.len() as u64)
            + self.name.len()
            + 2
            + 1
            + 2
            + encoded_len_varint(self.create_time_ms as u64)
            + 2
            + encoded_len_varint(self.rule_revision as u64)
    }

    /// Writes the fields behind the caller's order. The last value of a scalar field wins, so what the caller put into
    /// them is overruled; hence they are written even when they are zero or empty, which a plain encoder leaves out.
    fn append(&self, out: &mut Vec<u8>) {
        encode_key(ORDER_NAME, WireType::LengthDelimited, out);
        encode_varint(self.name.len() as u64, out);
        out.extend_from_slice(self.name.as_bytes());
        for (field, value) in [
            (ORDER_STATE, v1::order::State::Admitted as i64),
            (ORDER_CREATE_TIME_MS, self.create_time_ms),
            (ORDER_RULE_REVISION, self.rule_revision),
        ] {
            encode_key(field, WireType::Varint, out);
            encode_varint(value as u64, out);
        }
    }

    /// Writes field `field` of a reply: the order `body` with these outputs.
    pub fn put_order(&self, field: u32, body: &[u8], out: &mut Vec<u8>) {
        let outputs = self.encoded_len();
        out.reserve(body.len() + outputs + 12);
        encode_key(field, WireType::LengthDelimited, out);
        encode_varint((body.len() + outputs) as u64, out);
        out.extend_from_slice(body);
        self.append(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order() -> v1::Order {
        v1::Order {
            sku: "latte".into(),
            quantity: 2,
            rule_revision: 99,
            name: "mine".into(),
            ..Default::default()
        }
    }

    #[test]
    fn envelopes_read_what_the_generated_messages_write() {
        let request = v1::SubmitOrderRequest {
            parent: "groups/10001".into(),
            order: Some(order()),
            request_id: "r".into(),
            validate_only: true,
        };
        let read = SubmitEnvelope::decode(request.encode_to_vec().as_slice()).unwrap();
        assert_eq!(
            (read.parent.as_str(), read.request_id.as_str(), read.validate_only),
            ("groups/10001", "r", true)
        );
        assert_eq!(v1::Order::decode(read.order_bytes().unwrap()).unwrap(), order());

        let batch =
            v1::BatchSubmitOrdersRequest { parent: "groups/-".into(), requests: vec![request.clone(); 2] };
        let read = BatchEnvelope::decode(batch.encode_to_vec().as_slice()).unwrap();
        assert_eq!(read.parent, "groups/-");
        assert_eq!(v1::SubmitOrderRequest::decode(read.requests[1].clone()).unwrap(), request);

        let ingest = v1::IngestOrdersRequest { sequence: -7, requests: vec![request] };
        let read = IngestEnvelope::decode(ingest.encode_to_vec().as_slice()).unwrap();
        assert_eq!((read.sequence, read.requests.len()), (-7, 1));
    }

    #[test]
    fn an_order_in_two_pieces_is_one_order() {
        let mut bytes = v1::SubmitOrderRequest { order: Some(order()), ..Default::default() }.encode_to_vec();
        let more = v1::Order { quantity: 3, ..Default::default() };
        bytes.extend(v1::SubmitOrderRequest { order: Some(more), ..Default::default() }.encode_to_vec());
        let as_generated = v1::SubmitOrderRequest::decode(bytes.as_slice()).unwrap().order.unwrap();
        let whole = SubmitEnvelope::decode(bytes.as_slice()).unwrap().order_bytes().unwrap();
        assert_eq!(v1::Order::decode(whole).unwrap(), as_generated);
    }

    #[test]
    fn outputs_overrule_the_callers_even_when_they_are_zero() {
        let outputs = OrderOutputs { name: "", create_time_ms: 1_700_000_000_000, rule_revision: 0 };
        let mut reply = Vec::new();
        outputs.put_order(1, &order().encode_to_vec(), &mut reply);
        let read = v1::SubmitOrderResponse::decode(reply.as_slice()).unwrap().order.unwrap();
        let wanted = v1::Order {
            name: String::new(),
            rule_revision: 0,
            create_time_ms: 1_700_000_000_000,
            state: v1::order::State::Admitted as i32,
            ..order()
        };
        assert_eq!(read, wanted);
    }
}
