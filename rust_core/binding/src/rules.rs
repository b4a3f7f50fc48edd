//! The rule engine for Python: rule sets compiled from plain tuples, diagnostics as plain tuples.
//!
//! Orders on the hot path never come through here: sibling modules take [`RuleSet::inner`] and fill columns
//! from the bytes of a request. What stands here serves loading, tests, previews and the command line.

mod language;
mod packed;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use cuptime_intake::phases::{level_of, Level, Phases};
use cuptime_rules as core;
use pyo3::create_exception;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyList};

use self::packed::{Packed, View};

create_exception!(
    cuptime._core,
    RuleCompileError,
    PyValueError,
    "Rules or a schema that do not compile; `diagnostics` says everything that is wrong, one tuple each: \
     (code, rule index or -1, byte offset, line, column, message, hint)."
);

/// Adds this room's classes to the module.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    let error = m.py().get_type::<RuleCompileError>();
    error.setattr("diagnostics", PyList::empty(m.py()))?;
    m.add("RuleCompileError", error)?;
    m.add_class::<RuleSet>()?;
    m.add_function(wrap_pyfunction!(canonical_condition, m)?)?;
    language::register(m)
}

/// (code, rule index or -1, byte offset, line, column, message, hint)
type DiagnosticTuple = (&'static str, i64, u32, u32, u32, String, String);

/// (id, name, position of its namespace, priority, enabled, valid_from_ms, valid_to_ms, condition, on_error,
/// [(kind, value) of an effect])
type RuleTuple =
    (String, String, usize, i32, bool, Option<i64>, Option<i64>, String, String, Vec<(String, String)>);

/// (name, hit policy, [(name, expression) of a variable])
type NamespaceTuple = (String, String, Vec<(String, String)>);

/// (rank, outcome, text, byte offset, found, wanted)
type VerdictTuple = (core::RuleIndex, &'static str, String, u32, String, String);

fn diagnostic_tuple(diagnostic: core::Diagnostic) -> DiagnosticTuple {
    let core::Diagnostic { code, rule, span, position, message, hint } = diagnostic;
    let rule = rule.map_or(-1, |rule| rule as i64);
    (code.as_str(), rule, span.start, position.line, position.column, message, hint)
}

fn compile_error(py: Python<'_>, diagnostics: Vec<core::Diagnostic>) -> PyErr {
    let first = diagnostics.first().map_or_else(String::new, ToString::to_string);
    let message = match diagnostics.len() {
        0 | 1 => first,
        more => format!("{first} (and {} more)", more - 1),
    };
    let error = RuleCompileError::new_err(message);
    let tuples: Vec<DiagnosticTuple> = diagnostics.into_iter().map(diagnostic_tuple).collect();
    match error.value(py).setattr("diagnostics", tuples) {
        Ok(()) => error,
        Err(other) => other,
    }
}

/// A compiled, immutable rule set; see `_core.pyi`.
#[pyclass(frozen, module = "cuptime._core")]
pub struct RuleSet {
    inner: Arc<core::RuleSet>,
    totals: Mutex<core::Tally>,
    phases: OnceLock<Arc<Phases>>,
}

impl RuleSet {
    /// The set, for modules that evaluate it in Rust.
    pub(crate) fn inner(&self) -> Arc<core::RuleSet> {
        Arc::clone(&self.inner)
    }

    /// The rules by the moments that ask them: made when first asked for, see `prepare`.
    pub(crate) fn phases(&self, py: Python<'_>) -> Arc<Phases> {
        if let Some(phases) = self.phases.get() {
            return Arc::clone(phases);
        }
        py.detach(|| Arc::clone(self.phases.get_or_init(|| Arc::new(Phases::of(&self.inner)))))
    }

    /// Adds the counters of a batch to the set's totals and leaves `tally` at zero.
    pub(crate) fn fold(&self, tally: &mut core::Tally) {
        self.totals().fold(tally);
    }

    /// Evaluates a batch and counts it.
    fn ask(&self, columns: &core::Columns, now_ms: i64, mode: core::Mode, matches: &mut core::Matches) {
        let mut tally = core::Tally::new(&self.inner);
        self.inner.evaluate_batch(columns, now_ms, mode, matches, &mut tally);
        self.fold(&mut tally);
    }

    fn totals(&self) -> MutexGuard<'_, core::Tally> {
        // Counters stay sound whatever happened to a thread that held them.
        self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fill(&self, columns: &mut core::Columns, row: &Bound<'_, PyDict>) -> PyResult<()> {
        for (name, value) in row {
            let name: String = name.extract()?;
            let slot = self
                .inner
                .schema()
                .slot(&name)
                .ok_or_else(|| PyValueError::new_err(format!("the schema has no {name:?}")))?;
            push(columns, slot, self.inner.schema().ty(slot), &value).map_err(|_| {
                PyTypeError::new_err(format!("{name} must be {}", self.inner.schema().ty(slot)))
            })?;
        }
        columns.end_row();
        Ok(())
    }
}

/// Puts a Python value into the open row; `None` is absent. The error's text is the caller's to say.
fn push(columns: &mut core::Columns, slot: usize, ty: &core::Type, value: &Bound<'_, PyAny>) -> PyResult<()> {
    if value.is_none() {
        return Ok(());
    }
    let wrong = || PyTypeError::new_err("wrong type");
    match core::SlotKind::of(ty).ok_or_else(wrong)? {
        core::SlotKind::Int if !value.is_instance_of::<PyBool>() => columns.push_int(slot, value.extract()?),
        core::SlotKind::Double if !value.is_instance_of::<PyBool>() => {
            columns.push_double(slot, value.extract()?)
        }
        core::SlotKind::Bool => columns.push_bool(slot, value.extract()?),
        core::SlotKind::Str => columns.push_str(slot, &value.extract::<String>()?),
        core::SlotKind::StrList => {
            let texts: Vec<String> = value.extract()?;
            columns.push_str_list(slot, texts.iter().map(String::as_str));
        }
        _ => return Err(wrong()),
    }
    Ok(())
}

#[pymethods]
impl RuleSet {
    #[staticmethod]
    #[pyo3(signature = (rules, schema, previous = None, namespaces = None))]
    fn compile(
        py: Python<'_>,
        rules: Vec<RuleTuple>,
        schema: Vec<(String, String)>,
        previous: Option<Py<RuleSet>>,
        namespaces: Option<Vec<NamespaceTuple>>,
    ) -> PyResult<RuleSet> {
        let names: Result<Vec<(String, core::Type)>, String> =
            schema.into_iter().map(|(name, ty)| core::Type::parse(&ty).map(|ty| (name, ty))).collect();
        let names = names.map_err(PyValueError::new_err)?;
        let sources: Vec<core::RuleSource> = rules.into_iter().map(rule_source).collect::<PyResult<_>>()?;
        let namespaces: Vec<core::Namespace> = match namespaces {
            Some(tuples) => tuples.into_iter().map(namespace).collect::<PyResult<_>>()?,
            None => vec![core::Namespace::default()],
        };
        let previous = previous.map(|set| set.get().inner());
        let compiled = py.detach(|| {
            let schema = core::Schema::checked(names)?.with_sizes(cuptime_intake::facts::size_of);
            let limits = core::Limits::default();
            core::RuleSet::compile_namespaces(previous.as_deref(), namespaces, sources, &schema, &limits)
        });
        let inner = Arc::new(compiled.map_err(|diagnostics| compile_error(py, diagnostics))?);
        let totals = Mutex::new(core::Tally::new(&inner));
        Ok(RuleSet { inner, totals, phases: OnceLock::new() })
    }

    fn __len__(&self) -> usize {
        self.inner.len()
    }

    /// (oddity, rank, rank of the earlier rule or -1), whatever the orders.
    fn findings(&self, py: Python<'_>) -> Vec<(&'static str, core::RuleIndex, i64)> {
        let found = py.detach(|| self.inner.findings());
        found.into_iter().map(|f| (oddity(f.oddity), f.rule, f.other.map_or(-1, i64::from))).collect()
    }

    /// Makes ready what the first order would have to wait for.
    fn prepare(&self, py: Python<'_>) {
        self.phases(py);
    }

    /// By rank what a rule is about: `order`, `rider`, `shop`, or `both` of the latter.
    fn levels(&self) -> Vec<&'static str> {
        let level = |rule| match level_of(&self.inner, rule) {
            Level::Order => "order",
            Level::Rider => "rider",
            Level::Shop => "shop",
            Level::Both => "both",
        };
        self.inner.rules().iter().map(level).collect()
    }

    /// Identifiers in rank order.
    fn rule_ids(&self) -> Vec<&str> {
        self.inner.rules().iter().map(|rule| rule.source().id.as_str()).collect()
    }

    /// For each rank, the rule's index in the list that was compiled.
    fn source_indices(&self) -> Vec<usize> {
        self.inner.rules().iter().map(core::Rule::source_index).collect()
    }

    /// Steps that each condition can take at most, in rank order.
    fn costs(&self) -> Vec<u64> {
        self.inner.rules().iter().map(core::Rule::cost_steps).collect()
    }

    #[getter]
    fn reused(&self) -> usize {
        self.inner.reused()
    }

    #[getter]
    fn digest(&self) -> &str {
        self.inner.digest()
    }

    /// For each row the ranks of the rules that match.
    fn evaluate(
        &self,
        py: Python<'_>,
        rows: Vec<Bound<'_, PyDict>>,
        now_ms: i64,
        mode: &str,
    ) -> PyResult<Vec<Vec<core::RuleIndex>>> {
        let mode = mode_of(mode)?;
        let mut columns = self.inner.columns();
        for row in &rows {
            self.fill(&mut columns, row)?;
        }
        Ok(py.detach(|| {
            let mut matches = core::Matches::default();
            self.ask(&columns, now_ms, mode, &mut matches);
            (0..matches.rows()).map(|row| matches.of(row).to_vec()).collect()
        }))
    }

    /// A whole batch by columns: (starts, ranks) as packed `u32`, the GIL released. With `scan` every active rule is
    /// asked in turn.
    #[pyo3(signature = (columns, rows, now_ms, mode, scan = false))]
    fn evaluate_columns<'py>(
        &self,
        py: Python<'py>,
        columns: &Bound<'py, PyDict>,
        rows: usize,
        now_ms: i64,
        mode: &str,
        scan: bool,
    ) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
        let mode = mode_of(mode)?;
        let mut batch = self.inner.columns();
        let packed: Vec<Packed<'py>> = columns
            .iter()
            .map(|(name, cells)| {
                Packed::read(&self.inner, &mut batch, &name.extract::<String>()?, cells, rows)
            })
            .collect::<PyResult<_>>()?;
        let views: Vec<(usize, View<'_>)> = packed.iter().map(|p| (p.slot, p.view())).collect();
        let (starts, ranks) = py.detach(|| {
            for row in 0..rows {
                for (slot, view) in &views {
                    view.push(&mut batch, *slot, row);
                }
                batch.end_row();
            }
            if scan {
                return packed::scanned(&self.inner, &batch, now_ms, mode);
            }
            let mut matches = core::Matches::default();
            self.ask(&batch, now_ms, mode, &mut matches);
            let ends = std::iter::once(0).chain(matches.ends().iter().copied());
            let starts: Vec<u8> = ends.flat_map(|end| (end as u32).to_ne_bytes()).collect();
            let ranks: Vec<u8> = matches.ranks().iter().flat_map(|rank| rank.to_ne_bytes()).collect();
            (starts, ranks)
        });
        Ok((PyBytes::new(py, &starts), PyBytes::new(py, &ranks)))
    }

    /// What every rule says about one row, in rank order.
    fn explain(&self, py: Python<'_>, row: Bound<'_, PyDict>, now_ms: i64) -> PyResult<Vec<VerdictTuple>> {
        let mut columns = self.inner.columns();
        self.fill(&mut columns, &row)?;
        let verdicts = py.detach(|| self.inner.explain(&columns, 0, now_ms));
        let id = |rank: core::RuleIndex| {
            self.inner.rules().get(rank as usize).map_or_else(String::new, |rule| rule.source().id.clone())
        };
        Ok(verdicts.into_iter().map(|verdict| verdict_tuple(verdict, &id)).collect())
    }

    /// (id, evaluated, hits, errors) in rank order, since the set was compiled.
    fn counters(&self) -> Vec<(&str, u64, u64, u64)> {
        let totals = self.totals();
        let counted = self.inner.rules().iter().zip(totals.rules());
        counted.map(|(rule, c)| (rule.source().id.as_str(), c.evaluated, c.hits, c.errors)).collect()
    }
}

