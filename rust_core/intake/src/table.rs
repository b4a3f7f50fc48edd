//! What admission knows: open groups and their orders, cups left, request ids. A cache; storage is the truth.
//!
//! No clock, no threads, no I/O: instants are arguments, the same calls give the same answers. When a commit of what
//! [`crate::Table::admit`] returned fails, the table is ahead of storage; the caller throws it away and builds a new one.
use std::collections::VecDeque;

use bytes::Bytes;
use prost::Message;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::limits;
use crate::requests::{Answer, Keying, Remembered, Requests};
use crate::wire::v1::Order;

/// The life of a group; numbers as in `cuptime.v1.Group.State`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum GroupState {
    /// Takes orders.
    Open = 1,
    /// Its orders are being decided.
    Completed = 2,
    /// Its orders are released.
    Failed = 3,
    /// Every order has a decision.
    Decided = 4,
}

impl GroupState {
    /// The state of a number; `None` for any other.
    pub fn from_code(code: i64) -> Option<Self> {
        Some(match code {
            1 => Self::Open,
            2 => Self::Completed,
            3 => Self::Failed,
            4 => Self::Decided,
            _ => return None,
        })
    }

    /// As in the proto.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "OPEN",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
            Self::Decided => "DECIDED",
        }
    }
}

/// A group as storage has it.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupFacts {
    /// Storage sequence: the high bits of its order ids.
    pub group_seq: i64,
    /// The caller's id.
    pub group_id: i64,
    /// Campus or office park.
    pub park: String,
    /// Degrees.
    pub latitude: f64,
    /// Degrees.
    pub longitude: f64,
    /// Members when full.
    pub capacity: u32,
    /// Members needed at the deadline.
    pub min_size: u32,
    /// When it closes.
    pub deadline_ms: i64,
    /// Orders one user may place; 0 is the default of the table.
    pub purchase_limit: u32,
    /// From completion to pack-out.
    pub pack_out_after_ms: i64,
    /// From pack-out to the latest delivery.
    pub deliver_within_ms: i64,
    /// Its state.
    pub state: GroupState,
}

#[cfg(test)]
impl GroupFacts {
    pub(crate) fn example(group_id: i64) -> GroupFacts {
        GroupFacts {
            group_seq: group_id - 10_000,
            group_id,
            park: "north".into(),
            latitude: 31.0,
            longitude: 121.0,
            capacity: 3,
            min_size: 1,
            deadline_ms: 1_000_000,
            purchase_limit: 2,
            pack_out_after_ms: 1_080_000,
            deliver_within_ms: 3_600_000,
            state: GroupState::Open,
        }
    }
}

/// An order of a group in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// From 1.
    pub number: i64,
    /// Whose.
    pub user_id: i64,
    /// The drink.
    pub sku: String,
    /// Cups.
    pub quantity: i32,
    /// Whether the caller took it back.
    pub cancelled: bool,
    /// The order as the caller sent it.
    pub body: Bytes,
}

/// A group in the table.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// As opened; the state is kept current.
    pub facts: GroupFacts,
    /// Orders admitted and not cancelled.
    pub members: u32,
    /// The number the next order gets.
    pub next_number: i64,
    /// Orders admitted and not cancelled, by user; no zeros.
    pub by_user: FxHashMap<i64, u32>,
    /// By number.
    pub orders: Vec<Placed>,
}

/// Cups of one SKU over all shops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cups {
    /// Free stock; `None` when no shop offers it.
    pub available: Option<i64>,
    /// Admitted and not yet decided.
    pub pending: i64,
}

/// An order read back from storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredOrder {
    /// group_seq and number.
    pub order_id: i64,
    /// Whose.
    pub user_id: i64,
    /// The caller's name for the request.
    pub request_id: String,
    /// Of the request's bytes.
    pub fingerprint: i64,
    /// When it was admitted.
    pub created_ms: i64,
    /// The rules in force.
    pub rule_revision: i64,
    /// `cuptime.v1.Order.State`: 1 is ADMITTED.
    pub state: i64,
    /// The order as the caller sent it.
    pub body: Bytes,
}

