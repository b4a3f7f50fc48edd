//! The checker: gives every part of a condition a type, every name a slot, and says everything that is wrong.
//!
//! Names are resolved as the CEL language definition says: a macro's variable first, then the longest dotted
//! name in the innermost container. With checking off, what cannot be resolved becomes a fault at
//! evaluation instead of a diagnostic.

use crate::ast::{Expr, ExprKind, Literal};
use crate::cost::{self, Cost};
use crate::diagnostic::{Code, Diagnostic, Diagnostics, Span};
use crate::eval::{Evaluation, Facts};
use crate::limits::Limits;
use crate::overloads::Declaration;
use crate::program::{specialise, FaultKind, Node, Op, SlotType};
use crate::schema::{Schema, Type};
use crate::unify::Unifier;
use crate::value::Value;
use crate::variables::Defined;

/// How an expression is compiled.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    /// Names are also looked up inside this container (`a.b`), innermost first.
    pub container: &'a str,
    /// Refuse what does not type-check. Off, types are checked at evaluation only.
    pub check: bool,
    /// Functions the embedder declares.
    pub declarations: &'a [Declaration],
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self { container: "", check: true, declarations: &[] }
    }
}

/// A compiled expression of any type.
#[derive(Clone, Debug)]
pub struct Program {
    pub(crate) root: Node,
    /// What it evaluates to, as far as is known before evaluation.
    pub ty: Type,
    /// What it can cost at most.
    pub cost: Cost,
}

/// Type-checks and compiles a parsed expression. `source` is the text it was parsed from.
///
/// # Errors
/// Everything that is wrong with it, in the order of the text.
pub fn compile(
    expr: &Expr,
    source: &str,
    schema: &Schema,
    options: &Options<'_>,
    limits: &Limits,
) -> Result<Program, Vec<Diagnostic>> {
    compile_under(expr, source, schema, options, &[], limits)
}

/// As [`compile`], checked, where some variables are known.
pub(crate) fn compile_with(
    expr: &Expr,
    source: &str,
    schema: &Schema,
    variables: &[Defined],
    limits: &Limits,
) -> Result<Program, Vec<Diagnostic>> {
    compile_under(expr, source, schema, &Options::default(), variables, limits)
}

fn compile_under(
    expr: &Expr,
    source: &str,
    schema: &Schema,
    options: &Options<'_>,
    variables: &[Defined],
    limits: &Limits,
) -> Result<Program, Vec<Diagnostic>> {
    let mut checker = Checker {
        schema,
        options,
        variables,
        limits,
        scope: Vec::new(),
        folds: 0,
        unifier: Unifier::default(),
        found: Diagnostics::new(source, limits.diagnostics_max),
    };
    let (root, ty) = checker.expr(expr);
    let ty = checker.unifier.settle(&ty);
    if checker.found.is_empty() {
        let cost = cost::of(&root, schema, limits);
        return Ok(Program { root, ty, cost });
    }
    let mut found = checker.found.into_vec();
    found.sort_by_key(|d| d.span.start);
    Err(found)
}

/// The state of checking one expression.
pub(crate) struct Checker<'a> {
    pub schema: &'a Schema,
    pub options: &'a Options<'a>,
    /// Variables of the namespace.
    pub variables: &'a [Defined],
    pub limits: &'a Limits,
    /// Variables of macros, outermost first.
    pub scope: Vec<(String, Type)>,
    /// Macros that walk a list or map, inside each other here.
    pub folds: usize,
    pub unifier: Unifier,
    pub found: Diagnostics<'a>,
}

/// A compiled part and its type.
pub(crate) type Typed = (Node, Type);