fn oddity(oddity: core::Oddity) -> &'static str {
    match oddity {
        core::Oddity::NeverTrue => "never_true",
        core::Oddity::AlwaysFault => "always_fault",
        core::Oddity::AlwaysTrue => "always_true",
        core::Oddity::Duplicate => "duplicate",
        core::Oddity::Shadowed => "shadowed",
        core::Oddity::UnusedVariable => "unused_variable",
    }
}

fn mode_of(mode: &str) -> PyResult<core::Mode> {
    match mode {
        "first" => Ok(core::Mode::First),
        "collect" => Ok(core::Mode::Collect),
        "policy" => Ok(core::Mode::Policy),
        other => {
            let message = format!("mode must be 'first', 'collect' or 'policy', not {other:?}");
            Err(PyValueError::new_err(message))
        }
    }
}

fn rule_source(tuple: RuleTuple) -> PyResult<core::RuleSource> {
    let (id, name, namespace, priority, enabled, valid_from_ms, valid_to_ms, condition, on_error, effects) =
        tuple;
    let on_error = match on_error.as_str() {
        "skip" => core::OnError::Skip,
        "refuse" => core::OnError::Refuse,
        "fail" => core::OnError::Fail,
        other => {
            return Err(PyValueError::new_err(format!("on_error is skip, refuse or fail, not {other:?}")))
        }
    };
    let actions = effects.into_iter().map(|(kind, value)| core::Action { kind, value }).collect();
    Ok(core::RuleSource {
        id,
        name,
        namespace,
        priority,
        enabled,
        valid_from_ms,
        valid_to_ms,
        condition,
        on_error,
        actions,
    })
}

