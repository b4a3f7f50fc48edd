//! The compiled form of a condition: names resolved to slots, constants folded, and the tests that matter in
//! practice (one slot against literals) turned into typed leaves that need no allocation.
//!
//! A leaf is also what an index over many rules is built from: a slot and what is asked of it.
use std::sync::Arc;

use crate::ast::{BinaryOp, FoldKind};
use crate::diagnostic::Span;
use crate::operate::holds;
use crate::value::Value;
use crate::variables::VariableNode;

/// A compiled expression and where it stood.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub op: Op,
    pub span: Span,
}

/// What a node does.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Const(Value),
    /// The value of a slot. Absent: null when the slot is nullable, else a fault.
    Slot {
        slot: usize,
        nullable: bool,
    },
    /// `has()` of a slot.
    Present(usize),
    /// A macro's variable, by its distance from the outermost.
    Local(usize),
    /// Always this fault (a name that could not be resolved, when checking is off).
    Fail(FaultKind),
    Leaf(Leaf),
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
    Negate(Box<Node>),
    Conditional(Box<[Node; 3]>),
    Binary(BinaryOp, Box<[Node; 2]>),
    Index(Box<[Node; 2]>),
    Select(Box<Node>, Arc<str>),
    Has(Box<Node>, Arc<str>),
    /// A method's target is the first argument.
    Call(Function, Vec<Node>),
    /// `matches()` with its literal pattern compiled.
    Matches(Box<Node>, Arc<regex::Regex>),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
    Fold(Box<FoldNode>),
    /// An element, or an entry's key, that is left out when its value is `optional.none()`.
    Maybe(Box<Node>),
    OptSelect(Box<Node>, Arc<str>),
    OptIndex(Box<[Node; 2]>),
    /// `cel.bind`: the value becomes the next local of the body.
    Bind(Box<[Node; 2]>),
    /// `optMap`, or `optFlatMap` when true: the value inside becomes the next local of the body.
    OptMap(Box<[Node; 2]>, bool),
    /// `cel.block`: each value becomes a local of those behind it and of the body.
    Block(Vec<Node>, Box<Node>),
    /// `a.or(b)`, or `a.orValue(b)` when true; `b` is evaluated only when it is needed.
    OrElse(Box<[Node; 2]>, bool),
    /// A variable of the namespace: evaluated when it is first read.
    Variable(Arc<VariableNode>),
}

/// A macro over a list or map.
#[derive(Clone, Debug)]
pub(crate) struct FoldNode {
    pub kind: FoldKind,
    /// Two locals instead of one: index or key, and element or value.
    pub two: bool,
    pub target: Node,
    pub filter: Option<Node>,
    pub body: Node,
}

/// One slot against literals.
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    pub slot: usize,
    pub nullable: bool,
    pub test: Test,
}

/// What is asked of a slot. The operator is never `In` and never arithmetic.
#[derive(Clone, Debug)]
pub(crate) enum Test {
    Int(BinaryOp, i64),
    Double(BinaryOp, f64),
    /// `slot`, or `!slot` when false.
    Bool(bool),
    Str(BinaryOp, Arc<str>),
    /// Sorted.
    IntIn(Box<[i64]>),
    /// Sorted.
    StrIn(Box<[Arc<str>]>),
    StartsWith(Arc<str>),
    EndsWith(Arc<str>),
    Contains(Arc<str>),
    Matches(Arc<regex::Regex>),
}

impl Test {
    /// The operator between slot and literal, if there is one.
    pub(crate) fn relation(&self) -> Option<BinaryOp> {
        match self {
            Test::Int(op, _) | Test::Double(op, _) | Test::Str(op, _) => Some(*op),
            Test::IntIn(_) | Test::StrIn(_) => Some(BinaryOp::In),
            _ => None,
        }
    }

    /// Whether it is asked of texts.
    pub(crate) fn is_of_text(&self) -> bool {
        !matches!(self, Test::Int(..) | Test::Double(..) | Test::Bool(_) | Test::IntIn(_))
    }

