//! Variables: named expressions of a namespace, known in its conditions as `variables.name`.
//!
//! A variable that is nothing but tests, truth values and names of facts takes the place of its name, so the index sees
//! through it. Any other is a value that the first condition to read it makes, once for each order; a fault is kept as
//! the value is, and had by whoever reads it. Either way a condition means what it means with the expression written
//! out in brackets. Its steps are counted by itself, so its value does not depend on who read it first.
use std::sync::Arc;

use crate::ast::{Expr, ExprKind};
use crate::check;
use crate::cost::{Cost, SCALAR};
use crate::diagnostic::{Code, Diagnostic, Position, Span};
use crate::limits::Limits;
use crate::names::dotted;
use crate::parser;
use crate::program::{FaultKind, Node, Op};
use crate::schema::{Schema, Type};

/// In front of every variable's name in a condition.
pub(crate) const PREFIX: &str = "variables.";
/// Nodes of a variable that takes the place of its name; a larger one is a value of its own.
const PLAIN_NODES_MAX: usize = 32;

/// A variable as it is loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variable {
    /// Without the prefix.
    pub name: String,
    /// A CEL expression of any type. It may name other variables of its namespace, in any order but a circle.
    pub expression: String,
}

/// A compiled variable.
#[derive(Clone, Debug)]
pub(crate) struct Defined {
    /// With the prefix.
    pub name: String,
    pub ty: Type,
    pub value: Arc<VariableNode>,
    /// It takes the place of its name.
    plain: bool,
}

/// What a variable evaluates to.
#[derive(Debug)]
pub(crate) struct VariableNode {
    /// Its place among the variables of all namespaces, where an evaluation keeps its value.
    pub index: usize,
    pub root: Node,
    /// Slots that it reads, those of the variables it names among them, ascending.
    pub slots: Vec<usize>,
    /// What it can cost, without the variables it names.
    pub cost: Cost,
    /// How deep its evaluation goes, variables included.
    depth: usize,
}

impl VariableNode {
    fn of(index: usize, root: Node, cost: Cost) -> VariableNode {
        let mut slots = Vec::new();
        root.collect_slots(&mut slots);
        slots.sort_unstable();
        slots.dedup();
        let depth = depth(&root);
        VariableNode { index, root, slots, cost, depth }
    }
}

impl Defined {
    /// What stands where a condition names it.
    pub(crate) fn named_at(&self, span: Span) -> Node {
        if self.plain {
            return placed(&self.value.root, span);
        }
        Node::new(Op::Variable(Arc::clone(&self.value)), span)
    }
}

/// Compiles the variables of a namespace; `first` is the place of the first of them among all.
///
/// # Errors
/// Everything that is wrong with them; `rule` of a diagnostic is then the place among these variables.
pub(crate) fn define(
    sources: &[Variable],
    first: usize,
    schema: &Schema,
    limits: &Limits,
) -> Result<Vec<Defined>, Vec<Diagnostic>> {
    let mut found = Vec::new();
    let mut parsed = Vec::with_capacity(sources.len());
    for (at, source) in sources.iter().enumerate() {
        match parser::parse(&source.expression, limits) {
            Ok(expr) => parsed.push(Some(expr)),
            Err(diagnostics) => {
                parsed.push(None);
                found.extend(diagnostics.into_iter().map(|d| Diagnostic { rule: Some(at), ..d }));
            }
        }
    }
    let mut walk =
        Walk { sources, parsed: &parsed, state: vec![State::New; sources.len()], order: Vec::new() };
    // Whoever reads a variable that is in a circle, or is no expression, is not wrong because of that.
    let mut known: Vec<bool> = parsed.iter().map(Option::is_some).collect();
    for at in 0..sources.len() {
        if let Some(circle) = walk.visit(at, &mut Vec::new()) {
            found.push(about_circle(sources, &circle));
            circle.into_iter().for_each(|member| known[member] = false);
        }
    }
    let order = walk.order;
    let mut defined: Vec<Defined> = Vec::with_capacity(sources.len());
    for at in (0..sources.len()).filter(|at| !known[*at]) {
        defined.extend(unknown(&sources[at..=at], first + at));
    }
    for at in order.into_iter().filter(|at| known[*at]) {
        let (Some(source), Some(Some(expr))) = (sources.get(at), parsed.get(at)) else { continue };
        match check::compile_with(expr, &source.expression, schema, &defined, limits) {
            Ok(program) => {
                if let Some(too_dear) = program.cost.refused(&source.expression, limits) {
                    found.push(Diagnostic { rule: Some(at), ..too_dear });
                }
                let plain = is_plain(&program.root, &mut 0);
                let value = Arc::new(VariableNode::of(first + at, program.root, program.cost));
                if value.depth > limits.depth_max {
                    let message =
                        format!("variables nest {} deep; at most {}", value.depth, limits.depth_max);
                    found.push(about(Code::LimitDepth, at, Span::default(), &source.expression, message));
                }
                let name = format!("{PREFIX}{}", source.name);
                defined.push(Defined { name, ty: program.ty, value, plain });
            }
            Err(diagnostics) => {
                found.extend(diagnostics.into_iter().map(|d| Diagnostic { rule: Some(at), ..d }));
                defined.extend(unknown(&sources[at..=at], first + at));
            }
        }
    }
    if found.is_empty() {
        Ok(defined)
    } else {
        Err(found)
    }
}

