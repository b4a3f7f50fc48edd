//! Rule sets: many conditions compiled together, and which of them match an order.
//!
//! Rules are kept in rank order: priority first (a smaller number is a higher priority), then identifier.
//! A [`RuleIndex`] is a rank, so matches come out in order and the first match is the smallest index. A few rules are
//! evaluated one after the other; from [`Limits::index_rules_min`] on a predicate index (`index/mod.rs`) says which
//! can match at all. Both give the same matches and the same counters: [`RuleSet::scan`] is the oracle.
use std::collections::HashMap;
use std::sync::Arc;

use crate::batch::Matches;
use crate::check::{self, Program};
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
use crate::sources::{HitPolicy, Namespace, OnError, RuleSource};
use crate::tally::Tally;
use crate::variables::{self, Defined, PREFIX};
use crate::Columns;

/// A rule's rank in its set, from 0.
pub type RuleIndex = u32;

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

    /// The slots its condition reads, ascending.
    pub fn slots(&self) -> Vec<usize> {
        let mut slots = Vec::new();
        self.program.root.collect_slots(&mut slots);
        slots.sort_unstable();
        slots.dedup();
        slots
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
    /// Those that act: as the hit policy of each namespace says, in rank order.
    Policy,
}

/// Namespaces of one set.
pub(crate) const NAMESPACES_MAX: usize = 128;

