//! Random mornings against a plain sequential model: the same verdicts, the same counts, nothing left by what was
//! refused. The model knows no envelopes, no hashes and no undo: it keeps lists, counts them, and copies itself.
mod oracle;
mod steps;

use bytes::Bytes;
use cuptime_intake::wire::v1;
use cuptime_intake::wire::{ErrorInfo, Message, Status};
use cuptime_intake::{
    order_id_of, GroupFacts, GroupState, Kind, OrderFacts, RefuseRules, RuleSays, StoredOrder, StoredRefusal,
    Table,
};
use proptest::prelude::*;

use oracle::{rule_refuses, Answer, Model, ModelGroup};
use steps::{asked, step, Asked, Step};

const NOW_MS: i64 = 1_780_000_000_000;
const DAY_MS: i64 = 24 * 3_600_000;
const CREDIT_MIN: i32 = 85;
const LIMIT_DEFAULT: u32 = 2;
const SKUS: [&str; 3] = ["latte", "tea", "juice"];
const GROUPS: [i64; 4] = [10_001, 10_002, 10_003, 10_004];
const SEED: [u8; 16] = [7; 16];

/// The rules of the oracle.
struct Rules;

impl RefuseRules for Rules {
    fn asked(&mut self, facts: &OrderFacts<'_>) -> Option<RuleSays> {
        rule_refuses(facts.order.quantity, facts.members as usize)
            .then(|| RuleSays::Refuses { rule: "thirteen".into(), why: "unlucky".into() })
    }
}

struct Morning {
    table: Table,
    model: Model,
    now_ms: i64,
    orders: Vec<StoredOrder>,
    refusals: Vec<StoredRefusal>,
}

fn facts_of(id: i64, group: &ModelGroup) -> GroupFacts {
    GroupFacts {
        group_seq: group.seq,
        group_id: id,
        park: "north".into(),
        latitude: 31.0,
        longitude: 121.0,
        capacity: group.capacity as u32,
        min_size: 1,
        deadline_ms: group.deadline_ms,
        // The third group has a limit of its own.
        purchase_limit: if group.limit == LIMIT_DEFAULT as usize { 0 } else { group.limit as u32 },
        pack_out_after_ms: 0,
        deliver_within_ms: 0,
        state: group.state,
    }
}

impl Morning {
    fn new() -> Morning {
        let mut model = Model::default();
        let mut table = Table::new(&SEED, CREDIT_MIN, LIMIT_DEFAULT);
        // The last one is not known.
        for (at, &id) in GROUPS[..3].iter().enumerate() {
            let group = ModelGroup {
                seq: at as i64 + 1,
                capacity: 3 + 2 * at,
                deadline_ms: NOW_MS + DAY_MS * (1 + at as i64),
                limit: if at == 2 { 3 } else { LIMIT_DEFAULT as usize },
                state: GroupState::Open,
                orders: Vec::new(),
            };
            table.open_group(facts_of(id, &group));
            model.groups.insert(id, group);
        }
        for sku in SKUS {
            table.set_available(sku, Some(30));
            model.available.insert(sku.into(), 30);
        }
        Morning { table, model, now_ms: NOW_MS, orders: Vec::new(), refusals: Vec::new() }
    }

