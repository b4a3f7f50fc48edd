//! How much a condition can cost at most, known before any order: the parts it evaluates, and the steps of its macros,
//! comparisons and functions, as [`crate::eval`] counts them.
//!
//! Every part is given a bound on its steps and on the size of its value. Sizes start at the facts, whose greatest
//! lengths the schema declares, and at the literals, and grow along the operators; a macro costs its body once for each
//! element there can be. Cheaper than metering, which costs the fastest engines a factor of six: an accepted
//! condition is evaluated without a budget that it could exceed. (cel-go's `checker/cost.go` is the model; the units
//! and the table of functions are this crate's.)
use crate::ast::{BinaryOp, FoldKind};
use crate::diagnostic::{Code, Diagnostic, Position, Span};
use crate::eval::{BYTES_PER_ELEMENT, BYTES_PER_STEP, REGEX_COMPILE_STEPS};
use crate::limits::Limits;
use crate::program::{
    FoldNode, Function, ListFunction, MathFunction, Node, Op, OptFunction, Test, TextFunction,
};
use crate::schema::Schema;
use crate::value::Value;

/// Bounds on a value. All saturate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    /// Bytes of a text, elements of a list, entries of a map.
    len: u64,
    /// The greatest `len` of anything inside.
    inner: u64,
    /// Values in it, itself included, and its texts in steps of reading.
    total: u64,
}

/// The size of a number, a truth, an instant.
pub(crate) const SCALAR: Size = Size { len: 0, inner: 0, total: 1 };

impl Size {
    fn text(bytes: u64) -> Size {
        Size { len: bytes, inner: 0, total: 1 + bytes / BYTES_PER_STEP as u64 }
    }

    /// Bytes that a function is charged for reading it: a list is read by its elements, and may be a text instead.
    fn read(self) -> u64 {
        self.len.saturating_mul(BYTES_PER_ELEMENT as u64)
    }

    fn larger(self, other: Size) -> Size {
        Size {
            len: self.len.max(other.len),
            inner: self.inner.max(other.inner),
            total: self.total.max(other.total),
        }
    }

    /// A list or map of at most `len` of them.
    fn times(self, len: u64) -> Size {
        let total = self.total.saturating_mul(len).saturating_add(1);
        Size { len, inner: self.len.max(self.inner), total }
    }

    /// Whatever is inside.
    fn part(self) -> Size {
        Size { len: self.inner, ..self }
    }

    fn of(value: &Value) -> Size {
        match value {
            Value::Str(text) => Size::text(text.len() as u64),
            Value::Bytes(bytes) => Size::text(bytes.len() as u64),
            Value::List(list) => list.iter().map(Size::of).fold(SCALAR, Size::with).ending(list.len() as u64),
            Value::Map(map) => {
                let parts = map.entries().iter().flat_map(|(key, value)| [Size::of(key), Size::of(value)]);
                parts.fold(SCALAR, Size::with).ending(map.len() as u64)
            }
            Value::Optional(Some(inner)) => Size { total: Size::of(inner).total + 1, ..Size::of(inner) },
            Value::Type(name) => Size::text(name.len() as u64),
            _ => SCALAR,
        }
    }

    /// A container that also holds `part`.
    fn with(self, part: Size) -> Size {
        let inner = self.inner.max(part.len).max(part.inner);
        Size { len: self.len, inner, total: self.total.saturating_add(part.total) }
    }

    fn ending(self, len: u64) -> Size {
        Size { len, ..self }
    }
}

/// What a condition can cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Steps at most.
    pub steps: u64,
    /// The innermost part that alone costs more than [`Limits::cost_max`]; the whole when none does.
    pub span: Span,
    pub(crate) size: Size,
}

impl Cost {
    /// What is wrong with an expression that can cost more than it may.
    pub(crate) fn refused(&self, source: &str, limits: &Limits) -> Option<Diagnostic> {
        (self.steps > limits.cost_max).then(|| Diagnostic {
            code: Code::LimitCost,
            rule: None,
            span: self.span,
            position: Position::of(source, self.span.start as usize),
            message: format!(
                "this may take {} steps for one order; at most {} are allowed",
                self.steps, limits.cost_max
            ),
            hint: "this part multiplies: fewer macros inside each other, shorter lists, or no pattern made on the way"
                .to_string(),
        })
    }
}

/// The bound of a compiled expression. A variable costs whoever reads it nothing: it is evaluated once for an order, and
/// counted by itself.
pub(crate) fn of(root: &Node, schema: &Schema, limits: &Limits) -> Cost {
    let mut estimate = Estimate { schema, limits, locals: Vec::new(), worst: None };
    let (steps, size) = estimate.node(root);
    Cost { steps, span: estimate.worst.unwrap_or(root.span), size }
}

struct Estimate<'a> {
    schema: &'a Schema,
    limits: &'a Limits,
    locals: Vec<Size>,
    worst: Option<Span>,
}

type Bound = (u64, Size);