/// A compiled, immutable rule set. `Send` and `Sync`: share it in an `Arc`.
#[derive(Clone, Debug)]
pub struct RuleSet {
    rules: Vec<Rule>,
    schema: Schema,
    limits: Limits,
    digest: Arc<str>,
    index: Option<Arc<Index>>,
    namespaces: Arc<[Namespace]>,
    /// What [`Mode::Policy`] comes to; itself when namespaces differ, or a fault may count.
    policy: Mode,
    /// How few rules are asked of many orders; `None` with an index.
    masks: Option<Arc<Masks>>,
    /// Rules whose condition was not compiled anew.
    reused: usize,
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
        RuleSet::compile_namespaces(previous, vec![Namespace::default()], rules, schema, limits)
    }

    /// As [`RuleSet::compile_after`], with namespaces that the rules refer to.
    ///
    /// # Errors
    /// As [`RuleSet::compile`]; what is wrong with a variable has as `rule` the number of rules and its place among
    /// the variables of all namespaces, added.
    pub fn compile_namespaces(
        previous: Option<&RuleSet>,
        namespaces: Vec<Namespace>,
        rules: Vec<RuleSource>,
        schema: &Schema,
        limits: &Limits,
    ) -> Result<RuleSet, Vec<Diagnostic>> {
        let mut found = Vec::new();
        if rules.len() > limits.rules_max {
            let message =
                format!("the set has {} rules; at most {} are allowed", rules.len(), limits.rules_max);
            return Err(vec![about_rule(Code::LimitRules, None, message)]);
        }
        if namespaces.len() > NAMESPACES_MAX {
            let message = format!("{} namespaces; at most {NAMESPACES_MAX} are allowed", namespaces.len());
            return Err(vec![about_rule(Code::LimitRules, None, message)]);
        }
        let defined = defined(&namespaces, rules.len(), schema, limits, &mut found);
        let known = Known::of(previous, &namespaces, schema, limits);
        let digest = digest::of_rules(&rules, &namespaces, schema);
        let mut seen = std::collections::HashSet::new();
        let mut compiled = Vec::with_capacity(rules.len());
        let mut reused = 0;
        for (index, source) in rules.into_iter().enumerate() {
            check_envelope(&source, index, namespaces.len(), limits, &mut found);
            if !seen.insert(source.id.clone()) {
                let message = format!("the rule identifier {:?} is used twice", source.id);
                found.push(about_rule(Code::BadRuleId, Some(index), message));
            }
            let variables = defined.get(source.namespace).map_or(&[][..], Vec::as_slice);
            let program = match known.program(&source) {
                Some(program) => {
                    reused += 1;
                    Ok(Arc::clone(program))
                }
                None => condition(&source.condition, schema, variables, limits).map(Arc::new),
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
        compiled.sort_by(|a, b| (a.source.priority, &a.source.id).cmp(&(b.source.priority, &b.source.id)));
        if found.is_empty() {
            found = index::violations(&compiled, &namespaces, schema, limits);
        }
        if !found.is_empty() {
            return Err(found);
        }
        let of_variables = defined.iter().flatten().map(|variable| variable.value.cost.steps);
        let of_rules = compiled.iter().map(|rule| rule.program.cost.steps);
        let cost = of_rules.chain(of_variables).fold(0, u64::saturating_add);
        if cost > limits.set_cost_max {
            let message = format!(
                "all conditions together may take {cost} steps for one order; at most {} are allowed",
                limits.set_cost_max
            );
            return Err(vec![about_rule(Code::LimitCost, None, message)]);
        }
        let set = RuleSet::of(compiled, schema.clone(), limits.clone(), Arc::from(digest), namespaces.into());
        Ok(RuleSet { reused, ..set })
    }

    /// A set of compiled rules in rank order, indexed when there are enough.
    fn of(
        rules: Vec<Rule>,
        schema: Schema,
        limits: Limits,
        digest: Arc<str>,
        namespaces: Arc<[Namespace]>,
    ) -> RuleSet {
        let indexed = rules.len() >= limits.index_rules_min;
        let index = indexed.then(|| Arc::new(Index::build(rules.iter().map(|r| &r.program.root))));
        let first = |rule: &Rule| namespaces[rule.source.namespace].hit_policy == HitPolicy::First;
        let alone = rules.windows(2).all(|pair| pair[0].source.namespace == pair[1].source.namespace);
        let careful = rules.iter().any(|rule| rule.source.on_error != OnError::Skip);
        let policy = match rules.first() {
            _ if careful => Mode::Policy,
            Some(rule) if alone && first(rule) => Mode::First,
            _ if rules.iter().any(first) => Mode::Policy,
            _ => Mode::Collect,
        };
        let masks = if indexed { None } else { Masks::of(&rules).map(Arc::new) };
        RuleSet { rules, schema, limits, digest, index, namespaces, policy, masks, reused: 0 }
    }

    /// The rules that `keep` says, compiled as they are: the same ranks among themselves, the same namespaces.
    ///
    /// None of them may read a slot from `slots` on: columns are made for those before it.
    pub fn subset(&self, keep: impl Fn(&Rule) -> bool, slots: usize) -> RuleSet {
        let rules: Vec<Rule> = self.rules.iter().filter(|rule| keep(rule)).cloned().collect();
        // A digest of its own in memory: ranks differ, and what is active is kept by it.
        let digest = Arc::from(self.digest.as_ref());
        RuleSet::of(
            rules,
            self.schema.first(slots),
            self.limits.clone(),
            digest,
            Arc::clone(&self.namespaces),
        )
    }

    /// The namespaces that rules refer to.
    pub fn namespaces(&self) -> &[Namespace] {
        &self.namespaces
    }

    /// Rules in rank order: `rules()[index]` is the rule of a [`RuleIndex`].
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Rules whose conditions were taken over by [`RuleSet::compile_after`].
    pub fn reused(&self) -> usize {
        self.reused
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
        index::findings(&self.rules, &self.namespaces, &self.limits)
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
        let mut answer = Matches {
            ranks: std::mem::take(matches),
            ends: std::mem::take(&mut tally.ends),
            ..Matches::default()
        };
        answer.ends.clear();
        self.ask_index(index, columns, row..row + 1, now_ms, self.of_policy(mode), &mut answer, tally);
        tally.faults.clear();
        tally.faults.extend(answer.faults.iter().map(|(_, rank)| *rank));
        Matches { ranks: *matches, ends: tally.ends, .. } = answer;
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
        let Tally { hits, errors, active, faults, .. } = tally;
        faults.clear();
        let Some(active) = active else { return };
        let mode = self.of_policy(mode);
        let mut decided = Decided::default();
        let mut evaluation = Evaluation::new(Facts::Row { columns, row }, &self.limits);
        for (rank, rule) in self.rules.iter().enumerate() {
            if !active.has(rank) || mode == Mode::Policy && decided.has(rule) {
                continue;
            }
            let answer = evaluation.condition(&rule.program.root);
            match answer {
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
            if mode == Mode::Policy && self.decides(rule, answer.is_ok_and(|holds| holds), answer.is_err()) {
                if answer.is_err() {
                    faults.push(rank as RuleIndex);
                }
                decided.set(rule, &self.namespaces);
            }
        }
    }

    /// Whether a rule that holds, or has no value, counts where the first one decides.
    #[inline]
    pub(crate) fn decides(&self, rule: &Rule, holds: bool, fault: bool) -> bool {
        holds || fault && rule.source.on_error != OnError::Skip
    }

    /// What a mode comes to for this set.
    #[inline]
    pub(crate) fn of_policy(&self, mode: Mode) -> Mode {
        if mode == Mode::Policy {
            self.policy
        } else {
            mode
        }
    }

    /// For every rule, in rank order, what it says about one row and why. Lazily computed: this is the slow,
    /// talkative twin of [`RuleSet::evaluate`] and agrees with it in [`Mode::Policy`].
    pub fn explain(&self, columns: &Columns, row: usize, now_ms: i64) -> Vec<Verdict> {
        self.explain_facts(Facts::Row { columns, row }, now_ms, |_| true)
    }

    /// The same of any facts. Where the first match decides, only a rule that `speaks` can: the others were asked at
    /// another moment, or of something else.
    pub fn explain_facts(
        &self,
        facts: Facts<'_>,
        now_ms: i64,
        speaks: impl Fn(RuleIndex) -> bool,
    ) -> Vec<Verdict> {
        explain::explain(self, facts, now_ms, speaks)
    }
}

/// Namespaces of which it is known, for one order, which rule decides.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Decided(u128);

impl Decided {
    /// Whether this rule comes behind the one that decides.
    #[inline]
    pub(crate) fn has(self, rule: &Rule) -> bool {
        self.0 >> rule.source.namespace & 1 == 1
    }

    /// Notes a rule that counts, where the first one decides.
    #[inline]
    pub(crate) fn set(&mut self, rule: &Rule, namespaces: &[Namespace]) {
        let namespace = rule.source.namespace;
        let first = namespaces.get(namespace).is_some_and(|n| n.hit_policy == HitPolicy::First);
        self.0 |= u128::from(first) << namespace;
    }
}

/// Conditions of an earlier set that mean the same in this one.
struct Known<'a> {
    programs: HashMap<(&'a str, &'a str), &'a Arc<Program>>,
    /// Names of the namespaces of the set that is compiled.
    names: Vec<&'a str>,
    same_variables: bool,
}

impl<'a> Known<'a> {
    fn of(
        previous: Option<&'a RuleSet>,
        namespaces: &'a [Namespace],
        schema: &Schema,
        limits: &Limits,
    ) -> Known<'a> {
        let previous = previous.filter(|set| set.limits == *limits && set.schema == *schema);
        let variables = |n: &'a [Namespace]| n.iter().map(|n| (&n.name, &n.variables)).collect::<Vec<_>>();
        let same_variables = previous.is_some_and(|set| variables(&set.namespaces) == variables(namespaces));
        let of_rule = |set: &'a RuleSet, rule: &'a Rule| {
            let text = rule.source.condition.as_str();
            ((scope(&set.namespaces[rule.source.namespace].name, text), text), &rule.program)
        };
        let programs =
            previous.iter().flat_map(|set| set.rules.iter().map(|rule| of_rule(set, rule))).collect();
        Known { programs, names: namespaces.iter().map(|n| n.name.as_str()).collect(), same_variables }
    }

    fn program(&self, source: &RuleSource) -> Option<&'a Arc<Program>> {
        let text = source.condition.as_str();
        if text.contains(PREFIX) && !self.same_variables {
            return None;
        }
        let name = self.names.get(source.namespace)?;
        self.programs.get(&(scope(name, text), text)).copied()
    }
}

