//! The judgement of one order, in a fixed sequence, and what admitting it changes.
use bytes::Bytes;

use crate::admission::Admission;
use crate::form::{self, BatchParent, Submission};
use crate::limits;
use crate::refusal::{Reason, Refusal};
use crate::requests::{fingerprint, Answer, Remembered, RequestKey};
use crate::table::{leave, order_id_of, Group, GroupFacts, GroupState, Placed, StoredRefusal, Table};
use crate::wire::v1::{BusinessContext, Order, User};

/// What a rule may know of an order that asks to be admitted.
#[derive(Clone, Copy, Debug)]
pub struct OrderFacts<'a> {
    /// The order.
    pub order: &'a Order,
    /// Its group.
    pub group: &'a GroupFacts,
    /// Members before this order.
    pub members: u32,
}

/// What a rule has against an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleSays {
    /// It refuses it.
    Refuses {
        /// Its id.
        rule: String,
        /// Its text.
        why: String,
    },
    /// Its condition has no value, and that is not to be passed over.
    Fails {
        /// Its id.
        rule: String,
        /// What happened.
        fault: String,
        /// There is no answer then; else the order is refused.
        no_answer: bool,
    },
}

/// The rules that may refuse an order.
pub trait RefuseRules {
    /// What the first rule says, by rank, that has anything against it.
    fn asked(&mut self, facts: &OrderFacts<'_>) -> Option<RuleSays>;
}

/// No rules.
#[derive(Clone, Copy, Debug)]
pub struct NoRules;

impl RefuseRules for NoRules {
    fn asked(&mut self, _: &OrderFacts<'_>) -> Option<RuleSays> {
        None
    }
}

/// An order of [`crate::Table::admit`]'s answer, as a row for storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewOrder {
    /// group_seq and number.
    pub order_id: i64,
    /// Whose.
    pub user_id: i64,
    /// The caller's name for the request.
    pub request_id: String,
    /// Of the request's bytes.
    pub fingerprint: i64,
    /// The drink.
    pub sku: String,
    /// Cups.
    pub quantity: i32,
    /// When it was admitted.
    pub created_ms: i64,
    /// The rules in force.
    pub rule_revision: i64,
    /// The order as the caller sent it.
    pub body: Bytes,
}

/// How one order was judged.
#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    Admitted(Admitted),
    Refused(Refusal),
    /// A repeat: the encoded status of the first answer.
    RefusedBefore(Bytes),
}

/// An admitted order, for the reply.
#[derive(Clone, Debug)]
pub(crate) struct Admitted {
    pub group_id: i64,
    /// 0 when the order was only judged.
    pub order_id: i64,
    pub created_ms: i64,
    pub rule_revision: i64,
    pub body: Bytes,
}

/// What is needed to take back one admission, the last one that still stands.
#[derive(Clone, Debug)]
pub(crate) struct Undo {
    group_id: i64,
    key: RequestKey,
    replaced: Option<Remembered>,
}

/// What one call of [`crate::Table::admit`] judges under.
pub(crate) struct Bench<'r> {
    pub now_ms: i64,
    pub rule_revision: i64,
    pub rules: &'r mut dyn RefuseRules,
    /// Whether refusals are kept (not those of an atomic batch).
    pub keep_refusals: bool,
}

impl Table {
    /// Judges one `SubmitOrderRequest` and, when it is admitted and not only to be validated, lets it in.
    pub(crate) fn judge(
        &mut self,
        bytes: &Bytes,
        batch: BatchParent<'_>,
        bench: &mut Bench<'_>,
        out: &mut Admission,
        undo: &mut Vec<Undo>,
    ) -> Verdict {
        let read = Submission::read(bytes).and_then(|submission| {
            form::check_request_id(&submission.envelope.request_id)?;
            Ok(submission)
        });
        let submission = match read {
            Ok(submission) => submission,
            Err(refusal) => return Verdict::Refused(refusal),
        };
        let print = fingerprint(bytes);
        let key = self.keying.key(&submission.envelope.request_id);
        if let Some(known) = self.requests.get(key, bench.now_ms) {
            return first_answer(known, print, &submission);
        }
        let (order, user, context) = match form::check(&submission, batch, bench.now_ms) {
            Ok(parts) => parts,
            Err(refusal) => return Verdict::Refused(refusal),
        };
        let asked = Asked { submission: &submission, order, user, context, print, key };
        match self.weigh(&asked, bench) {
            Ok(()) if submission.envelope.validate_only => Verdict::Admitted(Admitted {
                group_id: context.group_id,
                order_id: 0,
                created_ms: bench.now_ms,
                rule_revision: bench.rule_revision,
                body: submission.body.clone(),
            }),
            Ok(()) => Verdict::Admitted(self.let_in(&asked, bench, out, undo)),
            Err(refusal) => {
                if bench.keep_refusals && refusal.reason.is_business() && !submission.envelope.validate_only {
                    self.keep_refusal(&asked, &refusal, bench.now_ms, out);
                }
                Verdict::Refused(refusal)
            }
        }
    }

