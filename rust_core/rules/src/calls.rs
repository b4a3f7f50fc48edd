//! Which function or operator is meant, by the types it is given.
//!
//! The algorithm of the CEL checker: every overload that takes the types is a candidate; the only one decides the
//! types that are still open, several leave `dyn` unless they give the same type.
use std::sync::Arc;

use crate::ast::Expr;
use crate::check::{Checker, Typed};
use crate::diagnostic::{did_you_mean, Code, Span};
use crate::names::dotted;
use crate::overloads::{functions, operators, Declaration, Overload};
use crate::pattern;
use crate::program::{FaultKind, Function, MathFunction, Node, Op, OptFunction};
use crate::schema::Type;
use crate::value::Value;

/// Functions of CEL's extension libraries that this version refuses by name.
const LATER_FUNCTIONS: &[&str] = &["sortBy", "getExt", "hasExt"];

/// Namespaces of the extension libraries: a name nobody knows in them is a misspelt function, not a variable.
const NAMESPACES: &[&str] =
    &["optional", "math", "sets", "strings", "lists", "base64", "cel", "ip", "geo", "time"];

impl Checker<'_> {
    pub(crate) fn call(&mut self, target: Option<&Expr>, name: &str, args: &[Expr], span: Span) -> Typed {
        if let Some(path) = target.and_then(dotted) {
            let path = path.trim_start_matches('.');
            let root = path.split('.').next().unwrap_or("");
            if self.local(root).is_none() && self.global(root, span).is_none() {
                let full = format!("{path}.{name}");
                let is_known =
                    functions().contains_key(full.as_str()) || self.declared(&full, false).next().is_some();
                if is_known || NAMESPACES.contains(&path) {
                    return self.invoke(&full, None, args, span);
                }
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
        if let Function::Math(extreme @ (MathFunction::Greatest | MathFunction::Least)) =
            overloads[0].function
        {
            return self.extreme(extreme, nodes, &types, span);
        }
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
        if let Function::Opt(OptFunction::Or | OptFunction::OrValue) = function {
            return self.or_else(nodes, function == Function::Opt(OptFunction::OrValue), result, span);
        }
        self.check_literals(function, &nodes);
        (self.finish(Op::Call(function, nodes), span), result)
    }

    /// Zones, instants and windows written as literals are read now, so that a slip is not found out by an order.
    fn check_literals(&mut self, function: Function, nodes: &[Node]) {
        if !self.options.check {
            return;
        }
        let text = |at: usize| match nodes.get(at).and_then(Node::constant) {
            Some(Value::Str(text)) => Some((text.clone(), nodes[at].span)),
            _ => None,
        };
        let zone = match function {
            Function::Get(_) => text(1),
            Function::InWindow => text(3),
            _ => None,
        };
        if let Some((name, span)) = zone.filter(|(name, _)| !crate::time::is_zone(name)) {
            let hint = "write UTC, an offset like +08:00, or a name like Asia/Shanghai".to_string();
            self.found.add(Code::BadLiteral, span, format!("no time zone is called {name:?}"), hint);
        }
        for (clock, span) in [text(1), text(2)].into_iter().flatten() {
            if function == Function::InWindow && crate::ext::domain::second_of_day(&clock).is_err() {
                let hint = "write hours and minutes, as in '09:00'".to_string();
                self.found.add(Code::BadLiteral, span, format!("{clock:?} is no time of day"), hint);
            }
        }
    }

    /// `math.greatest` and `math.least`: of numbers, or of one list of numbers.
    fn extreme(&mut self, function: MathFunction, nodes: Vec<Node>, types: &[Type], span: Span) -> Typed {
        let resolved: Vec<Type> = types.iter().map(|t| self.unifier.resolve(t)).collect();
        let numbers: Vec<Type> = match resolved.as_slice() {
            [Type::List(element)] => vec![self.unifier.resolve(element)],
            all => all.to_vec(),
        };
        let sound = |t: &Type| matches!(t, Type::Int | Type::Uint | Type::Double | Type::Dyn | Type::Var(_));
        if numbers.is_empty() || !numbers.iter().all(sound) {
            let message = "math.greatest() and math.least() take numbers, or one list of numbers".to_string();
            return self.wrong(Code::NoOverload, FaultKind::NoOverload, span, message, String::new());
        }
        let first = numbers[0].clone();
        let ty = if numbers.iter().all(|t| *t == first) { first } else { Type::Dyn };
        let ty = if matches!(ty, Type::Var(_)) { Type::Dyn } else { ty };
        (self.finish(Op::Call(Function::Math(function), nodes), span), ty)
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

    pub(crate) fn operator<const N: usize>(
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
            // Compiled at evaluation, for a charge.
            return (Node::new(Op::Call(Function::Matches, vec![text, pattern]), span), Type::Bool);
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
