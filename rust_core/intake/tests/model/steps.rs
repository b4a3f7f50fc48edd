//! What may happen in a morning, and what can be wrong with a request.
use cuptime_intake::wire::v1::{self, BusinessContext, Order, SubmitOrderRequest, User};
use cuptime_intake::GroupState;
use proptest::prelude::*;

use crate::{DAY_MS, GROUPS, NOW_MS, SKUS};

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Flaw {
    NoId,
    NoOrder,
    NoUser,
    NoContext,
    Quantity,
    Kind,
    Version,
    Snapshot,
    Clock,
    Parent,
    Contradiction,
}

#[derive(Clone, Debug)]
pub struct Asked {
    pub request: SubmitOrderRequest,
    pub flaw: Option<Flaw>,
}

impl Asked {
    /// The reason for what is wrong with the form, but for the request id.
    pub fn flaw_in(&self, batch_parent: Option<i64>, now_ms: i64) -> Option<&'static str> {
        let parent = self.request.parent.as_str();
        match batch_parent {
            Some(id) if !parent.is_empty() && parent != format!("groups/{id}") => {
                return Some("FIELD_CONTRADICTION")
            }
            None if parent.is_empty() => return Some("FIELD_REQUIRED"),
            _ => {}
        }
        match self.flaw {
            Some(Flaw::NoOrder | Flaw::NoUser | Flaw::NoContext | Flaw::Kind) => {
                return Some("FIELD_REQUIRED")
            }
            Some(Flaw::Quantity | Flaw::Version | Flaw::Snapshot) => return Some("FIELD_INVALID"),
            _ => {}
        }
        let context = self.request.order.as_ref().unwrap().context.as_ref().unwrap();
        if (context.timestamp_ms - now_ms).abs() > DAY_MS {
            return Some("FIELD_INVALID");
        }
        let other_group = batch_parent.is_some_and(|id| id != context.group_id);
        (other_group || self.flaw == Some(Flaw::Contradiction)).then_some("FIELD_CONTRADICTION")
    }
}

#[derive(Clone, Debug)]
pub enum Step {
    Unary(Box<Asked>),
    Batch(Option<i64>, Vec<Asked>),
    Ingest(Vec<Asked>),
    SetAvailable(usize, i64),
    Settle(usize, i64),
    Cancel(i64, i64),
    Complete(i64),
    Close(i64, GroupState),
    Forget(i64),
    Wait(i64),
    Expire(i64),
    Rebuild,
}

pub fn flaw() -> impl Strategy<Value = Option<Flaw>> {
    use Flaw::*;
    let some = prop::sample::select(vec![
        NoId,
        NoOrder,
        NoUser,
        NoContext,
        Quantity,
        Kind,
        Version,
        Snapshot,
        Clock,
        Parent,
        Contradiction,
    ]);
    prop_oneof![5 => Just(None), 1 => some.prop_map(Some)]
}

pub fn asked() -> impl Strategy<Value = Asked> {
    let facts = (0..24u32, prop::sample::select(&GROUPS[..]), 1..5i64, 83..90i32, 0..4usize, 1..15i32);
    (facts, 0..12i64, prop::bool::weighted(0.1), flaw()).prop_map(|(facts, snapshot, validate_only, flaw)| {
        let (id, group_id, user_id, credit_score, sku, quantity) = facts;
        let mut order = Order {
            user: Some(User { user_id, credit_score, tier: String::new() }),
            sku: (*SKUS.get(sku).unwrap_or(&"mocha")).to_string(),
            quantity,
            kind: v1::BeverageKind::Tea as i32,
            temperature_class: v1::TemperatureClass::Cold as i32,
            context: Some(BusinessContext {
                group_id,
                sku_version: "1.0".into(),
                stock_snapshot: snapshot,
                timestamp_ms: NOW_MS,
            }),
            ..Default::default()
        };
        let mut request = SubmitOrderRequest {
            parent: format!("groups/{group_id}"),
            order: None,
            request_id: format!("r{id}"),
            validate_only,
        };
        let context = order.context.as_mut().unwrap();
        match flaw {
            Some(Flaw::NoId) => request.request_id.clear(),
            Some(Flaw::Version) => context.sku_version = "1".into(),
            Some(Flaw::Snapshot) => context.stock_snapshot = -1,
            Some(Flaw::Clock) => context.timestamp_ms = NOW_MS - 10 * DAY_MS,
            Some(Flaw::Contradiction) => context.group_id += 100,
            Some(Flaw::Parent) => request.parent.clear(),
            Some(Flaw::NoUser) => order.user = None,
            Some(Flaw::NoContext) => order.context = None,
            Some(Flaw::Quantity) => order.quantity = 101,
            Some(Flaw::Kind) => order.kind = 0,
            Some(Flaw::NoOrder) | None => {}
        }
        request.order = (flaw != Some(Flaw::NoOrder)).then_some(order);
        Asked { request, flaw }
    })
}

pub fn step() -> impl Strategy<Value = Step> {
    let group = || prop::sample::select(&GROUPS[..]);
    let closed = prop::sample::select(vec![GroupState::Completed, GroupState::Failed, GroupState::Decided]);
    let waits = prop_oneof![4 => 1..1_000i64, 1 => Just(DAY_MS / 2)];
    prop_oneof![
        10 => asked().prop_map(|asked| Step::Unary(Box::new(asked))),
        6 => (prop::option::of(group()), prop::collection::vec(asked(), 1..5)).prop_map(|(p, b)| Step::Batch(p, b)),
        6 => prop::collection::vec(asked(), 1..6).prop_map(Step::Ingest),
        3 => (0..3usize, -1..40i64).prop_map(|(sku, cups)| Step::SetAvailable(sku, cups)),
        2 => (0..3usize, 0..30i64).prop_map(|(sku, cups)| Step::Settle(sku, cups)),
        3 => (group(), 1..8i64).prop_map(|(id, number)| Step::Cancel(id, number)),
        1 => group().prop_map(Step::Complete),
        1 => (group(), closed).prop_map(|(id, state)| Step::Close(id, state)),
        1 => group().prop_map(Step::Forget),
        2 => waits.prop_map(Step::Wait),
        1 => (0..2 * DAY_MS).prop_map(Step::Expire),
        1 => Just(Step::Rebuild),
    ]
}
