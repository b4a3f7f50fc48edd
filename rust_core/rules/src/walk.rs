//! Evaluation of the macros that walk a list or a map.
use std::sync::Arc;

use crate::ast::FoldKind;
use crate::eval::{at, fault, key_fault, Evaluation, Outcome};
use crate::program::{FaultKind, FoldNode, Node};
use crate::value::{Map, Value};

impl Evaluation<'_> {
    pub(crate) fn fold(&mut self, fold: &FoldNode, node: &Node) -> Outcome<Value> {
        let target = self.value(&fold.target)?;
        let mut made = Made::default();
        let mut found = 0usize;
        let mut first_fault = None;
        let level = self.locals.len();
        let count = match &target {
            Value::List(list) => list.len(),
            Value::Map(map) => map.len(),
            _ => return fault(FaultKind::NoOverload, node),
        };
        for position in 0..count {
            // Not absorbed by later elements: that is the point of a limit.
            self.charge(1, node)?;
            let Some((first, second)) = element_at(&target, position, fold.two) else { break };
            self.locals.push(Ok(first.clone()));
            self.locals.extend(second.map(Ok));
            let result = self.fold_step(fold, &first, &mut made);
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
            FoldKind::Map | FoldKind::Filter | FoldKind::TransformList => Value::List(made.list.into()),
            FoldKind::TransformMap | FoldKind::TransformMapEntry => Value::Map(Arc::new(made.map)),
        })
    }

    /// One element: the body's truth, or what the macro makes of it.
    fn fold_step(&mut self, fold: &FoldNode, first: &Value, made: &mut Made) -> Outcome<bool> {
        if matches!(fold.kind, FoldKind::All | FoldKind::Exists | FoldKind::ExistsOne) {
            return self.truth(&fold.body);
        }
        if fold.kind == FoldKind::Filter {
            let holds = self.truth(&fold.body)?;
            if holds {
                made.list.push(first.clone());
            }
            return Ok(holds);
        }
        if let Some(filter) = &fold.filter {
            if !self.truth(filter)? {
                return Ok(false);
            }
        }
        let value = self.value(&fold.body)?;
        let body = &fold.body;
        let duplicate = |problem| at(key_fault(problem), body);
        match (fold.kind, value) {
            (FoldKind::TransformMap, value) => made.map.insert(first.clone(), value).map_err(duplicate)?,
            (FoldKind::TransformMapEntry, Value::Map(entries)) => {
                for (key, value) in entries.entries() {
                    made.map.insert(key.clone(), value.clone()).map_err(duplicate)?;
                }
            }
            (FoldKind::TransformMapEntry, _) => return fault(FaultKind::NoOverload, body),
            (_, value) => made.list.push(value),
        }
        Ok(true)
    }
}

/// What a macro has made so far: a list or a map.
#[derive(Default)]
struct Made {
    list: Vec<Value>,
    map: Map,
}

/// What a macro's variables stand for at a position of a list or map.
fn element_at(target: &Value, position: usize, two: bool) -> Option<(Value, Option<Value>)> {
    match target {
        Value::List(list) if two => {
            list.get(position).map(|v| (Value::Int(position as i64), Some(v.clone())))
        }
        Value::List(list) => list.get(position).map(|v| (v.clone(), None)),
        Value::Map(map) => map.entries().get(position).map(|(k, v)| (k.clone(), two.then(|| v.clone()))),
        _ => None,
    }
}
