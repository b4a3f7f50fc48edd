//! Rule sets: many conditions compiled together, and which of them match an order.
//!
//! Rules are kept in rank order: priority first (a smaller number is a higher priority), then identifier.
//! A [`RuleIndex`] is a rank, so matches come out in order and the first match is the smallest index. A few rules are
//! asked of many orders at once (`masks.rs`); from [`Limits::index_rules_min`] on a predicate index (`index/mod.rs`)
//! says which can match at all. All ways give the same matches and the same counters: [`RuleSet::scan`], one rule and
//! one order after the other, is the oracle.
use std::collections::HashMap;
use std::sync::Arc;

use crate::batch::Matches;
use crate::check::{self, Options, Program};
use crate::diagnostic::{Code, Diagnostic, Position, Span};
use crate::digest;
use crate::eval::{Evaluation, Facts};
use crate::explain::{self, Verdict};
use crate::index::{self, Finding, Index};
use crate::limits::Limits;
use crate::masks::Masks;
use crate::parser;
use crate::program::{Fault, Node};
use crate::schema::{Schema, Type};
use crate::tally::Tally;
use crate::Columns;

/// A rule's rank in its set, from 0.
pub type RuleIndex = u32;

/// What follows when a rule matches. The engine does not read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// The action's name, as `assign_rider_priority`.
    pub kind: String,
    /// Its argument, as written.
    pub value: String,
}

/// A rule as it is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSource {
    /// Unique in its set; breaks ties of priority.
    pub id: String,
    /// For people.
    pub name: String,
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
    /// What follows.
    pub action: Action,
}

/// A compiled rule.
#[derive(Clone, Debug)]
pub struct Rule {
    source: RuleSource,
    /// Its index in the list given to [`RuleSet::compile`].
    source_index: usize,
    program: Arc<Program>,
}

impl Rule {
    /// The rule as it was loaded.
    pub fn source(&self) -> &RuleSource {
        &self.source
    }

    /// Its index in the list given to [`RuleSet::compile`].
    pub fn source_index(&self) -> usize {
        self.source_index
    }

    /// Whether it counts at `now_ms`.
    #[inline]
    pub fn is_active(&self, now_ms: i64) -> bool {
        self.source.enabled
            && self.source.valid_from_ms.is_none_or(|from| from <= now_ms)
            && self.source.valid_to_ms.is_none_or(|to| now_ms < to)
    }

    /// Steps that its condition can take at most.
    pub fn cost_steps(&self) -> u64 {
        self.program.cost.steps
    }

    pub(crate) fn program(&self) -> &Program {
        &self.program
    }

    pub(crate) fn root(&self) -> &Node {
        &self.program.root
    }
}

/// How many matches are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The match of the highest rank only.
    First,
    /// All matches, in rank order.
    Collect,
}

/// A compiled, immutable rule set. `Send` and `Sync`: share it in an `Arc`.
#[derive(Clone, Debug)]
pub struct RuleSet {
    rules: Vec<Rule>,
    schema: Schema,
    limits: Limits,
    digest: Arc<str>,
    index: Option<Arc<Index>>,
    /// How few rules are asked of many orders; `None` with an index.
    masks: Option<Arc<Masks>>,
}

impl RuleSet {
    /// Compiles all rules, or says everything that is wrong with any of them.
    ///
    /// # Errors
    /// Diagnostics in the order of `rules` and then of the text; each has `rule` set to its index.
    pub fn compile(
        rules: Vec<RuleSource>,
        schema: &Schema,
        limits: &Limits,
    ) -> Result<RuleSet, Vec<Diagnostic>> {
        RuleSet::compile_after(None, rules, schema, limits)
    }

