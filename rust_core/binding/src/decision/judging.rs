//! The dispatcher's judge: rules about pairs, and what rules about the order say of who may make and carry it.
//!
//! Orders that no rule binds are of class 0 and cost nothing here. The others are of one class when rules can tell no
//! difference between them. A pair is asked about once for each class, and only when it is a candidate.
use std::cell::RefCell;

use cuptime_dispatch::{
    Decision, Judge, ReasonCode, Rider, Said, Shop, AS_IT_IS, NOBODY, PERCENT_MAX, PERCENT_MIN,
};
use cuptime_intake::effects::Effect;
use cuptime_intake::facts::NAMES;
use cuptime_intake::phases::{Level, Phase, Phases, RuleCounts};
use cuptime_intake::wire::v1;
use cuptime_rules::{Columns, OnError, Open, PairRules, RuleIndex, Sides};
use rustc_hash::FxHashMap;

use super::facts;

/// What rules about the order say of its shops and riders.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Bounds {
    /// (rank of the rule in the whole set, ids, whether only these may).
    pub(super) shops: Vec<(RuleIndex, Vec<i64>, bool)>,
    /// The same of riders.
    pub(super) riders: Vec<(RuleIndex, Vec<i64>, bool)>,
    /// Hundredths that the costs of the order count.
    pub(super) percent: Option<i64>,
    /// By namespace of which the first match decides: the rank, in the whole set, of the rule that does.
    pub(super) deciders: Vec<(usize, RuleIndex)>,
}

impl Bounds {
    fn is_empty(&self) -> bool {
        self.shops.is_empty() && self.riders.is_empty() && self.percent.is_none()
    }
}

struct Class {
    bounds: Bounds,
    /// The row of one of its orders.
    row: usize,
    open: Vec<Open>,
}

/// One pair as it was judged.
#[derive(Clone, Copy)]
struct Judged {
    said: Said,
    /// The rule about pairs that weighs it, and how much.
    weighed: Option<(RuleIndex, i64)>,
}

/// The facts of the riders and shops asked about so far, and the answers.
struct Asked {
    others: Columns,
    rows: FxHashMap<(Level, i64), usize>,
    answers: FxHashMap<(u32, Level, i64), Judged>,
    /// By rank: pairs asked about, matched, without a value.
    counts: Vec<[u64; 3]>,
}

pub(super) struct RuleJudge<'a> {
    pairs: Option<(&'a Phase, PairRules)>,
    /// Facts of the orders, a row each.
    orders: &'a Columns,
    classes: Vec<Class>,
    by_key: FxHashMap<(Bounds, Vec<Open>, String), u32>,
    /// Order slots that rules about pairs read.
    slots: Vec<usize>,
    origin: (f64, f64),
    asked: RefCell<Asked>,
}

