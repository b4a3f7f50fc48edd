//! Whole calls: an order, an atomic batch, a message of a stream; the replies, and the rows to store before they leave.
use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;

use crate::form::{malformed, BatchParent};
use crate::judge::{Admitted, Bench, NewOrder, RefuseRules, Verdict};
use crate::limits;
use crate::refusal::{Reason, Refusal};
use crate::table::{order_name, StoredRefusal, Table};
use crate::wire::{v1, BatchEnvelope, IngestEnvelope, OrderOutputs};

/// Which method a request belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `SubmitOrder`.
    Unary,
    /// `BatchSubmitOrders`: all or none.
    Batch,
    /// One message of `IngestOrders`.
    Ingest,
}

impl Kind {
    /// The kind of a number: 0 unary, 1 batch, 2 ingest.
    pub fn from_code(code: i64) -> Option<Kind> {
        Some(match code {
            0 => Kind::Unary,
            1 => Kind::Batch,
            2 => Kind::Ingest,
            _ => return None,
        })
    }
}

/// A reply: code 0 and an encoded response, or a `google.rpc.Code` and an encoded `google.rpc.Status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// 0 when answered.
    pub code: i32,
    /// The message.
    pub bytes: Bytes,
}

impl Reply {
    fn answered(bytes: Vec<u8>) -> Reply {
        Reply { code: 0, bytes: bytes.into() }
    }

    fn refused(refusal: &Refusal) -> Reply {
        Reply { code: refusal.reason.code(), bytes: refusal.status_bytes() }
    }
}

/// What came of one call of [`Table::admit`].
///
/// The table has changed already. The replies may leave only after `orders`, `refusals`, `completed` and
/// `member_counts` are on disk, and in the order of their calls: a repeat gets its answer from the table, so it must
/// not overtake the commit of the request it repeats.
#[derive(Clone, Debug, Default)]
pub struct Admission {
    /// One for each entry.
    pub replies: Vec<Reply>,
    /// New orders.
    pub orders: Vec<NewOrder>,
    /// New refusals of valid orders.
    pub refusals: Vec<StoredRefusal>,
    /// (group_seq, group_id, member_count) of groups that became full.
    pub completed: Vec<(i64, i64, u32)>,
    /// (group_seq, member_count) of groups that got orders, by sequence.
    pub member_counts: Vec<(i64, u32)>,
    /// How often each reason was given, repeats not counted.
    pub refused: BTreeMap<Reason, u64>,
    pub(crate) touched: Vec<i64>,
}

impl Admission {
    fn count(&mut self, refusal: &Refusal) {
        *self.refused.entry(refusal.reason).or_default() += 1;
    }
}

impl Table {
    /// Judges requests one after the other at the instant `now_ms`.
    pub fn admit(
        &mut self,
        entries: &[(Kind, Bytes)],
        now_ms: i64,
        rule_revision: i64,
        rules: &mut dyn RefuseRules,
    ) -> Admission {
        let mut out = Admission::default();
        let mut bench = Bench { now_ms, rule_revision, rules, keep_refusals: true };
        for (kind, bytes) in entries {
            bench.keep_refusals = *kind != Kind::Batch;
            let reply = match kind {
                Kind::Unary => self.submit(bytes, &mut bench, &mut out),
                Kind::Batch => self.batch(bytes, &mut bench, &mut out),
                Kind::Ingest => self.ingest(bytes, &mut bench, &mut out),
            };
            out.replies.push(reply);
            self.requests.trim();
        }
        let mut touched = std::mem::take(&mut out.touched);
        touched.sort_unstable();
        touched.dedup();
        let counts = touched.iter().filter_map(|id| self.groups.get(id));
        out.member_counts = counts.map(|group| (group.facts.group_seq, group.members)).collect();
        out.member_counts.sort_unstable();
        out
    }

    fn submit(&mut self, bytes: &Bytes, bench: &mut Bench<'_>, out: &mut Admission) -> Reply {
        match self.judge(bytes, BatchParent::None, bench, out, &mut Vec::new()) {
            Verdict::Admitted(admitted) => {
                let mut reply = Vec::new();
                put_order(&admitted, &mut reply);
                Reply::answered(reply)
            }
            Verdict::Refused(refusal) => {
                out.count(&refusal);
                Reply::refused(&refusal)
            }
            Verdict::RefusedBefore(status) => Reply { code: code_of(&status), bytes: status },
        }
    }