/// A condition without variables means the same in every namespace.
fn scope<'a>(namespace: &'a str, condition: &str) -> &'a str {
    if condition.contains(PREFIX) {
        namespace
    } else {
        ""
    }
}

/// The variables of each namespace; what is wrong with them is counted behind the rules.
fn defined(
    namespaces: &[Namespace],
    rules: usize,
    schema: &Schema,
    limits: &Limits,
    found: &mut Vec<Diagnostic>,
) -> Vec<Vec<Defined>> {
    let mut first = 0;
    let mut all = Vec::with_capacity(namespaces.len());
    for namespace in namespaces {
        match variables::define(&namespace.variables, first, schema, limits) {
            Ok(defined) => all.push(defined),
            Err(diagnostics) => {
                let place = |d: Diagnostic| Diagnostic { rule: d.rule.map(|at| rules + first + at), ..d };
                found.extend(diagnostics.into_iter().map(place));
                all.push(variables::unknown(&namespace.variables, first));
            }
        }
        first += namespace.variables.len();
    }
    all
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
    self::condition(condition, schema, &[], limits)
}

fn condition(
    condition: &str,
    schema: &Schema,
    variables: &[Defined],
    limits: &Limits,
) -> Result<Program, Vec<Diagnostic>> {
    let expr = parser::parse(condition, limits)?;
    let program = check::compile_with(&expr, condition, schema, variables, limits)?;
    if let Some(too_dear) = program.cost.refused(condition, limits) {
        return Err(vec![too_dear]);
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

fn check_envelope(
    source: &RuleSource,
    index: usize,
    namespaces: usize,
    limits: &Limits,
    found: &mut Vec<Diagnostic>,
) {
    if source.namespace >= namespaces {
        let message = format!("the rule's namespace {} is not there", source.namespace);
        found.push(about_rule(Code::BadRuleId, Some(index), message));
    }

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
