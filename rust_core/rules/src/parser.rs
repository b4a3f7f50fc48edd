//! Tokens to tree, by recursive descent; binary operators by binding strength.
//!
//! Macros (`has`, `all`, `map`, `cel.bind`, …) become nodes of their own here (see `macros.rs`), so that nothing behind the parser has to recognise them by name. Depth and size are bounded while parsing: the
//! tree that comes out can be walked recursively without a thought for the stack.
use crate::ast::{BinaryOp, Expr, ExprKind, Literal};
use crate::diagnostic::{Code, Diagnostic, Diagnostics, Span};
use crate::lexer::{self, Token, TokenKind};
use crate::limits::Limits;

/// Parses one expression.
///
/// # Errors
/// All lexical errors, or else the first syntactic one.
pub fn parse(source: &str, limits: &Limits) -> Result<Expr, Vec<Diagnostic>> {
    parse_as(source, true, limits)
}

/// As [`parse`]; without `macros` their names are names of functions.
///
/// # Errors
/// As [`parse`].
pub fn parse_as(source: &str, macros: bool, limits: &Limits) -> Result<Expr, Vec<Diagnostic>> {
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
    let mut parser = Parser { source, tokens, at: 0, depth: 0, nodes: 0, macros, limits };
    match parser.whole() {
        Ok(expr) => Ok(expr),
        Err(refusal) => {
            found.add(refusal.code, refusal.span, refusal.message, refusal.hint);
            Err(found.into_vec())
        }
    }
}

/// Why parsing stopped. Boxed in results: a small result keeps the frames of the recursion small.
pub(crate) struct Refusal {
    code: Code,
    span: Span,
    message: String,
    hint: String,
}

pub(crate) type Parsed<T> = Result<T, Box<Refusal>>;

pub(crate) fn refuse<T>(
    code: Code,
    span: Span,
    message: impl Into<String>,
    hint: impl Into<String>,
) -> Parsed<T> {
    Err(Box::new(Refusal { code, span, message: message.into(), hint: hint.into() }))
}

pub(crate) struct Parser<'s> {
    source: &'s str,
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    nodes: usize,
    pub(crate) macros: bool,
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

    pub(crate) fn node(&mut self, kind: ExprKind, span: Span) -> Parsed<Expr> {
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
                expr = if self.take("?") {
                    self.optional_selection(expr, start)?
                } else {
                    self.selection(expr, start)?
                };
            } else if self.take("[") {
                let optional = self.take("?");
                let (target, index) = (Box::new(expr), Box::new(self.expression()?));
                self.expect("]")?;
                let kind = if optional {
                    ExprKind::OptIndex { target, index }
                } else {
                    ExprKind::Index { target, index }
                };
                expr = self.node(kind, self.since(start))?;
            } else if self.is("{") && is_qualified(&expr) {
                expr = self.message(&expr, start)?;
            } else {
                return Ok(expr);
            }
        }
    }

    /// What follows a dot.
    fn selection(&mut self, target: Expr, start: Span) -> Parsed<Expr> {
        let (field, quoted) = self.field_name()?;
        if quoted || !self.is("(") {
            return self.node(ExprKind::Select { target: Box::new(target), field }, self.since(start));
        }
        let args = self.arguments()?;
        let span = self.since(start);
        self.member_call(target, field, args, span)
    }

    /// What follows `.?`: a field, never a call.
    fn optional_selection(&mut self, target: Expr, start: Span) -> Parsed<Expr> {
        let (field, _) = self.field_name()?;
        self.node(ExprKind::OptSelect { target: Box::new(target), field }, self.since(start))
    }

    /// A field's name and whether it stood in back-quotes.
    fn field_name(&mut self) -> Parsed<(String, bool)> {
        let span = self.here();
        let (field, quoted) = match self.peek() {
            TokenKind::Ident => (span.text(self.source).to_string(), false),
            TokenKind::QuotedIdent(name) => (name.clone(), true),
            _ => return self.unexpected("a field name"),
        };
        if !quoted && lexer::KEYWORDS.contains(&field.as_str()) {
            return refuse(
                Code::ReservedWord,
                span,
                format!("{field:?} cannot be a field name"),
                format!("write `{field}` in back-quotes"),
            );
        }
        self.advance();
        Ok((field, quoted))
    }

    /// `{field: value}` behind a message's name.
    fn message(&mut self, name: &Expr, start: Span) -> Parsed<Expr> {
        let Some(name) = crate::names::dotted(name) else { return self.unexpected("an operator") };
        self.expect("{")?;
        let mut fields = Vec::new();
        while !self.is("}") {
            let (field, _) = self.field_name()?;
            self.expect(":")?;
            fields.push((field, self.expression()?));
            self.check_length(fields.len(), start)?;
            if !self.take(",") {
                break;
            }
        }
        self.expect("}")?;
        self.node(ExprKind::Message { name, fields }, self.since(start))
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
        if self.macros && name == "has" && dot.is_empty() {
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
            elements.push(self.maybe()?);
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
            let key = self.maybe()?;
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

    /// An element of a literal, perhaps with a `?` before it.
    fn maybe(&mut self) -> Parsed<Expr> {
        let start = self.here();
        if !self.take("?") {
            return self.expression();
        }
        let inner = Box::new(self.expression()?);
        self.node(ExprKind::Maybe(inner), self.since(start))
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
        ExprKind::Select { target, .. }
        | ExprKind::Has { target, .. }
        | ExprKind::OptSelect { target, .. } => target.height,
        ExprKind::Index { target, index } | ExprKind::OptIndex { target, index } => {
            target.height.max(index.height)
        }
        ExprKind::Bind(bind) | ExprKind::OptMap { bind, .. } => bind.init.height.max(bind.body.height),
        ExprKind::Block(values, body) => many(values).max(body.height),
        ExprKind::Message { fields, .. } => fields.iter().map(|(_, v)| v.height).max().unwrap_or(0),
        ExprKind::Call { target, args, .. } => many(args).max(target.as_ref().map_or(0, |t| t.height)),
        ExprKind::Not(inner) | ExprKind::Negate(inner) | ExprKind::Maybe(inner) => inner.height,
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
