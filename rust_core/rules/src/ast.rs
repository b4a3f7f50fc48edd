//! The tree of a condition as it was written, and its canonical text.
use std::fmt;

use crate::diagnostic::Span;

/// An expression. Equality ignores where it stood.
#[derive(Clone, Debug)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Where it stood.
    pub span: Span,
    /// Longest way down to a leaf, itself included: bounds every recursion over the tree.
    pub height: u16,
}

impl PartialEq for Expr {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

/// A literal. `Double` is compared by bits, so that printing can be checked.
#[derive(Clone, Debug)]
pub enum Literal {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// `-1`
    Int(i64),
    /// `1u`
    Uint(u64),
    /// `1.0`
    Double(f64),
    /// `'a'`
    Str(String),
    /// `b'a'`
    Bytes(Vec<u8>),
}

impl PartialEq for Literal {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Literal::Null, Literal::Null) => true,
            (Literal::Bool(a), Literal::Bool(b)) => a == b,
            (Literal::Int(a), Literal::Int(b)) => a == b,
            (Literal::Uint(a), Literal::Uint(b)) => a == b,
            (Literal::Double(a), Literal::Double(b)) => a.to_bits() == b.to_bits(),
            (Literal::Str(a), Literal::Str(b)) => a == b,
            (Literal::Bytes(a), Literal::Bytes(b)) => a == b,
            _ => false,
        }
    }
}

/// Two-sided operators other than `&&` and `||`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum BinaryOp {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    In,
    Add,
    Sub,
    Mul,
    Div,
    Mod,
}

impl BinaryOp {
    /// As written.
    pub fn symbol(self) -> &'static str {
        match self {
            BinaryOp::Eq => "==",
            BinaryOp::Ne => "!=",
            BinaryOp::Lt => "<",
            BinaryOp::Le => "<=",
            BinaryOp::Gt => ">",
            BinaryOp::Ge => ">=",
            BinaryOp::In => "in",
            BinaryOp::Add => "+",
            BinaryOp::Sub => "-",
            BinaryOp::Mul => "*",
            BinaryOp::Div => "/",
            BinaryOp::Mod => "%",
        }
    }

    /// Binding strength; relations 3, sums 4, products 5. All associate to the left.
    pub fn strength(self) -> u8 {
        match self {
            BinaryOp::Add | BinaryOp::Sub => 4,
            BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod => 5,
            _ => 3,
        }
    }
}

/// The macros that walk a list or map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum FoldKind {
    All,
    Exists,
    ExistsOne,
    Map,
    Filter,
    TransformList,
    TransformMap,
    TransformMapEntry,
}

impl FoldKind {
    /// As written.
    pub fn name(self) -> &'static str {
        match self {
            FoldKind::All => "all",
            FoldKind::Exists => "exists",
            FoldKind::ExistsOne => "exists_one",
            FoldKind::Map => "map",
            FoldKind::Filter => "filter",
            FoldKind::TransformList => "transformList",
            FoldKind::TransformMap => "transformMap",
            FoldKind::TransformMapEntry => "transformMapEntry",
        }
    }
}

/// `target.kind(var, body)`, `target.kind(var, second, body)` or `target.map(var, filter, body)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Fold {
    /// Which macro.
    pub kind: FoldKind,
    /// The list or map walked.
    pub target: Expr,
    /// The element (of a map: the key). With a second variable: the index (of a map: the key).
    pub var: String,
    /// The element (of a map: the value), in the macros of two variables.
    pub second: Option<String>,
    /// The condition of a three-argument `map` and of the filtering `transform…`.
    pub filter: Option<Expr>,
    /// Evaluated for each element.
    pub body: Expr,
}

