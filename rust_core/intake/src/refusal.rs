//! Why an order was not admitted: a reason of the closed catalogue, what was measured, what was allowed.
use std::collections::BTreeMap;
use std::fmt::Display;

use bytes::Bytes;
use prost::Message;

use crate::wire::{v1, Any, ErrorInfo, Status, ERROR_DOMAIN, ERROR_INFO_URL};

/// The reasons admission can give; names, codes and texts are those of `python/cuptime/domain/errors.py`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The bytes are not a message of the method.
    MessageMalformed,
    /// A required field is missing.
    FieldRequired,
    /// A value outside its form or range.
    FieldInvalid,
    /// Two fields contradict each other.
    FieldContradiction,
    /// More entries than a batch may have.
    TooManyEntries,
    /// The request id belongs to another request.
    RequestIdReused,
    /// No such group.
    GroupNotFound,
    /// The group takes no more orders.
    GroupNotOpen,
    /// The credit score is too low.
    CreditBelowMinimum,
    /// The user has all the orders the group allows.
    PurchaseLimit,
    /// No shop offers the SKU.
    SkuNotOffered,
    /// The caller saw more stock than there is.
    StockSnapshotStale,
    /// Not enough cups are left.
    StockExhausted,
    /// A rule refuses it.
    RuleRefused,
    /// A rule cannot judge it, and says that there is no answer then.
    RuleFailed,
}

const INVALID_ARGUMENT: i32 = 3;
const NOT_FOUND: i32 = 5;
const FAILED_PRECONDITION: i32 = 9;
const INTERNAL: i32 = 13;

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 15] = [
        Self::MessageMalformed,
        Self::FieldRequired,
        Self::FieldInvalid,
        Self::FieldContradiction,
        Self::TooManyEntries,
        Self::RequestIdReused,
        Self::GroupNotFound,
        Self::GroupNotOpen,
        Self::CreditBelowMinimum,
        Self::PurchaseLimit,
        Self::SkuNotOffered,
        Self::StockSnapshotStale,
        Self::StockExhausted,
        Self::RuleRefused,
        Self::RuleFailed,
    ];

    /// The catalogue name.
    pub fn name(self) -> &'static str {
        match self {
            Self::MessageMalformed => "MESSAGE_MALFORMED",
            Self::FieldRequired => "FIELD_REQUIRED",
            Self::FieldInvalid => "FIELD_INVALID",
            Self::FieldContradiction => "FIELD_CONTRADICTION",
            Self::TooManyEntries => "TOO_MANY_ENTRIES",
            Self::RequestIdReused => "REQUEST_ID_REUSED",
            Self::GroupNotFound => "GROUP_NOT_FOUND",
            Self::GroupNotOpen => "GROUP_NOT_OPEN",
            Self::CreditBelowMinimum => "CREDIT_BELOW_MINIMUM",
            Self::PurchaseLimit => "PURCHASE_LIMIT",
            Self::SkuNotOffered => "SKU_NOT_OFFERED",
            Self::StockSnapshotStale => "STOCK_SNAPSHOT_STALE",
            Self::StockExhausted => "STOCK_EXHAUSTED",
            Self::RuleRefused => "RULE_REFUSED",
            Self::RuleFailed => "RULE_FAILED",
        }
    }

    /// The `google.rpc.Code`.
    pub fn code(self) -> i32 {
        match self {
            Self::GroupNotFound => NOT_FOUND,
            Self::RuleFailed => INTERNAL,
            reason if reason.is_business() => FAILED_PRECONDITION,
            _ => INVALID_ARGUMENT,
        }
    }

    /// Whether a valid order was refused by the business: such refusals are kept, malformed input leaves no trace.
    pub fn is_business(self) -> bool {
        matches!(
            self,
            Self::GroupNotOpen
                | Self::CreditBelowMinimum
                | Self::PurchaseLimit
                | Self::SkuNotOffered
                | Self::StockSnapshotStale
                | Self::StockExhausted
                | Self::RuleRefused
        )
    }
}

/// A refusal with what was measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// For people.
    pub message: String,
    /// `field`, `measured`, `limit`, `wanted`, `value`, `hint` and their like, as they apply.
    pub metadata: BTreeMap<String, String>,
}

/// Characters of a caller's value that a refusal repeats.
const SHOWN_CHARS_MAX: usize = 100;

