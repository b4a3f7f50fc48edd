//! The form of a request, whatever the state of the world: required fields, ranges, contradictions.
use bytes::Bytes;
use prost::Message;

use crate::limits;
use crate::refusal::{Reason, Refusal};
use crate::wire::v1::{BeverageKind, BusinessContext, Location, Order, TemperatureClass, User};
use crate::wire::SubmitEnvelope;

/// A request that could be read, and nothing said about its values yet.
#[derive(Clone, Debug)]
pub struct Submission {
    /// Parent, request id and what else surrounds the order.
    pub envelope: SubmitEnvelope,
    /// The order as it came; empty when there was none.
    pub body: Bytes,
    /// The order, read.
    pub order: Option<Order>,
}

impl Submission {
    /// Reads a `SubmitOrderRequest`.
    ///
    /// # Errors
    /// MESSAGE_MALFORMED.
    pub fn read(bytes: &Bytes) -> Result<Submission, Refusal> {
        let envelope =
            SubmitEnvelope::decode(bytes.clone()).map_err(|e| malformed("SubmitOrderRequest", &e))?;
        let pieces = envelope.order_bytes();
        let order = match &pieces {
            Some(body) => Some(Order::decode(body.clone()).map_err(|e| malformed("Order", &e))?),
            None => None,
        };
        Ok(Submission { envelope, body: pieces.unwrap_or_default(), order })
    }
}

/// The refusal for bytes that cannot be read.
pub(crate) fn malformed(message: &str, error: &prost::DecodeError) -> Refusal {
    Refusal::new(Reason::MessageMalformed, format!("the bytes are not a {message}: {error}"))
        .with("message", message)
}

/// What the parent of a batch says about its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchParent<'a> {
    /// There is none: each entry names its own.
    None,
    /// `groups/-`: each entry names its own.
    Any,
    /// Every entry is of this group; an entry need not repeat it.
    Group(&'a str),
}

impl BatchParent<'_> {
    /// Reads the parent of a batch.
    ///
    /// # Errors
    /// FIELD_REQUIRED, FIELD_INVALID.
    pub fn read(text: &str) -> Result<BatchParent<'_>, Refusal> {
        match text {
            "" => Err(Refusal::required("parent")),
            "groups/-" => Ok(BatchParent::Any),
            _ => parent_group(text).map(|_| BatchParent::Group(text)),
        }
    }
}

/// Checks the form of a request id: 1 to 64 visible ASCII characters.
///
/// # Errors
/// FIELD_REQUIRED, FIELD_INVALID.
pub fn check_request_id(id: &str) -> Result<(), Refusal> {
    if id.is_empty() {
        return Err(Refusal::required("request_id"));
    }
    if id.len() > limits::REQUEST_ID_CHARS_MAX || !id.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Refusal::invalid("request_id", "1 to 64 visible ASCII characters", id));
    }
    Ok(())
}

/// Checks every field of a request but its id, and returns the parts an admission needs.
///
/// # Errors
/// FIELD_REQUIRED, FIELD_INVALID, FIELD_CONTRADICTION, naming the field.
pub fn check<'a>(
    submission: &'a Submission,
    batch: BatchParent<'_>,
    now_ms: i64,
) -> Result<(&'a Order, &'a User, &'a BusinessContext), Refusal> {
    let parent = parent_of(&submission.envelope.parent, batch)?;
    let order = submission.order.as_ref().ok_or_else(|| Refusal::required("order"))?;
    if submission.body.len() > limits::ORDER_BYTES_MAX {
        let size = format!("{} bytes", submission.body.len());
        return Err(Refusal::invalid("order", "at most 4096 bytes", size));
    }
    let (user, context) = check_order(order)?;
    check_clock(context, now_ms)?;
    check_group(context, parent)?;
    Ok((order, user, context))
}

/// Checks an order that is read back from storage: every check it passed when it entered, but that of the clock.
///
/// # Errors
/// FIELD_REQUIRED, FIELD_INVALID, FIELD_CONTRADICTION, naming the field.
pub fn recheck(order: &Order, group_id: i64) -> Result<(), Refusal> {
    let (_, context) = check_order(order)?;
    check_group(context, group_id)
}

fn check_order(order: &Order) -> Result<(&User, &BusinessContext), Refusal> {
    let user = order.user.as_ref().ok_or_else(|| Refusal::required("order.user"))?;
    check_user(user)?;
    check_drink(order)?;
    if let Some(place) = &order.drop_off {
        check_place(place)?;
    }
    let context = order.context.as_ref().ok_or_else(|| Refusal::required("order.context"))?;
    check_context(context)?;
    Ok((user, context))
}

fn check_group(context: &BusinessContext, parent: i64) -> Result<(), Refusal> {
    if context.group_id == parent {
        return Ok(());
    }
    Err(Refusal::new(
        Reason::FieldContradiction,
        format!("order.context.group_id is {}, but the parent is groups/{parent}", context.group_id),
    )
    .field("order.context.group_id")
    .with("value", context.group_id)
    .with("parent", format_args!("groups/{parent}")))
}

fn parent_of(own: &str, batch: BatchParent<'_>) -> Result<i64, Refusal> {
    match batch {
        BatchParent::Group(shared) if own.is_empty() || own == shared => parent_group(shared),
        BatchParent::Group(shared) => Err(Refusal::new(
            Reason::FieldContradiction,
            format!("parent must be {shared}, as the batch says, or empty"),
        )
        .field("parent")
        .with("wanted", shared)),
        _ if own.is_empty() => Err(Refusal::required("parent")),
        _ => parent_group(own),
    }
}