    /// As [`RuleSet::compile`]; conditions that stand in `previous` with the same text are taken over from it.
    ///
    /// # Errors
    /// As [`RuleSet::compile`].
    pub fn compile_after(
        previous: Option<&RuleSet>,
        rules: Vec<RuleSource>,
        schema: &Schema,
        limits: &Limits,
    ) -> Result<RuleSet, Vec<Diagnostic>> {
        let previous = previous.filter(|set| set.limits == *limits && set.schema == *schema);
        let known: HashMap<&str, &Arc<Program>> = previous
            .iter()
            .flat_map(|set| &set.rules)
            .map(|rule| (rule.source.condition.as_str(), &rule.program))
            .collect();
        let mut found = Vec::new();
        if rules.len() > limits.rules_max {
            let message =
                format!("the set has {} rules; at most {} are allowed", rules.len(), limits.rules_max);
            return Err(vec![about_rule(Code::LimitRules, None, message)]);
        }
        let digest = digest::of_rules(&rules, schema);
        let mut seen = std::collections::HashSet::new();
        let mut compiled = Vec::with_capacity(rules.len());
        for (index, source) in rules.into_iter().enumerate() {
            check_envelope(&source, index, limits, &mut found);
            if !seen.insert(source.id.clone()) {
                let message = format!("the rule identifier {:?} is used twice", source.id);
                found.push(about_rule(Code::BadRuleId, Some(index), message));
            }
            let program = match known.get(source.condition.as_str()) {
                Some(program) => Ok(Arc::clone(program)),
                None => compile_rule(&source.condition, schema, limits).map(Arc::new),
            };
            match program {
                Ok(program) => compiled.push(Rule { source, source_index: index, program }),
                Err(mut diagnostics) => {
                    diagnostics.iter_mut().for_each(|d| d.rule = Some(index));
                    found.append(&mut diagnostics);
                }
            }
            if found.len() >= limits.diagnostics_max.saturating_mul(10) {
                break;
            }
        }
        if !found.is_empty() {
            return Err(found);
        }
        let cost = compiled.iter().map(|rule| rule.program.cost.steps).fold(0, u64::saturating_add);
        if cost > limits.set_cost_max {
            let message = format!(
                "all conditions together may take {cost} steps for one order; at most {} are allowed",
                limits.set_cost_max
            );
            return Err(vec![about_rule(Code::LimitCost, None, message)]);
        }
        compiled.sort_by(|a, b| (a.source.priority, &a.source.id).cmp(&(b.source.priority, &b.source.id)));
        let indexed = compiled.len() >= limits.index_rules_min;
        let index = indexed.then(|| Arc::new(Index::build(compiled.iter().map(|r| &r.program.root))));
        let masks = if indexed { None } else { Masks::of(&compiled).map(Arc::new) };
        let digest = Arc::from(digest);
        Ok(RuleSet { rules: compiled, schema: schema.clone(), limits: limits.clone(), digest, index, masks })
    }

    /// Rules in rank order: `rules()[index]` is the rule of a [`RuleIndex`].
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Number of rules.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there is no rule.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The schema the set was compiled against; [`Columns`] for it are made with [`RuleSet::columns`].
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Empty columns for this set's schema.
    pub fn columns(&self) -> Columns {
        Columns::new(&self.schema)
    }

    /// SHA-256 in hex over the schema and the rules in rank order: equal digests, equal decisions.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    pub(crate) fn shared_digest(&self) -> &Arc<str> {
        &self.digest
    }

    pub(crate) fn index(&self) -> Option<&Index> {
        self.index.as_deref()
    }

    pub(crate) fn masks(&self) -> Option<&Masks> {
        self.masks.as_deref()
    }

    /// What is odd about the rules, whatever the orders: see [`crate::Oddity`].
    pub fn findings(&self) -> Vec<Finding> {
        index::findings(&self.rules, &self.limits)
    }

    /// Bytes of the index; 0 for a set that is scanned.
    pub fn index_bytes(&self) -> usize {
        self.index.as_deref().map_or(0, Index::bytes)
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Appends the matching rules of one row to `matches`, in rank order; counts what happened in `tally`.
    ///
    /// `columns` must have been made for this set's schema. A row that does not exist matches nothing that
    /// reads it. A fault in a condition means: not matched, and counted.
    pub fn evaluate(
        &self,
        columns: &Columns,
        row: usize,
        now_ms: i64,
        mode: Mode,
        matches: &mut Vec<RuleIndex>,
        tally: &mut Tally,
    ) {
        let Some(index) = self.index() else {
            return self.scan(columns, row, now_ms, mode, matches, tally);
        };
        let mut answer = Matches { ranks: std::mem::take(matches), ends: std::mem::take(&mut tally.ends) };
        answer.ends.clear();
        self.ask_index(index, columns, row..row + 1, now_ms, mode, &mut answer, tally);
        Matches { ranks: *matches, ends: tally.ends } = answer;
    }

    /// As [`RuleSet::evaluate`], asking every active rule in turn. The plain twin of the index.
    pub fn scan(
        &self,
        columns: &Columns,
        row: usize,
        now_ms: i64,
        mode: Mode,
        matches: &mut Vec<RuleIndex>,
        tally: &mut Tally,
    ) {
        tally.ask(self, now_ms, 1);
        let Tally { hits, errors, active, .. } = tally;
        let Some(active) = active else { return };
        let mut evaluation = Evaluation::new(Facts::Row { columns, row }, &self.limits);
        for (rank, rule) in self.rules.iter().enumerate() {
            if !active.has(rank) {
                continue;
            }
            match evaluation.condition(&rule.program.root) {
                Ok(false) => {}
                Ok(true) => {
                    hits[rank] += 1;
                    // Ranks are bounded by `Limits::rules_max`, far below 2^32.
                    matches.push(rank as RuleIndex);
                    if mode == Mode::First {
                        return;
                    }
                }
                Err(_) => errors[rank] += 1,
            }
        }
    }

    /// For every rule, in rank order, what it says about one row and why. Lazily computed: this is the slow,
    /// talkative twin of [`RuleSet::evaluate`] and agrees with it in `Collect` mode.
    pub fn explain(&self, columns: &Columns, row: usize, now_ms: i64) -> Vec<Verdict> {
        explain::explain(self, Facts::Row { columns, row }, now_ms)
    }
}

