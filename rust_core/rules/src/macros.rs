//! Calls that are macros: which they are, and the nodes they become.
//!
//! A macro is known by its name and its number of arguments; any other call of that name is a function's.
use crate::ast::{Bind, Expr, ExprKind, Fold, FoldKind, Literal};
use crate::diagnostic::{Code, Span};
use crate::parser::{refuse, Parsed, Parser};

/// Arguments of the longest macro, `transformMap(key, value, filter, body)`.
const MACRO_ARGS_MAX: usize = 4;

impl Parser<'_> {
    /// `target.name(args)`: a macro or a call.
    pub(crate) fn member_call(
        &mut self,
        target: Expr,
        name: String,
        args: Vec<Expr>,
        span: Span,
    ) -> Parsed<Expr> {
        if self.macros && args.len() <= MACRO_ARGS_MAX {
            if let Some(kind) = fold_kind(&name, args.len()) {
                return self.fold(kind, target, args, span);
            }
            if matches!((name.as_str(), args.len()), ("optMap" | "optFlatMap", 2)) {
                return self.opt_map(name == "optFlatMap", target, args, span);
            }
            if matches!(&target.kind, ExprKind::Ident(root) if root == "cel") {
                return self.cel_macro(target, name, args, span);
            }
        }
        self.node(ExprKind::Call { target: Some(Box::new(target)), name, args }, span)
    }

    fn fold(&mut self, kind: FoldKind, target: Expr, args: Vec<Expr>, span: Span) -> Parsed<Expr> {
        let name = kind.name();
        let two_variables = match kind {
            FoldKind::Map | FoldKind::Filter => false,
            FoldKind::All | FoldKind::Exists | FoldKind::ExistsOne => args.len() == 3,
            FoldKind::TransformList | FoldKind::TransformMap | FoldKind::TransformMapEntry => true,
        };
        let mut rest = args.into_iter();
        let var = self.variable(rest.next(), name, span)?;
        let second = if two_variables { Some(self.variable(rest.next(), name, span)?) } else { None };
        let (filter, body) = match (rest.next(), rest.next()) {
            (Some(body), None) => (None, body),
            (filter, Some(body)) => (filter, body),
            _ => return refuse(Code::BadMacro, span, format!("{name}() takes a name and an expression"), ""),
        };
        if second.as_ref() == Some(&var) {
            let message = format!("the two variables of {name}() must have different names");
            return refuse(Code::BadMacro, span, message, "");
        }
        self.node(ExprKind::Fold(Box::new(Fold { kind, target, var, second, filter, body })), span)
    }

    fn opt_map(&mut self, flat: bool, target: Expr, args: Vec<Expr>, span: Span) -> Parsed<Expr> {
        let name = if flat { "optFlatMap" } else { "optMap" };
        let mut rest = args.into_iter();
        let var = self.variable(rest.next(), name, span)?;
        let Some(body) = rest.next() else {
            return refuse(Code::BadMacro, span, format!("{name}() takes a name and an expression"), "");
        };
        self.node(ExprKind::OptMap { bind: Box::new(Bind { var, init: target, body }), flat }, span)
    }

    /// `cel.bind`, and what an optimiser writes: `cel.block`, `cel.index`, `cel.iterVar`.
    fn cel_macro(&mut self, target: Expr, name: String, args: Vec<Expr>, span: Span) -> Parsed<Expr> {
        let whole = |at: usize| match args.get(at).map(|e| &e.kind) {
            Some(ExprKind::Literal(Literal::Int(v))) if (0..1_000).contains(v) => Some(*v),
            _ => None,
        };
        let kind = match (name.as_str(), args.len()) {
            ("bind", 3) => {
                let mut rest = args.into_iter();
                let var = self.variable(rest.next(), "cel.bind", span)?;
                let (Some(init), Some(body)) = (rest.next(), rest.next()) else {
                    return refuse(Code::BadMacro, span, "cel.bind() takes a name and two expressions", "");
                };
                ExprKind::Bind(Box::new(Bind { var, init, body }))
            }
            ("block", 2) => {
                let mut rest = args.into_iter();
                match (rest.next().map(|e| e.kind), rest.next()) {
                    (Some(ExprKind::List(values)), Some(body)) => ExprKind::Block(values, Box::new(body)),
                    _ => return refuse(Code::BadMacro, span, "cel.block() takes a list literal first", ""),
                }
            }
            ("index", 1) => match whole(0) {
                Some(number) => ExprKind::Ident(format!("@index:{number}")),
                None => return refuse(Code::BadMacro, span, "cel.index() takes a whole number", ""),
            },
            ("iterVar", 2) => match (whole(0), whole(1)) {
                (Some(depth), Some(number)) => ExprKind::Ident(format!("@iter:{depth}:{number}")),
                _ => return refuse(Code::BadMacro, span, "cel.iterVar() takes two whole numbers", ""),
            },
            _ => ExprKind::Call { target: Some(Box::new(target)), name, args },
        };
        self.node(kind, span)
    }

    /// The variable a macro's first argument names.
    fn variable(&mut self, arg: Option<Expr>, name: &str, span: Span) -> Parsed<String> {
        let at = arg.as_ref().map_or(span, |e| e.span);
        match arg.map(|e| e.kind) {
            Some(ExprKind::Ident(var)) if !var.starts_with('.') => Ok(var),
            _ => refuse(
                Code::BadMacro,
                at,
                format!("the first argument of {name}() must be a name"),
                format!("write {name}(x, ...) with a plain name"),
            ),
        }
    }
}

fn fold_kind(name: &str, arguments: usize) -> Option<FoldKind> {
    Some(match (name, arguments) {
        ("all", 2 | 3) => FoldKind::All,
        ("exists", 2 | 3) => FoldKind::Exists,
        ("exists_one" | "existsOne", 2 | 3) => FoldKind::ExistsOne,
        ("map", 2 | 3) => FoldKind::Map,
        ("filter", 2) => FoldKind::Filter,
        ("transformList", 3 | 4) => FoldKind::TransformList,
        ("transformMap", 3 | 4) => FoldKind::TransformMap,
        ("transformMapEntry", 3 | 4) => FoldKind::TransformMapEntry,
        _ => return None,
    })
}
