//! Rules as they are loaded: what a file says, before anything is compiled.
use crate::variables::Variable;

/// What follows when a rule matches. The engine does not read it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Action {
    /// What is done, as `assign_rider_priority`.
    pub kind: String,
    /// Its argument.
    pub value: String,
}

/// Which of the rules of a namespace that match act.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HitPolicy {
    /// All of them.
    #[default]
    Collect,
    /// The first by rank.
    First,
    /// There is at most one: proved when the set is compiled.
    Unique,
}

/// What it means that a condition has no value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// The rule does not match.
    #[default]
    Skip,
    /// The embedder is told: whatever the rule is about is refused.
    Refuse,
    /// The embedder is told: there is no answer.
    Fail,
}

/// Rules that have a hit policy and variables in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// For people; rules refer to it by its place.
    pub name: String,
    /// Which matching rules act.
    pub hit_policy: HitPolicy,
    /// Known in conditions as `variables.name`.
    pub variables: Vec<Variable>,
}

/// A rule as it is loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleSource {
    /// Unique in its set; breaks ties of priority.
    pub id: String,
    /// For people.
    pub name: String,
    /// The place of its namespace in the list.
    pub namespace: usize,
    /// A smaller number is a higher priority.
    pub priority: i32,
    /// A disabled rule is compiled and never matches.
    pub enabled: bool,
    /// First instant of validity, UTC milliseconds.
    pub valid_from_ms: Option<i64>,
    /// First instant after validity, UTC milliseconds.
    pub valid_to_ms: Option<i64>,
    /// A CEL expression of type bool.
    pub condition: String,
    /// What it means that the condition has no value.
    pub on_error: OnError,
    /// What follows.
    pub actions: Vec<Action>,
}

impl RuleSource {
    /// Whether one of its actions is of this kind.
    pub fn has_action(&self, kind: &str) -> bool {
        self.actions.iter().any(|action| action.kind == kind)
    }
}