impl Program {
    /// The value of an expression of any type.
    ///
    /// # Errors
    /// The fault that left it without a value.
    pub fn value(&self, facts: Facts<'_>, limits: &Limits) -> Result<crate::Value, Fault> {
        self.value_and_cost(facts, limits).0
    }

    /// As [`Program::value`], and the steps it took: never more than [`Program::cost`] says, if no fact is larger than
    /// the schema declares.
    pub fn value_and_cost(&self, facts: Facts<'_>, limits: &Limits) -> (Result<crate::Value, Fault>, u64) {
        let mut evaluation = Evaluation::new(facts, limits);
        let value = evaluation.value(&self.root);
        (value, evaluation.cost())
    }
}

/// Parses, checks and compiles one condition, which must be of type bool.
///
/// # Errors
/// Everything that is wrong with it.
pub fn compile_rule(condition: &str, schema: &Schema, limits: &Limits) -> Result<Program, Vec<Diagnostic>> {
    let expr = parser::parse(condition, limits)?;
    let program = check::compile(&expr, condition, schema, &Options::default(), limits)?;
    if program.cost.steps > limits.cost_max {
        let span = program.cost.span;
        return Err(vec![Diagnostic {
            code: Code::LimitCost,
            rule: None,
            span,
            position: Position::of(condition, span.start as usize),
            message: format!(
                "the condition may take {} steps for one order; at most {} are allowed",
                program.cost.steps, limits.cost_max
            ),
            hint: "this part multiplies: fewer macros inside each other, shorter lists, or no pattern made on the way"
                .to_string(),
        }]);
    }
    if matches!(program.ty, Type::Bool | Type::Dyn) {
        return Ok(program);
    }
    Err(vec![Diagnostic {
        code: Code::TypeMismatch,
        rule: None,
        span: expr.span,
        position: Position::of(condition, expr.span.start as usize),
        message: format!("a condition must be bool, not {}", program.ty),
        hint: "compare it with something".to_string(),
    }])
}

fn about_rule(code: Code, rule: Option<usize>, message: String) -> Diagnostic {
    let position = Position { line: 1, column: 1 };
    Diagnostic { code, rule, span: Span::default(), position, message, hint: String::new() }
}

fn check_envelope(source: &RuleSource, index: usize, limits: &Limits, found: &mut Vec<Diagnostic>) {
    if source.id.is_empty() || source.id.len() > limits.rule_id_bytes_max {
        let message = format!("a rule identifier has 1 to {} bytes", limits.rule_id_bytes_max);
        found.push(about_rule(Code::BadRuleId, Some(index), message));
    }
    if let (Some(from), Some(to)) = (source.valid_from_ms, source.valid_to_ms) {
        if to <= from {
            let message = format!("the rule's validity ends ({to} ms) before it starts ({from} ms)");
            found.push(about_rule(Code::BadValidity, Some(index), message));
        }
    }
}
