//! Random histories against a plain model that keeps a list and adds up afresh each time.
use std::collections::BTreeMap;

use cuptime_gate::{Counters, Need, Refusal, UNTIL_RELEASED};
use proptest::prelude::*;

const KEYS: [&str; 5] = ["capacity/1/20261124", "capacity/1/20261125", "fridge/1", "load/9", "stock/1/latte"];
const LIMITED: [&str; 5] = ["capacity/1", "capacity/1/20261125", "fridge/1", "load/9", "stock/1/latte"];
const TOMBSTONE_MS: i64 = 40;

#[derive(Clone, Debug)]
enum Step {
    Limit { key: usize, limit: i64 },
    Reserve { id: i64, needs: Vec<(usize, i64, i64)>, sent_ms_ago: i64, hold_ms: i64 },
    Stand { id: i64, needs: Vec<(usize, i64, i64)> },
    Commit { id: i64 },
    Release { id: i64, sent_ms_ago: i64 },
    Expire { after_ms: i64 },
}

fn needs() -> impl Strategy<Value = Vec<(usize, i64, i64)>> {
    let free_at = prop_oneof![Just(UNTIL_RELEASED), 1..80_i64];
    prop::collection::vec((0..KEYS.len(), 1..3_i64, free_at), 1..4)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => (0..LIMITED.len(), 0..6_i64).prop_map(|(key, limit)| Step::Limit { key, limit }),
        6 => (0..8_i64, needs(), 0..6_i64, 0..30_i64)
            .prop_map(|(id, needs, sent_ms_ago, hold_ms)| Step::Reserve { id, needs, sent_ms_ago, hold_ms }),
        1 => (0..8_i64, needs()).prop_map(|(id, needs)| Step::Stand { id, needs }),
        2 => (0..8_i64).prop_map(|id| Step::Commit { id }),
        3 => (0..8_i64, 0..6_i64).prop_map(|(id, sent_ms_ago)| Step::Release { id, sent_ms_ago }),
        3 => (0..12_i64).prop_map(|after_ms| Step::Expire { after_ms }),
    ]
}

#[derive(Clone)]
struct Held {
    id: i64,
    body: String,
    deadline_ms: Option<i64>,
    needs: Vec<(&'static str, i64, i64)>,
}

#[derive(Default)]
struct Model {
    limits: BTreeMap<&'static str, i64>,
    held: Vec<Held>,
    /// id, refuses until, put at.
    stones: Vec<(i64, i64, i64)>,
}

impl Model {
    fn taken(&self, key: &str) -> i64 {
        self.held.iter().flat_map(|held| &held.needs).filter(|need| need.0 == key).map(|need| need.1).sum()
    }

    fn limit(&self, key: &str) -> i64 {
        let parent = &key[..key.rfind('/').unwrap()];
        *self.limits.get(key).or_else(|| self.limits.get(parent)).unwrap_or(&0)
    }