    fn batch(&mut self, bytes: &Bytes, bench: &mut Bench<'_>, out: &mut Admission) -> Reply {
        let envelope = match BatchEnvelope::decode(bytes.clone()) {
            Ok(envelope) => envelope,
            Err(error) => return refuse_call(malformed("BatchSubmitOrdersRequest", &error), out),
        };
        let parent = match entries_fit(&envelope.requests).and_then(|()| BatchParent::read(&envelope.parent))
        {
            Ok(parent) => parent,
            Err(refusal) => return refuse_call(refusal, out),
        };
        let (orders, completed, touched) = (out.orders.len(), out.completed.len(), out.touched.len());
        let mut undo = Vec::new();
        let mut reply = Vec::with_capacity(bytes.len() + envelope.requests.len() * 64);
        for (index, request) in envelope.requests.iter().enumerate() {
            let refusal = match self.judge(request, parent, bench, out, &mut undo) {
                Verdict::Admitted(admitted) => {
                    put_order(&admitted, &mut reply);
                    continue;
                }
                Verdict::Refused(refusal) => {
                    out.count(&refusal);
                    refusal
                }
                Verdict::RefusedBefore(status) => refused_before(&status),
            };
            self.take_back(undo);
            out.orders.truncate(orders);
            out.completed.truncate(completed);
            out.touched.truncate(touched);
            return Reply::refused(&refusal.at_entry(index));
        }
        Reply::answered(reply)
    }

    fn ingest(&mut self, bytes: &Bytes, bench: &mut Bench<'_>, out: &mut Admission) -> Reply {
        let envelope = match IngestEnvelope::decode(bytes.clone()) {
            Ok(envelope) => envelope,
            Err(error) => return refuse_call(malformed("IngestOrdersRequest", &error), out),
        };
        if let Err(refusal) = entries_fit(&envelope.requests) {
            return refuse_call(refusal, out);
        }
        let mut results = Vec::with_capacity(envelope.requests.len());
        let mut undo = Vec::new();
        for request in &envelope.requests {
            let verdict = self.judge(request, BatchParent::None, bench, out, &mut undo);
            undo.clear();
            results.push(match verdict {
                Verdict::Admitted(Admitted { order_id: 0, .. }) => {
                    v1::IngestResult { order: String::new(), status: Some(v1::EntryStatus::default()) }
                }
                Verdict::Admitted(admitted) => {
                    v1::IngestResult { order: order_name(admitted.group_id, admitted.order_id), status: None }
                }
                Verdict::Refused(refusal) => {
                    out.count(&refusal);
                    v1::IngestResult { order: String::new(), status: Some(refusal.entry_status()) }
                }
                Verdict::RefusedBefore(status) => v1::IngestResult {
                    order: String::new(),
                    status: Some(refused_before(&status).entry_status()),
                },
            });
        }
        Reply::answered(v1::IngestOrdersResponse { sequence: envelope.sequence, results }.encode_to_vec())
    }
}

/// Field 1 of `SubmitOrderResponse` and of `BatchSubmitOrdersResponse` is the order.
fn put_order(admitted: &Admitted, reply: &mut Vec<u8>) {
    let name = match admitted.order_id {
        0 => String::new(),
        id => order_name(admitted.group_id, id),
    };
    let Admitted { created_ms, rule_revision, .. } = *admitted;
    OrderOutputs { name: &name, create_time_ms: created_ms, rule_revision }.put_order(
        1,
        &admitted.body,
        reply,
    );
}

fn refuse_call(refusal: Refusal, out: &mut Admission) -> Reply {
    out.count(&refusal);
    Reply::refused(&refusal)
}

fn entries_fit(requests: &[Bytes]) -> Result<(), Refusal> {
    match requests.len() {
        0 => Err(Refusal::required("requests")),
        n if n > limits::BATCH_MAX => Err(Refusal::new(
            Reason::TooManyEntries,
            format!("{n} entries, at most {} are taken", limits::BATCH_MAX),
        )
        .field("requests")
        .measured(n, limits::BATCH_MAX)),
        _ => Ok(()),
    }
}

/// The refusal in a stored status. One that cannot be read (a row damaged, or of a later version) still refuses.
fn refused_before(status: &Bytes) -> Refusal {
    Refusal::from_status_bytes(status)
        .unwrap_or_else(|| Refusal::new(Reason::RequestIdReused, "this request_id was refused before"))
}

fn code_of(status: &Bytes) -> i32 {
    refused_before(status).reason.code()
}
