//! Tokens to tree, by recursive descent; binary operators by binding strength.
//!
//! Macros (`has`, `all`, `exists`, `exists_one`, `map`, `filter`) become nodes of their own here, so that
//! nothing behind the parser has to recognise them by name. Depth and size are bounded while parsing: the
//! tree that comes out can be walked recursively without a thought for the stack.
use crate::ast::{BinaryOp, Expr, ExprKind, Fold, FoldKind, Literal};
use crate::diagnostic::{Code, Diagnostic, Diagnostics, Span};
use crate::lexer::{self, Token, TokenKind};
use crate::limits::Limits;

/// Parses one expression.
///
/// # Errors
/// All lexical errors, or else the first syntactic one.
pub fn parse(source: &str, limits: &Limits) -> Result<Expr, Vec<Diagnostic>> {
    let mut found = Diagnostics::new(source, limits.diagnostics_max);
    if source.len() > limits.source_bytes_max {
        let message =
            format!("the text has {} bytes; at most {} are allowed", source.len(), limits.source_bytes_max);
        found.add(
            Code::LimitSource,
            Span::new(0, 0),
            message,
            "split the condition over several rules".into(),
        );
        return Err(found.into_vec());
    }
    let tokens = lexer::tokens(source, &mut found);
    if !found.is_empty() {
        return Err(found.into_vec());
    }
    let mut parser = Parser { source, tokens, at: 0, depth: 0, nodes: 0, limits };
    match parser.whole() {
        Ok(expr) => Ok(expr),
        Err(refusal) => {
            found.add(refusal.code, refusal.span, refusal.message, refusal.hint);
            Err(found.into_vec())
        }
    }
}

/// Why parsing stopped. Boxed in results: a small result keeps the frames of the recursion small.
struct Refusal {
    code: Code,
    span: Span,
    message: String,
    hint: String,
}

type Parsed<T> = Result<T, Box<Refusal>>;

fn refuse<T>(code: Code, span: Span, message: impl Into<String>, hint: impl Into<String>) -> Parsed<T> {
    Err(Box::new(Refusal { code, span, message: message.into(), hint: hint.into() }))
}

fn unsupported<T>(span: Span, what: &str) -> Parsed<T> {
    refuse(Code::Unsupported, span, format!("{what} not supported yet"), "")
}

struct Parser<'s> {
    source: &'s str,
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    nodes: usize,
    limits: &'s Limits,
}