/// A refusal read back from storage, or to be stored there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRefusal {
    /// The caller's name for the request.
    pub request_id: String,
    /// Of the request's bytes.
    pub fingerprint: i64,
    /// The group it was meant for.
    pub group_id: i64,
    /// Whose.
    pub user_id: i64,
    /// Of the catalogue.
    pub reason: String,
    /// When.
    pub created_ms: i64,
    /// Encoded `google.rpc.Status`.
    pub status: Bytes,
}

/// Sizes, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Groups in the table, whatever their state.
    pub groups: usize,
    /// Of these, open.
    pub groups_open: usize,
    /// Groups that are known to be closed and otherwise forgotten.
    pub groups_closed: usize,
    /// Orders of groups in the table.
    pub orders: usize,
    /// Request ids remembered.
    pub request_ids: usize,
    /// SKUs with cups or pending cups.
    pub skus: usize,
    /// Pending cups of all SKUs.
    pub pending_cups: i64,
}

/// Groups that were forgotten, the latest ones: an order for one of them is late, not lost.
#[derive(Clone, Debug, Default, PartialEq)]
struct Closed {
    ids: FxHashSet<i64>,
    ages: VecDeque<i64>,
}

impl Closed {
    fn insert(&mut self, group_id: i64) {
        if self.ids.insert(group_id) {
            self.ages.push_back(group_id);
        }
        while self.ages.len() > limits::CLOSED_GROUPS_KEPT_MAX {
            if let Some(oldest) = self.ages.pop_front() {
                self.ids.remove(&oldest);
            }
        }
    }
}

/// The admission table.
#[derive(Clone, Debug)]
pub struct Table {
    pub(crate) keying: Keying,
    pub(crate) credit_min: i32,
    pub(crate) purchase_limit_default: u32,
    pub(crate) groups: FxHashMap<i64, Group>,
    id_of_seq: FxHashMap<i64, i64>,
    closed: Closed,
    pub(crate) cups: FxHashMap<String, Cups>,
    pub(crate) requests: Requests,
}

/// The same knowledge; the hash keys of request ids must be the same too for the ids to compare.
impl PartialEq for Table {
    fn eq(&self, other: &Table) -> bool {
        self.groups == other.groups
            && self.id_of_seq == other.id_of_seq
            && self.closed == other.closed
            && self.cups == other.cups
            && self.requests == other.requests
    }
}

/// The id of an order.
pub fn order_id_of(group_seq: i64, number: i64) -> i64 {
    (group_seq << limits::ORDER_NUMBER_BITS) | number
}

/// The group part of an order id.
pub fn group_seq_of(order_id: i64) -> i64 {
    order_id >> limits::ORDER_NUMBER_BITS
}

/// The number part of an order id.
pub fn order_number_of(order_id: i64) -> i64 {
    order_id & limits::ORDER_NUMBER_MAX
}

/// `groups/{group_id}/orders/{number}`.
pub fn order_name(group_id: i64, order_id: i64) -> String {
    format!("groups/{group_id}/orders/{}", order_number_of(order_id))
}

impl Table {
    /// An empty table. `purchase_limit_default` 0 is no limit.
    pub fn new(seed: &[u8; 16], credit_min: i32, purchase_limit_default: u32) -> Table {
        Table {
            keying: Keying::new(seed),
            credit_min,
            purchase_limit_default,
            groups: FxHashMap::default(),
            id_of_seq: FxHashMap::default(),
            closed: Closed::default(),
            cups: FxHashMap::default(),
            requests: Requests::new(limits::REQUEST_IDS_KEPT_MAX),
        }
    }

