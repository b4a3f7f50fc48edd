//! What is wrong with a rule, said so that a person can fix it: a stable code, a place and a hint.
//!
//! Messages are for people and may change; codes are the contract. Every diagnostic carries both a byte
//! offset (for programs) and a line and column counted in code points (for people and editors).
use std::fmt;

/// A half-open byte range of the source text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The range `start..end`.
    pub fn new(start: usize, end: usize) -> Self {
        // Sources are bounded far below 4 GiB by `Limits::source_bytes_max`.
        Self { start: start as u32, end: end as u32 }
    }

    /// The smallest span holding both.
    pub fn to(self, other: Span) -> Span {
        Span { start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// The text of the span, or `""` if it does not belong to `source`.
    pub fn text(self, source: &str) -> &str {
        source.get(self.start as usize..self.end as usize).unwrap_or("")
    }
}

/// Where a byte offset is, for people: both counted from 1, columns in code points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Line, from 1. `\n` ends a line.
    pub line: u32,
    /// Column in code points, from 1.
    pub column: u32,
}

impl Position {
    /// The position of byte `offset` in `source`; an offset beyond the end is the end.
    pub fn of(source: &str, offset: usize) -> Position {
        let mut end = offset.min(source.len());
        while !source.is_char_boundary(end) {
            end -= 1;
        }
        let before = &source[..end];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Position {
            line: before.bytes().filter(|b| *b == b'\n').count() as u32 + 1,
            column: before[line_start..].chars().count() as u32 + 1,
        }
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// The closed catalogue of compile errors. The text of a code never changes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code { $($(#[$doc])* $name,)* }
        impl Code {
            /// The stable spelling, for logs, wire and catalogues.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$name => $text,)* }
            }
            /// Every code, in the order of the catalogue.
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];
        }
    };
}

codes! {
    /// The text is not CEL.
    Syntax = "syntax",
    /// A character that starts no token.
    BadCharacter = "bad_character",
    /// A string or bytes literal that does not end, or has a bad escape.
    BadString = "bad_string",
    /// A number that does not fit its type.
    BadNumber = "bad_number",
    /// A word the language keeps for itself.
    ReservedWord = "reserved_word",
    /// A macro with the wrong number or shape of arguments.
    BadMacro = "bad_macro",
    /// A name that is neither in the schema nor a local variable.
    UnknownName = "unknown_name",
    /// A function nobody declared.
    UnknownFunction = "unknown_function",
    /// A known function or operator applied to types it does not take.
    NoOverload = "no_overload",
    /// The right construct with the wrong type.
    TypeMismatch = "type_mismatch",
    /// A regular expression that does not compile, or is too large.
    BadRegex = "bad_regex",
    /// A literal that its function cannot read: a time zone, a time of day.
    BadLiteral = "bad_literal",
    /// A map literal with the same key twice, or a key of an impossible type.
    BadMapKey = "bad_map_key",
    /// Part of CEL that this version does not have yet. Never evaluated wrongly: refused.
    Unsupported = "unsupported",
    /// The source is longer than allowed.
    LimitSource = "limit_source",
    /// The expression nests deeper than allowed.
    LimitDepth = "limit_depth",
    /// The expression has more nodes than allowed.
    LimitSize = "limit_size",
    /// A list or map literal is longer than allowed.
    LimitList = "limit_list",
    /// The condition, or the set, may cost more than allowed.
    LimitCost = "limit_cost",
    /// More rules than allowed.
    LimitRules = "limit_rules",
    /// A rule's identifier is empty, too long, or used twice.
    BadRuleId = "bad_rule_id",
    /// A rule's validity ends before it starts.
    BadValidity = "bad_validity",
    /// The schema names a thing twice or with an impossible name.
    BadSchema = "bad_schema",
    /// A variable that needs itself.
    VariableCycle = "variable_cycle",
    /// Two rules of a namespace in which at most one may match, and it is not proved that they never both do.
    NotUnique = "not_unique",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Stable code.
    pub code: Code,
    /// Index of the rule in the list given to [`crate::RuleSet::compile`]; `None` outside a rule set.
    pub rule: Option<usize>,
    /// The place in the condition's text.
    pub span: Span,
    /// Line and column of the start of `span`.
    pub position: Position,
    /// What is wrong.
    pub message: String,
    /// What to do about it; may be empty.
    pub hint: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.position.line, self.position.column, self.code, self.message)?;
        if !self.hint.is_empty() {
            write!(f, " ({})", self.hint)?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostic {}

/// Collects diagnostics of one source text, up to a limit, so that one run reports everything.
#[derive(Debug)]
pub(crate) struct Diagnostics<'s> {
    source: &'s str,
    limit: usize,
    found: Vec<Diagnostic>,
}

impl<'s> Diagnostics<'s> {
    pub(crate) fn new(source: &'s str, limit: usize) -> Self {
        Self { source, limit: limit.max(1), found: Vec::new() }
    }

    pub(crate) fn add(&mut self, code: Code, span: Span, message: String, hint: String) {
        if self.found.len() < self.limit {
            let position = Position::of(self.source, span.start as usize);
            self.found.push(Diagnostic { code, rule: None, span, position, message, hint });
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub(crate) fn into_vec(self) -> Vec<Diagnostic> {
        self.found
    }
}

/// The closest of `candidates` to `name`, if it is close enough to be a slip of the fingers.
pub(crate) fn did_you_mean<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (name.chars().count() / 3).clamp(1, 3);
    candidates
        .filter(|c| c.len().abs_diff(name.len()) <= 12)
        .map(|c| (edit_distance(name, c), c))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, c)| c)
}

/// Optimal string alignment distance (insert, delete, replace, swap of neighbours), in code points.
fn edit_distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().take(128).collect();
    let b: Vec<char> = b.chars().take(128).collect();
    let mut before: Vec<usize> = vec![0; b.len() + 1];
    let mut previous: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let cost = usize::from(a[i - 1] != b[j - 1]);
            row[j] = (previous[j] + 1).min(row[j - 1] + 1).min(previous[j - 1] + cost);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut previous, row);
    }
    previous[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_code_points_and_lines_from_one() {
        let source = "a\n咖啡 x";
        assert_eq!(Position::of(source, 0), Position { line: 1, column: 1 });
        assert_eq!(Position::of(source, source.find('x').unwrap()), Position { line: 2, column: 4 });
        assert_eq!(Position::of(source, 9_999), Position { line: 2, column: 5 });
        // An offset inside a code point belongs to that code point.
        assert_eq!(Position::of(source, 3), Position { line: 2, column: 1 });
    }

    #[test]
    fn a_slip_is_recognised_and_a_stranger_is_not() {
        let names = ["order.time_slot", "order.sku", "user.credit_score"];
        assert_eq!(did_you_mean("order.time_solt", names.into_iter()), Some("order.time_slot"));
        assert_eq!(did_you_mean("user.creditscore", names.into_iter()), Some("user.credit_score"));
        assert_eq!(did_you_mean("rider.vehicle", names.into_iter()), None);
    }

    #[test]
    fn edit_distance_counts_a_swap_once() {
        assert_eq!(edit_distance("slot", "solt"), 1);
        assert_eq!(edit_distance("", "abc"), 3);
        assert_eq!(edit_distance("kitten", "sitting"), 3);
    }

    #[test]
    fn codes_are_spelled_once() {
        let mut spelled: Vec<&str> = Code::ALL.iter().map(|c| c.as_str()).collect();
        spelled.sort_unstable();
        spelled.dedup();
        assert_eq!(spelled.len(), Code::ALL.len());
    }
}
