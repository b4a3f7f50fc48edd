//! A rule set by the moments that ask it: when an order is submitted, when it is decided, and for each pair of an order
//! with a rider or a shop.
//!
//! A rule is about a pair when its condition names `rider.*` or `shop.*`. At submission those rules about an order are
//! asked that refuse, or of which a fault is not passed over; where the first match of a namespace decides, all of that
//! namespace's. At the decision all those about an order are asked that do anything else.
use std::collections::HashSet;

use cuptime_rules::{HitPolicy, Mode, OnError, Rule, RuleIndex, RuleSet, Tally};

use crate::effects::Effect;
use crate::facts::{GroupView, Slots, NAMES};
use crate::judge::{OrderFacts, RefuseRules, RuleSays};

/// What a rule's condition speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// The order, its user and its group.
    Order,
    /// These and one rider.
    Rider,
    /// These and one shop.
    Shop,
    /// A rider and a shop: no rule may.
    Both,
}

/// What a rule of this set speaks of.
pub fn level_of(set: &RuleSet, rule: &Rule) -> Level {
    let names = |prefix: &str| rule.slots().iter().any(|slot| set.schema().name(*slot).starts_with(prefix));
    match (names("rider."), names("shop.")) {
        (false, false) => Level::Order,
        (true, false) => Level::Rider,
        (false, true) => Level::Shop,
        (true, true) => Level::Both,
    }
}

/// Some rules of a set, with what they bring about.
#[derive(Clone, Debug)]
pub struct Phase {
    /// The rules, ranked as in the whole set.
    pub set: RuleSet,
    /// By rank.
    pub effects: Vec<Vec<Effect>>,
    /// By rank, the rank in the whole set.
    pub whole_ranks: Vec<RuleIndex>,
    /// By rank.
    pub levels: Vec<Level>,
}

impl Phase {
    fn of(set: &RuleSet, keep: impl Fn(&Rule, Level) -> bool, slots: usize) -> Phase {
        let kept: Vec<(RuleIndex, Level)> = set
            .rules()
            .iter()
            .enumerate()
            .map(|(rank, rule)| (rank as RuleIndex, rule, level_of(set, rule)))
            .filter(|(_, rule, level)| keep(rule, *level))
            .map(|(rank, _, level)| (rank, level))
            .collect();
        let (whole_ranks, levels): (Vec<RuleIndex>, Vec<Level>) = kept.into_iter().unzip();
        let ids: HashSet<&str> =
            whole_ranks.iter().map(|rank| set.rules()[*rank as usize].source().id.as_str()).collect();
        let set = set.subset(|rule| ids.contains(rule.source().id.as_str()), slots);
        // An effect that does not read does nothing; `check_action` keeps such rules from being loaded.
        let read = |rule: &Rule| {
            rule.source().actions.iter().filter_map(|a| Effect::read(&a.kind, &a.value).ok()).collect()
        };
        let effects = set.rules().iter().map(read).collect();
        Phase { set, effects, whole_ranks, levels }
    }

    /// The id of a rule of the phase.
    pub fn id(&self, rank: RuleIndex) -> &str {
        self.set.rules().get(rank as usize).map_or("", |rule| rule.source().id.as_str())
    }

    /// The namespace of a rule, when its first match decides.
    pub fn first_of(&self, rank: RuleIndex) -> Option<usize> {
        let namespace = self.set.rules().get(rank as usize)?.source().namespace;
        (self.set.namespaces().get(namespace)?.hit_policy == HitPolicy::First).then_some(namespace)
    }
}

/// A rule set, ready for every moment that asks it.
#[derive(Debug)]
pub struct Phases {
    /// When an order is submitted.
    pub admission: Option<RuleSet>,
    /// When it is decided.
    pub decision: Phase,
    /// For each pair; `None` when no rule is about one.
    pub pairs: Option<Phase>,
}