impl Refusal {
    /// A refusal that speaks of no field.
    pub fn new(reason: Reason, message: impl Into<String>) -> Refusal {
        Refusal { reason, message: message.into(), metadata: BTreeMap::new() }
    }

    /// Names the field that is to blame.
    pub fn field(self, path: impl Into<String>) -> Refusal {
        self.with("field", path.into())
    }

    /// Adds a fact.
    pub fn with(mut self, key: &str, value: impl Display) -> Refusal {
        self.metadata.insert(key.to_string(), value.to_string());
        self
    }

    /// What was found and what was allowed.
    pub fn measured(self, measured: impl Display, limit: impl Display) -> Refusal {
        self.with("measured", measured).with("limit", limit)
    }

    /// A missing field.
    pub fn required(path: &str) -> Refusal {
        Refusal::new(Reason::FieldRequired, format!("{path} is required")).field(path)
    }

    /// A value outside its form or range; `wanted` completes the sentence "must be ...".
    pub fn invalid(path: &str, wanted: &str, value: impl Display) -> Refusal {
        let value = shown(&value.to_string());
        Refusal::new(Reason::FieldInvalid, format!("{path} must be {wanted}, not {value}"))
            .field(path)
            .with("wanted", wanted)
            .with("value", value)
    }

    /// As the answer to entry `index` of a batch: field paths and message begin with `requests[index]`.
    pub fn at_entry(mut self, index: usize) -> Refusal {
        if let Some(path) = self.metadata.get_mut("field") {
            *path = format!("requests[{index}].{path}");
        }
        self.message = format!("requests[{index}]: {}", self.message);
        self.with("index", index)
    }

    /// `google.rpc.Status`, encoded.
    pub fn status_bytes(&self) -> Bytes {
        let info = ErrorInfo {
            reason: self.reason.name().to_string(),
            domain: ERROR_DOMAIN.to_string(),
            metadata: self.metadata.clone(),
        };
        let details = vec![Any { type_url: ERROR_INFO_URL.to_string(), value: info.encode_to_vec().into() }];
        Status { code: self.reason.code(), message: self.message.clone(), details }.encode_to_vec().into()
    }

    /// The same for one entry of a stream.
    pub fn entry_status(&self) -> v1::EntryStatus {
        v1::EntryStatus {
            code: self.reason.code(),
            reason: self.reason.name().to_string(),
            message: self.message.clone(),
            metadata: self.metadata.clone(),
        }
    }

    /// Reads what [`Refusal::status_bytes`] wrote; `None` when it is something else.
    pub fn from_status_bytes(status: &Bytes) -> Option<Refusal> {
        let status = Status::decode(status.clone()).ok()?;
        let info = ErrorInfo::decode(status.details.into_iter().next()?.value).ok()?;
        let reason = Reason::ALL.into_iter().find(|r| r.name() == info.reason)?;
        Some(Refusal { reason, message: status.message, metadata: info.metadata })
    }
}

/// The value in quotes, escaped and cut.
fn shown(value: &str) -> String {
    let mut text = String::with_capacity(value.len().min(SHOWN_CHARS_MAX) + 5);
    text.push('\'');
    for (count, c) in value.chars().enumerate() {
        if count == SHOWN_CHARS_MAX {
            text.push_str("...");
            break;
        }
        if c.is_control() {
            text.extend(c.escape_default())
        } else {
            text.push(c)
        }
    }
    text.push('\'');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_reads_back() {
        for reason in Reason::ALL {
            let refusal = Refusal::new(reason, "why").field("order.sku").measured(3, 2);
            assert_eq!(Refusal::from_status_bytes(&refusal.status_bytes()), Some(refusal));
        }
        assert_eq!(Refusal::from_status_bytes(&Bytes::from_static(b"\xff")), None);
        assert_eq!(Refusal::from_status_bytes(&Bytes::new()), None);
    }

    #[test]
    fn values_are_shown_escaped_and_cut() {
        assert_eq!(shown("a\nb"), "'a\\nb'");
        assert_eq!(shown(&"茶".repeat(200)).chars().count(), SHOWN_CHARS_MAX + 5);
    }

    #[test]
    fn an_entry_of_a_batch_is_named() {
        let refusal = Refusal::required("order.sku").at_entry(3);
        assert_eq!(refusal.metadata["field"], "requests[3].order.sku");
        assert_eq!(refusal.metadata["index"], "3");
        assert_eq!(refusal.message, "requests[3]: order.sku is required");
    }
}