/// Variables that did not compile, so that conditions which name them are not wrong because of that.
pub(crate) fn unknown(sources: &[Variable], first: usize) -> Vec<Defined> {
    let one = |(at, source): (usize, &Variable)| {
        let root = Node::new(Op::Fail(FaultKind::UnknownName), Span::default());
        let cost = Cost { steps: 0, span: Span::default(), size: SCALAR };
        let value = Arc::new(VariableNode::of(first + at, root, cost));
        Defined { name: format!("{PREFIX}{}", source.name), ty: Type::Dyn, value, plain: false }
    };
    sources.iter().enumerate().map(one).collect()
}

/// Names of variables, without the prefix, that an expression reads.
pub(crate) fn read_by(expr: &Expr) -> Vec<String> {
    let mut names = Vec::new();
    collect(expr, &mut names);
    names
}

fn collect(expr: &Expr, names: &mut Vec<String>) {
    if let Some(rest) = dotted(expr).as_deref().and_then(|name| name.strip_prefix(PREFIX)) {
        names.push(rest.split('.').next().unwrap_or(rest).to_string());
        return;
    }
    let mut also = |parts: &[&Expr]| parts.iter().for_each(|part| collect(part, names));
    match &expr.kind {
        ExprKind::Literal(_) | ExprKind::Ident(_) => {}
        ExprKind::Select { target, .. }
        | ExprKind::Has { target, .. }
        | ExprKind::OptSelect { target, .. } => {
            also(&[target]);
        }
        ExprKind::Index { target, index } | ExprKind::OptIndex { target, index } => also(&[target, index]),
        ExprKind::Call { target, args, .. } => {
            target.iter().for_each(|target| also(&[target]));
            args.iter().for_each(|arg| also(&[arg]));
        }
        ExprKind::Not(inner) | ExprKind::Negate(inner) | ExprKind::Maybe(inner) => also(&[inner]),
        ExprKind::And(terms) | ExprKind::Or(terms) | ExprKind::List(terms) => {
            terms.iter().for_each(|term| also(&[term]));
        }
        ExprKind::Binary { left, right, .. } => also(&[left, right]),
        ExprKind::Conditional { condition, then, otherwise } => also(&[condition, then, otherwise]),
        ExprKind::Map(entries) => entries.iter().for_each(|(key, value)| also(&[key, value])),
        ExprKind::Fold(fold) => {
            also(&[&fold.target, &fold.body]);
            fold.filter.iter().for_each(|filter| also(&[filter]));
        }
        ExprKind::Bind(bind) | ExprKind::OptMap { bind, .. } => also(&[&bind.init, &bind.body]),
        ExprKind::Block(values, body) => {
            values.iter().for_each(|value| also(&[value]));
            also(&[body]);
        }
        ExprKind::Message { fields, .. } => fields.iter().for_each(|(_, value)| also(&[value])),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Open,
    Done,
}

/// Depth first, so that a variable comes behind those it reads.
struct Walk<'a> {
    sources: &'a [Variable],
    parsed: &'a [Option<Expr>],
    state: Vec<State>,
    order: Vec<usize>,
}

impl Walk<'_> {
    /// The variables of a circle, when this one leads into one that was not told before. Recursion is bounded by the
    /// number of variables.
    fn visit(&mut self, at: usize, path: &mut Vec<usize>) -> Option<Vec<usize>> {
        match self.state[at] {
            State::Done => return None,
            State::Open => {
                let from = path.iter().position(|other| *other == at).unwrap_or(0);
                return Some(path[from..].to_vec());
            }
            State::New => {}
        }
        self.state[at] = State::Open;
        path.push(at);
        let mut circle = None;
        for name in self.parsed[at].iter().flat_map(read_by) {
            if let Some(next) = self.sources.iter().position(|source| source.name == name) {
                let found = self.visit(next, path);
                circle = circle.or(found);
            }
        }
        path.pop();
        self.state[at] = State::Done;
        self.order.push(at);
        circle
    }
}

fn about_circle(sources: &[Variable], circle: &[usize]) -> Diagnostic {
    let names: Vec<&str> = circle.iter().chain(circle.first()).map(|at| sources[*at].name.as_str()).collect();
    let at = circle.first().copied().unwrap_or(0);
    let message = format!("a variable may not need itself: {}", names.join(" -> "));
    about(Code::VariableCycle, at, Span::default(), &sources[at].expression, message)
}

fn about(code: Code, at: usize, span: Span, source: &str, message: String) -> Diagnostic {
    let position = Position::of(source, span.start as usize);
    Diagnostic { code, rule: Some(at), span, position, message, hint: String::new() }
}

/// How deep an evaluation goes, variables included.
fn depth(node: &Node) -> usize {
    if let Op::Variable(variable) = &node.op {
        return 1 + variable.depth;
    }
    let mut below = 0;
    node.each_child(&mut |child| below = below.max(depth(child)));
    1 + below
}

/// Whether a node is only what conditions are indexed by, and small. Counts its nodes.
fn is_plain(node: &Node, count: &mut usize) -> bool {
    *count += 1;
    let sound = matches!(
        node.op,
        Op::And(_) | Op::Or(_) | Op::Not(_) | Op::Leaf(_) | Op::Present(_) | Op::Const(_) | Op::Slot { .. }
    );
    let mut all = sound && *count <= PLAIN_NODES_MAX;
    node.each_child(&mut |child| all = all && is_plain(child, count));
    all
}

/// A copy of a plain node, every part of it standing where the variable is named.
fn placed(node: &Node, span: Span) -> Node {
    let all = |nodes: &[Node]| nodes.iter().map(|n| placed(n, span)).collect();
    let op = match &node.op {
        Op::And(terms) => Op::And(all(terms)),
        Op::Or(terms) => Op::Or(all(terms)),
        Op::Not(inner) => Op::Not(Box::new(placed(inner, span))),
        other => other.clone(),
    };
    Node::new(op, span)
}
