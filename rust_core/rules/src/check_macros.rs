//! Checking of what brings names of its own (macros over lists and maps, bindings, blocks), of optionals, and of
//! the well-known messages.
use std::sync::Arc;

use crate::ast::{Bind, Expr, Fold, FoldKind};
use crate::check::{Checker, Typed};
use crate::diagnostic::{Code, Span};
use crate::library::{inside_optional, optional};
use crate::program::{FaultKind, FoldNode, Function, Node, Op, Wrapper};
use crate::schema::Type;
use crate::value::Value;

impl Checker<'_> {
    pub(crate) fn fold(&mut self, fold: &Fold, span: Span) -> Typed {
        if self.folds >= self.limits.macro_depth_max {
            let message = format!("macros nest deeper than {}", self.limits.macro_depth_max);
            self.found.add(Code::LimitDepth, span, message, String::new());
            return (Node::new(Op::Fail(FaultKind::Unsupported), span), Type::Dyn);
        }
        let (target, target_ty) = self.expr(&fold.target);
        let (first_ty, second_ty) = self.walked(&target_ty, fold);
        let level = self.scope.len();
        self.scope.push((fold.var.clone(), first_ty.clone()));
        if let Some(second) = &fold.second {
            self.scope.push((second.clone(), second_ty));
        }
        self.folds += 1;
        let name = fold.kind.name();
        let filter = fold.filter.as_ref().map(|filter| {
            let (node, ty) = self.expr(filter);
            self.want(&ty, &Type::Bool, filter.span, &format!("the condition of {name}()"));
            node
        });
        let (body, body_ty) = self.expr(&fold.body);
        self.folds -= 1;
        self.scope.truncate(level);
        let ty = match fold.kind {
            FoldKind::Map | FoldKind::TransformList => Type::list(body_ty),
            FoldKind::TransformMap => Type::map(first_ty, body_ty),
            FoldKind::TransformMapEntry => {
                let any = Type::map(Type::Dyn, Type::Dyn);
                self.want(&body_ty, &any, fold.body.span, "what transformMapEntry() makes");
                self.unifier.resolve(&body_ty)
            }
            FoldKind::All | FoldKind::Exists | FoldKind::ExistsOne | FoldKind::Filter => {
                let what = format!("the condition of {name}()");
                self.want(&body_ty, &Type::Bool, fold.body.span, &what);
                if fold.kind == FoldKind::Filter {
                    Type::list(first_ty)
                } else {
                    Type::Bool
                }
            }
        };
        let node = FoldNode { kind: fold.kind, two: fold.second.is_some(), target, filter, body };
        (Node::new(Op::Fold(Box::new(node)), span), ty)
    }

    /// The types of a macro's variables over a target of this type.
    fn walked(&mut self, target_ty: &Type, fold: &Fold) -> (Type, Type) {
        match self.unifier.resolve(target_ty) {
            Type::List(element) if fold.second.is_some() => (Type::Int, *element),
            Type::List(element) => (*element, Type::Dyn),
            Type::Map(key, value) => (*key, *value),
            Type::Dyn => (Type::Dyn, Type::Dyn),
            variable @ Type::Var(_) => {
                self.unifier.agree(&variable, &Type::Dyn);
                (Type::Dyn, Type::Dyn)
            }
            other => {
                let message = format!("{}() walks a list or a map, not {other}", fold.kind.name());
                let span = fold.target.span;
                self.wrong(Code::TypeMismatch, FaultKind::NoOverload, span, message, String::new());
                (Type::Dyn, Type::Dyn)
            }
        }
    }

    /// The body with one more name.
    fn inside(&mut self, var: &str, ty: Type, body: &Expr) -> Typed {
        self.scope.push((var.to_string(), ty));
        let typed = self.expr(body);
        self.scope.pop();
        typed
    }

    pub(crate) fn bind(&mut self, bind: &Bind, span: Span) -> Typed {
        let (init, init_ty) = self.expr(&bind.init);
        let (body, body_ty) = self.inside(&bind.var, init_ty, &bind.body);
        (Node::new(Op::Bind(Box::new([init, body])), span), body_ty)
    }

    pub(crate) fn block(&mut self, values: &[Expr], body: &Expr, span: Span) -> Typed {
        let level = self.scope.len();
        let mut nodes = Vec::with_capacity(values.len());
        for (number, value) in values.iter().enumerate() {
            let (node, ty) = self.expr(value);
            nodes.push(node);
            self.scope.push((format!("@index:{number}"), ty));
        }
        let (body, body_ty) = self.expr(body);
        self.scope.truncate(level);
        (Node::new(Op::Block(nodes, Box::new(body)), span), body_ty)
    }

    // ---- optionals

    /// The type inside an optional; reports when it is none.
    pub(crate) fn unwrapped(&mut self, ty: &Type, span: Span) -> Type {
        let inner = self.unifier.fresh();
        self.want(ty, &optional(inner.clone()), span, "what stands behind ?");
        self.unifier.resolve(&inner)
    }

    pub(crate) fn opt_map(&mut self, bind: &Bind, flat: bool, span: Span) -> Typed {
        let (target, target_ty) = self.expr(&bind.init);
        let inner = self.unwrapped(&target_ty, bind.init.span);
        let (body, body_ty) = self.inside(&bind.var, inner, &bind.body);
        let ty = if flat {
            let inner = self.unifier.fresh();
            let wanted = optional(inner);
            self.want(&body_ty, &wanted, bind.body.span, "what optFlatMap() makes");
            self.unifier.resolve(&wanted)
        } else {
            optional(body_ty)
        };
        (Node::new(Op::OptMap(Box::new([target, body]), flat), span), ty)
    }

    pub(crate) fn opt_select(&mut self, target: &Expr, field: &str, span: Span) -> Typed {
        let (node, ty) = self.expr(target);
        let resolved = self.unifier.resolve(&ty);
        let ty = inside_optional(&resolved).cloned().unwrap_or(resolved);
        let field_ty = self.field_type(&ty, field, target);
        let node = self.finish(Op::OptSelect(Box::new(node), Arc::from(field)), span);
        (node, optional(field_ty))
    }

    /// `a.or(b)` and `a.orValue(b)`: `b` is evaluated only when `a` is missing.
    pub(crate) fn or_else(&mut self, nodes: Vec<Node>, unwrap: bool, ty: Type, span: Span) -> Typed {
        match <[Node; 2]>::try_from(nodes) {
            Ok(parts) => (Node::new(Op::OrElse(Box::new(parts), unwrap), span), ty),
            Err(_) => (Node::new(Op::Fail(FaultKind::NoOverload), span), Type::Dyn),
        }
    }

    // ---- messages

    /// `google.protobuf.Int64Value{value: 1}` and the other well-known messages that are plain values.
    pub(crate) fn message(&mut self, name: &str, fields: &[(String, Expr)], span: Span) -> Typed {
        let known = self.candidates(name).into_iter().find_map(|candidate| {
            let short = candidate.strip_prefix("google.protobuf.")?;
            WRAPPERS.iter().find(|(message, ..)| *message == short)
        });
        let Some((_, wrapper, ty, zero)) = known else {
            return self.unsupported(span, &format!("the message {name} is"));
        };
        let [field] = fields else {
            if fields.is_empty() {
                return (Node::new(Op::Const(zero.value()), span), ty.clone());
            }
            let message = format!("{name} has one field, value");
            return self.wrong(Code::BadMacro, FaultKind::NoOverload, span, message, String::new());
        };
        let (node, value_ty) = self.expr(&field.1);
        let Some(wrapper) = wrapper.filter(|_| field.0 == "value") else {
            return self.unsupported(span, &format!("the field {} of {name} is", field.0));
        };
        self.want(&value_ty, ty, field.1.span, "the value");
        if matches!(self.unifier.resolve(&value_ty), Type::Null) {
            return (node, ty.clone());
        }
        (self.finish(Op::Call(Function::Wrap(wrapper), vec![node]), span), ty.clone())
    }
}