fn namespace((name, hit_policy, variables): NamespaceTuple) -> PyResult<core::Namespace> {
    let hit_policy = match hit_policy.as_str() {
        "collect" => core::HitPolicy::Collect,
        "first" => core::HitPolicy::First,
        "unique" => core::HitPolicy::Unique,
        other => {
            let message = format!("a hit policy is collect, first or unique, not {other:?}");
            return Err(PyValueError::new_err(message));
        }
    };
    let variable = |(name, expression)| core::Variable { name, expression };
    Ok(core::Namespace { name, hit_policy, variables: variables.into_iter().map(variable).collect() })
}

fn verdict_tuple(verdict: core::Verdict, id: &impl Fn(core::RuleIndex) -> String) -> VerdictTuple {
    let rank = verdict.rule;
    match verdict.outcome {
        core::Outcome::Matched => (rank, "matched", String::new(), 0, String::new(), String::new()),
        core::Outcome::NotMatched { leaf, span, value, wanted } => {
            (rank, "not_matched", leaf, span.start, value, wanted)
        }
        core::Outcome::Error { kind, message, span } => {
            (rank, "error", kind.to_string(), span.start, message, String::new())
        }
        core::Outcome::Inactive => (rank, "inactive", String::new(), 0, String::new(), String::new()),
        core::Outcome::Shadowed { by } => (rank, "shadowed", id(by), 0, String::new(), String::new()),
    }
}

/// A condition in its canonical text; see `_core.pyi`.
#[pyfunction]
fn canonical_condition(text: &str) -> Option<String> {
    core::canonical(text, &core::Limits::default())
}