    fn admit(&mut self, kind: Kind, message: Vec<u8>) -> cuptime_intake::Admission {
        let before = self.table.clone();
        let admission = self.table.admit(&[(kind, message.into())], self.now_ms, 3, &mut Rules);
        if admission.orders.is_empty() && admission.refusals.is_empty() {
            assert!(self.table == before, "nothing was kept, yet the table changed");
        }
        let changes: Vec<_> = before.group_counts().into_iter().zip(self.table.group_counts()).collect();
        let filled = changes.iter().filter(|(old, new)| old.2 != new.2).map(|(_, new)| (new.0, new.1, new.3));
        let mut completed = admission.completed.clone();
        completed.sort_unstable();
        assert_eq!(completed, filled.collect::<Vec<_>>());
        let grown = changes.iter().filter(|(old, new)| old.3 != new.3).map(|(_, new)| (new.0, new.3));
        assert_eq!(admission.member_counts, grown.collect::<Vec<_>>());
        self.orders.extend(admission.orders.iter().map(|order| StoredOrder {
            order_id: order.order_id,
            user_id: order.user_id,
            request_id: order.request_id.clone(),
            fingerprint: order.fingerprint,
            created_ms: order.created_ms,
            rule_revision: order.rule_revision,
            state: 1,
            body: order.body.clone(),
        }));
        self.refusals.extend(admission.refusals.iter().cloned());
        admission
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Unary(asked) => {
                let wanted = self.model.submit(&asked, None, self.now_ms, true);
                let reply = self.admit(Kind::Unary, asked.request.encode_to_vec()).replies.remove(0);
                let got = if reply.code == 0 {
                    Ok(v1::SubmitOrderResponse::decode(reply.bytes).unwrap().order.unwrap().name)
                } else {
                    Err(reason_of(reply.code, &reply.bytes).0)
                };
                assert_eq!(got, wanted);
            }
            Step::Batch(parent, batch) => self.take_batch(parent, &batch),
            Step::Ingest(batch) => self.take_ingest(&batch),
            Step::SetAvailable(sku, cups) => {
                let cups = (cups >= 0).then_some(cups);
                self.table.set_available(SKUS[sku], cups);
                match cups {
                    Some(cups) => self.model.available.insert(SKUS[sku].into(), cups),
                    None => self.model.available.remove(SKUS[sku]),
                };
            }
            Step::Settle(sku, cups) => {
                self.table.settle(SKUS[sku], cups);
                self.model.release(SKUS[sku], cups);
            }
            Step::Cancel(id, number) => self.take_cancel(id, number),
            Step::Complete(id) => self.close(id, GroupState::Completed, true),
            Step::Close(id, state) => self.close(id, state, false),
            Step::Forget(id) => {
                let known = self.model.groups.remove(&id);
                assert_eq!(self.table.forget_group(known.as_ref().map_or(0, |g| g.seq)), known.is_some());
                self.model.closed.extend(known.map(|_| id));
            }
            Step::Wait(ms) => self.now_ms += ms,
            Step::Expire(ago_ms) => {
                // Only what is past its window may be forgotten early.
                let before_ms = self.now_ms - DAY_MS.max(ago_ms) + 1;
                self.table.expire_requests(before_ms);
            }
            Step::Rebuild => self.rebuild(),
        }
    }

    fn take_batch(&mut self, parent: Option<i64>, batch: &[Asked]) {
        let wanted = self.model.batch(batch, parent, self.now_ms);
        let message = v1::BatchSubmitOrdersRequest {
            parent: parent.map_or("groups/-".into(), |id| format!("groups/{id}")),
            requests: batch.iter().map(|asked| asked.request.clone()).collect(),
        };
        let reply = self.admit(Kind::Batch, message.encode_to_vec()).replies.remove(0);
        let got = if reply.code == 0 {
            let orders = v1::BatchSubmitOrdersResponse::decode(reply.bytes).unwrap().orders;
            Ok(orders.into_iter().map(|order| order.name).collect())
        } else {
            let (reason, info) = reason_of(reply.code, &reply.bytes);
            Err((info.metadata["index"].parse().unwrap(), reason))
        };
        assert_eq!(got, wanted);
    }

    fn take_ingest(&mut self, batch: &[Asked]) {
        let wanted: Vec<Answer> =
            batch.iter().map(|asked| self.model.submit(asked, None, self.now_ms, true)).collect();
        let requests = batch.iter().map(|asked| asked.request.clone()).collect();
        let message = v1::IngestOrdersRequest { sequence: 9, requests };
        let reply = self.admit(Kind::Ingest, message.encode_to_vec()).replies.remove(0);
        assert_eq!(reply.code, 0);
        let answer = v1::IngestOrdersResponse::decode(reply.bytes).unwrap();
        let got: Vec<Answer> = answer
            .results
            .into_iter()
            .map(|result| match result.status {
                Some(status) if status.code != 0 => Err(status.reason),
                _ => Ok(result.order),
            })
            .collect();
        assert_eq!(got, wanted);
    }

    fn take_cancel(&mut self, id: i64, number: i64) {
        let mut wanted = false;
        let mut freed = None;
        let mut order_id = 0;
        if let Some(group) = self.model.groups.get_mut(&id) {
            order_id = order_id_of(group.seq, number);
            if let Some(order) = group.orders.get_mut(number as usize - 1).filter(|order| !order.cancelled) {
                (wanted, order.cancelled) = (true, true);
                freed =
                    (group.state == GroupState::Open).then(|| (order.sku.clone(), i64::from(order.quantity)));
            }
        }
        freed.into_iter().for_each(|(sku, cups)| self.model.release(&sku, cups));
        assert_eq!(self.table.cancel_order(order_id), wanted);
        if let Some(stored) = self.orders.iter_mut().find(|stored| wanted && stored.order_id == order_id) {
            stored.state = 2;
        }
    }

    fn close(&mut self, id: i64, to: GroupState, by_complete: bool) {
        let mut wanted = false;
        let mut released = Vec::new();
        if let Some(group) = self.model.groups.get_mut(&id) {
            let from = if to == GroupState::Decided { GroupState::Completed } else { GroupState::Open };
            if group.state == from {
                (wanted, group.state) = (true, to);
                if to == GroupState::Failed {
                    released = group.standing().map(|o| (o.sku.clone(), i64::from(o.quantity))).collect();
                }
            }
        }
        released.iter().for_each(|(sku, cups)| self.model.release(sku, *cups));
        let got = if by_complete { self.table.complete_group(id) } else { self.table.close_group(id, to) };
        assert_eq!(got, wanted);
    }

    /// As after a crash: a new table from rows, with another seed. What the table cannot know from rows (which cups
    /// were settled) is told to it; failed and decided groups come back as closed.
    fn rebuild(&mut self) {
        let mut table = Table::new(&[9; 16], CREDIT_MIN, LIMIT_DEFAULT);
        for id in self.model.groups.keys().copied().collect::<Vec<_>>() {
            let group = &self.model.groups[&id];
            table.open_group(facts_of(id, group));
            if matches!(group.state, GroupState::Failed | GroupState::Decided) {
                self.model.groups.remove(&id);
                self.model.closed.insert(id);
            }
        }
        for &id in &self.model.closed {
            table.open_group(GroupFacts {
                state: GroupState::Decided,
                ..facts_of(
                    id,
                    &ModelGroup {
                        seq: 0,
                        capacity: 0,
                        deadline_ms: 0,
                        limit: 0,
                        state: GroupState::Decided,
                        orders: Vec::new(),
                    },
                )
            });
        }
        self.orders.iter().rev().for_each(|stored| assert!(table.restore_order(stored.clone())));
        self.refusals.iter().for_each(|stored| table.restore_refusal(stored.clone()));
        for sku in SKUS {
            table.set_available(sku, self.model.available.get(sku).copied());
            let counted: i64 = self
                .model
                .groups
                .values()
                .flat_map(ModelGroup::standing)
                .filter(|order| order.sku == sku)
                .map(|order| i64::from(order.quantity))
                .sum();
            assert_eq!(
                table.cups(sku).pending,
                counted,
                "restored pending cups are those of standing orders"
            );
            let pending = self.model.pending.entry(sku.into()).or_default();
            *pending = counted.min(*pending);
            table.settle(sku, counted - *pending);
        }
        self.table = table;
    }

    fn check(&self) {
        let mut counts: Vec<_> = self
            .model
            .groups
            .iter()
            .map(|(id, group)| (group.seq, *id, group.state, group.standing().count() as u32))
            .collect();
        counts.sort_unstable_by_key(|row| row.0);
        assert_eq!(self.table.group_counts(), counts);
        for group in self.model.groups.values() {
            let wanted: Vec<(i64, Bytes)> = group
                .orders
                .iter()
                .enumerate()
                .filter(|(_, order)| !order.cancelled)
                .map(|(at, order)| (order_id_of(group.seq, at as i64 + 1), order.body.clone().into()))
                .collect();
            assert_eq!(self.table.orders_of(group.seq), wanted);
        }
        for sku in SKUS {
            let cups = self.table.cups(sku);
            assert_eq!(cups.available, self.model.available.get(sku).copied());
            assert_eq!(cups.pending, self.model.pending.get(sku).copied().unwrap_or(0));
        }
        assert_eq!(self.table.stats().pending_cups, self.model.pending.values().sum::<i64>());
    }
}