/// The group of `groups/{group_id}`.
///
/// # Errors
/// FIELD_INVALID.
pub fn parent_group(text: &str) -> Result<i64, Refusal> {
    text.strip_prefix("groups/")
        .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0'))
        .and_then(|digits| digits.parse::<i64>().ok())
        .filter(|id| *id >= limits::GROUP_ID_MIN)
        .ok_or_else(|| Refusal::invalid("parent", "groups/{group_id} with a group_id of 10000 or more", text))
}

fn check_user(user: &User) -> Result<(), Refusal> {
    at_least_one("order.user.user_id", user.user_id)?;
    if !(0..=limits::CREDIT_SCORE_MAX).contains(&i64::from(user.credit_score)) {
        return Err(Refusal::invalid("order.user.credit_score", "0 to 1000", user.credit_score));
    }
    check_label("order.user.tier", &user.tier)
}

fn check_drink(order: &Order) -> Result<(), Refusal> {
    check_sku("order.sku", &order.sku)?;
    if order.quantity == 0 {
        return Err(Refusal::required("order.quantity"));
    }
    if !(1..=limits::ORDER_QUANTITY_MAX).contains(&i64::from(order.quantity)) {
        return Err(Refusal::invalid("order.quantity", "1 to 100", order.quantity));
    }
    if order.amount_cents < 0 {
        return Err(Refusal::invalid("order.amount_cents", "0 or more", order.amount_cents));
    }
    match BeverageKind::try_from(order.kind) {
        Ok(BeverageKind::Unspecified) => return Err(Refusal::required("order.kind")),
        Ok(_) => {}
        Err(_) => return Err(Refusal::invalid("order.kind", "a known BeverageKind", order.kind)),
    }
    match TemperatureClass::try_from(order.temperature_class) {
        Ok(TemperatureClass::Unspecified) => return Err(Refusal::required("order.temperature_class")),
        Ok(_) => {}
        Err(_) => {
            let wanted = "a known TemperatureClass";
            return Err(Refusal::invalid("order.temperature_class", wanted, order.temperature_class));
        }
    }
    check_label("order.ice_level", &order.ice_level)?;
    check_label("order.time_slot", &order.time_slot)
}

fn check_sku(path: &str, sku: &str) -> Result<(), Refusal> {
    if sku.is_empty() {
        return Err(Refusal::required(path));
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if sku.len() > limits::SKU_CHARS_MAX || !sku.bytes().all(allowed) {
        return Err(Refusal::invalid(path, "1 to 64 characters of A-Z a-z 0-9 . _ -", sku));
    }
    Ok(())
}

fn check_label(path: &str, label: &str) -> Result<(), Refusal> {
    // A character has at most four bytes, so a short text needs no counting.
    if label.len() > limits::LABEL_CHARS_MAX && label.chars().count() > limits::LABEL_CHARS_MAX {
        return Err(Refusal::invalid(path, "at most 64 characters", label));
    }
    Ok(())
}

fn check_place(place: &Location) -> Result<(), Refusal> {
    // NaN is in no range.
    if !(-90.0..=90.0).contains(&place.latitude) {
        return Err(Refusal::invalid("order.drop_off.latitude", "-90 to 90 degrees", place.latitude));
    }
    if !(-180.0..=180.0).contains(&place.longitude) {
        return Err(Refusal::invalid("order.drop_off.longitude", "-180 to 180 degrees", place.longitude));
    }
    Ok(())
}

fn check_context(context: &BusinessContext) -> Result<(), Refusal> {
    if context.group_id == 0 {
        return Err(Refusal::required("order.context.group_id"));
    }
    if context.group_id < limits::GROUP_ID_MIN {
        return Err(Refusal::invalid("order.context.group_id", "10000 or more", context.group_id));
    }
    if context.sku_version.is_empty() {
        return Err(Refusal::required("order.context.sku_version"));
    }
    if !is_version(&context.sku_version) {
        let wanted = "two numbers joined by a dot, like 2.1";
        return Err(Refusal::invalid("order.context.sku_version", wanted, &context.sku_version));
    }
    if context.stock_snapshot < 0 {
        return Err(Refusal::invalid("order.context.stock_snapshot", "0 or more", context.stock_snapshot));
    }
    at_least_one("order.context.timestamp_ms", context.timestamp_ms)
}

fn check_clock(context: &BusinessContext, now_ms: i64) -> Result<(), Refusal> {
    let skew = context.timestamp_ms.abs_diff(now_ms);
    if skew > limits::TIMESTAMP_SKEW_MS_MAX as u64 {
        let wanted = "within 24 hours of the server's clock";
        let refusal = Refusal::invalid("order.context.timestamp_ms", wanted, context.timestamp_ms);
        return Err(refusal.measured(skew, limits::TIMESTAMP_SKEW_MS_MAX));
    }
    Ok(())
}

fn at_least_one(path: &str, value: i64) -> Result<(), Refusal> {
    match value {
        0 => Err(Refusal::required(path)),
        ..=-1 => Err(Refusal::invalid(path, "more than 0", value)),
        _ => Ok(()),
    }
}

/// `^\d+\.\d+$` with ASCII digits.
fn is_version(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    text.len() <= limits::SKU_VERSION_CHARS_MAX
        && text.split_once('.').is_some_and(|(major, minor)| digits(major) && digits(minor))
}