impl Phases {
    /// The phases of a set. Conditions are not compiled again.
    pub fn of(set: &RuleSet) -> Phases {
        let judges = |rule: &Rule| {
            let source = rule.source();
            source.has_action("refuse") || source.on_error != OnError::Skip
        };
        let order_level = |rule: &Rule| level_of(set, rule) == Level::Order;
        let namespaces: HashSet<usize> = set
            .rules()
            .iter()
            .filter(|rule| judges(rule) && order_level(rule))
            .map(|rule| rule.source().namespace)
            .filter(|at| set.namespaces()[*at].hit_policy == HitPolicy::First)
            .collect();
        let asked = |rule: &Rule| {
            order_level(rule) && (judges(rule) || namespaces.contains(&rule.source().namespace))
        };
        let admission = set.rules().iter().any(asked).then(|| set.subset(asked, NAMES.len()));
        let acts = |rule: &Rule| rule.source().actions.iter().any(|action| action.kind != "refuse");
        let decision = Phase::of(set, |rule, level| level == Level::Order && acts(rule), NAMES.len());
        let is_pair = |level: Level| matches!(level, Level::Rider | Level::Shop);
        let pairs = Phase::of(set, |_, level| is_pair(level), set.schema().len());
        Phases { admission, decision, pairs: (!pairs.set.is_empty()).then_some(pairs) }
    }
}

/// The rules of a set that are asked when an order is submitted, ready to judge one order after the other.
#[derive(Clone, Debug)]
pub struct RefuseSet {
    set: RuleSet,
    slots: Slots,
    columns: cuptime_rules::Columns,
    tally: Tally,
    matches: Vec<RuleIndex>,
    now_ms: i64,
}

impl RefuseSet {
    /// Of the rules of [`Phases::admission`].
    pub fn of(set: &RuleSet) -> RefuseSet {
        let (slots, columns, tally) = (Slots::of(set.schema()), set.columns(), Tally::new(set));
        RefuseSet { set: set.clone(), slots, columns, tally, matches: Vec::new(), now_ms: 0 }
    }

    /// Sets the instant that validity is judged at, and the counters to zero.
    pub fn start(&mut self, now_ms: i64) {
        self.now_ms = now_ms;
        // Not a new one: it remembers which rules are active, and its memory serves every call.
        self.tally.clear();
    }

    /// What happened since [`RefuseSet::start`] to the rules that refuse, and the faults that were not passed over.
    pub fn counts(&self) -> RuleCounts {
        RuleCounts::of(&self.set, &self.tally, |rule| {
            (rule.source().has_action("refuse"), rule.source().on_error != OnError::Skip)
        })
    }
}

impl RefuseRules for RefuseSet {
    fn asked(&mut self, facts: &OrderFacts<'_>) -> Option<RuleSays> {
        let group = GroupView {
            group_id: facts.group.group_id,
            park: &facts.group.park,
            capacity: i64::from(facts.group.capacity),
            member_count: i64::from(facts.members),
            latitude: facts.group.latitude,
            longitude: facts.group.longitude,
        };
        self.columns.clear();
        self.matches.clear();
        self.slots.fill(&mut self.columns, facts.order, &group);
        self.set.evaluate(&self.columns, 0, self.now_ms, Mode::Policy, &mut self.matches, &mut self.tally);
        let rules = self.set.rules();
        let refusing = self.matches.iter().find_map(|rank| {
            let source = rules.get(*rank as usize)?.source();
            let action = source.actions.iter().find(|action| action.kind == "refuse")?;
            Some((*rank, RuleSays::Refuses { rule: source.id.clone(), why: action.value.clone() }))
        });
        let Some(&fault) = self.tally.faults().first() else { return refusing.map(|(_, says)| says) };
        match refusing {
            // Whichever comes first by rank.
            Some((rank, says)) if rank < fault => Some(says),
            _ => {
                let source = rules.get(fault as usize)?.source();
                let fails = source.on_error == OnError::Fail;
                let explained = self.set.explain(&self.columns, 0, self.now_ms);
                let fault = explained.into_iter().nth(fault as usize).map_or_else(String::new, |v| v.told());
                Some(RuleSays::Fails { rule: source.id.clone(), fault, no_answer: fails })
            }
        }
    }
}

/// How rules fared in one call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleCounts {
    /// (rule id, times it matched), by rank, no zeros.
    pub hits: Vec<(String, u64)>,
    /// (rule id, times its condition had no value), by rank, no zeros.
    pub errors: Vec<(String, u64)>,
    /// Conditions evaluated.
    pub evaluated: u64,
}