fn reason_of(code: i32, status: &Bytes) -> (String, ErrorInfo) {
    let status = Status::decode(status.clone()).unwrap();
    assert_eq!(status.code, code);
    let info = ErrorInfo::decode(status.details[0].value.clone()).unwrap();
    (info.reason.clone(), info)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_random_morning_goes_as_in_the_model(steps in prop::collection::vec(step(), 1..120)) {
        let mut morning = Morning::new();
        for step in steps {
            morning.take(step);
            morning.check();
        }
    }

    #[test]
    fn no_bytes_panic_or_leave_a_trace(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0..3i64) {
        let mut morning = Morning::new();
        let admission = morning.admit(Kind::from_code(kind).unwrap(), bytes);
        prop_assert!(admission.orders.is_empty());
        morning.check();
    }

    #[test]
    fn damaged_requests_never_panic_and_counts_hold(
        batch in prop::collection::vec(asked(), 1..4),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
        kind in 0..3i64,
    ) {
        let requests: Vec<_> = batch.into_iter().map(|asked| asked.request).collect();
        let mut bytes = match kind {
            0 => requests[0].encode_to_vec(),
            1 => v1::BatchSubmitOrdersRequest { parent: "groups/-".into(), requests }.encode_to_vec(),
            _ => v1::IngestOrdersRequest { sequence: 1, requests }.encode_to_vec(),
        };
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(cut.index(bytes.len()) + bytes.len() / 2);
        let mut morning = Morning::new();
        let admission = morning.admit(Kind::from_code(kind).unwrap(), bytes);
        let members: u32 = morning.table.group_counts().iter().map(|row| row.3).sum();
        let pending: i64 = admission.orders.iter().map(|order| i64::from(order.quantity)).sum();
        prop_assert_eq!(admission.orders.len(), members as usize);
        prop_assert_eq!(morning.table.stats().pending_cups, pending);
    }
}