impl Parser<'_> {
    fn whole(&mut self) -> Parsed<Expr> {
        if self.tokens.len() == 1 {
            return refuse(
                Code::Syntax,
                self.here(),
                "the expression is empty",
                "write true to match always",
            );
        }
        let expr = self.expression()?;
        if self.peek() == &TokenKind::End {
            return Ok(expr);
        }
        self.unexpected("an operator or the end")
    }

    // ---- tokens

    fn peek(&self) -> &TokenKind {
        // The list always ends with `End` and nothing advances past it.
        &self.tokens[self.at.min(self.tokens.len() - 1)].kind
    }

    fn here(&self) -> Span {
        self.tokens[self.at.min(self.tokens.len() - 1)].span
    }

    fn previous_end(&self) -> u32 {
        self.at.checked_sub(1).and_then(|at| self.tokens.get(at)).map_or(0, |t| t.span.end)
    }

    fn advance(&mut self) {
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
    }

    fn is(&self, punct: &str) -> bool {
        matches!(self.peek(), TokenKind::Punct(p) if *p == punct)
    }

    fn take(&mut self, punct: &str) -> bool {
        let here = self.is(punct);
        if here {
            self.advance();
        }
        here
    }

    fn expect(&mut self, punct: &str) -> Parsed<()> {
        if self.take(punct) {
            return Ok(());
        }
        self.unexpected(&format!("'{punct}'"))
    }

    fn unexpected<T>(&self, wanted: &str) -> Parsed<T> {
        let text = self.here().text(self.source);
        let got = if self.peek() == &TokenKind::End { "the end".to_string() } else { format!("{text:?}") };
        let hint = match text {
            "=" => "write == to compare",
            "and" | "AND" => "write &&",
            "or" | "OR" => "write ||",
            "not" | "NOT" => "write !",
            _ => "",
        };
        refuse(Code::Syntax, self.here(), format!("{wanted} was expected here, not {got}"), hint)
    }

    // ---- nodes

    fn node(&mut self, kind: ExprKind, span: Span) -> Parsed<Expr> {
        self.nodes += 1;
        if self.nodes > self.limits.nodes_max {
            let message = format!("the expression has more than {} parts", self.limits.nodes_max);
            return refuse(Code::LimitSize, span, message, "split the condition over several rules");
        }
        let height = 1 + highest(&kind);
        if usize::from(height) > self.limits.depth_max {
            return self.too_deep(span);
        }
        Ok(Expr { kind, span, height })
    }

    fn too_deep<T>(&self, span: Span) -> Parsed<T> {
        let message = format!("the expression nests deeper than {}", self.limits.depth_max);
        refuse(Code::LimitDepth, span, message, "")
    }

    fn since(&self, start: Span) -> Span {
        Span { start: start.start, end: self.previous_end().max(start.start) }
    }

    // ---- grammar

    fn expression(&mut self) -> Parsed<Expr> {
        if self.depth >= self.limits.depth_max {
            return self.too_deep(self.here());
        }
        self.depth += 1;
        let result = self.conditional();
        self.depth -= 1;
        result
    }

    fn conditional(&mut self) -> Parsed<Expr> {
        let start = self.here();
        let condition = self.or()?;
        if !self.take("?") {
            return Ok(condition);
        }
        let then = self.or()?;
        self.expect(":")?;
        let otherwise = self.expression()?;
        let kind = ExprKind::Conditional {
            condition: Box::new(condition),
            then: Box::new(then),
            otherwise: Box::new(otherwise),
        };
        self.node(kind, self.since(start))
    }

    fn or(&mut self) -> Parsed<Expr> {
        let start = self.here();
        let first = self.and()?;
        if !self.is("||") {
            return Ok(first);
        }
        let mut terms = vec![first];
        while self.take("||") {
            terms.push(self.and()?);
        }
        self.node(ExprKind::Or(terms), self.since(start))
    }

    fn and(&mut self) -> Parsed<Expr> {
        let start = self.here();
        let first = self.binary(3)?;
        if !self.is("&&") {
            return Ok(first);
        }
        let mut terms = vec![first];
        while self.take("&&") {
            terms.push(self.binary(3)?);
        }
        self.node(ExprKind::And(terms), self.since(start))
    }

    fn operator(&self) -> Option<BinaryOp> {
        Some(match self.peek() {
            TokenKind::Punct(p) => match *p {
                "==" => BinaryOp::Eq,
                "!=" => BinaryOp::Ne,
                "<" => BinaryOp::Lt,
                "<=" => BinaryOp::Le,
                ">" => BinaryOp::Gt,
                ">=" => BinaryOp::Ge,
                "+" => BinaryOp::Add,
                "-" => BinaryOp::Sub,
                "*" => BinaryOp::Mul,
                "/" => BinaryOp::Div,
                "%" => BinaryOp::Mod,
                _ => return None,
            },
            TokenKind::Ident if self.here().text(self.source) == "in" => BinaryOp::In,
            _ => return None,
        })
    }

    fn binary(&mut self, weakest: u8) -> Parsed<Expr> {
        let start = self.here();
        let mut left = self.unary()?;
        while let Some(op) = self.operator().filter(|op| op.strength() >= weakest) {
            self.advance();
            let right = self.binary(op.strength() + 1)?;
            let kind = ExprKind::Binary { op, left: Box::new(left), right: Box::new(right) };
            left = self.node(kind, self.since(start))?;
        }
        Ok(left)
    }

    fn unary(&mut self) -> Parsed<Expr> {
        let start = self.here();
        let mut signs: Vec<(&'static str, Span)> = Vec::new();
        while let TokenKind::Punct(p @ ("!" | "-")) = self.peek() {
            let (p, span) = (*p, self.here());
            // `!-x` and `-!x` are not in the grammar; the checker would refuse them anyway.
            if signs.first().is_some_and(|(first, _)| *first != p) {
                return self.unexpected("a value");
            }
            if signs.len() >= self.limits.depth_max {
                return self.too_deep(start);
            }
            signs.push((p, span));
            self.advance();
        }
        // A minus directly before a number belongs to it, so that the smallest integer can be written.
        let negative = matches!(signs.last(), Some(("-", _)))
            && matches!(self.peek(), TokenKind::Int(_) | TokenKind::Double(_));
        let number_start = if negative { signs.pop().map(|(_, span)| span) } else { None };
        let mut expr = self.member(number_start)?;
        while let Some((sign, span)) = signs.pop() {
            let inner = Box::new(expr);
            let kind = if sign == "!" { ExprKind::Not(inner) } else { ExprKind::Negate(inner) };
            expr = self.node(kind, self.since(span))?;
        }
        Ok(expr)
    }

    /// A primary and its `.field`, `.call()` and `[index]` suffixes. `minus` is where a sign that belongs to
    /// the number stood.
    fn member(&mut self, minus: Option<Span>) -> Parsed<Expr> {
        let start = minus.unwrap_or(self.here());
        let mut expr = self.primary(minus)?;
        loop {
            if self.take(".") {
                if self.is("?") {
                    return unsupported(self.here(), "optional field selection (.?) is");
                }
                expr = self.selection(expr, start)?;
            } else if self.take("[") {
                if self.is("?") {
                    return unsupported(self.here(), "optional indexing ([?]) is");
                }
                let index = self.expression()?;
                self.expect("]")?;
                let kind = ExprKind::Index { target: Box::new(expr), index: Box::new(index) };
                expr = self.node(kind, self.since(start))?;
            } else if self.is("{") && is_qualified(&expr) {
                return unsupported(self.since(start), "messages are");
            } else {
                return Ok(expr);
            }
        }
    }

    /// What follows a dot.
    fn selection(&mut self, target: Expr, start: Span) -> Parsed<Expr> {
        let name_span = self.here();
        let (field, quoted) = match self.peek() {
            TokenKind::Ident => (name_span.text(self.source).to_string(), false),
            TokenKind::QuotedIdent(name) => (name.clone(), true),
            _ => return self.unexpected("a field name"),
        };
        if !quoted && lexer::KEYWORDS.contains(&field.as_str()) {
            return refuse(
                Code::ReservedWord,
                name_span,
                format!("{field:?} cannot be a field name"),
                format!("write `{field}` in back-quotes"),
            );
        }
        self.advance();
        if quoted || !self.is("(") {
            return self.node(ExprKind::Select { target: Box::new(target), field }, self.since(start));
        }
        let args = self.arguments()?;
        let span = self.since(start);
        match fold_kind(&field, args.len()) {
            Some(kind) => self.fold(kind, target, args, span),
            None => {
                if is_later_macro(&field, args.len()) {
                    return unsupported(
                        name_span,
                        &format!("the macro {field}() with {} arguments is", args.len()),
                    );
                }
                self.node(ExprKind::Call { target: Some(Box::new(target)), name: field, args }, span)
            }
        }
    }

    fn fold(&mut self, kind: FoldKind, target: Expr, mut args: Vec<Expr>, span: Span) -> Parsed<Expr> {
        let name = kind.name();
        // The arity was checked by `fold_kind`: two or three arguments.
        let (Some(body), filter) = (args.pop(), if args.len() == 2 { args.pop() } else { None }) else {
            return refuse(Code::BadMacro, span, format!("{name}() takes a name and an expression"), "");
        };
        let var = match args.pop().map(|e| (e.kind, e.span)) {
            Some((ExprKind::Ident(var), _)) if !var.starts_with('.') => var,
            Some((ExprKind::Call { target: Some(target), .. }, at)) if matches!(&target.kind, ExprKind::Ident(name) if name == "cel") =>
            {
                return unsupported(at, "a macro variable made by cel.iterVar() is");
            }
            other => {
                let at = other.map_or(span, |(_, s)| s);
                let hint = format!("write {name}(x, ...) with a plain name");
                return refuse(
                    Code::BadMacro,
                    at,
                    format!("the first argument of {name}() must be a name"),
                    hint,
                );
            }
        };
        self.node(ExprKind::Fold(Box::new(Fold { kind, target, var, filter, body })), span)
    }

    fn arguments(&mut self) -> Parsed<Vec<Expr>> {
        self.expect("(")?;
        let mut args = Vec::new();
        if self.take(")") {
            return Ok(args);
        }
        loop {
            args.push(self.expression()?);
            if !self.take(",") {
                self.expect(")")?;
                return Ok(args);
            }
        }
    }

    fn primary(&mut self, minus: Option<Span>) -> Parsed<Expr> {
        let start = minus.unwrap_or(self.here());
        let literal = match self.peek() {
            TokenKind::Int(v) => match signed(*v, minus.is_some()) {
                Some(v) => Literal::Int(v),
                None => {
                    let hint = "write it with a u behind to make it unsigned";
                    return refuse(
                        Code::BadNumber,
                        start.to(self.here()),
                        "this number does not fit an int",
                        hint,
                    );
                }
            },
            TokenKind::Double(v) => Literal::Double(if minus.is_some() { -*v } else { *v }),
            TokenKind::Uint(v) => Literal::Uint(*v),
            TokenKind::Str(v) => Literal::Str(v.clone()),
            TokenKind::Bytes(v) => Literal::Bytes(v.clone()),
            TokenKind::Punct("(") => return self.parenthesised(),
            TokenKind::Punct("[") => return self.list(),
            TokenKind::Punct("{") => return self.map(),
            TokenKind::Punct(".") => {
                self.advance();
                return self.name(start, ".");
            }
            TokenKind::Ident => return self.name(start, ""),
            _ => return self.unexpected("a value"),
        };
        self.advance();
        self.node(ExprKind::Literal(literal), self.since(start))
    }

    fn parenthesised(&mut self) -> Parsed<Expr> {
        let start = self.here();
        self.expect("(")?;
        let mut inner = self.expression()?;
        self.expect(")")?;
        inner.span = self.since(start);
        Ok(inner)
    }

    fn name(&mut self, start: Span, dot: &str) -> Parsed<Expr> {
        let span = self.here();
        if self.peek() != &TokenKind::Ident {
            return self.unexpected("a name");
        }
        let name = span.text(self.source).to_string();
        let keyword = match name.as_str() {
            "true" => Some(Literal::Bool(true)),
            "false" => Some(Literal::Bool(false)),
            "null" => Some(Literal::Null),
            "in" => return self.unexpected("a value"),
            _ => None,
        };
        if lexer::RESERVED.contains(&name.as_str()) || (keyword.is_some() && !dot.is_empty()) {
            return refuse(
                Code::ReservedWord,
                span,
                format!("{name:?} is a reserved word"),
                "choose another name",
            );
        }
        self.advance();
        if let Some(literal) = keyword {
            return self.node(ExprKind::Literal(literal), span);
        }
        if !self.is("(") {
            return self.node(ExprKind::Ident(format!("{dot}{name}")), self.since(start));
        }
        let mut args = self.arguments()?;
        let span = self.since(start);
        if name == "has" && dot.is_empty() {
            let arg = if args.len() == 1 { args.pop().map(|e| e.kind) } else { None };
            return match arg {
                Some(ExprKind::Select { target, field }) => self.node(ExprKind::Has { target, field }, span),
                _ => refuse(
                    Code::BadMacro,
                    span,
                    "has() takes one field selection",
                    "write has(order.ice_level)",
                ),
            };
        }
        self.node(ExprKind::Call { target: None, name: format!("{dot}{name}"), args }, span)
    }

    fn list(&mut self) -> Parsed<Expr> {
        let start = self.here();
        self.expect("[")?;
        let mut elements = Vec::new();
        while !self.is("]") {
            if self.is("?") {
                return unsupported(self.here(), "optional list elements are");
            }
            elements.push(self.expression()?);
            self.check_length(elements.len(), start)?;
            if !self.take(",") {
                break;
            }
        }
        self.expect("]")?;
        self.node(ExprKind::List(elements), self.since(start))
    }

    fn map(&mut self) -> Parsed<Expr> {
        let start = self.here();
        self.expect("{")?;
        let mut entries = Vec::new();
        while !self.is("}") {
            if self.is("?") {
                return unsupported(self.here(), "optional map entries are");
            }
            let key = self.expression()?;
            self.expect(":")?;
            entries.push((key, self.expression()?));
            self.check_length(entries.len(), start)?;
            if !self.take(",") {
                break;
            }
        }
        self.expect("}")?;
        self.node(ExprKind::Map(entries), self.since(start))
    }

    fn check_length(&self, length: usize, start: Span) -> Parsed<()> {
        if length <= self.limits.list_len_max {
            return Ok(());
        }
        let message = format!("this literal has more than {} elements", self.limits.list_len_max);
        refuse(Code::LimitList, start, message, "")
    }
}

