//! The checker: gives every part of a condition a type, every name a slot, and says everything that is wrong.
//!
//! Names are resolved as the CEL language definition says: a macro's variable first, then the longest dotted
//! name in the innermost container. With checking off, what cannot be resolved becomes a fault at
//! evaluation instead of a diagnostic.
use std::sync::Arc;

use crate::ast::{Expr, ExprKind, Fold, FoldKind, Literal};
use crate::diagnostic::{did_you_mean, Code, Diagnostic, Diagnostics, Span};
use crate::eval::{Evaluation, Facts};
use crate::limits::Limits;
use crate::overloads::{functions, operators, Declaration, Overload};
use crate::pattern;
use crate::program::{specialise, FaultKind, FoldNode, Function, Node, Op, SlotType};
use crate::schema::{Schema, Type};
use crate::unify::Unifier;
use crate::value::Value;

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
    let mut checker = Checker {
        schema,
        options,
        limits,
        scope: Vec::new(),
        unifier: Unifier::default(),
        found: Diagnostics::new(source, limits.diagnostics_max),
    };
    let (root, ty) = checker.expr(expr);
    let ty = checker.unifier.settle(&ty);
    if checker.found.is_empty() {
        return Ok(Program { root, ty });
    }
    let mut found = checker.found.into_vec();
    found.sort_by_key(|d| d.span.start);
    Err(found)
}

/// Functions of CEL's extension libraries that this version refuses by name.
const LATER_FUNCTIONS: &[&str] = &[
    "charAt",
    "indexOf",
    "lastIndexOf",
    "join",
    "lowerAscii",
    "upperAscii",
    "replace",
    "split",
    "substring",
    "trim",
    "format",
    "reverse",
    "quote",
    "optMap",
    "optFlatMap",
    "or",
    "orValue",
    "value",
    "hasValue",
    "ip",
    "isIP",
    "cidr",
    "isCIDR",
    "first",
    "last",
    "flatten",
    "distinct",
    "sort",
    "sortBy",
    "slice",
    "unwrapOpt",
    "family",
    "isCanonical",
    "containsIP",
    "containsCIDR",
    "isUnspecified",
    "isLoopback",
    "isGlobalUnicast",
    "isLinkLocalMulticast",
    "isLinkLocalUnicast",
    "prefixLength",
    "masked",
];

/// Namespaces of CEL's extension libraries.
const LATER_NAMESPACES: &[&str] =
    &["optional", "math", "sets", "strings", "lists", "base64", "cel", "ip", "cidr", "proto"];

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
];

struct Checker<'a> {
    schema: &'a Schema,
    options: &'a Options<'a>,
    limits: &'a Limits,
    scope: Vec<(String, Type)>,
    unifier: Unifier,
    found: Diagnostics<'a>,
}

type Typed = (Node, Type);