    /// What it says of a text; `false` for a test of other values.
    #[inline]
    pub(crate) fn holds_of(&self, text: &str) -> bool {
        match self {
            Test::Str(BinaryOp::Eq, wanted) => text == wanted.as_ref(),
            Test::Str(BinaryOp::Ne, wanted) => text != wanted.as_ref(),
            // The order of UTF-8 is the order of code points.
            Test::Str(op, wanted) => holds(*op, text.cmp(wanted.as_ref())),
            Test::StrIn(all) => all.binary_search_by(|known| known.as_ref().cmp(text)).is_ok(),
            Test::StartsWith(part) => text.starts_with(part.as_ref()),
            Test::EndsWith(part) => text.ends_with(part.as_ref()),
            Test::Contains(part) => text.contains(part.as_ref()),
            Test::Matches(regex) => regex.is_match(text),
            Test::Int(..) | Test::Double(..) | Test::Bool(_) | Test::IntIn(_) => false,
        }
    }
}

/// Pure functions of the language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Function {
    Size,
    StartsWith,
    EndsWith,
    Contains,
    Matches,
    Int,
    Uint,
    Double,
    String,
    Bool,
    Bytes,
    Type,
    Dyn,
    Timestamp,
    Duration,
    Get(Part),
    Text(TextFunction),
    Math(MathFunction),
    List(ListFunction),
    Net(NetFunction),
    Opt(OptFunction),
    Base64Encode,
    Base64Decode,
    /// A message of the well-known wrapper types, from the value it wraps.
    Wrap(Wrapper),
    /// Metres between two places, degrees.
    DistanceM,
    /// Whether a local time of day lies in a window.
    InWindow,
    /// Declared without a body: known to the checker only.
    Unbound,
}

/// Functions of the strings library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TextFunction {
    CharAt,
    IndexOf,
    LastIndexOf,
    Join,
    LowerAscii,
    UpperAscii,
    Replace,
    Split,
    Substring,
    Trim,
    Format,
    Quote,
    /// Also of lists.
    Reverse,
}

/// Functions of the math library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum MathFunction {
    Greatest,
    Least,
    Ceil,
    Floor,
    Round,
    Trunc,
    Abs,
    Sign,
    IsNan,
    IsInf,
    IsFinite,
    Sqrt,
    BitAnd,
    BitOr,
    BitXor,
    BitNot,
    BitShiftLeft,
    BitShiftRight,
}

/// Functions of the sets and lists libraries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ListFunction {
    SetContains,
    SetEquivalent,
    SetIntersects,
    Slice,
    Flatten,
    Distinct,
    Sort,
    Range,
    First,
    Last,
}

/// Functions of the network library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum NetFunction {
    Ip,
    IsIp,
    IsCanonical,
    Family,
    IsLoopback,
    IsUnspecified,
    IsGlobalUnicast,
    IsLinkLocalMulticast,
    IsLinkLocalUnicast,
    Cidr,
    IsCidr,
    ContainsIp,
    ContainsCidr,
    Masked,
    PrefixLength,
}

/// Functions of the optionals library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum OptFunction {
    None,
    Of,
    OfNonZeroValue,
    HasValue,
    Value,
    /// `or` and `orValue` have a node of their own, because their argument may not be needed.
    Or,
    OrValue,
    UnwrapAll,
}

/// Well-known messages that are plain values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Wrapper {
    Bool,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Float,
    Double,
    String,
    Bytes,
}

/// What a getter reads from an instant or a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    FullYear,
    Month,
    Date,
    DayOfMonth,
    DayOfWeek,
    DayOfYear,
    Hours,
    Minutes,
    Seconds,
    Milliseconds,
}

/// Why an evaluation has no value. A fault is data, not a failure of the program: the rule does not match
/// and the fault is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// The value is not there and may not be null.
    Absent,
    /// The operation does not exist for values of these types.
    NoOverload,
    /// The result does not fit its type.
    Overflow,
    /// Division by zero.
    DivideByZero,
    /// Remainder by zero.
    ModulusByZero,
    /// The map has no such key.
    NoSuchKey,
    /// The list has no such index.
    IndexOutOfRange,
    /// The text does not read as the wanted type.
    Conversion,
    /// The value is outside the wanted type's range.
    Range,
    /// The map literal has a key twice.
    DuplicateKey,
    /// The map literal has a key of an impossible type.
    BadKey,
    /// The bytes are not Unicode text.
    InvalidUtf8,
    /// Nothing has this name (only without type checking).
    UnknownName,
    /// No function has this name (only without type checking).
    UnknownFunction,
    /// The macros took more steps than allowed.
    TooManySteps,
    /// A text or list made on the way is longer than allowed.
    TooLong,
    /// An optional without a value was asked for it.
    NoValue,
    /// A text to be formatted has a clause that cannot be read, or too few arguments.
    BadFormat,
    /// A regular expression that does not compile.
    BadRegex,
    /// Not supported by this version.
    Unsupported,
}

