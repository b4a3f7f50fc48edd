//! The model: lists that are counted, and a copy that is put back when a batch is refused.
use std::collections::{HashMap, HashSet};

use cuptime_intake::wire::v1::SubmitOrderRequest;
use cuptime_intake::wire::Message;
use cuptime_intake::GroupState;

use crate::steps::Asked;
use crate::{CREDIT_MIN, DAY_MS};

/// A baker's dozen, and everything once a group has five members.
pub fn rule_refuses(quantity: i32, members: usize) -> bool {
    quantity == 13 || members == 5
}

#[derive(Clone, Debug)]
pub struct ModelOrder {
    pub user_id: i64,
    pub sku: String,
    pub quantity: i32,
    pub cancelled: bool,
    pub body: Vec<u8>,
}

#[derive(Clone, Debug)]
pub struct ModelGroup {
    pub seq: i64,
    pub capacity: usize,
    pub deadline_ms: i64,
    pub limit: usize,
    pub state: GroupState,
    pub orders: Vec<ModelOrder>,
}

impl ModelGroup {
    pub fn standing(&self) -> impl Iterator<Item = &ModelOrder> {
        self.orders.iter().filter(|order| !order.cancelled)
    }
}

/// Name of the order, or reason of the refusal.
pub type Answer = Result<String, String>;

#[derive(Clone, Debug, Default)]
pub struct Model {
    pub groups: HashMap<i64, ModelGroup>,
    pub closed: HashSet<i64>,
    pub available: HashMap<String, i64>,
    pub pending: HashMap<String, i64>,
    pub requests: HashMap<String, (Vec<u8>, i64, Answer)>,
}

impl Model {
    /// `keep_refusals` is false inside an atomic batch.
    pub fn submit(
        &mut self,
        asked: &Asked,
        batch_parent: Option<i64>,
        now_ms: i64,
        keep_refusals: bool,
    ) -> Answer {
        let bytes = asked.request.encode_to_vec();
        let id = &asked.request.request_id;
        if id.is_empty() {
            return Err("FIELD_REQUIRED".into());
        }
        if let Some((first, created_ms, answer)) = self.requests.get(id) {
            if now_ms - created_ms < DAY_MS {
                return if *first == bytes { answer.clone() } else { Err("REQUEST_ID_REUSED".into()) };
            }
        }
        if let Some(reason) = asked.flaw_in(batch_parent, now_ms) {
            return Err(reason.into());
        }
        let answer = self.weigh(&asked.request, now_ms);
        let kept = match &answer {
            Ok(_) => true,
            Err(reason) => keep_refusals && reason != "GROUP_NOT_FOUND",
        };
        if kept && !asked.request.validate_only {
            self.requests.insert(id.clone(), (bytes, now_ms, answer.clone()));
        }
        answer
    }

    pub fn weigh(&mut self, request: &SubmitOrderRequest, now_ms: i64) -> Answer {
        let order = request.order.as_ref().unwrap();
        let (user, context) = (order.user.as_ref().unwrap(), order.context.as_ref().unwrap());
        let id = context.group_id;
        let Some(group) = self.groups.get_mut(&id) else {
            return Err(if self.closed.contains(&id) { "GROUP_NOT_OPEN" } else { "GROUP_NOT_FOUND" }.into());
        };
        let members = group.standing().count();
        let placed = group.standing().filter(|order| order.user_id == user.user_id).count();
        let available = self.available.get(&order.sku).copied();
        let pending = self.pending.entry(order.sku.clone()).or_default();
        let refused =
            if group.state != GroupState::Open || now_ms >= group.deadline_ms || members >= group.capacity {
                Some("GROUP_NOT_OPEN")
            } else if user.credit_score < CREDIT_MIN {
                Some("CREDIT_BELOW_MINIMUM")
            } else if placed >= group.limit {
                Some("PURCHASE_LIMIT")
            } else {
                match available {
                    None => Some("SKU_NOT_OFFERED"),
                    Some(cups) if context.stock_snapshot > cups => Some("STOCK_SNAPSHOT_STALE"),
                    Some(cups) if *pending + i64::from(order.quantity) > cups => Some("STOCK_EXHAUSTED"),
                    Some(_) if rule_refuses(order.quantity, members) => Some("RULE_REFUSED"),
                    Some(_) => None,
                }
            };
        if let Some(reason) = refused {
            return Err(reason.into());
        }
        if request.validate_only {
            return Ok(String::new());
        }
        *pending += i64::from(order.quantity);
        group.orders.push(ModelOrder {
            user_id: user.user_id,
            sku: order.sku.clone(),
            quantity: order.quantity,
            cancelled: false,
            body: order.encode_to_vec(),
        });
        if members + 1 == group.capacity {
            group.state = GroupState::Completed;
        }
        Ok(format!("groups/{id}/orders/{}", group.orders.len()))
    }

    /// All or none: on the first refusal everything is as it was in the copy.
    pub fn batch(
        &mut self,
        batch: &[Asked],
        parent: Option<i64>,
        now_ms: i64,
    ) -> Result<Vec<String>, (usize, String)> {
        let before = self.clone();
        let mut names = Vec::new();
        for (index, asked) in batch.iter().enumerate() {
            match self.submit(asked, parent, now_ms, false) {
                Ok(name) => names.push(name),
                Err(reason) => {
                    *self = before;
                    return Err((index, reason));
                }
            }
        }
        Ok(names)
    }

    pub fn release(&mut self, sku: &str, cups: i64) {
        let pending = self.pending.entry(sku.to_string()).or_default();
        *pending = (*pending - cups).max(0);
    }
}