/// What an expression is.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum ExprKind {
    Literal(Literal),
    /// A name; a leading dot (kept in the text) means the root container.
    Ident(String),
    Select {
        target: Box<Expr>,
        field: String,
    },
    /// `has(target.field)`
    Has {
        target: Box<Expr>,
        field: String,
    },
    Index {
        target: Box<Expr>,
        index: Box<Expr>,
    },
    Call {
        target: Option<Box<Expr>>,
        name: String,
        args: Vec<Expr>,
    },
    Not(Box<Expr>),
    Negate(Box<Expr>),
    /// Two or more terms.
    And(Vec<Expr>),
    /// Two or more terms.
    Or(Vec<Expr>),
    Binary {
        op: BinaryOp,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    Conditional {
        condition: Box<Expr>,
        then: Box<Expr>,
        otherwise: Box<Expr>,
    },
    /// Elements; one that is [`ExprKind::Maybe`] is left out when it is `optional.none()`.
    List(Vec<Expr>),
    /// Entries; one whose key is [`ExprKind::Maybe`] is left out when its value is `optional.none()`.
    Map(Vec<(Expr, Expr)>),
    Fold(Box<Fold>),
    /// `?expr` inside a list or map literal.
    Maybe(Box<Expr>),
    /// `target.?field`
    OptSelect {
        target: Box<Expr>,
        field: String,
    },
    /// `target[?index]`
    OptIndex {
        target: Box<Expr>,
        index: Box<Expr>,
    },
    /// `cel.bind(var, init, body)`
    Bind(Box<Bind>),
    /// `target.optMap(var, body)`, or `optFlatMap` when `flat`; the target is `init`.
    OptMap {
        bind: Box<Bind>,
        flat: bool,
    },
    /// `cel.block([...], body)`: each value may be read behind it, by its position.
    Block(Vec<Expr>, Box<Expr>),
    /// `name{field: value}`
    Message {
        name: String,
        fields: Vec<(String, Expr)>,
    },
}

/// A variable, what it stands for, and where it is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Bind {
    /// The name.
    pub var: String,
    /// What it stands for.
    pub init: Expr,
    /// The expression that knows it.
    pub body: Expr,
}

impl ExprKind {
    /// Binding strength of the outermost construct, for parentheses.
    fn strength(&self) -> u8 {
        match self {
            ExprKind::Conditional { .. } => 0,
            ExprKind::Or(_) => 1,
            ExprKind::And(_) => 2,
            ExprKind::Binary { op, .. } => op.strength(),
            ExprKind::Not(_) | ExprKind::Negate(_) => 6,
            // A negative number reads as a unary minus to what follows it.
            ExprKind::Literal(Literal::Int(v)) if *v < 0 => 6,
            ExprKind::Literal(Literal::Double(v)) if v.is_sign_negative() => 6,
            _ => 7,
        }
    }
}

/// The canonical text: one space around operators, the fewest parentheses, single quotes.
impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ExprKind::Literal(literal) => print_literal(literal, f),
            ExprKind::Ident(name) => f.write_str(&variable(name)),
            ExprKind::Select { target, field } => {
                print_tight(target, 7, f)?;
                f.write_str(".")?;
                print_field(field, f)
            }
            ExprKind::Has { target, field } => {
                f.write_str("has(")?;
                print_tight(target, 7, f)?;
                f.write_str(".")?;
                print_field(field, f)?;
                f.write_str(")")
            }
            ExprKind::Index { target, index } => {
                print_tight(target, 7, f)?;
                write!(f, "[{index}]")
            }
            ExprKind::Call { target, name, args } => {
                if let Some(target) = target {
                    print_tight(target, 7, f)?;
                    f.write_str(".")?;
                }
                f.write_str(name)?;
                f.write_str("(")?;
                print_list(args, f)?;
                f.write_str(")")
            }
            ExprKind::Not(inner) => {
                f.write_str("!")?;
                print_tight(inner, 7, f)
            }
            ExprKind::Negate(inner) => {
                // A minus before a digit would read as part of the number.
                let text = inner.to_string();
                let apart = inner.kind.strength() < 7 || text.starts_with(|c: char| c.is_ascii_digit());
                if apart {
                    write!(f, "-({text})")
                } else {
                    write!(f, "-{text}")
                }
            }
            ExprKind::And(terms) => print_joined(terms, " && ", 3, f),
            ExprKind::Or(terms) => print_joined(terms, " || ", 2, f),
            ExprKind::Binary { op, left, right } => {
                print_tight(left, op.strength(), f)?;
                write!(f, " {} ", op.symbol())?;
                print_tight(right, op.strength() + 1, f)
            }
            ExprKind::Conditional { condition, then, otherwise } => {
                print_tight(condition, 1, f)?;
                f.write_str(" ? ")?;
                print_tight(then, 1, f)?;
                write!(f, " : {otherwise}")
            }
            ExprKind::List(elements) => {
                f.write_str("[")?;
                print_list(elements, f)?;
                f.write_str("]")
            }
            ExprKind::Map(entries) => {
                f.write_str("{")?;
                for (i, (key, value)) in entries.iter().enumerate() {
                    write!(f, "{}{key}: {value}", if i == 0 { "" } else { ", " })?;
                }
                f.write_str("}")
            }
            ExprKind::Maybe(inner) => write!(f, "?{inner}"),
            ExprKind::OptSelect { target, field } => {
                print_tight(target, 7, f)?;
                f.write_str(".?")?;
                print_field(field, f)
            }
            ExprKind::OptIndex { target, index } => {
                print_tight(target, 7, f)?;
                write!(f, "[?{index}]")
            }
            ExprKind::Bind(bind) => {
                write!(f, "cel.bind({}, {}, {})", variable(&bind.var), bind.init, bind.body)
            }
            ExprKind::OptMap { bind, flat } => {
                print_tight(&bind.init, 7, f)?;
                let name = if *flat { "optFlatMap" } else { "optMap" };
                write!(f, ".{name}({}, {})", variable(&bind.var), bind.body)
            }
            ExprKind::Block(values, body) => {
                f.write_str("cel.block([")?;
                print_list(values, f)?;
                write!(f, "], {body})")
            }
            ExprKind::Message { name, fields } => {
                write!(f, "{name}{{")?;
                for (i, (field, value)) in fields.iter().enumerate() {
                    f.write_str(if i == 0 { "" } else { ", " })?;
                    print_field(field, f)?;
                    write!(f, ": {value}")?;
                }
                f.write_str("}")
            }
            ExprKind::Fold(fold) => {
                print_tight(&fold.target, 7, f)?;
                write!(f, ".{}({}, ", fold.kind.name(), variable(&fold.var))?;
                if let Some(second) = &fold.second {
                    write!(f, "{}, ", variable(second))?;
                }
                if let Some(filter) = &fold.filter {
                    write!(f, "{filter}, ")?;
                }
                write!(f, "{})", fold.body)
            }
        }
    }
}

