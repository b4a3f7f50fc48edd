//! Evaluation of a compiled condition on the facts of one order.
//!
//! CEL's logic has three values: true, false and fault. `&&` and `||` are commutative: a side that decides
//! wins over a fault on the other side, whichever comes first. Everything else passes its fault on.
//! Nothing here panics, and nothing runs longer than the limits allow.
use std::cmp::Ordering;
use std::sync::Arc;

use crate::ast::{BinaryOp, FoldKind};
use crate::columns::Columns;
use crate::convert;
use crate::limits::Limits;
use crate::program::{Fault, FaultKind, FoldNode, Function, Leaf, Node, Op, Test};
use crate::value::{KeyProblem, Map, Value};

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
    /// Values by slot; `None` is absent.
    Values(&'a [Option<Value>]),
}

impl<'a> Facts<'a> {
    fn is_present(self, slot: usize) -> bool {
        match self {
            Facts::Row { columns, row } => columns.is_present(slot, row),
            Facts::Values(values) => matches!(values.get(slot), Some(Some(_))),
        }
    }

    /// The value of a slot, if it is there.
    pub fn value(self, slot: usize) -> Option<Value> {
        let (columns, row) = match self {
            Facts::Row { columns, row } => (columns, row),
            Facts::Values(values) => return values.get(slot).cloned().flatten(),
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
        match self {
            Facts::Row { columns, row } => columns.int(slot, row).map_or(Found::Absent, Found::Here),
            Facts::Values(values) => match values.get(slot) {
                Some(Some(Value::Int(v))) => Found::Here(*v),
                other => Found::missing(other),
            },
        }
    }

    fn double(self, slot: usize) -> Found<f64> {
        match self {
            Facts::Row { columns, row } => columns.double(slot, row).map_or(Found::Absent, Found::Here),
            Facts::Values(values) => match values.get(slot) {
                Some(Some(Value::Double(v))) => Found::Here(*v),
                other => Found::missing(other),
            },
        }
    }

    fn bool(self, slot: usize) -> Found<bool> {
        match self {
            Facts::Row { columns, row } => columns.bool(slot, row).map_or(Found::Absent, Found::Here),
            Facts::Values(values) => match values.get(slot) {
                Some(Some(Value::Bool(v))) => Found::Here(*v),
                other => Found::missing(other),
            },
        }
    }

    #[inline]
    fn utf8(self, slot: usize) -> Found<&'a [u8]> {
        match self {
            Facts::Row { columns, row } => columns.utf8(slot, row).map_or(Found::Absent, Found::Here),
            Facts::Values(values) => match values.get(slot) {
                Some(Some(Value::Str(v))) => Found::Here(v.as_bytes()),
                other => Found::missing(other),
            },
        }
    }