    /// Takes a group in. A group that failed or is decided is only remembered as closed; one that is here already
    /// stays as it is.
    pub fn open_group(&mut self, facts: GroupFacts) {
        if matches!(facts.state, GroupState::Failed | GroupState::Decided) {
            return self.closed.insert(facts.group_id);
        }
        let (group_id, group_seq) = (facts.group_id, facts.group_seq);
        self.id_of_seq.insert(group_seq, group_id);
        self.groups.entry(group_id).or_insert_with(|| Group {
            facts,
            members: 0,
            next_number: 1,
            by_user: FxHashMap::default(),
            orders: Vec::new(),
        });
    }

    /// Takes a stored order in: its request id, and, when its group is here, its seat and its pending cups. An order
    /// that is here already changes nothing. False when its body cannot be read.
    pub fn restore_order(&mut self, stored: StoredOrder) -> bool {
        let StoredOrder {
            order_id,
            user_id,
            request_id,
            fingerprint,
            created_ms,
            rule_revision,
            state,
            body,
        } = stored;
        let key = self.keying.key(&request_id);
        let answer = Answer::Admitted { order_id, rule_revision };
        self.requests.restore(key, Remembered { fingerprint, created_ms, answer });
        let Some(group) = self.id_of_seq.get(&group_seq_of(order_id)).and_then(|id| self.groups.get_mut(id))
        else {
            return true;
        };
        let Ok(order) = Order::decode(body.clone()) else { return false };
        let number = order_number_of(order_id);
        let Err(at) = group.orders.binary_search_by_key(&number, |o| o.number) else { return true };
        let cancelled = state != 1;
        if !cancelled {
            group.members += 1;
            *group.by_user.entry(user_id).or_default() += 1;
            let quantity = i64::from(order.quantity);
            self.cups.entry(order.sku.clone()).or_default().pending += quantity;
        }
        let placed = Placed { number, user_id, sku: order.sku, quantity: order.quantity, cancelled, body };
        group.orders.insert(at, placed);
        group.next_number = group.next_number.max(number + 1);
        true
    }

    /// Takes a stored refusal in.
    pub fn restore_refusal(&mut self, stored: StoredRefusal) {
        let key = self.keying.key(&stored.request_id);
        let StoredRefusal { fingerprint, created_ms, status, .. } = stored;
        self.requests.restore(key, Remembered { fingerprint, created_ms, answer: Answer::Refused(status) });
    }

    /// Says how many cups of a SKU are free over all shops; `None` when no shop offers it any more.
    pub fn set_available(&mut self, sku: &str, cups: Option<i64>) {
        match self.cups.get_mut(sku) {
            Some(known) => known.available = cups,
            None => {
                self.cups.insert(sku.to_string(), Cups { available: cups, pending: 0 });
            }
        }
        self.drop_if_idle(sku);
    }

    /// Pending cups that were decided or released. Never below zero.
    pub fn settle(&mut self, sku: &str, cups: i64) {
        if let Some(known) = self.cups.get_mut(sku) {
            known.pending = known.pending.saturating_sub(cups).max(0);
        }
        self.drop_if_idle(sku);
    }

    fn drop_if_idle(&mut self, sku: &str) {
        if self.cups.get(sku) == Some(&Cups::default()) {
            self.cups.remove(sku);
        }
    }

    /// Completes an open group. False when it is not open, or not here.
    pub fn complete_group(&mut self, group_id: i64) -> bool {
        match self.groups.get_mut(&group_id) {
            Some(group) if group.facts.state == GroupState::Open => {
                group.facts.state = GroupState::Completed;
                true
            }
            _ => false,
        }
    }

    /// Moves a group to a state other than open. A group that fails releases its orders: their cups are not pending
    /// any more. False when it is not here, or when it does not come from the state before.
    pub fn close_group(&mut self, group_id: i64, state: GroupState) -> bool {
        let Some(group) = self.groups.get_mut(&group_id) else { return false };
        match (group.facts.state, state) {
            (GroupState::Open, GroupState::Completed | GroupState::Failed)
            | (GroupState::Completed, GroupState::Decided) => group.facts.state = state,
            _ => return false,
        }
        if state == GroupState::Failed {
            let released: Vec<(String, i64)> = group
                .orders
                .iter()
                .filter(|order| !order.cancelled)
                .map(|order| (order.sku.clone(), i64::from(order.quantity)))
                .collect();
            released.iter().for_each(|(sku, cups)| self.settle(sku, *cups));
        }
        true
    }