/// A name as it is written; those made by `cel.iterVar()` and `cel.index()` begin with `@`.
fn variable(name: &str) -> std::borrow::Cow<'_, str> {
    if let Some(number) = name.strip_prefix("@index:") {
        return format!("cel.index({number})").into();
    }
    match name.strip_prefix("@iter:").and_then(|pair| pair.split_once(':')) {
        Some((depth, number)) => format!("cel.iterVar({depth}, {number})").into(),
        None => name.into(),
    }
}

fn print_tight(expr: &Expr, strength: u8, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if expr.kind.strength() < strength {
        write!(f, "({expr})")
    } else {
        write!(f, "{expr}")
    }
}

fn print_joined(terms: &[Expr], separator: &str, strength: u8, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (i, term) in terms.iter().enumerate() {
        f.write_str(if i == 0 { "" } else { separator })?;
        print_tight(term, strength, f)?;
    }
    Ok(())
}

fn print_list(elements: &[Expr], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (i, element) in elements.iter().enumerate() {
        write!(f, "{}{element}", if i == 0 { "" } else { ", " })?;
    }
    Ok(())
}

fn print_field(field: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let plain = field.bytes().all(|b| b == b'_' || b.is_ascii_alphanumeric())
        && field.bytes().next().is_some_and(|b| !b.is_ascii_digit())
        && !crate::lexer::KEYWORDS.contains(&field);
    if plain {
        f.write_str(field)
    } else {
        write!(f, "`{field}`")
    }
}

fn print_literal(literal: &Literal, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match literal {
        Literal::Null => f.write_str("null"),
        Literal::Bool(v) => write!(f, "{v}"),
        Literal::Int(v) => write!(f, "{v}"),
        Literal::Uint(v) => write!(f, "{v}u"),
        Literal::Double(v) => write!(f, "{v:?}"),
        Literal::Str(v) => f.write_str(&quote(v)),
        Literal::Bytes(v) => {
            f.write_str("b'")?;
            for byte in v {
                match byte {
                    b'\'' | b'\\' => write!(f, "\\{}", char::from(*byte))?,
                    0x20..=0x7e => write!(f, "{}", char::from(*byte))?,
                    _ => write!(f, "\\x{byte:02x}")?,
                }
            }
            f.write_str("'")
        }
    }
}

/// `text` as a CEL string literal.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('\'');
    for c in text.chars() {
        match c {
            '\'' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\U{:08x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('\'');
    out
}