fn signed(magnitude: u64, negative: bool) -> Option<i64> {
    if negative {
        0i64.checked_sub_unsigned(magnitude)
    } else {
        i64::try_from(magnitude).ok()
    }
}

fn fold_kind(name: &str, arguments: usize) -> Option<FoldKind> {
    Some(match (name, arguments) {
        ("all", 2) => FoldKind::All,
        ("exists", 2) => FoldKind::Exists,
        ("exists_one" | "existsOne", 2) => FoldKind::ExistsOne,
        ("map", 2 | 3) => FoldKind::Map,
        ("filter", 2) => FoldKind::Filter,
        _ => return None,
    })
}

/// Macros of CEL's extensions that this version refuses by name.
fn is_later_macro(name: &str, arguments: usize) -> bool {
    matches!(
        (name, arguments),
        ("all" | "exists" | "exists_one" | "existsOne", 3)
            | ("transformList" | "transformMap" | "transformMapEntry", 3 | 4)
            | ("optMap" | "optFlatMap", 2)
    )
}

/// Whether the expression could name a message type.
fn is_qualified(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Ident(_) => true,
        ExprKind::Select { target, .. } => is_qualified(target),
        _ => false,
    }
}

fn highest(kind: &ExprKind) -> u16 {
    let many = |list: &[Expr]| list.iter().map(|e| e.height).max().unwrap_or(0);
    match kind {
        ExprKind::Literal(_) | ExprKind::Ident(_) => 0,
        ExprKind::Select { target, .. } | ExprKind::Has { target, .. } => target.height,
        ExprKind::Index { target, index } => target.height.max(index.height),
        ExprKind::Call { target, args, .. } => many(args).max(target.as_ref().map_or(0, |t| t.height)),
        ExprKind::Not(inner) | ExprKind::Negate(inner) => inner.height,
        ExprKind::And(terms) | ExprKind::Or(terms) | ExprKind::List(terms) => many(terms),
        ExprKind::Binary { left, right, .. } => left.height.max(right.height),
        ExprKind::Conditional { condition, then, otherwise } => {
            condition.height.max(then.height).max(otherwise.height)
        }
        ExprKind::Map(entries) => entries.iter().map(|(k, v)| k.height.max(v.height)).max().unwrap_or(0),
        ExprKind::Fold(fold) => {
            let filter = fold.filter.as_ref().map_or(0, |e| e.height);
            fold.target.height.max(filter).max(fold.body.height)
        }
    }
}