impl Checker<'_> {
    // ---- reporting

    /// A diagnostic when checking, else a fault at evaluation; either way checking goes on.
    pub(crate) fn wrong(
        &mut self,
        code: Code,
        fault: FaultKind,
        span: Span,
        message: String,
        hint: String,
    ) -> Typed {
        if self.options.check || matches!(code, Code::Unsupported | Code::BadRegex) {
            self.found.add(code, span, message, hint);
        }
        (Node::new(Op::Fail(fault), span), Type::Dyn)
    }

    pub(crate) fn unsupported(&mut self, span: Span, what: &str) -> Typed {
        self.wrong(
            Code::Unsupported,
            FaultKind::Unsupported,
            span,
            format!("{what} not supported yet"),
            String::new(),
        )
    }

    /// Reports unless `ty` is `wanted`. Whether it is.
    pub(crate) fn want(&mut self, ty: &Type, wanted: &Type, span: Span, what: &str) {
        if !self.options.check || self.unifier.try_agree(ty, wanted) {
            return;
        }
        let got = self.unifier.settle(ty);
        let hint = match (&got, wanted) {
            (Type::Int | Type::Double | Type::Uint, Type::Bool) => "compare it with a number",
            (Type::String, Type::Bool) => "compare it with a text, as in order.time_slot == 'morning'",
            _ => "",
        };
        let message = format!("{what} must be {wanted}, not {got}");
        self.found.add(Code::TypeMismatch, span, message, hint.to_string());
    }

    // ---- expressions

    pub(crate) fn expr(&mut self, expr: &Expr) -> Typed {
        let span = expr.span;
        match &expr.kind {
            ExprKind::Literal(literal) => literal_value(literal, span),
            ExprKind::Ident(name) => self.ident(name, span),
            ExprKind::Select { target, field } => self.select(expr, target, field),
            ExprKind::Has { target, field } => self.has(expr, target, field),
            ExprKind::Index { target, index } => {
                let sides = [self.expr(target), self.expr(index)];
                self.operator("[]", sides, span, |sides| Op::Index(Box::new(sides)))
            }
            ExprKind::OptIndex { target, index } => {
                let sides = [self.expr(target), self.expr(index)];
                self.operator("[?]", sides, span, |sides| Op::OptIndex(Box::new(sides)))
            }
            ExprKind::OptSelect { target, field } => self.opt_select(target, field, span),
            ExprKind::Maybe(inner) => {
                // Reached only when it stands outside a list or map, which the grammar does not allow.
                let (node, ty) = self.expr(inner);
                (Node::new(Op::Maybe(Box::new(node)), span), ty)
            }
            ExprKind::Bind(bind) => self.bind(bind, span),
            ExprKind::OptMap { bind, flat } => self.opt_map(bind, *flat, span),
            ExprKind::Block(values, body) => self.block(values, body, span),
            ExprKind::Message { name, fields } => self.message(name, fields, span),
            ExprKind::Call { target, name, args } => self.call(target.as_deref(), name, args, span),
            ExprKind::Not(inner) => {
                let (node, ty) = self.expr(inner);
                self.want(&ty, &Type::Bool, inner.span, "what ! negates");
                (self.finish(Op::Not(Box::new(node)), span), Type::Bool)
            }
            ExprKind::Negate(inner) => {
                let side = self.expr(inner);
                self.operator("-_", [side], span, |[side]| Op::Negate(Box::new(side)))
            }
            ExprKind::And(terms) => (Node::new(Op::And(self.terms(terms, "&&")), span), Type::Bool),
            ExprKind::Or(terms) => (Node::new(Op::Or(self.terms(terms, "||")), span), Type::Bool),
            ExprKind::Binary { op, left, right } => {
                let sides = [self.expr(left), self.expr(right)];
                let op = *op;
                self.operator(op.symbol(), sides, span, |sides| Op::Binary(op, Box::new(sides)))
            }
            ExprKind::Conditional { condition, then, otherwise } => {
                self.conditional(condition, then, otherwise, span)
            }
            ExprKind::List(elements) => self.list(elements, span),
            ExprKind::Map(entries) => self.map(entries, span),
            ExprKind::Fold(fold) => self.fold(fold, span),
        }
    }

    fn terms(&mut self, terms: &[Expr], operator: &str) -> Vec<Node> {
        let mut nodes = Vec::with_capacity(terms.len());
        for term in terms {
            let (node, ty) = self.expr(term);
            self.want(&ty, &Type::Bool, term.span, &format!("each side of {operator}"));
            nodes.push(node);
        }
        nodes
    }

    fn conditional(&mut self, condition: &Expr, then: &Expr, otherwise: &Expr, span: Span) -> Typed {
        let (condition_node, condition_ty) = self.expr(condition);
        self.want(&condition_ty, &Type::Bool, condition.span, "what stands before ?");
        let (then_node, then_ty) = self.expr(then);
        let (otherwise_node, otherwise_ty) = self.expr(otherwise);
        let ty = if self.options.check && !self.unifier.try_agree(&then_ty, &otherwise_ty) {
            let (a, b) = (self.unifier.settle(&then_ty), self.unifier.settle(&otherwise_ty));
            let message = format!("both results of ?: must have one type, not {a} and {b}");
            self.found.add(Code::TypeMismatch, otherwise.span, message, String::new());
            Type::Dyn
        } else {
            self.unifier.join(&then_ty, &otherwise_ty)
        };
        (Node::new(Op::Conditional(Box::new([condition_node, then_node, otherwise_node])), span), ty)
    }

    fn list(&mut self, elements: &[Expr], span: Span) -> Typed {
        let mut nodes = Vec::with_capacity(elements.len());
        let mut element_ty: Option<Type> = None;
        for element in elements {
            let (node, ty) = match &element.kind {
                ExprKind::Maybe(inner) => {
                    let (node, ty) = self.expr(inner);
                    (Node::new(Op::Maybe(Box::new(node)), element.span), self.unwrapped(&ty, inner.span))
                }
                _ => self.expr(element),
            };
            nodes.push(node);
            element_ty = Some(match element_ty {
                Some(known) => self.unifier.join(&known, &ty),
                None => ty,
            });
        }
        let element_ty = element_ty.unwrap_or_else(|| self.unifier.fresh());
        (self.finish(Op::List(nodes), span), Type::list(element_ty))
    }

    fn map(&mut self, entries: &[(Expr, Expr)], span: Span) -> Typed {
        let mut nodes = Vec::with_capacity(entries.len());
        let mut types: Option<(Type, Type)> = None;
        for (key, value) in entries {
            let (key_node, key_ty) = self.expr(key);
            let (value_node, mut value_ty) = self.expr(value);
            if matches!(key.kind, ExprKind::Maybe(_)) {
                value_ty = self.unwrapped(&value_ty, value.span);
            }
            self.want_key(&key_ty, key.span);
            nodes.push((key_node, value_node));
            types = Some(match types {
                Some((k, v)) => (self.unifier.join(&k, &key_ty), self.unifier.join(&v, &value_ty)),
                None => (key_ty, value_ty),
            });
        }
        let (key_ty, value_ty) = types.unwrap_or_else(|| (self.unifier.fresh(), self.unifier.fresh()));
        let node = self.finish(Op::Map(nodes), span);
        if let (true, Op::Map(nodes)) = (self.options.check, &node.op) {
            self.report_duplicate_keys(nodes);
        }
        (node, Type::map(key_ty, value_ty))
    }

    fn want_key(&mut self, ty: &Type, span: Span) {
        let ty = self.unifier.resolve(ty);
        let sound =
            matches!(ty, Type::Bool | Type::Int | Type::Uint | Type::String | Type::Dyn | Type::Var(_));
        if self.options.check && !sound {
            let message = format!("a map's key cannot be {}", self.unifier.settle(&ty));
            self.found.add(Code::BadMapKey, span, message, "use int, uint, bool or string".into());
        }
    }

    /// A literal key that repeats an earlier one; the folded map would be a fault at every evaluation.
    fn report_duplicate_keys(&mut self, entries: &[(Node, Node)]) {
        let mut seen = crate::value::Map::new();
        for (key, _) in entries {
            if let Some(value) = key.constant() {
                if seen.insert(value.clone(), Value::Null) == Err(crate::value::KeyProblem::Duplicate) {
                    let message = format!("the key {value} is there already");
                    self.found.add(Code::BadMapKey, key.span, message, String::new());
                }
            }
        }
    }

    // ---- finishing

    /// Folds what is constant and specialises what is left.
    pub(crate) fn finish(&self, op: Op, span: Span) -> Node {
        let node = Node::new(op, span);
        if is_foldable(&node.op) {
            // A fault stays where it is: it may never be reached, or be absorbed.
            if let Ok(value) = Evaluation::new(Facts::Values(&[]), self.limits).value(&node) {
                return Node::new(Op::Const(value), span);
            }
        }
        if !self.options.check {
            return node;
        }
        specialise(node, &|slot| slot_type(self.schema.ty(slot)))
    }
}