impl<'a> RuleJudge<'a> {
    pub(super) fn new(phases: &'a Phases, orders: &'a Columns, origin: (f64, f64)) -> RuleJudge<'a> {
        let pairs = phases.pairs.as_ref().map(|phase| (phase, PairRules::of(&phase.set, NAMES.len())));
        let of_phase = phases.pairs.as_ref();
        let mut slots: Vec<usize> =
            of_phase.iter().flat_map(|phase| phase.set.rules()).flat_map(|rule| rule.slots()).collect();
        slots.retain(|slot| *slot < NAMES.len());
        slots.sort_unstable();
        slots.dedup();
        let others = of_phase.map_or_else(|| phases.decision.set.columns(), |phase| phase.set.columns());
        let counts = vec![[0; 3]; of_phase.map_or(0, |phase| phase.set.len())];
        let asked = Asked { others, rows: FxHashMap::default(), answers: FxHashMap::default(), counts };
        RuleJudge {
            pairs,
            orders,
            classes: Vec::new(),
            by_key: FxHashMap::default(),
            slots,
            origin,
            asked: RefCell::new(asked),
        }
    }

    /// The class of the order in `row`.
    pub(super) fn class_of(&mut self, row: usize, bounds: Bounds, now_ms: i64) -> u32 {
        let mut open = Vec::new();
        if let Some((phase, rules)) = &self.pairs {
            open = rules.open(&phase.set, (self.orders, row), now_ms);
            // Where the first match decides, a rule behind the one that does is not asked.
            open.retain(|open| {
                let rank = phase.whole_ranks[open.rule as usize];
                let decider = phase.first_of(open.rule).and_then(|namespace| {
                    bounds.deciders.iter().find(|(of, _)| *of == namespace).map(|(_, rank)| *rank)
                });
                decider.is_none_or(|decider| rank < decider)
            });
        }
        if bounds.is_empty() && open.is_empty() {
            return 0;
        }
        let facts = cuptime_rules::Facts::Row { columns: self.orders, row };
        let told = if open.is_empty() {
            String::new()
        } else {
            format!("{:?}", self.slots.iter().map(|slot| facts.value(*slot)).collect::<Vec<_>>())
        };
        let fresh = self.classes.len() as u32 + 1;
        let class = *self.by_key.entry((bounds.clone(), open.clone(), told)).or_insert(fresh);
        if class == fresh {
            self.classes.push(Class { bounds, row, open });
        }
        class
    }

    /// The rules about pairs that weigh this order with this shop and this rider: (rank in the whole set, hundredths).
    pub(super) fn weighing(&self, class: u32, shop_id: i64, rider_id: i64) -> Vec<(RuleIndex, i64)> {
        let asked = self.asked.borrow();
        let of = |level, id| asked.answers.get(&(class, level, id)).and_then(|judged| judged.weighed);
        of(Level::Shop, shop_id).into_iter().chain(of(Level::Rider, rider_id)).collect()
    }

    /// The facts of riders and shops that the decision of an order of this class turned on, as its rules about pairs
    /// were asked about them: those chosen, and those of the reasons `RULE_EXCLUDED`, which are bounded.
    pub(super) fn seen(&self, class: u32, decision: &Decision) -> (Vec<v1::RiderFacts>, Vec<v1::ShopFacts>) {
        let asked = self.asked.borrow();
        let class = self.classes.get((class as usize).wrapping_sub(1));
        if class.is_none_or(|class| class.open.is_empty()) {
            return (Vec::new(), Vec::new());
        }
        let chosen = decision.assignment.iter().map(|chosen| (chosen.shop_id, chosen.rider_id));
        // A reason that names a rider shuts out the rider, at that shop; one that names only a shop shuts out the shop.
        let against =
            decision.reasons.iter().filter(|reason| reason.code == ReasonCode::RuleExcluded).map(|reason| {
                match reason.rider_id {
                    NOBODY => (reason.shop_id, NOBODY),
                    rider_id => (NOBODY, rider_id),
                }
            });
        let (mut riders, mut shops) = (Vec::<v1::RiderFacts>::new(), Vec::<v1::ShopFacts>::new());
        for (shop_id, rider_id) in chosen.chain(against) {
            let row = |level, id| asked.rows.get(&(level, id)).map(|row| (&asked.others, *row));
            if let Some(row) = row(Level::Rider, rider_id) {
                if riders.iter().all(|known| known.rider_id != rider_id) {
                    riders.push(facts::rider(row));
                }
            }
            if let Some(row) = row(Level::Shop, shop_id) {
                if shops.iter().all(|known| known.shop_id != shop_id) {
                    shops.push(facts::shop(row));
                }
            }
        }
        (riders, shops)
    }

    /// How the rules about pairs fared: every pair that was asked about counts.
    pub(super) fn count(&self, counts: &mut RuleCounts) {
        let Some((phase, _)) = &self.pairs else { return };
        for (rank, [evaluated, hits, errors]) in self.asked.borrow().counts.iter().enumerate() {
            let id = phase.id(rank as RuleIndex);
            counts.evaluated += evaluated;
            if *hits > 0 {
                counts.hits.push((id.to_string(), *hits));
            }
            if *errors > 0 {
                counts.errors.push((id.to_string(), *errors));
            }
        }
    }

    fn judge(&self, class: u32, level: Level, id: i64, facts: impl FnOnce(&mut Columns)) -> Said {
        let Some(of) = self.classes.get((class as usize).wrapping_sub(1)) else { return AS_IT_IS };
        let mut asked = self.asked.borrow_mut();
        if let Some(known) = asked.answers.get(&(class, level, id)) {
            return known.said;
        }
        let bounds = if level == Level::Shop { &of.bounds.shops } else { &of.bounds.riders };
        let against = bounds.iter().find(|(_, ids, only)| ids.contains(&id) != *only);
        let judged = match against {
            Some((rank, ..)) => Judged { said: Said::MayNot(*rank), weighed: None },
            None => self.by_rules(of, level, id, facts, &mut asked),
        };
        asked.answers.insert((class, level, id), judged);
        judged.said
    }

    fn by_rules(
        &self,
        of: &Class,
        level: Level,
        id: i64,
        facts: impl FnOnce(&mut Columns),
        asked: &mut Asked,
    ) -> Judged {
        let own = if level == Level::Shop { of.bounds.percent.unwrap_or(100) } else { 100 };
        let mut weighed = None;
        if let Some((phase, rules)) = self.pairs.as_ref().filter(|_| !of.open.is_empty()) {
            let Asked { others, rows, counts, .. } = asked;
            let row = *rows.entry((level, id)).or_insert_with(|| {
                facts(others);
                others.end_row()
            });
            let sides = Sides { order: (self.orders, of.row), other: (&*others, row) };
            let mut decided = 0u128;
            for open in of.open.iter().filter(|open| phase.levels[open.rule as usize] == level) {
                let rank = phase.whole_ranks[open.rule as usize];
                let first = phase.first_of(open.rule);
                if first.is_some_and(|namespace| decided >> namespace & 1 == 1) {
                    continue;
                }
                let count = &mut counts[open.rule as usize];
                count[0] += 1;
                match rules.matches(&phase.set, *open, sides) {
                    Ok(false) => continue,
                    Ok(true) => count[1] += 1,
                    Err(_) => {
                        count[2] += 1;
                        let on_error = phase.set.rules()[open.rule as usize].source().on_error;
                        if on_error == OnError::Skip {
                            continue;
                        }
                        return Judged { said: Said::MayNot(rank), weighed: None };
                    }
                }
                decided |= first.map_or(0, |namespace| 1 << namespace);
                for effect in &phase.effects[open.rule as usize] {
                    match effect {
                        Effect::Exclude(_) => return Judged { said: Said::MayNot(rank), weighed: None },
                        Effect::WeightPercent(percent) if weighed.is_none() => {
                            weighed = Some((rank, i64::from(*percent)));
                        }
                        _ => {}
                    }
                }
            }
        }
        let percent = own * weighed.map_or(100, |(_, percent)| percent) / 100;
        Judged { said: Said::May(percent.clamp(PERCENT_MIN, PERCENT_MAX)), weighed }
    }
}

impl Judge for RuleJudge<'_> {
    fn of_shop(&self, class: u32, shop: &Shop) -> Said {
        let put = |columns: &mut Columns| facts::put_shop(columns, &facts::shop_now(shop, self.origin));
        self.judge(class, Level::Shop, shop.id, put)
    }

    fn of_rider(&self, class: u32, rider: &Rider) -> Said {
        let put = |columns: &mut Columns| facts::put_rider(columns, &facts::rider_now(rider, self.origin));
        self.judge(class, Level::Rider, rider.id, put)
    }
}