    /// The business's questions, in sequence. Changes nothing.
    fn weigh(&self, asked: &Asked<'_>, bench: &mut Bench<'_>) -> Result<(), Refusal> {
        let Some(group) = self.groups.get(&asked.context.group_id) else {
            return Err(self.absent(asked.context.group_id));
        };
        takes_orders(group, bench.now_ms)?;
        if asked.user.credit_score < self.credit_min {
            return Err(Refusal::new(
                Reason::CreditBelowMinimum,
                format!("the credit score is {}, the minimum {}", asked.user.credit_score, self.credit_min),
            )
            .field("order.user.credit_score")
            .measured(asked.user.credit_score, self.credit_min)
            .with("hint", "a score that has risen is judged anew under a fresh request_id"));
        }
        self.within_purchase_limit(group, asked.user.user_id)?;
        self.in_stock(asked)?;
        let facts = OrderFacts { order: asked.order, group: &group.facts, members: group.members };
        let Some(says) = bench.rules.asked(&facts) else { return Ok(()) };
        let (refusal, rule) = match says {
            RuleSays::Refuses { rule, why } => {
                let message = format!("the rule {rule} refuses this order: {why}");
                (Refusal::new(Reason::RuleRefused, message), rule)
            }
            RuleSays::Fails { rule, fault, no_answer } => {
                let reason = if no_answer { Reason::RuleFailed } else { Reason::RuleRefused };
                let message = format!("the rule {rule} cannot judge this order: {fault}");
                (Refusal::new(reason, message).with("fault", fault), rule)
            }
        };
        Err(refusal.with("rule", rule).with("rule_revision", bench.rule_revision))
    }

    fn absent(&self, group_id: i64) -> Refusal {
        if self.is_closed(group_id) {
            return Refusal::new(Reason::GroupNotOpen, format!("groups/{group_id} is closed"))
                .field("parent")
                .with("group", format_args!("groups/{group_id}"))
                .measured("CLOSED", "OPEN")
                .with("hint", "take a group that is open");
        }
        Refusal::new(Reason::GroupNotFound, format!("there is no groups/{group_id}"))
            .field("parent")
            .with("group", format_args!("groups/{group_id}"))
    }

    fn within_purchase_limit(&self, group: &Group, user_id: i64) -> Result<(), Refusal> {
        let limit = match group.facts.purchase_limit {
            0 => self.purchase_limit_default,
            own => own,
        };
        let placed = group.by_user.get(&user_id).copied().unwrap_or(0);
        if limit == 0 || placed < limit {
            return Ok(());
        }
        Err(Refusal::new(
            Reason::PurchaseLimit,
            format!("the user has {placed} orders in this group, of {limit} allowed"),
        )
        .field("order.user.user_id")
        .measured(placed, limit)
        .with("hint", "a cancelled order frees its place while the group is open"))
    }

    fn in_stock(&self, asked: &Asked<'_>) -> Result<(), Refusal> {
        let sku = asked.order.sku.as_str();
        let cups = self.cups(sku);
        let Some(available) = cups.available else {
            return Err(Refusal::new(Reason::SkuNotOffered, format!("no shop offers {sku}"))
                .field("order.sku")
                .with("value", sku));
        };
        if asked.context.stock_snapshot > available {
            return Err(Refusal::new(
                Reason::StockSnapshotStale,
                format!(
                    "the caller saw {} cups of {sku}, there are {available}",
                    asked.context.stock_snapshot
                ),
            )
            .field("order.context.stock_snapshot")
            .measured(asked.context.stock_snapshot, available)
            .with("hint", "read the stock again and send its figure under a fresh request_id"));
        }
        let wanted = i64::from(asked.order.quantity);
        if wanted > available.saturating_sub(cups.pending) {
            let left = available.saturating_sub(cups.pending).max(0);
            return Err(Refusal::new(
                Reason::StockExhausted,
                format!("{left} cups of {sku} are left, {wanted} wanted"),
            )
            .field("order.quantity")
            .measured(wanted, left)
            .with("available", available)
            .with("pending", cups.pending)
            .with("hint", "order fewer cups, another drink, or wait for stock"));
        }
        Ok(())
    }

    fn let_in(
        &mut self,
        asked: &Asked<'_>,
        bench: &Bench<'_>,
        out: &mut Admission,
        undo: &mut Vec<Undo>,
    ) -> Admitted {
        let (created_ms, rule_revision) = (bench.now_ms, bench.rule_revision);
        let group_id = asked.context.group_id;
        // A copy: a slice would keep the whole request it was cut from.
        let body = Bytes::copy_from_slice(&asked.submission.body);
        let Some(group) = self.groups.get_mut(&group_id) else { unreachable!("weighed before") };
        let order_id = order_id_of(group.facts.group_seq, group.next_number);
        take_seat(group, asked, body.clone());
        if group.members >= group.facts.capacity {
            group.facts.state = GroupState::Completed;
            out.completed.push((group.facts.group_seq, group_id, group.members));
        }
        out.touched.push(group_id);
        if let Some(cups) = self.cups.get_mut(&asked.order.sku) {
            cups.pending += i64::from(asked.order.quantity);
        }
        let answer = Answer::Admitted { order_id, rule_revision };
        let remembered = Remembered { fingerprint: asked.print, created_ms, answer };
        let replaced = self.requests.remember(asked.key, remembered);
        undo.push(Undo { group_id, key: asked.key, replaced });
        out.orders.push(NewOrder {
            order_id,
            user_id: asked.user.user_id,
            request_id: asked.submission.envelope.request_id.clone(),
            fingerprint: asked.print,
            sku: asked.order.sku.clone(),
            quantity: asked.order.quantity,
            created_ms,
            rule_revision,
            body: body.clone(),
        });
        Admitted { group_id, order_id, created_ms, rule_revision, body }
    }