fn slot_type(ty: &Type) -> SlotType {
    match ty {
        Type::Int => SlotType::Int,
        Type::Double => SlotType::Double,
        Type::Bool => SlotType::Bool,
        Type::String => SlotType::Str,
        Type::Nullable(inner) => slot_type(inner),
        _ => SlotType::Other,
    }
}

fn is_foldable(op: &Op) -> bool {
    let all = |nodes: &[Node]| nodes.iter().all(|n| n.constant().is_some());
    match op {
        Op::List(nodes) | Op::Call(_, nodes) => all(nodes),
        Op::Map(entries) => entries.iter().all(|(k, v)| k.constant().is_some() && v.constant().is_some()),
        Op::Binary(_, sides) | Op::Index(sides) => all(sides.as_slice()),
        Op::Negate(inner) | Op::Select(inner, _) | Op::Has(inner, _) | Op::Matches(inner, _) => {
            inner.constant().is_some()
        }
        _ => false,
    }
}

fn literal_value(literal: &Literal, span: Span) -> Typed {
    let (value, ty) = match literal {
        Literal::Null => (Value::Null, Type::Null),
        Literal::Bool(v) => (Value::Bool(*v), Type::Bool),
        Literal::Int(v) => (Value::Int(*v), Type::Int),
        Literal::Uint(v) => (Value::Uint(*v), Type::Uint),
        Literal::Double(v) => (Value::Double(*v), Type::Double),
        Literal::Str(v) => (Value::str(v), Type::String),
        Literal::Bytes(v) => (Value::Bytes(v.as_slice().into()), Type::Bytes),
    };
    (Node::new(Op::Const(value), span), ty)
}
