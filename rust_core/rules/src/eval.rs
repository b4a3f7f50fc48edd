//! Evaluation of a compiled condition on the facts of one order.
//!
//! CEL's logic has three values: true, false and fault. `&&` and `||` are commutative: a side that decides
//! wins over a fault on the other side, whichever comes first. Everything else passes its fault on.
//! Nothing here panics, and nothing runs longer than the limits allow.
use std::sync::Arc;

use crate::ast::BinaryOp;
use crate::columns::Columns;
use crate::convert;
use crate::limits::Limits;
use crate::operate::{binary, has, holds, index_into, index_optionally, select, select_optionally};
use crate::program::{Fault, FaultKind, Function, Leaf, Node, Op, Test};
use crate::value::{KeyProblem, Map, Value};
use crate::variables::VariableNode;

/// Where slots get their values from.
#[derive(Clone, Copy, Debug)]
pub enum Facts<'a> {
    /// One row of columns.
    Row {
        /// The columns.
        columns: &'a Columns,
        /// The row.
        row: usize,
    },
    /// Two rows of columns: slots before `split` are in the first, the others in the second.
    Pair {
        /// Columns and row of the first.
        order: (&'a Columns, usize),
        /// Columns and row of the second.
        other: (&'a Columns, usize),
        /// First slot of the second.
        split: usize,
    },
    /// Values by slot; `None` is absent.
    Values(&'a [Option<Value>]),
}

impl<'a> Facts<'a> {
    /// Where a slot's cell is, when facts are in columns.
    #[inline]
    fn cell(self, slot: usize) -> Result<(&'a Columns, usize), &'a [Option<Value>]> {
        match self {
            Facts::Row { columns, row } => Ok((columns, row)),
            Facts::Pair { order, other, split } => Ok(if slot < split { order } else { other }),
            Facts::Values(values) => Err(values),
        }
    }

    fn is_present(self, slot: usize) -> bool {
        match self.cell(slot) {
            Ok((columns, row)) => columns.is_present(slot, row),
            Err(values) => matches!(values.get(slot), Some(Some(_))),
        }
    }

    /// The value of a slot, if it is there.
    pub fn value(self, slot: usize) -> Option<Value> {
        let (columns, row) = match self.cell(slot) {
            Ok(cell) => cell,
            Err(values) => return values.get(slot).cloned().flatten(),
        };
        if let Some(v) = columns.int(slot, row) {
            return Some(Value::Int(v));
        }
        if let Some(v) = columns.str(slot, row) {
            return Some(Value::str(v));
        }
        if let Some(v) = columns.double(slot, row) {
            return Some(Value::Double(v));
        }
        if let Some(v) = columns.bool(slot, row) {
            return Some(Value::Bool(v));
        }
        let list = columns.str_list(slot, row)?;
        Some(Value::List(list.map(Value::str).collect()))
    }

    #[inline]
    fn int(self, slot: usize) -> Found<i64> {
        match self.cell(slot) {
            Ok((columns, row)) => columns.int(slot, row).map_or(Found::Absent, Found::Here),
            Err(values) => match values.get(slot) {
                Some(Some(Value::Int(v))) => Found::Here(*v),
                other => Found::missing(other),
            },
        }
    }

    fn double(self, slot: usize) -> Found<f64> {
        match self.cell(slot) {
            Ok((columns, row)) => columns.double(slot, row).map_or(Found::Absent, Found::Here),
            Err(values) => match values.get(slot) {
                Some(Some(Value::Double(v))) => Found::Here(*v),
                other => Found::missing(other),
            },
        }
    }

    fn bool(self, slot: usize) -> Found<bool> {
        match self.cell(slot) {
            Ok((columns, row)) => columns.bool(slot, row).map_or(Found::Absent, Found::Here),
            Err(values) => match values.get(slot) {
                Some(Some(Value::Bool(v))) => Found::Here(*v),
                other => Found::missing(other),
            },
        }
    }

    #[inline]
    fn str(self, slot: usize) -> Found<&'a str> {
        match self.cell(slot) {
            Ok((columns, row)) => columns.str(slot, row).map_or(Found::Absent, Found::Here),
            Err(values) => match values.get(slot) {
                Some(Some(Value::Str(v))) => Found::Here(v),
                other => Found::missing(other),
            },
        }
    }
}

/// What a typed look into a slot found.
enum Found<T> {
    Here(T),
    Absent,
    /// There, as null.
    Null,
    /// There, with a type the schema does not say. Only loose values can do that.
    Other,
}

impl<T> Found<T> {
    fn missing(value: Option<&Option<Value>>) -> Found<T> {
        match value {
            Some(Some(Value::Null)) => Found::Null,
            Some(Some(_)) => Found::Other,
            _ => Found::Absent,
        }
    }
}

pub(crate) type Outcome<T> = Result<T, Fault>;

/// One evaluation: facts, macro variables, and the steps left.
pub(crate) struct Evaluation<'a> {
    facts: Facts<'a>,
    pub(crate) limits: &'a Limits,
    /// A fault among them is had by whoever reads it: a value nobody reads cannot fail.
    pub(crate) locals: Vec<Outcome<Value>>,
    steps: u32,
    /// Parts evaluated; with the steps, what the evaluation cost.
    nodes: u64,
    /// Variables that were read already, by their index.
    variables: Vec<Option<Outcome<Value>>>,
}

impl<'a> Evaluation<'a> {
    pub(crate) fn new(facts: Facts<'a>, limits: &'a Limits) -> Self {
        Self { facts, limits, locals: Vec::new(), steps: 0, nodes: 0, variables: Vec::new() }
    }

    /// The truth of a whole condition: steps are counted anew, so one evaluation serves many rules.
    #[inline]
    pub(crate) fn condition(&mut self, root: &Node) -> Outcome<bool> {
        self.steps = 0;
        self.truth(root)
    }

    /// What was done so far: parts evaluated, and steps of macros, comparisons and functions.
    pub(crate) fn cost(&self) -> u64 {
        self.nodes + u64::from(self.steps)
    }

    /// The truth of a part of a condition.
    pub(crate) fn truth(&mut self, node: &Node) -> Outcome<bool> {
        self.nodes += 1;
        match &node.op {
            Op::Leaf(leaf) => self.leaf(leaf).map_err(|kind| Fault { kind, span: node.span }),
            Op::And(terms) => self.decide(terms, false),
            Op::Or(terms) => self.decide(terms, true),
            Op::Not(inner) => self.truth(inner).map(|v| !v),
            Op::Conditional(parts) => {
                let [condition, then, otherwise] = parts.as_ref();
                if self.truth(condition)? {
                    self.truth(then)
                } else {
                    self.truth(otherwise)
                }
            }
            Op::Present(slot) => Ok(self.facts.is_present(*slot)),
            Op::Const(Value::Bool(v)) => Ok(*v),
            _ => match self.value(node)? {
                Value::Bool(v) => Ok(v),
                _ => fault(FaultKind::NoOverload, node),
            },
        }
    }

    /// `&&` when `deciding` is false, `||` when it is true.
    fn decide(&mut self, terms: &[Node], deciding: bool) -> Outcome<bool> {
        let mut first_fault = None;
        for term in terms {
            let result = match &term.op {
                Op::Leaf(leaf) => self.leaf(leaf).map_err(|kind| at(kind, term)),
                _ => self.truth(term),
            };
            match result {
                Ok(v) if v == deciding => return Ok(deciding),
                Ok(_) => {}
                Err(fault) => first_fault = first_fault.or(Some(fault)),
            }
        }
        first_fault.map_or(Ok(!deciding), Err)
    }

    fn leaf(&self, leaf: &Leaf) -> Result<bool, FaultKind> {
        let slot = leaf.slot;
        match &leaf.test {
            Test::Int(op, wanted) => match self.facts.int(slot) {
                Found::Here(v) => Ok(holds(*op, v.cmp(wanted))),
                other => without(leaf, Some(*op), other),
            },
            Test::Double(op, wanted) => match self.facts.double(slot) {
                Found::Here(v) => Ok(v.partial_cmp(wanted).map_or(*op == BinaryOp::Ne, |o| holds(*op, o))),
                other => without(leaf, Some(*op), other),
            },
            Test::Bool(wanted) => match self.facts.bool(slot) {
                Found::Here(v) => Ok(v == *wanted),
                other => without(leaf, None, other),
            },
            Test::IntIn(all) => match self.facts.int(slot) {
                Found::Here(v) => Ok(all.binary_search(&v).is_ok()),
                other => without(leaf, Some(BinaryOp::In), other),
            },
            test => match self.facts.str(slot) {
                Found::Here(v) => Ok(test.holds_of(v)),
                other => without(leaf, test.relation(), other),
            },
        }
    }

    /// The value of any node.
    pub(crate) fn value(&mut self, node: &Node) -> Outcome<Value> {
        self.nodes += 1;
        Ok(match &node.op {
            Op::Const(value) => value.clone(),
            Op::Slot { slot, nullable } => match self.facts.value(*slot) {
                Some(value) => value,
                None if *nullable => Value::Null,
                None => return fault(FaultKind::Absent, node),
            },
            Op::Local(index) => match self.locals.get(*index) {
                Some(value) => return value.clone(),
                None => return fault(FaultKind::UnknownName, node),
            },
            Op::Fail(kind) => return fault(*kind, node),
            Op::Present(_) | Op::Leaf(_) | Op::And(_) | Op::Or(_) | Op::Not(_) => {
                Value::Bool(self.truth(node)?)
            }
            Op::Negate(inner) => match self.value(inner)? {
                Value::Int(v) => Value::Int(v.checked_neg().ok_or(at(FaultKind::Overflow, node))?),
                Value::Double(v) => Value::Double(-v),
                _ => return fault(FaultKind::NoOverload, node),
            },
            Op::Conditional(parts) => {
                let [condition, then, otherwise] = parts.as_ref();
                return if self.truth(condition)? { self.value(then) } else { self.value(otherwise) };
            }
            Op::Binary(op, sides) => {
                let (left, right) = (self.value(&sides[0])?, self.value(&sides[1])?);
                self.within_steps(node, |limits, steps| binary(*op, &left, &right, limits, steps))?
            }
            Op::Index(sides) => {
                let (target, index) = (self.value(&sides[0])?, self.value(&sides[1])?);
                index_into(&target, &index).map_err(|kind| at(kind, node))?
            }
            Op::Select(target, field) => {
                select(&self.value(target)?, field).map_err(|kind| at(kind, node))?
            }
            Op::OptSelect(target, field) => {
                select_optionally(&self.value(target)?, field).map_err(|kind| at(kind, node))?
            }
            Op::OptIndex(sides) => {
                let (target, index) = (self.value(&sides[0])?, self.value(&sides[1])?);
                index_optionally(&target, &index).map_err(|kind| at(kind, node))?
            }
            Op::Has(target, field) => {
                Value::Bool(has(&self.value(target)?, field).map_err(|kind| at(kind, node))?)
            }
            Op::Matches(text, regex) => match self.value(text)? {
                Value::Str(text) => Value::Bool(regex.is_match(&text)),
                _ => return fault(FaultKind::NoOverload, node),
            },
            Op::Call(function, args) => return self.call(*function, args, node),
            Op::List(elements) => {
                let mut list = Vec::with_capacity(elements.len());
                for element in elements {
                    list.extend(self.element(element)?);
                }
                Value::List(list.into())
            }
            Op::Map(entries) => return self.map(entries),
            Op::Maybe(inner) => return self.value(inner),
            Op::Bind(parts) => {
                let init = self.local(&parts[0])?;
                return self.within([init], &parts[1]);
            }
            Op::Block(values, body) => return self.block(values, body),
            Op::OptMap(parts, flat) => return self.opt_map(parts, *flat, node),
            Op::OrElse(parts, unwrap) => return self.or_else(parts, *unwrap, node),
            // Its place is where it is named: its own text is not that of the condition.
            Op::Variable(variable) => return self.variable(variable).map_err(|fault| at(fault.kind, node)),
            Op::Fold(fold) => return self.fold(fold, node),
        })
    }

    fn map(&mut self, entries: &[(Node, Node)]) -> Outcome<Value> {
        let mut map = Map::new();
        for (key, value) in entries {
            let (key_value, mut value_here) = (self.value(key)?, self.value(value)?);
            if matches!(key.op, Op::Maybe(_)) {
                match value_here {
                    Value::Optional(Some(inner)) => value_here = Value::clone(&inner),
                    Value::Optional(None) => continue,
                    _ => return fault(FaultKind::NoOverload, value),
                }
            }
            map.insert(key_value, value_here).map_err(|problem| at(key_fault(problem), key))?;
        }
        Ok(Value::Map(Arc::new(map)))
    }

    /// An element of a list literal; `None` when it is an optional one that is missing.
    fn element(&mut self, node: &Node) -> Outcome<Option<Value>> {
        let Op::Maybe(inner) = &node.op else { return self.value(node).map(Some) };
        match self.value(inner)? {
            Value::Optional(inner) => Ok(inner.map(|v| Value::clone(&v))),
            _ => fault(FaultKind::NoOverload, node),
        }
    }

    /// A value to be read later: its fault is kept, except the one that says to stop.
    fn local(&mut self, node: &Node) -> Outcome<Outcome<Value>> {
        match self.value(node) {
            Err(fault) if fault.kind == FaultKind::TooManySteps => Err(fault),
            other => Ok(other),
        }
    }

    /// The value of a variable, evaluated when it is read for the first time. Its steps are its own.
    fn variable(&mut self, variable: &VariableNode) -> Outcome<Value> {
        if let Some(Some(known)) = self.variables.get(variable.index) {
            return known.clone();
        }
        let (locals, steps) = (std::mem::take(&mut self.locals), std::mem::take(&mut self.steps));
        let value = self.value(&variable.root);
        (self.locals, self.steps) = (locals, steps);
        if self.variables.len() <= variable.index {
            self.variables.resize(variable.index + 1, None);
        }
        self.variables[variable.index] = Some(value.clone());
        value
    }

    /// The body with more locals.
    fn within<const N: usize>(&mut self, more: [Outcome<Value>; N], body: &Node) -> Outcome<Value> {
        let level = self.locals.len();
        self.locals.extend(more);
        let result = self.value(body);
        self.locals.truncate(level);
        result
    }

    fn block(&mut self, values: &[Node], body: &Node) -> Outcome<Value> {
        let level = self.locals.len();
        for value in values {
            let value = self.local(value)?;
            self.locals.push(value);
        }
        let result = self.value(body);
        self.locals.truncate(level);
        result
    }

    fn opt_map(&mut self, parts: &[Node; 2], flat: bool, node: &Node) -> Outcome<Value> {
        let inner = match self.value(&parts[0])? {
            Value::Optional(Some(inner)) => Value::clone(&inner),
            Value::Optional(None) => return Ok(Value::NONE),
            _ => return fault(FaultKind::NoOverload, node),
        };
        match self.within([Ok(inner)], &parts[1])? {
            value @ Value::Optional(_) if flat => Ok(value),
            _ if flat => fault(FaultKind::NoOverload, node),
            value => Ok(Value::some(value)),
        }
    }

    fn or_else(&mut self, parts: &[Node; 2], unwrap: bool, node: &Node) -> Outcome<Value> {
        match self.value(&parts[0])? {
            Value::Optional(Some(inner)) if unwrap => Ok(Value::clone(&inner)),
            value @ Value::Optional(Some(_)) => Ok(value),
            Value::Optional(None) => match self.value(&parts[1])? {
                value if unwrap || matches!(value, Value::Optional(_)) => Ok(value),
                _ => fault(FaultKind::NoOverload, node),
            },
            _ => fault(FaultKind::NoOverload, node),
        }
    }

    fn call(&mut self, function: Function, args: &[Node], node: &Node) -> Outcome<Value> {
        let mut values = Vec::with_capacity(args.len());
        for arg in args {
            values.push(self.value(arg)?);
        }
        // What is long takes its time; without a charge, a macro could repeat it.
        let length: usize = values.iter().map(length).sum();
        let compile = if function == Function::Matches { REGEX_COMPILE_STEPS } else { 0 };
        self.charge(compile + (length / BYTES_PER_STEP) as u32, node)?;
        self.within_steps(node, |limits, steps| convert::call(function, &values, limits, steps))
    }

    /// Does something that takes from the steps left, and counts what it took.
    fn within_steps(
        &mut self,
        node: &Node,
        work: impl FnOnce(&Limits, &mut u32) -> Result<Value, FaultKind>,
    ) -> Outcome<Value> {
        let before = self.limits.macro_steps_max.saturating_sub(self.steps);
        let mut left = before;
        let result = work(self.limits, &mut left);
        self.steps += before - left;
        result.map_err(|kind| at(kind, node))
    }

    pub(crate) fn charge(&mut self, steps: u32, node: &Node) -> Outcome<()> {
        self.steps = self.steps.saturating_add(steps);
        if self.steps > self.limits.macro_steps_max {
            return fault(FaultKind::TooManySteps, node);
        }
        Ok(())
    }
}

/// Bytes of arguments that count as one step of a macro.
pub(crate) const BYTES_PER_STEP: usize = 64;
/// Steps that the compilation of a regular expression counts as.
pub(crate) const REGEX_COMPILE_STEPS: u32 = 1_000;
/// Bytes that an element of a list counts as.
pub(crate) const BYTES_PER_ELEMENT: usize = 16;

/// Roughly how much there is to read of a value.
fn length(value: &Value) -> usize {
    match value {
        Value::Str(v) => v.len(),
        Value::Bytes(v) => v.len(),
        Value::List(v) => v.len() * BYTES_PER_ELEMENT,
        _ => 0,
    }
}

pub(crate) fn at(kind: FaultKind, node: &Node) -> Fault {
    Fault { kind, span: node.span }
}

pub(crate) fn fault<T>(kind: FaultKind, node: &Node) -> Outcome<T> {
    Err(at(kind, node))
}

pub(crate) fn key_fault(problem: KeyProblem) -> FaultKind {
    match problem {
        KeyProblem::Duplicate => FaultKind::DuplicateKey,
        KeyProblem::Type => FaultKind::BadKey,
    }
}

/// What a leaf says of a slot that is absent.
pub(crate) fn leaf_without_value(leaf: &Leaf) -> Result<bool, FaultKind> {
    without(leaf, leaf.test.relation(), Found::<()>::Absent)
}

/// A leaf whose slot has no value of its type: null equals no literal and has no order.
fn without<T>(leaf: &Leaf, op: Option<BinaryOp>, found: Found<T>) -> Result<bool, FaultKind> {
    let is_null = matches!(found, Found::Null) || (leaf.nullable && matches!(found, Found::Absent));
    match op {
        _ if !is_null && matches!(found, Found::Absent) => Err(FaultKind::Absent),
        Some(BinaryOp::Eq | BinaryOp::In) => Ok(false),
        Some(BinaryOp::Ne) => Ok(true),
        _ => Err(FaultKind::NoOverload),
    }
}