impl Estimate<'_> {
    fn node(&mut self, node: &Node) -> Bound {
        let (steps, size) = self.op(&node.op);
        // A part can be evaluated as a truth and then as a value: it counts twice.
        let steps = steps.saturating_add(2);
        if steps > self.limits.cost_max && self.worst.is_none() {
            self.worst = Some(node.span);
        }
        (steps, size)
    }

    fn op(&mut self, op: &Op) -> Bound {
        match op {
            Op::Const(value) => (0, Size::of(value)),
            Op::Variable(variable) => (0, variable.cost.size),
            Op::Slot { slot, .. } => (0, self.fact(*slot)),
            Op::Local(at) => (0, self.locals.get(*at).copied().unwrap_or(SCALAR)),
            Op::Present(_) | Op::Fail(_) => (0, SCALAR),
            // A comparison with a literal reads no further than that.
            Op::Leaf(leaf) => match leaf.test {
                Test::Contains(_) | Test::Matches(_) => {
                    (self.fact(leaf.slot).len / BYTES_PER_STEP as u64, SCALAR)
                }
                _ => (0, SCALAR),
            },
            Op::And(terms) | Op::Or(terms) => (self.all(terms.iter()).0, SCALAR),
            Op::Not(inner) | Op::Negate(inner) => (self.node(inner).0, SCALAR),
            Op::Conditional(parts) => {
                let [condition, then, otherwise] = parts.as_ref();
                let (asked, _) = self.node(condition);
                let ((a, x), (b, y)) = (self.node(then), self.node(otherwise));
                (asked.saturating_add(a.max(b)), x.larger(y))
            }
            Op::Binary(op, sides) => self.binary(*op, sides),
            Op::Index(sides) | Op::OptIndex(sides) => {
                let ((a, target), (b, _)) = (self.node(&sides[0]), self.node(&sides[1]));
                (a.saturating_add(b).saturating_add(target.len), target.part())
            }
            Op::Select(target, _) | Op::Has(target, _) | Op::OptSelect(target, _) => {
                let (steps, target) = self.node(target);
                (steps.saturating_add(target.len), target.part())
            }
            Op::Matches(text, _) => {
                let (steps, text) = self.node(text);
                (steps.saturating_add(text.len / BYTES_PER_STEP as u64), SCALAR)
            }
            Op::Call(function, args) => self.call(*function, args),
            Op::List(elements) => {
                let (steps, size) = self.all(elements.iter());
                (steps, size.ending(elements.len() as u64))
            }
            Op::Map(entries) => {
                let (steps, size) = self.all(entries.iter().flat_map(|(key, value)| [key, value]));
                (steps, size.ending(entries.len() as u64))
            }
            Op::Fold(fold) => self.fold(fold),
            Op::Maybe(inner) => self.node(inner),
            Op::Bind(parts) => {
                let (steps, value) = self.node(&parts[0]);
                let (more, size) = self.within(&[value], |estimate| estimate.node(&parts[1]));
                (steps.saturating_add(more), size)
            }
            Op::OptMap(parts, _) => {
                let (steps, value) = self.node(&parts[0]);
                let (more, size) = self.within(&[value], |estimate| estimate.node(&parts[1]));
                (steps.saturating_add(more), Size { total: size.total.saturating_add(1), ..size })
            }
            Op::Block(values, body) => {
                let level = self.locals.len();
                let mut steps = 0u64;
                for value in values {
                    let (more, size) = self.node(value);
                    steps = steps.saturating_add(more);
                    self.locals.push(size);
                }
                let (more, size) = self.node(body);
                self.locals.truncate(level);
                (steps.saturating_add(more), size)
            }
            Op::OrElse(parts, _) => {
                let ((a, x), (b, y)) = (self.node(&parts[0]), self.node(&parts[1]));
                (a.saturating_add(b), x.larger(y))
            }
        }
    }

    /// All of some parts, and a container of their values.
    fn all<'n>(&mut self, parts: impl Iterator<Item = &'n Node>) -> Bound {
        let (mut steps, mut size) = (0u64, SCALAR);
        for part in parts {
            let (more, one) = self.node(part);
            steps = steps.saturating_add(more);
            size = size.with(one);
        }
        (steps, size)
    }

    fn within(&mut self, more: &[Size], work: impl FnOnce(&mut Self) -> Bound) -> Bound {
        let level = self.locals.len();
        self.locals.extend_from_slice(more);
        let bound = work(self);
        self.locals.truncate(level);
        bound
    }

    fn fact(&self, slot: usize) -> Size {
        let declared = self.schema.size(slot);
        match self.schema.ty(slot) {
            ty if ty.is_list() => {
                Size::text(u64::from(declared.text_bytes)).times(u64::from(declared.elements))
            }
            ty if ty.is_text() => Size::text(u64::from(declared.text_bytes)),
            _ => SCALAR,
        }
    }

    fn binary(&mut self, op: BinaryOp, sides: &[Node; 2]) -> Bound {
        let ((a, left), (b, right)) = (self.node(&sides[0]), self.node(&sides[1]));
        let both = a.saturating_add(b);
        let (steps, size) = match op {
            BinaryOp::Eq | BinaryOp::Ne => (left.total.min(right.total), SCALAR),
            BinaryOp::In => (right.total, SCALAR),
            BinaryOp::Add => {
                let len = left.len.saturating_add(right.len);
                let total = left.total.saturating_add(right.total);
                (len / BYTES_PER_STEP as u64, Size { len, inner: left.inner.max(right.inner), total })
            }
            _ => (left.total.min(right.total), SCALAR),
        };
        (both.saturating_add(steps), size)
    }

    fn fold(&mut self, fold: &FoldNode) -> Bound {
        let (target_steps, target) = self.node(&fold.target);
        // The second variable is the element and the first its index; of a map, the value and its key.
        let locals = [target.part(), target.part()];
        let variables = &locals[..if fold.two { 2 } else { 1 }];
        let level = self.locals.len();
        self.locals.extend_from_slice(variables);
        let filter = fold.filter.as_ref().map_or(0, |filter| self.node(filter).0);
        let (body, made) = self.node(&fold.body);
        self.locals.truncate(level);
        let each = filter.saturating_add(body).saturating_add(1);
        let steps = target_steps.saturating_add(each.saturating_mul(target.len));
        let size = match fold.kind {
            FoldKind::All | FoldKind::Exists | FoldKind::ExistsOne => SCALAR,
            FoldKind::Filter => target,
            FoldKind::Map | FoldKind::TransformList => made.times(target.len),
            FoldKind::TransformMap => made.larger(target.part()).times(target.len.saturating_mul(2)),
            FoldKind::TransformMapEntry => made.times(target.len.saturating_mul(made.len)),
        };
        (steps, size)
    }

    fn call(&mut self, function: Function, args: &[Node]) -> Bound {
        let (mut steps, mut sizes) = (0u64, Vec::with_capacity(args.len()));
        for arg in args {
            let (more, size) = self.node(arg);
            steps = steps.saturating_add(more);
            sizes.push(size);
        }
        let read: u64 = sizes.iter().fold(0, |sum, size| sum.saturating_add(size.read()));
        let work = match function {
            Function::Matches => u64::from(REGEX_COMPILE_STEPS),
            // Every element may be compared with every other.
            Function::List(
                ListFunction::SetContains
                | ListFunction::SetIntersects
                | ListFunction::SetEquivalent
                | ListFunction::Distinct,
            ) => {
                let first = sizes.first().map_or(0, |size| size.total);
                first.saturating_mul(sizes.last().map_or(0, |size| size.total)).saturating_mul(2)
            }
            _ => 0,
        };
        let steps = steps.saturating_add(read / BYTES_PER_STEP as u64 + 1).saturating_add(work);
        (steps, self.result(function, &sizes))
    }

    /// The size of what a function gives.
    fn result(&self, function: Function, sizes: &[Size]) -> Size {
        use TextFunction as T;
        let first = sizes.first().copied().unwrap_or(SCALAR);
        let longest = self.limits.made_len_max as u64;
        match function {
            Function::Size | Function::StartsWith | Function::EndsWith | Function::Contains => SCALAR,
            Function::Matches | Function::Int | Function::Uint | Function::Double | Function::Bool => SCALAR,
            Function::Timestamp | Function::Duration | Function::Get(_) => SCALAR,
            Function::DistanceM | Function::InWindow | Function::Unbound => SCALAR,
            Function::Text(T::IndexOf | T::LastIndexOf) => SCALAR,
            Function::Dyn | Function::Bytes | Function::Wrap(_) => first,
            Function::Type => Size::text(64),
            Function::String => Size::text(first.len.max(400)),
            Function::Text(
                T::CharAt | T::LowerAscii | T::UpperAscii | T::Substring | T::Trim | T::Reverse,
            ) => first,
            Function::Text(T::Split) => {
                let pieces = first.len.saturating_add(1);
                Size { len: pieces, inner: first.len, total: first.total.saturating_add(pieces) }
            }
            Function::Text(T::Join | T::Replace | T::Format | T::Quote) => Size::text(longest),
            Function::Math(MathFunction::Greatest | MathFunction::Least) => {
                sizes.iter().fold(SCALAR, |all, size| all.larger(size.part()))
            }
            Function::Math(_) => SCALAR,
            Function::List(list) => match list {
                ListFunction::SetContains | ListFunction::SetEquivalent | ListFunction::SetIntersects => {
                    SCALAR
                }
                ListFunction::Range => SCALAR.times(longest),
                ListFunction::Flatten => Size { len: first.total, ..first },
                ListFunction::First | ListFunction::Last => first.part(),
                ListFunction::Slice | ListFunction::Distinct | ListFunction::Sort => first,
            },
            // Addresses are of one size; their texts are made by string().
            Function::Net(_) => SCALAR,
            Function::Opt(OptFunction::None | OptFunction::HasValue) => SCALAR,
            Function::Opt(_) => {
                let all = sizes.iter().fold(SCALAR, |all, size| all.larger(*size));
                Size { total: all.total.saturating_add(1), ..all }
            }
            Function::Base64Encode | Function::Base64Decode => {
                Size::text(first.len.saturating_mul(4) / 3 + 4)
            }
        }
    }
}