impl FaultKind {
    /// The stable spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            FaultKind::Absent => "absent",
            FaultKind::NoOverload => "no_such_overload",
            FaultKind::Overflow => "overflow",
            FaultKind::DivideByZero => "divide_by_zero",
            FaultKind::ModulusByZero => "modulus_by_zero",
            FaultKind::NoSuchKey => "no_such_key",
            FaultKind::IndexOutOfRange => "index_out_of_range",
            FaultKind::Conversion => "conversion",
            FaultKind::Range => "range",
            FaultKind::DuplicateKey => "duplicate_key",
            FaultKind::BadKey => "bad_key",
            FaultKind::InvalidUtf8 => "invalid_utf8",
            FaultKind::UnknownName => "unknown_name",
            FaultKind::UnknownFunction => "unknown_function",
            FaultKind::TooManySteps => "too_many_steps",
            FaultKind::TooLong => "too_long",
            FaultKind::NoValue => "no_value",
            FaultKind::BadFormat => "bad_format",
            FaultKind::BadRegex => "bad_regex",
            FaultKind::Unsupported => "unsupported",
        }
    }
}

/// A fault and the part of the condition that had it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Why.
    pub kind: FaultKind,
    /// Where.
    pub span: Span,
}

impl Node {
    pub(crate) fn new(op: Op, span: Span) -> Node {
        Node { op, span }
    }

    /// Calls `visit` for each part directly below; the expression of a variable is not one.
    pub(crate) fn each_child<'n>(&'n self, visit: &mut dyn FnMut(&'n Node)) {
        match &self.op {
            Op::Const(_) | Op::Slot { .. } | Op::Present(_) | Op::Local(_) | Op::Fail(_) | Op::Leaf(_) => {}
            Op::Variable(_) => {}
            Op::And(nodes) | Op::Or(nodes) | Op::List(nodes) | Op::Call(_, nodes) => {
                nodes.iter().for_each(visit);
            }
            Op::Block(nodes, body) => {
                nodes.iter().for_each(&mut *visit);
                visit(body);
            }
            Op::Not(inner) | Op::Negate(inner) | Op::Select(inner, _) | Op::Has(inner, _) => visit(inner),
            Op::Matches(inner, _) | Op::Maybe(inner) | Op::OptSelect(inner, _) => visit(inner),
            Op::Conditional(nodes) => nodes.iter().for_each(visit),
            Op::Binary(_, nodes) | Op::Index(nodes) | Op::OptIndex(nodes) | Op::Bind(nodes) => {
                nodes.iter().for_each(visit);
            }
            Op::OptMap(nodes, _) | Op::OrElse(nodes, _) => nodes.iter().for_each(visit),
            Op::Map(entries) => entries.iter().for_each(|(key, value)| {
                visit(key);
                visit(value);
            }),
            Op::Fold(fold) => {
                visit(&fold.target);
                fold.filter.iter().for_each(&mut *visit);
                visit(&fold.body);
            }
        }
    }

    /// Whether a variable is a value of its own in here.
    pub(crate) fn has_variables(&self) -> bool {
        let mut found = matches!(self.op, Op::Variable(_));
        self.each_child(&mut |child| found = found || child.has_variables());
        found
    }

    /// Adds the slots that this part reads, those of variables among them; a slot may be there more than once.
    pub(crate) fn collect_slots(&self, out: &mut Vec<usize>) {
        match &self.op {
            Op::Slot { slot, .. } | Op::Present(slot) => out.push(*slot),
            Op::Leaf(leaf) => out.push(leaf.slot),
            Op::Variable(variable) => out.extend(&variable.slots),
            _ => self.each_child(&mut |child| child.collect_slots(out)),
        }
    }

    pub(crate) fn constant(&self) -> Option<&Value> {
        match &self.op {
            Op::Const(value) => Some(value),
            _ => None,
        }
    }
}

/// How a slot is typed, as far as leaves care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SlotType {
    Int,
    Double,
    Bool,
    Str,
    Other,
}