    /// Cancels an order of a group in the table. In an open group the seat and the cups are free again; in a
    /// completed one the caller knows whether it was decided and settles. False when it is not here or was cancelled
    /// before.
    pub fn cancel_order(&mut self, order_id: i64) -> bool {
        let Some(group) = self.id_of_seq.get(&group_seq_of(order_id)).and_then(|id| self.groups.get_mut(id))
        else {
            return false;
        };
        let number = order_number_of(order_id);
        let Ok(at) = group.orders.binary_search_by_key(&number, |o| o.number) else { return false };
        let order = &mut group.orders[at];
        if std::mem::replace(&mut order.cancelled, true) {
            return false;
        }
        group.members = group.members.saturating_sub(1);
        leave(&mut group.by_user, order.user_id);
        if group.facts.state == GroupState::Open {
            let (sku, cups) = (order.sku.clone(), i64::from(order.quantity));
            self.settle(&sku, cups);
        }
        true
    }

    /// Id and body of the orders of a group that are not cancelled, by number; empty when the group is not here.
    pub fn orders_of(&self, group_seq: i64) -> Vec<(i64, Bytes)> {
        let group = self.id_of_seq.get(&group_seq).and_then(|id| self.groups.get(id));
        group
            .into_iter()
            .flat_map(|group| &group.orders)
            .filter(|order| !order.cancelled)
            .map(|order| (order_id_of(group_seq, order.number), order.body.clone()))
            .collect()
    }

    /// Drops a group and its orders; from now on it is known as closed only. Its pending cups stay until settled.
    /// False when it is not here.
    pub fn forget_group(&mut self, group_seq: i64) -> bool {
        let Some(group_id) = self.id_of_seq.remove(&group_seq) else { return false };
        self.groups.remove(&group_id);
        self.closed.insert(group_id);
        true
    }

    /// A group in the table.
    pub fn group(&self, group_id: i64) -> Option<&Group> {
        self.groups.get(&group_id)
    }

    /// Whether the group was here and was forgotten.
    pub fn is_closed(&self, group_id: i64) -> bool {
        self.closed.ids.contains(&group_id)
    }

    /// Cups of a SKU.
    pub fn cups(&self, sku: &str) -> Cups {
        self.cups.get(sku).copied().unwrap_or_default()
    }

    /// (group_seq, group_id, state, members) of every group, by sequence.
    pub fn group_counts(&self) -> Vec<(i64, i64, GroupState, u32)> {
        let mut rows: Vec<_> = self
            .groups
            .values()
            .map(|group| (group.facts.group_seq, group.facts.group_id, group.facts.state, group.members))
            .collect();
        rows.sort_unstable_by_key(|row| row.0);
        rows
    }

    /// Forgets request ids answered before the instant; returns how many.
    pub fn expire_requests(&mut self, before_ms: i64) -> usize {
        self.requests.expire(before_ms)
    }

    /// Sizes. Walks the groups.
    pub fn stats(&self) -> Stats {
        Stats {
            groups: self.groups.len(),
            groups_open: self.groups.values().filter(|g| g.facts.state == GroupState::Open).count(),
            groups_closed: self.closed.ids.len(),
            orders: self.groups.values().map(|g| g.orders.len()).sum(),
            request_ids: self.requests.len(),
            skus: self.cups.len(),
            pending_cups: self.cups.values().map(|c| c.pending).sum(),
        }
    }
}

/// One order of the user less; no zeros are kept.
pub(crate) fn leave(by_user: &mut FxHashMap<i64, u32>, user_id: i64) {
    if let Some(count) = by_user.get_mut(&user_id) {
        *count -= 1;
        if *count == 0 {
            by_user.remove(&user_id);
        }
    }
}