impl RuleCounts {
    /// Reads a tally of a set. `counts` says of a rule whether all of it counts here, and whether its faults do.
    pub fn of(set: &RuleSet, tally: &Tally, counts: impl Fn(&Rule) -> (bool, bool)) -> RuleCounts {
        let mut told = RuleCounts::default();
        for (rule, figures) in set.rules().iter().zip(tally.rules()) {
            let (all, faults) = counts(rule);
            let id = &rule.source().id;
            if all {
                told.evaluated += figures.evaluated;
            }
            if all && figures.hits > 0 {
                told.hits.push((id.clone(), figures.hits));
            }
            if (all || faults) && figures.errors > 0 {
                told.errors.push((id.clone(), figures.errors));
            }
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::schema;
    use crate::table::GroupFacts;
    use crate::wire::v1::{Order, User};
    use cuptime_rules::{Action, Limits, Namespace, RuleSource};

    fn rule(id: &str, priority: i32, condition: &str, kind: &str) -> RuleSource {
        RuleSource {
            id: id.into(),
            priority,
            enabled: true,
            condition: condition.into(),
            actions: vec![Action { kind: kind.into(), value: "1".into() }],
            ..RuleSource::default()
        }
    }

    fn set(policy: HitPolicy, rules: Vec<RuleSource>) -> RuleSet {
        let namespaces = vec![Namespace { hit_policy: policy, ..Namespace::default() }];
        RuleSet::compile_namespaces(None, namespaces, rules, &schema(), &Limits::default()).unwrap()
    }

    fn asked(phases: &Phases, score: i32) -> Option<RuleSays> {
        let user = User { user_id: 7, credit_score: score, tier: "gold".into() };
        let order = Order { user: Some(user), quantity: 2, ..Order::default() };
        let mut refuse = RefuseSet::of(phases.admission.as_ref()?);
        refuse.start(0);
        refuse.asked(&OrderFacts { order: &order, group: &GroupFacts::example(10_001), members: 0 })
    }

    fn refused_by(id: &str) -> Option<RuleSays> {
        Some(RuleSays::Refuses { rule: id.into(), why: "1".into() })
    }

    #[test]
    fn each_rule_is_asked_at_its_moment() {
        let rules = vec![
            rule("tagged", 1, "true", "tag"),
            rule("no_gold", 1, "user.tier == 'gold'", "refuse"),
            rule("near", 1, "rider.latitude > 3.0", "exclude"),
            rule("fridge", 1, "shop.fridge_free > 3", "weight_percent"),
        ];
        let phases = Phases::of(&set(HitPolicy::Collect, rules));
        assert_eq!(phases.admission.as_ref().map(RuleSet::len), Some(1));
        assert_eq!(phases.decision.id(0), "tagged");
        let pairs = phases.pairs.as_ref().unwrap();
        // Ranks are those of priority and id: fridge, near, no_gold, tagged.
        assert_eq!(
            (pairs.whole_ranks.as_slice(), pairs.levels.as_slice()),
            (&[0, 1][..], &[Level::Shop, Level::Rider][..])
        );
        assert_eq!(asked(&phases, 90), refused_by("no_gold"));
        assert!(Phases::of(&set(HitPolicy::Collect, vec![rule("t", 1, "true", "tag")])).admission.is_none());
    }

    #[test]
    fn where_the_first_match_decides_an_earlier_rule_lets_the_order_in() {
        let rules = || {
            vec![
                rule("trusted", 1, "user.credit_score >= 95", "tag"),
                rule("no_gold", 2, "user.tier == 'gold'", "refuse"),
            ]
        };
        let first = Phases::of(&set(HitPolicy::First, rules()));
        assert_eq!((asked(&first, 95), asked(&first, 94)), (None, refused_by("no_gold")));
        let collect = Phases::of(&set(HitPolicy::Collect, rules()));
        assert_eq!(asked(&collect, 95), refused_by("no_gold"));
    }

    #[test]
    fn a_fault_means_what_the_rule_says() {
        for (on_error, no_answer) in [(OnError::Refuse, false), (OnError::Fail, true)] {
            let broken =
                RuleSource { on_error, ..rule("broken", 1, "1 / (user.credit_score - 90) > 3", "tag") };
            for policy in [HitPolicy::Collect, HitPolicy::First] {
                let phases = Phases::of(&set(policy, vec![broken.clone(), rule("all", 2, "true", "refuse")]));
                let says = RuleSays::Fails {
                    rule: "broken".into(),
                    fault: "divide by zero in 1 / (user.credit_score - 90)".into(),
                    no_answer,
                };
                assert_eq!(asked(&phases, 90), Some(says));
                assert_eq!(asked(&phases, 91), refused_by("all"));
            }
        }
        let skipped = rule("broken", 1, "1 / (user.credit_score - 90) > 3", "refuse");
        assert_eq!(asked(&Phases::of(&set(HitPolicy::Collect, vec![skipped])), 90), None);
    }
}