    fn refusal(
        &self,
        id: i64,
        body: &str,
        needs: &[(&'static str, i64, i64)],
        now_ms: i64,
    ) -> Option<Refusal> {
        if let Some(held) = self.held.iter().find(|held| held.id == id) {
            return (held.body != body).then_some(Refusal::Different(id));
        }
        if self.stones.iter().any(|stone| stone.0 == id && now_ms <= stone.1) {
            return Some(Refusal::Released(id));
        }
        let mut more: BTreeMap<&str, i64> = BTreeMap::new();
        for &(key, amount, _) in needs {
            *more.entry(key).or_default() += amount;
            if self.taken(key) + more[key] > self.limit(key) {
                return Some(Refusal::Key(key.to_owned()));
            }
        }
        None
    }

    fn bury(&mut self, id: i64, until_ms: i64, now_ms: i64) {
        let before = self.stones.iter().find(|stone| stone.0 == id).map_or(i64::MIN, |stone| stone.1);
        self.stones.retain(|stone| stone.0 != id);
        self.stones.push((id, until_ms.max(before), now_ms));
    }

    fn release(&mut self, id: i64, now_ms: i64) -> Option<String> {
        let held = self.held.iter().position(|held| held.id == id).map(|at| self.held.remove(at));
        self.bury(id, if held.is_some() { now_ms - 1 } else { now_ms }, now_ms);
        held.map(|held| held.body)
    }

    fn expire(&mut self, now_ms: i64) -> BTreeMap<String, i64> {
        let before: Vec<i64> = KEYS.iter().map(|key| self.taken(key)).collect();
        let ended = |held: &Held| held.deadline_ms.is_some_and(|deadline_ms| deadline_ms <= now_ms);
        let dead: Vec<Held> = self.held.iter().filter(|held| ended(held)).cloned().collect();
        self.held.retain(|held| !ended(held));
        for held in &dead {
            self.bury(held.id, held.deadline_ms.unwrap() - 1, now_ms);
        }
        for held in &mut self.held {
            held.needs.retain(|need| need.2 == UNTIL_RELEASED || need.2 > now_ms);
        }
        self.stones.retain(|stone| stone.2 >= now_ms - TOMBSTONE_MS);
        let freed = KEYS.iter().zip(before).map(|(key, was)| ((*key).to_owned(), was - self.taken(key)));
        freed.filter(|(_, amount)| *amount > 0).collect()
    }
}

fn named(needs: &[(usize, i64, i64)], now_ms: i64) -> Vec<(&'static str, i64, i64)> {
    let alive = |need: &&(usize, i64, i64)| need.2 == UNTIL_RELEASED || need.2 > now_ms;
    needs.iter().filter(alive).map(|&(key, amount, free_at_ms)| (KEYS[key], amount, free_at_ms)).collect()
}

fn as_needs(needs: &[(usize, i64, i64)]) -> Vec<Need<'static>> {
    needs.iter().map(|&(key, amount, free_at_ms)| Need { key: KEYS[key], amount, free_at_ms }).collect()
}

fn run(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut counters = Counters::new(1_000, TOMBSTONE_MS);
    let mut model = Model::default();
    let mut now_ms = 10_i64;
    for step in steps {
        let before: Vec<i64> = KEYS.iter().map(|key| counters.taken(key)).collect();
        let mut lasting = false;
        match step {
            Step::Limit { key, limit } => {
                counters.set_limit(LIMITED[key], limit).unwrap();
                model.limits.insert(LIMITED[key], limit);
            }
            Step::Reserve { id, needs, sent_ms_ago, hold_ms } => {
                let body = format!("{needs:?}");
                let sent_ms = now_ms - sent_ms_ago;
                let alive = named(&needs, sent_ms);
                let refusal = model.refusal(id, &body, &alive, sent_ms);
                let answer = counters.reserve(id, &body, &as_needs(&needs), sent_ms, hold_ms).unwrap();
                prop_assert_eq!(&answer, &refusal.clone().map_or(Ok(()), Err));
                if refusal.is_none() && !model.held.iter().any(|held| held.id == id) {
                    model.stones.retain(|stone| stone.0 != id);
                    model.held.push(Held { id, body, deadline_ms: Some(sent_ms + hold_ms), needs: alive });
                }
            }
            Step::Stand { id, needs } => {
                lasting = true;
                let body = format!("{needs:?}");
                let fresh = !model.held.iter().any(|held| held.id == id);
                prop_assert_eq!(counters.stand(id, &body, &as_needs(&needs), now_ms).unwrap(), fresh);
                model.held.retain(|held| held.id != id);
                model.held.push(Held { id, body, deadline_ms: None, needs: named(&needs, now_ms) });
            }
            Step::Commit { id } => {
                let held = model.held.iter_mut().find(|held| held.id == id);
                prop_assert_eq!(counters.commit(id), held.is_some());
                held.into_iter().for_each(|held| held.deadline_ms = None);
            }
            Step::Release { id, sent_ms_ago } => {
                prop_assert_eq!(
                    counters.release(id, now_ms - sent_ms_ago),
                    model.release(id, now_ms - sent_ms_ago)
                );
            }
            Step::Expire { after_ms } => {
                now_ms += after_ms;
                prop_assert_eq!(counters.expire(now_ms), model.expire(now_ms));
            }
        }
        counters.check().map_err(TestCaseError::fail)?;
        prop_assert_eq!(counters.len(), model.held.len());
        for (key, before) in KEYS.iter().zip(before) {
            prop_assert_eq!(counters.taken(key), model.taken(key), "{}", key);
            prop_assert_eq!(counters.free(key), (model.limit(key) - model.taken(key)).max(0), "{}", key);
            // Never more taken than there is, but by what storage says stands or by a limit lowered afterwards.
            prop_assert!(lasting || counters.taken(key) <= model.limit(key).max(before), "{}", key);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn agrees_with_the_plain_model(steps in prop::collection::vec(step(), 1..120)) {
        run(steps)?;
    }
}

#[test]
fn tombstones_are_bounded_and_the_oldest_go_first() {
    let mut counters = Counters::new(3, TOMBSTONE_MS);
    counters.set_limit("load/9", 100).unwrap();
    for id in 0..4 {
        assert_eq!(counters.release(id, 10), None);
    }
    let need = [Need { key: "load/9", amount: 1, free_at_ms: UNTIL_RELEASED }];
    assert_eq!(counters.reserve(0, "", &need, 9, 100).unwrap(), Ok(()), "its tombstone made room");
    assert_eq!(counters.reserve(1, "", &need, 9, 100).unwrap(), Err(Refusal::Released(1)));
}

#[test]
fn reservations_are_bounded() {
    let mut counters = Counters::new(1, TOMBSTONE_MS);
    counters.set_limit("load/9", 100).unwrap();
    let need = [Need { key: "load/9", amount: 1, free_at_ms: UNTIL_RELEASED }];
    assert_eq!(counters.reserve(1, "", &need, 0, 100).unwrap(), Ok(()));
    assert_eq!(counters.reserve(2, "", &need, 0, 100).unwrap(), Err(Refusal::Full(1)));
    assert_eq!(counters.taken("load/9"), 1);
}

#[test]
fn amounts_and_limits_out_of_range_change_nothing() {
    let mut counters = Counters::new(10, TOMBSTONE_MS);
    counters.set_limit("load/9", 100).unwrap();
    let needs = [
        Need { key: "load/9", amount: 1, free_at_ms: UNTIL_RELEASED },
        Need { key: "load/9", amount: -1, free_at_ms: UNTIL_RELEASED },
    ];
    assert!(counters.reserve(1, "", &needs, 0, 100).is_err());
    assert!(counters.set_limit("load/9", -1).is_err());
    assert_eq!((counters.taken("load/9"), counters.free("load/9")), (0, 100));
}