/// What an empty message stands for.
#[derive(Clone, Copy)]
enum Zero {
    Null,
    Bool,
    Int,
    Uint,
    Double,
    Str,
    Bytes,
    List,
    Map,
    Duration,
}

impl Zero {
    fn value(self) -> Value {
        match self {
            Zero::Null => Value::Null,
            Zero::Bool => Value::Bool(false),
            Zero::Int => Value::Int(0),
            Zero::Uint => Value::Uint(0),
            Zero::Double => Value::Double(0.0),
            Zero::Str => Value::str(""),
            Zero::Bytes => Value::Bytes(Arc::from([])),
            Zero::List => Value::List(Arc::from([])),
            Zero::Map => Value::Map(Arc::default()),
            Zero::Duration => Value::Duration(0),
        }
    }
}

type Known = (&'static str, Option<Wrapper>, Type, Zero);

static WRAPPERS: std::sync::LazyLock<Vec<Known>> = std::sync::LazyLock::new(|| {
    let wrapper = |name, wrapper, ty, zero| (name, Some(wrapper), Type::nullable(ty), zero);
    vec![
        wrapper("BoolValue", Wrapper::Bool, Type::Bool, Zero::Bool),
        wrapper("Int32Value", Wrapper::Int32, Type::Int, Zero::Int),
        wrapper("Int64Value", Wrapper::Int64, Type::Int, Zero::Int),
        wrapper("UInt32Value", Wrapper::Uint32, Type::Uint, Zero::Uint),
        wrapper("UInt64Value", Wrapper::Uint64, Type::Uint, Zero::Uint),
        wrapper("FloatValue", Wrapper::Float, Type::Double, Zero::Double),
        wrapper("DoubleValue", Wrapper::Double, Type::Double, Zero::Double),
        wrapper("StringValue", Wrapper::String, Type::String, Zero::Str),
        wrapper("BytesValue", Wrapper::Bytes, Type::Bytes, Zero::Bytes),
        ("Value", None, Type::Dyn, Zero::Null),
        ("ListValue", None, Type::list(Type::Dyn), Zero::List),
        ("Struct", None, Type::map(Type::String, Type::Dyn), Zero::Map),
        ("Duration", None, Type::Duration, Zero::Duration),
    ]
});