impl Checker<'_> {
    // ---- reporting

    /// A diagnostic when checking, else a fault at evaluation; either way checking goes on.
    fn wrong(&mut self, code: Code, fault: FaultKind, span: Span, message: String, hint: String) -> Typed {
        if self.options.check || matches!(code, Code::Unsupported | Code::BadRegex) {
            self.found.add(code, span, message, hint);
        }
        (Node::new(Op::Fail(fault), span), Type::Dyn)
    }

    fn unsupported(&mut self, span: Span, what: &str) -> Typed {
        self.wrong(
            Code::Unsupported,
            FaultKind::Unsupported,
            span,
            format!("{what} not supported yet"),
            String::new(),
        )
    }

    /// Reports unless `ty` is `wanted`. Whether it is.
    fn want(&mut self, ty: &Type, wanted: &Type, span: Span, what: &str) {
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

    fn expr(&mut self, expr: &Expr) -> Typed {
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
            let (node, ty) = self.expr(element);
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
            let (value_node, value_ty) = self.expr(value);
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

    fn fold(&mut self, fold: &Fold, span: Span) -> Typed {
        if self.scope.len() >= self.limits.macro_depth_max {
            let message = format!("macros nest deeper than {}", self.limits.macro_depth_max);
            self.found.add(Code::LimitDepth, span, message, String::new());
            return (Node::new(Op::Fail(FaultKind::Unsupported), span), Type::Dyn);
        }
        let (target, target_ty) = self.expr(&fold.target);
        let element_ty = match self.unifier.resolve(&target_ty) {
            Type::List(element) => *element,
            Type::Map(key, _) => *key,
            Type::Dyn => Type::Dyn,
            variable @ Type::Var(_) => {
                self.unifier.agree(&variable, &Type::Dyn);
                Type::Dyn
            }
            other => {
                let message = format!("{}() walks a list or a map, not {other}", fold.kind.name());
                self.wrong(
                    Code::TypeMismatch,
                    FaultKind::NoOverload,
                    fold.target.span,
                    message,
                    String::new(),
                )
                .1
            }
        };
        self.scope.push((fold.var.clone(), element_ty.clone()));
        let filter = fold.filter.as_ref().map(|filter| {
            let (node, ty) = self.expr(filter);
            self.want(&ty, &Type::Bool, filter.span, "the condition of map()");
            node
        });
        let (body, body_ty) = self.expr(&fold.body);
        if fold.kind != FoldKind::Map {
            let what = format!("the condition of {}()", fold.kind.name());
            self.want(&body_ty, &Type::Bool, fold.body.span, &what);
        }
        self.scope.pop();
        let ty = match fold.kind {
            FoldKind::Map => Type::list(body_ty),
            FoldKind::Filter => Type::list(element_ty),
            _ => Type::Bool,
        };
        let node = FoldNode { kind: fold.kind, target, filter, body };
        (Node::new(Op::Fold(Box::new(node)), span), ty)
    }

    // ---- names

    fn local(&self, name: &str) -> Option<(usize, Type)> {
        let at = self.scope.iter().rposition(|(n, _)| n == name)?;
        Some((at, self.scope[at].1.clone()))
    }

    /// `name` as seen from the container: `a.b.name`, `a.name`, `name`; only `name` after a leading dot.
    fn candidates(&self, name: &str) -> Vec<String> {
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
    fn global(&self, name: &str, span: Span) -> Option<Typed> {
        self.candidates(name).iter().find_map(|candidate| {
            if let Some(slot) = self.schema.slot(candidate) {
                let ty = self.schema.ty(slot).clone();
                let nullable = matches!(ty, Type::Nullable(_));
                return Some((Node::new(Op::Slot { slot, nullable }, span), ty));
            }
            TYPE_NAMES.contains(&candidate.as_str()).then(|| {
                let value = Value::Type(Arc::from(candidate.as_str()));
                (Node::new(Op::Const(value), span), Type::Type)
            })
        })
    }

    fn ident(&mut self, name: &str, span: Span) -> Typed {
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
            let near = self.schema.suggest(name).or_else(|| did_you_mean(name, locals));
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

    fn select(&mut self, expr: &Expr, target: &Expr, field: &str) -> Typed {
        if let Some(name) = dotted(expr) {
            match self.qualified(&name, expr.span) {
                Qualified::Known((node, ty)) => return (self.finish(node.op, expr.span), ty),
                Qualified::Unknown => return self.unknown_name(&name, expr.span),
                Qualified::Composite => {}
            }
        }
        let (node, ty) = self.expr(target);
        let field_ty = self.field_type(&ty, field, target);
        (self.finish(Op::Select(Box::new(node), Arc::from(field)), expr.span), field_ty)
    }

    fn has(&mut self, expr: &Expr, target: &Expr, field: &str) -> Typed {
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
        self.field_type(&ty, field, target);
        (self.finish(Op::Has(Box::new(node), Arc::from(field)), expr.span), Type::Bool)
    }

    /// The type of `target.field`; reports when the target has no fields.
    fn field_type(&mut self, ty: &Type, field: &str, target: &Expr) -> Type {
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

    // ---- calls

    fn call(&mut self, target: Option<&Expr>, name: &str, args: &[Expr], span: Span) -> Typed {
        if let Some(path) = target.and_then(dotted) {
            let root = path.split('.').next().unwrap_or("");
            let is_namespace = self.local(root).is_none() && self.global(root, span).is_none();
            if is_namespace && LATER_NAMESPACES.contains(&root) {
                return self.unsupported(span, &format!("{path}.{name}() is"));
            }
            let full = format!("{path}.{name}");
            if is_namespace && self.declared(&full, false).next().is_some() {
                return self.invoke(&full, None, args, span);
            }
        }
        self.invoke(name, target, args, span)
    }

    fn declared<'s>(&'s self, name: &str, member: bool) -> impl Iterator<Item = &'s Declaration> + 's {
        let names = self.candidates(name);
        self.options.declarations.iter().filter(move |d| d.member == member && names.contains(&d.name))
    }

    fn invoke(&mut self, name: &str, target: Option<&Expr>, args: &[Expr], span: Span) -> Typed {
        let member = target.is_some();
        let plain = name.trim_start_matches('.');
        let mut overloads: Vec<Overload> = functions().get(plain).cloned().unwrap_or_default();
        overloads.extend(self.declared(name, member).map(|d| Overload {
            function: Function::Unbound,
            member,
            params: d.params.clone(),
            result: d.result.clone(),
        }));
        if overloads.is_empty() {
            return self.unknown_function(plain, target, args, span);
        }
        let (nodes, types): (Vec<Node>, Vec<Type>) =
            target.into_iter().chain(args).map(|e| self.expr(e)).unzip();
        overloads.retain(|o| o.member == member && o.params.len() == nodes.len());
        let Some((function, result)) = self.choose(&overloads, &types) else {
            let shown: Vec<String> = types.iter().map(|t| self.unifier.settle(t).to_string()).collect();
            let message = match (member, shown.split_first()) {
                (true, Some((first, rest))) => format!("no {first}.{plain}({}) exists", rest.join(", ")),
                _ => format!("no {plain}({}) exists", shown.join(", ")),
            };
            let hint = call_hint(plain);
            return self.wrong(Code::NoOverload, FaultKind::NoOverload, span, message, hint);
        };
        if function == Function::Matches {
            return self.matches(nodes, span);
        }
        if let (Function::Get(_), [_, zone]) = (function, nodes.as_slice()) {
            if let Some(Value::Str(zone_name)) = zone.constant() {
                let known = matches!(zone_name.as_ref(), "UTC" | "Z")
                    || crate::time::offset_seconds(zone_name).is_some();
                if !known {
                    let what = format!(
                        "the time zone {zone_name:?} (only UTC and offsets like +08:00 are known) is"
                    );
                    return self.unsupported(zone.span, &what);
                }
            }
        }
        (self.finish(Op::Call(function, nodes), span), result)
    }

    fn unknown_function(&mut self, name: &str, target: Option<&Expr>, args: &[Expr], span: Span) -> Typed {
        if LATER_FUNCTIONS.contains(&name) {
            return self.unsupported(span, &format!("{name}() is"));
        }
        // The arguments are checked for their own errors all the same.
        for arg in args {
            self.expr(arg);
        }
        if let Some(target) = target {
            self.expr(target);
        }
        let near = did_you_mean(name, functions().keys().copied());
        let hint = near.map_or_else(String::new, |near| format!("did you mean {near}()?"));
        let message = format!("no function is called {name}()");
        self.wrong(Code::UnknownFunction, FaultKind::UnknownFunction, span, message, hint)
    }

    /// The overload that takes these types. Several: the type they share, else `dyn`.
    fn choose(&mut self, overloads: &[Overload], types: &[Type]) -> Option<(Function, Type)> {
        if !self.options.check {
            return overloads.first().map(|o| (o.function, Type::Dyn));
        }
        let mut chosen: Option<(usize, Function, Type)> = None;
        let mut matches = 0;
        for (at, overload) in overloads.iter().enumerate() {
            let before = self.unifier.mark();
            if let Some(result) = self.accepts(overload, types) {
                let result = self.unifier.settle(&result);
                matches += 1;
                chosen = Some(match chosen {
                    None => (at, overload.function, result),
                    Some((at, function, known)) if known == result => (at, function, known),
                    Some((at, function, _)) => (at, function, Type::Dyn),
                });
            }
            self.unifier.undo(before);
        }
        let (at, function, result) = chosen?;
        if matches == 1 {
            // The only one: what it says about the variables in `types` stays.
            return self.accepts(&overloads[at], types).map(|result| (function, result));
        }
        Some((function, result))
    }

    fn accepts(&mut self, overload: &Overload, types: &[Type]) -> Option<Type> {
        let mut fresh = Vec::new();
        for (param, ty) in overload.params.iter().zip(types) {
            let param = self.unifier.instantiate(param, &mut fresh);
            if !self.unifier.agree(ty, &param) {
                return None;
            }
        }
        Some(self.unifier.instantiate(&overload.result, &mut fresh))
    }

    fn operator<const N: usize>(
        &mut self,
        symbol: &'static str,
        sides: [Typed; N],
        span: Span,
        make: impl FnOnce([Node; N]) -> Op,
    ) -> Typed {
        let types: Vec<Type> = sides.iter().map(|(_, ty)| ty.clone()).collect();
        let overloads = operators().get(symbol).map_or(&[][..], Vec::as_slice);
        let Some((_, result)) = self.choose(overloads, &types) else {
            let shown: Vec<Type> = types.iter().map(|t| self.unifier.settle(t)).collect();
            let (message, hint) = operator_message(symbol, &shown);
            return self.wrong(Code::NoOverload, FaultKind::NoOverload, span, message, hint);
        };
        let nodes = sides.map(|(node, _)| node);
        (self.finish(make(nodes), span), result)
    }

    fn matches(&mut self, mut nodes: Vec<Node>, span: Span) -> Typed {
        let (Some(pattern), Some(text)) = (nodes.pop(), nodes.pop()) else {
            return (Node::new(Op::Fail(FaultKind::NoOverload), span), Type::Bool);
        };
        let Some(Value::Str(source)) = pattern.constant() else {
            return self.unsupported(pattern.span, "a pattern of matches() that is not a literal is");
        };
        match pattern::compile(source, self.limits) {
            Ok(regex) => (self.finish(Op::Matches(Box::new(text), Arc::new(regex)), span), Type::Bool),
            Err(problem) => {
                let message = format!("the pattern does not compile: {problem}");
                let hint = "patterns are RE2: no look-around, no back-references".to_string();
                self.wrong(Code::BadRegex, FaultKind::Unsupported, pattern.span, message, hint)
            }
        }
    }

    // ---- finishing

    /// Folds what is constant and specialises what is left.
    fn finish(&self, op: Op, span: Span) -> Node {
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

enum Qualified {
    Known(Typed),
    /// A shorter prefix is known, or a macro's variable: the rest are fields of it.
    Composite,
    Unknown,
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

/// The expression as one dotted name, if it is nothing but names and dots.
fn dotted(expr: &Expr) -> Option<String> {
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

fn operator_message(symbol: &str, types: &[Type]) -> (String, String) {
    let number = |t: &Type| matches!(t, Type::Int | Type::Uint | Type::Double);
    match types {
        [one] => (format!("{one} has no sign to turn"), String::new()),
        [target, index] if symbol == "[]" => (format!("{target} has no element [{index}]"), String::new()),
        [left, right] => {
            let message = format!("{left} {symbol} {right} does not exist");
            let hint = match (left, right) {
                (Type::Null, other) | (other, Type::Null) => {
                    format!("{other} is never null; use has() to ask whether it is there")
                }
                (a, b) if number(a) && number(b) => format!("convert one side, as in {a}(...)"),
                (a, Type::String) if number(a) => "a number is written without quotes".to_string(),
                (Type::String, b) if number(b) => "a text is written in quotes".to_string(),
                (_, Type::List(_)) if symbol == "==" => {
                    "write x in [...] to ask for one of several".to_string()
                }
                _ => String::new(),
            };
            (message, hint)
        }
        _ => (format!("{symbol} does not exist"), String::new()),
    }
}

fn call_hint(name: &str) -> String {
    let all = functions().get(name).map_or(&[][..], Vec::as_slice);
    let shapes: Vec<String> = all
        .iter()
        .take(4)
        .map(|o| {
            let params: Vec<String> = o.params.iter().map(ToString::to_string).collect();
            match params.split_first() {
                Some((first, rest)) if o.member => format!("{first}.{name}({})", rest.join(", ")),
                _ => format!("{name}({})", params.join(", ")),
            }
        })
        .collect();
    if shapes.is_empty() {
        String::new()
    } else {
        format!("there is {}", shapes.join(", "))
    }
}
