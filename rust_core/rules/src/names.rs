//! What a name in a condition means.
//!
//! A macro's variable first, then the longest dotted name, looked up from the container outwards, as the CEL
//! language definition says.
use std::sync::Arc;

use crate::ast::{Expr, ExprKind};
use crate::check::{Checker, Typed};
use crate::diagnostic::{did_you_mean, Code, Span};
use crate::library::{inside_optional, optional};
use crate::program::{FaultKind, Node, Op};
use crate::schema::Type;
use crate::value::Value;

/// Names that are types.
const TYPE_NAMES: &[&str] = &[
    "bool",
    "int",
    "uint",
    "double",
    "string",
    "bytes",
    "list",
    "map",
    "null_type",
    "type",
    "google.protobuf.Timestamp",
    "google.protobuf.Duration",
    crate::library::OPTIONAL,
    crate::library::IP,
    crate::library::CIDR,
];

/// What a dotted name turned out to be.
enum Qualified {
    Known(Typed),
    /// A shorter prefix is known, or a macro's variable: the rest are fields of it.
    Composite,
    Unknown,
}

impl Checker<'_> {
    pub(crate) fn local(&self, name: &str) -> Option<(usize, Type)> {
        let at = self.scope.iter().rposition(|(n, _)| n == name)?;
        Some((at, self.scope[at].1.clone()))
    }

    /// `name` as seen from the container: `a.b.name`, `a.name`, `name`; only `name` after a leading dot.
    pub(crate) fn candidates(&self, name: &str) -> Vec<String> {
        if let Some(root) = name.strip_prefix('.') {
            return vec![root.to_string()];
        }
        let mut container = self.options.container;
        let mut out = Vec::new();
        while !container.is_empty() {
            out.push(format!("{container}.{name}"));
            container = container.rfind('.').map_or("", |dot| &container[..dot]);
        }
        out.push(name.to_string());
        out
    }

    /// A variable or a type of this (possibly dotted) name.
    pub(crate) fn global(&self, name: &str, span: Span) -> Option<Typed> {
        self.candidates(name).iter().find_map(|candidate| {
            if let Some(slot) = self.schema.slot(candidate) {
                let ty = self.schema.ty(slot).clone();
                let nullable = matches!(ty, Type::Nullable(_));
                return Some((Node::new(Op::Slot { slot, nullable }, span), ty));
            }
            if let Some(variable) = self.variables.iter().find(|v| v.name == *candidate) {
                return Some((variable.named_at(span), variable.ty.clone()));
            }
            TYPE_NAMES.contains(&candidate.as_str()).then(|| {
                let value = Value::Type(Arc::from(candidate.as_str()));
                (Node::new(Op::Const(value), span), Type::Type)
            })
        })
    }

    pub(crate) fn ident(&mut self, name: &str, span: Span) -> Typed {
        if let Some((index, ty)) = self.local(name) {
            return (Node::new(Op::Local(index), span), ty);
        }
        match self.global(name, span) {
            Some((node, ty)) => (self.finish(node.op, span), ty),
            None => self.unknown_name(name, span),
        }
    }

    fn unknown_name(&mut self, name: &str, span: Span) -> Typed {
        let name = name.trim_start_matches('.');
        let hint = if self.schema.is_prefix(name) {
            let fields: Vec<&str> =
                self.schema.iter().map(|(n, _)| n).filter(|n| n.starts_with(name)).take(8).collect();
            format!("it has fields: {}", fields.join(", "))
        } else {
            let locals = self.scope.iter().map(|(n, _)| n.as_str());
            let variables = self.variables.iter().map(|v| v.name.as_str());
            let near = self.schema.suggest(name).or_else(|| did_you_mean(name, locals.chain(variables)));
            near.map_or_else(String::new, |near| format!("did you mean {near}?"))
        };
        let message = format!("nothing is called {name}");
        self.wrong(Code::UnknownName, FaultKind::UnknownName, span, message, hint)
    }

    /// What `target.field` names when it is one dotted name: a slot, a type, or nothing at all.
    fn qualified(&mut self, name: &str, span: Span) -> Qualified {
        let root = name.split('.').next().unwrap_or("");
        if self.local(root).is_some() {
            return Qualified::Composite;
        }
        if let Some(typed) = self.global(name, span) {
            return Qualified::Known(typed);
        }
        let mut prefix = name;
        while let Some(dot) = prefix.rfind('.').filter(|dot| *dot > 0) {
            prefix = &prefix[..dot];
            if self.global(prefix, span).is_some() {
                return Qualified::Composite;
            }
        }
        Qualified::Unknown
    }

    pub(crate) fn select(&mut self, expr: &Expr, target: &Expr, field: &str) -> Typed {
        if let Some(name) = dotted(expr) {
            match self.qualified(&name, expr.span) {
                Qualified::Known((node, ty)) => return (self.finish(node.op, expr.span), ty),
                Qualified::Unknown => return self.unknown_name(&name, expr.span),
                Qualified::Composite => {}
            }
        }
        let (node, ty) = self.expr(target);
        let resolved = self.unifier.resolve(&ty);
        let field_ty = match inside_optional(&resolved) {
            Some(inner) => optional(self.field_type(inner, field, target)),
            None => self.field_type(&resolved, field, target),
        };
        (self.finish(Op::Select(Box::new(node), Arc::from(field)), expr.span), field_ty)
    }

    pub(crate) fn has(&mut self, expr: &Expr, target: &Expr, field: &str) -> Typed {
        if let Some(name) = dotted(target).map(|name| format!("{name}.{field}")) {
            match self.qualified(&name, expr.span) {
                Qualified::Known((Node { op: Op::Slot { slot, .. }, .. }, _)) => {
                    return (Node::new(Op::Present(slot), expr.span), Type::Bool);
                }
                Qualified::Known(_) | Qualified::Composite => {}
                Qualified::Unknown => return self.unknown_name(&name, expr.span),
            }
        }
        let (node, ty) = self.expr(target);
        let resolved = self.unifier.resolve(&ty);
        self.field_type(inside_optional(&resolved).unwrap_or(&resolved), field, target);
        (self.finish(Op::Has(Box::new(node), Arc::from(field)), expr.span), Type::Bool)
    }

    /// The type of `target.field`; reports when the target has no fields.
    pub(crate) fn field_type(&mut self, ty: &Type, field: &str, target: &Expr) -> Type {
        match self.unifier.resolve(ty) {
            Type::Map(key, value) => {
                self.want(&key, &Type::String, target.span, "the key of a map that is read with a dot");
                *value
            }
            Type::Dyn | Type::Var(_) => Type::Dyn,
            other => {
                let message = format!("{} has no field {field}", self.unifier.settle(&other));
                self.wrong(Code::TypeMismatch, FaultKind::NoOverload, target.span, message, String::new()).1
            }
        }
    }
}

/// The expression as one dotted name, if it is nothing but names and dots.
pub(crate) fn dotted(expr: &Expr) -> Option<String> {
    match &expr.kind {
        ExprKind::Ident(name) => Some(name.clone()),
        ExprKind::Select { target, field } => {
            let mut name = dotted(target)?;
            name.push('.');
            name.push_str(field);
            Some(name)
        }
        _ => None,
    }
}