    fn str(self, slot: usize) -> Found<&'a str> {
        match self {
            Facts::Row { columns, row } => columns.str(slot, row).map_or(Found::Absent, Found::Here),
            Facts::Values(values) => match values.get(slot) {
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

type Outcome<T> = Result<T, Fault>;

/// One evaluation: facts, macro variables, and the steps left.
pub(crate) struct Evaluation<'a> {
    facts: Facts<'a>,
    limits: &'a Limits,
    locals: Vec<Value>,
    steps: u32,
}

impl<'a> Evaluation<'a> {
    pub(crate) fn new(facts: Facts<'a>, limits: &'a Limits) -> Self {
        Self { facts, limits, locals: Vec::new(), steps: 0 }
    }

    /// The truth of a whole condition: steps are counted anew, so one evaluation serves many rules.
    #[inline]
    pub(crate) fn condition(&mut self, root: &Node) -> Outcome<bool> {
        self.steps = 0;
        self.truth(root)
    }

    /// The truth of a part of a condition.
    pub(crate) fn truth(&mut self, node: &Node) -> Outcome<bool> {
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
            Test::Str(op, wanted) => match self.facts.utf8(slot) {
                Found::Here(v) => Ok(match op {
                    BinaryOp::Eq => v == wanted.as_bytes(),
                    BinaryOp::Ne => v != wanted.as_bytes(),
                    _ => holds(*op, v.cmp(wanted.as_bytes())),
                }),
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
            Test::StrIn(all) => match self.facts.utf8(slot) {
                Found::Here(v) => Ok(all.binary_search_by(|probe| probe.as_bytes().cmp(v)).is_ok()),
                other => without(leaf, Some(BinaryOp::In), other),
            },
            Test::StartsWith(part) => self.text(leaf, |text| text.starts_with(part.as_ref())),
            Test::EndsWith(part) => self.text(leaf, |text| text.ends_with(part.as_ref())),
            Test::Contains(part) => self.text(leaf, |text| text.contains(part.as_ref())),
            Test::Matches(regex) => self.text(leaf, |text| regex.is_match(text)),
        }
    }

    fn text(&self, leaf: &Leaf, test: impl FnOnce(&str) -> bool) -> Result<bool, FaultKind> {
        match self.facts.str(leaf.slot) {
            Found::Here(v) => Ok(test(v)),
            other => without(leaf, None, other),
        }
    }

    /// The value of any node.
    pub(crate) fn value(&mut self, node: &Node) -> Outcome<Value> {
        Ok(match &node.op {
            Op::Const(value) => value.clone(),
            Op::Slot { slot, nullable } => match self.facts.value(*slot) {
                Some(value) => value,
                None if *nullable => Value::Null,
                None => return fault(FaultKind::Absent, node),
            },
            Op::Local(index) => match self.locals.get(*index) {
                Some(value) => value.clone(),
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
                binary(*op, &left, &right, self.limits).map_err(|kind| at(kind, node))?
            }
            Op::Index(sides) => {
                let (target, index) = (self.value(&sides[0])?, self.value(&sides[1])?);
                index_into(&target, &index).map_err(|kind| at(kind, node))?
            }
            Op::Select(target, field) => match self.value(target)? {
                Value::Map(map) => match map.get(&Value::Str(field.clone())) {
                    Some(value) => value.clone(),
                    None => return fault(FaultKind::NoSuchKey, node),
                },
                _ => return fault(FaultKind::NoOverload, node),
            },
            Op::Has(target, field) => match self.value(target)? {
                Value::Map(map) => Value::Bool(map.get(&Value::Str(field.clone())).is_some()),
                _ => return fault(FaultKind::NoOverload, node),
            },
            Op::Matches(text, regex) => match self.value(text)? {
                Value::Str(text) => Value::Bool(regex.is_match(&text)),
                _ => return fault(FaultKind::NoOverload, node),
            },
            Op::Call(function, args) => return self.call(*function, args, node),
            Op::List(elements) => {
                let values: Outcome<Vec<Value>> = elements.iter().map(|e| self.value(e)).collect();
                Value::List(values?.into())
            }
            Op::Map(entries) => {
                let mut map = Map::new();
                for (key, value) in entries {
                    let (key_value, value) = (self.value(key)?, self.value(value)?);
                    map.insert(key_value, value).map_err(|problem| at(key_fault(problem), key))?;
                }
                Value::Map(Arc::new(map))
            }
            Op::Fold(fold) => return self.fold(fold, node),
        })
    }

    fn call(&mut self, function: Function, args: &[Node], node: &Node) -> Outcome<Value> {
        let mut values = Vec::with_capacity(args.len());
        for arg in args {
            values.push(self.value(arg)?);
        }
        convert::call(function, &values).map_err(|kind| at(kind, node))
    }

    fn fold(&mut self, fold: &FoldNode, node: &Node) -> Outcome<Value> {
        let elements: Arc<[Value]> = match self.value(&fold.target)? {
            Value::List(list) => list,
            Value::Map(map) => map.entries().iter().map(|(key, _)| key.clone()).collect(),
            _ => return fault(FaultKind::NoOverload, node),
        };
        let mut made: Vec<Value> = Vec::new();
        let mut found = 0usize;
        let mut first_fault = None;
        let level = self.locals.len();
        for element in elements.iter() {
            self.steps += 1;
            if self.steps > self.limits.macro_steps_max {
                // Not absorbed by later elements: that is the point of a limit.
                return fault(FaultKind::TooManySteps, node);
            }
            self.locals.push(element.clone());
            let result = self.fold_step(fold, element, &mut made);
            self.locals.truncate(level);
            match (fold.kind, result) {
                (FoldKind::All, Ok(false)) => return Ok(Value::Bool(false)),
                (FoldKind::Exists, Ok(true)) => return Ok(Value::Bool(true)),
                (_, Ok(holds)) => found += usize::from(holds),
                (FoldKind::All | FoldKind::Exists, Err(f)) if f.kind != FaultKind::TooManySteps => {
                    first_fault = first_fault.or(Some(f));
                }
                (_, Err(f)) => return Err(f),
            }
        }
        if let Some(fault) = first_fault {
            return Err(fault);
        }
        Ok(match fold.kind {
            FoldKind::All => Value::Bool(true),
            FoldKind::Exists => Value::Bool(false),
            FoldKind::ExistsOne => Value::Bool(found == 1),
            FoldKind::Map | FoldKind::Filter => Value::List(made.into()),
        })
    }

    /// One element: the body's truth, or for `map` and `filter` what it adds.
    fn fold_step(&mut self, fold: &FoldNode, element: &Value, made: &mut Vec<Value>) -> Outcome<bool> {
        match fold.kind {
            FoldKind::All | FoldKind::Exists | FoldKind::ExistsOne => self.truth(&fold.body),
            FoldKind::Filter => {
                let holds = self.truth(&fold.body)?;
                if holds {
                    made.push(element.clone());
                }
                Ok(holds)
            }
            FoldKind::Map => {
                let holds = fold.filter.as_ref().map_or(Ok(true), |filter| self.truth(filter))?;
                if holds {
                    made.push(self.value(&fold.body)?);
                }
                Ok(holds)
            }
        }
    }
}

fn at(kind: FaultKind, node: &Node) -> Fault {
    Fault { kind, span: node.span }
}

fn fault<T>(kind: FaultKind, node: &Node) -> Outcome<T> {
    Err(at(kind, node))
}

fn key_fault(problem: KeyProblem) -> FaultKind {
    match problem {
        KeyProblem::Duplicate => FaultKind::DuplicateKey,
        KeyProblem::Type => FaultKind::BadKey,
    }
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

#[inline]
fn holds(op: BinaryOp, order: Ordering) -> bool {
    match op {
        BinaryOp::Eq => order == Ordering::Equal,
        BinaryOp::Ne => order != Ordering::Equal,
        BinaryOp::Lt => order == Ordering::Less,
        BinaryOp::Le => order != Ordering::Greater,
        BinaryOp::Gt => order == Ordering::Greater,
        BinaryOp::Ge => order != Ordering::Less,
        _ => false,
    }
}

/// Any two-sided operator on values.
pub(crate) fn binary(op: BinaryOp, left: &Value, right: &Value, limits: &Limits) -> Result<Value, FaultKind> {
    let mut steps = limits.macro_steps_max;
    match op {
        BinaryOp::Eq => equal(left, right, &mut steps).map(Value::Bool),
        BinaryOp::Ne => equal(left, right, &mut steps).map(|v| Value::Bool(!v)),
        BinaryOp::In => match right {
            Value::List(list) => {
                for element in list.iter() {
                    if equal(element, left, &mut steps)? {
                        return Ok(Value::Bool(true));
                    }
                }
                Ok(Value::Bool(false))
            }
            Value::Map(map) => Ok(Value::Bool(map.get(left).is_some())),
            _ => Err(FaultKind::NoOverload),
        },
        BinaryOp::Lt | BinaryOp::Le | BinaryOp::Gt | BinaryOp::Ge => {
            let order = left.compare(right).ok_or(FaultKind::NoOverload)?;
            Ok(Value::Bool(order.is_some_and(|o| holds(op, o))))
        }
        _ => arithmetic(op, left, right, limits),
    }
}

fn equal(left: &Value, right: &Value, steps: &mut u32) -> Result<bool, FaultKind> {
    left.equals_within(right, steps).ok_or(FaultKind::TooManySteps)
}

fn arithmetic(op: BinaryOp, left: &Value, right: &Value, limits: &Limits) -> Result<Value, FaultKind> {
    use BinaryOp::{Add, Div, Mod, Mul, Sub};
    match (left, right) {
        (Value::Int(a), Value::Int(b)) => {
            let result = match op {
                Add => a.checked_add(*b),
                Sub => a.checked_sub(*b),
                Mul => a.checked_mul(*b),
                Div if *b == 0 => return Err(FaultKind::DivideByZero),
                Mod if *b == 0 => return Err(FaultKind::ModulusByZero),
                Div => a.checked_div(*b),
                Mod => a.checked_rem(*b),
                _ => return Err(FaultKind::NoOverload),
            };
            result.map(Value::Int).ok_or(FaultKind::Overflow)
        }
        (Value::Uint(a), Value::Uint(b)) => {
            let result = match op {
                Add => a.checked_add(*b),
                Sub => a.checked_sub(*b),
                Mul => a.checked_mul(*b),
                Div if *b == 0 => return Err(FaultKind::DivideByZero),
                Mod if *b == 0 => return Err(FaultKind::ModulusByZero),
                Div => a.checked_div(*b),
                Mod => a.checked_rem(*b),
                _ => return Err(FaultKind::NoOverload),
            };
            result.map(Value::Uint).ok_or(FaultKind::Overflow)
        }
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(match op {
            Add => a + b,
            Sub => a - b,
            Mul => a * b,
            Div => a / b,
            _ => return Err(FaultKind::NoOverload),
        })),
        _ if op == Add => joined(left, right, limits),
        (Value::Timestamp(a), Value::Timestamp(b)) if op == Sub => {
            a.since(*b).map(Value::Duration).ok_or(FaultKind::Overflow)
        }
        (Value::Timestamp(a), Value::Duration(b)) if op == Sub => {
            b.checked_neg().and_then(|b| a.plus(b)).map(Value::Timestamp).ok_or(FaultKind::Overflow)
        }
        (Value::Duration(a), Value::Duration(b)) if op == Sub => {
            a.checked_sub(*b).map(Value::Duration).ok_or(FaultKind::Overflow)
        }
        _ => Err(FaultKind::NoOverload),
    }
}

/// `+` of everything that is not a number.
fn joined(left: &Value, right: &Value, limits: &Limits) -> Result<Value, FaultKind> {
    let fits =
        |a: usize, b: usize| if a + b <= limits.made_len_max { Ok(()) } else { Err(FaultKind::TooLong) };
    match (left, right) {
        (Value::Str(a), Value::Str(b)) => {
            fits(a.len(), b.len())?;
            Ok(Value::str(&[a.as_ref(), b.as_ref()].concat()))
        }
        (Value::Bytes(a), Value::Bytes(b)) => {
            fits(a.len(), b.len())?;
            Ok(Value::Bytes([a.as_ref(), b.as_ref()].concat().into()))
        }
        (Value::List(a), Value::List(b)) => {
            fits(a.len(), b.len())?;
            Ok(Value::List(a.iter().chain(b.iter()).cloned().collect()))
        }
        (Value::Duration(a), Value::Duration(b)) => {
            a.checked_add(*b).map(Value::Duration).ok_or(FaultKind::Overflow)
        }
        (Value::Timestamp(t), Value::Duration(d)) | (Value::Duration(d), Value::Timestamp(t)) => {
            t.plus(*d).map(Value::Timestamp).ok_or(FaultKind::Overflow)
        }
        _ => Err(FaultKind::NoOverload),
    }
}

fn index_into(target: &Value, index: &Value) -> Result<Value, FaultKind> {
    match target {
        Value::List(list) => {
            let position = match index {
                Value::Int(v) => usize::try_from(*v).ok(),
                Value::Uint(v) => usize::try_from(*v).ok(),
                Value::Double(v) if v.fract() == 0.0 && (0.0..9_007_199_254_740_992.0).contains(v) => {
                    Some(*v as usize)
                }
                Value::Double(_) => None,
                _ => return Err(FaultKind::NoOverload),
            };
            position.and_then(|p| list.get(p)).cloned().ok_or(FaultKind::IndexOutOfRange)
        }
        Value::Map(map) => map.get(index).cloned().ok_or(FaultKind::NoSuchKey),
        _ => Err(FaultKind::NoOverload),
    }
}