    fn keep_refusal(&mut self, asked: &Asked<'_>, refusal: &Refusal, now_ms: i64, out: &mut Admission) {
        let status = refusal.status_bytes();
        let answer = Answer::Refused(status.clone());
        self.requests
            .remember(asked.key, Remembered { fingerprint: asked.print, created_ms: now_ms, answer });
        out.refusals.push(StoredRefusal {
            request_id: asked.submission.envelope.request_id.clone(),
            fingerprint: asked.print,
            group_id: asked.context.group_id,
            user_id: asked.user.user_id,
            reason: refusal.reason.name().to_string(),
            created_ms: now_ms,
            status,
        });
    }

    /// Takes back admissions, the last one first: the table is as it was before them.
    pub(crate) fn take_back(&mut self, undo: Vec<Undo>) {
        for Undo { group_id, key, replaced } in undo.into_iter().rev() {
            self.requests.take_back(key, replaced);
            let Some(group) = self.groups.get_mut(&group_id) else { continue };
            let Some(placed) = group.orders.pop() else { continue };
            group.next_number = placed.number;
            group.members -= 1;
            group.facts.state = GroupState::Open;
            leave(&mut group.by_user, placed.user_id);
            if let Some(cups) = self.cups.get_mut(&placed.sku) {
                cups.pending -= i64::from(placed.quantity);
            }
        }
    }
}

/// A request that has its form.
struct Asked<'a> {
    submission: &'a Submission,
    order: &'a Order,
    user: &'a User,
    context: &'a BusinessContext,
    print: i64,
    key: RequestKey,
}

/// The answer that a request id got before. The reply of an admitted order needs nothing but the request itself:
/// equal fingerprints mean equal bytes.
fn first_answer(known: &Remembered, print: i64, submission: &Submission) -> Verdict {
    let id = &submission.envelope.request_id;
    let context = submission.order.as_ref().and_then(|order| order.context.as_ref());
    match (&known.answer, context) {
        _ if known.fingerprint != print => {}
        (Answer::Refused(status), _) => return Verdict::RefusedBefore(status.clone()),
        (&Answer::Admitted { order_id, rule_revision }, Some(context)) => {
            return Verdict::Admitted(Admitted {
                group_id: context.group_id,
                order_id,
                created_ms: known.created_ms,
                rule_revision,
                body: submission.body.clone(),
            });
        }
        // Two requests of one fingerprint: as good as never, and then a reuse.
        (Answer::Admitted { .. }, None) => {}
    }
    Verdict::Refused(
        Refusal::new(Reason::RequestIdReused, "this request_id was used for a different request")
            .field("request_id")
            .with("value", id)
            .with("hint", "take a fresh request_id for a request that differs in any byte"),
    )
}

fn takes_orders(group: &Group, now_ms: i64) -> Result<(), Refusal> {
    let facts = &group.facts;
    let refusal = |message: String| {
        Refusal::new(Reason::GroupNotOpen, message)
            .field("parent")
            .with("group", format_args!("groups/{}", facts.group_id))
            .with("hint", "take a group that is open")
    };
    if facts.state != GroupState::Open {
        let state = facts.state.name();
        return Err(
            refusal(format!("groups/{} is {state}", facts.group_id)).measured(state, GroupState::Open.name())
        );
    }
    if now_ms >= facts.deadline_ms {
        return Err(refusal(format!("the deadline of groups/{} has passed", facts.group_id))
            .measured(now_ms, facts.deadline_ms));
    }
    if group.members >= facts.capacity {
        return Err(
            refusal(format!("groups/{} is full", facts.group_id)).measured(group.members, facts.capacity)
        );
    }
    if group.next_number > limits::ORDER_NUMBER_MAX {
        return Err(refusal(format!("groups/{} has used all its order numbers", facts.group_id))
            .measured(group.next_number, limits::ORDER_NUMBER_MAX));
    }
    Ok(())
}

fn take_seat(group: &mut Group, asked: &Asked<'_>, body: Bytes) {
    group.orders.push(Placed {
        number: group.next_number,
        user_id: asked.user.user_id,
        sku: asked.order.sku.clone(),
        quantity: asked.order.quantity,
        cancelled: false,
        body,
    });
    group.next_number += 1;
    group.members += 1;
    *group.by_user.entry(asked.user.user_id).or_default() += 1;
}