/// Turns what can be a leaf into one; everything else stays as it is. Children come already specialised.
pub(crate) fn specialise(node: Node, slot_type: &dyn Fn(usize) -> SlotType) -> Node {
    let test = match &node.op {
        Op::Slot { slot, nullable } if slot_type(*slot) == SlotType::Bool => {
            Some((*slot, *nullable, Test::Bool(true)))
        }
        Op::Not(inner) => match &inner.op {
            Op::Leaf(Leaf { slot, nullable, test: Test::Bool(wanted) }) => {
                Some((*slot, *nullable, Test::Bool(!wanted)))
            }
            _ => None,
        },
        Op::Binary(op, sides) => binary_test(*op, &sides[0], &sides[1], slot_type),
        Op::Call(function, args) => call_test(*function, args, slot_type),
        Op::Matches(text, regex) => match text.op {
            Op::Slot { slot, nullable } if slot_type(slot) == SlotType::Str => {
                Some((slot, nullable, Test::Matches(regex.clone())))
            }
            _ => None,
        },
        _ => None,
    };
    match test {
        Some((slot, nullable, test)) => Node::new(Op::Leaf(Leaf { slot, nullable, test }), node.span),
        None => node,
    }
}

type Tested = Option<(usize, bool, Test)>;

fn binary_test(op: BinaryOp, left: &Node, right: &Node, slot_type: &dyn Fn(usize) -> SlotType) -> Tested {
    if op == BinaryOp::In {
        let (Op::Slot { slot, nullable }, Some(Value::List(list))) = (&left.op, right.constant()) else {
            return None;
        };
        return membership(slot_type(*slot), list).map(|test| (*slot, *nullable, test));
    }
    if op.strength() != 3 {
        return None;
    }
    let (slot, nullable, literal, op) = match (&left.op, &right.op) {
        (Op::Slot { slot, nullable }, Op::Const(literal)) => (*slot, *nullable, literal, op),
        (Op::Const(literal), Op::Slot { slot, nullable }) => (*slot, *nullable, literal, mirrored(op)),
        _ => return None,
    };
    let test = match (slot_type(slot), literal) {
        (SlotType::Int, Value::Int(v)) => Test::Int(op, *v),
        (SlotType::Double, Value::Double(v)) => Test::Double(op, *v),
        (SlotType::Str, Value::Str(v)) => Test::Str(op, v.clone()),
        // A nullable bool stays general: null == true is false, but null alone is a fault.
        (SlotType::Bool, Value::Bool(v)) if op == BinaryOp::Eq && !nullable => Test::Bool(*v),
        _ => return None,
    };
    Some((slot, nullable, test))
}

fn membership(slot: SlotType, list: &[Value]) -> Option<Test> {
    match slot {
        SlotType::Int => {
            let all = list.iter().map(|v| if let Value::Int(v) = v { Some(*v) } else { None });
            let mut all: Vec<i64> = all.collect::<Option<_>>()?;
            all.sort_unstable();
            Some(Test::IntIn(all.into()))
        }
        SlotType::Str => {
            let all = list.iter().map(|v| if let Value::Str(v) = v { Some(v.clone()) } else { None });
            let mut all: Vec<Arc<str>> = all.collect::<Option<_>>()?;
            all.sort_unstable();
            Some(Test::StrIn(all.into()))
        }
        _ => None,
    }
}

fn call_test(function: Function, args: &[Node], slot_type: &dyn Fn(usize) -> SlotType) -> Tested {
    let [Node { op: Op::Slot { slot, nullable }, .. }, Node { op: Op::Const(Value::Str(text)), .. }] = args
    else {
        return None;
    };
    if slot_type(*slot) != SlotType::Str {
        return None;
    }
    let test = match function {
        Function::StartsWith => Test::StartsWith(text.clone()),
        Function::EndsWith => Test::EndsWith(text.clone()),
        Function::Contains => Test::Contains(text.clone()),
        _ => return None,
    };
    Some((*slot, *nullable, test))
}

/// The operator after its sides are swapped.
fn mirrored(op: BinaryOp) -> BinaryOp {
    match op {
        BinaryOp::Lt => BinaryOp::Gt,
        BinaryOp::Le => BinaryOp::Ge,
        BinaryOp::Gt => BinaryOp::Lt,
        BinaryOp::Ge => BinaryOp::Le,
        other => other,
    }
}
