//! What a condition may speak about: dotted names, each with a type and a slot.
use std::collections::HashMap;
use std::fmt;

use crate::diagnostic::{did_you_mean, Code, Diagnostic, Position, Span};

/// A CEL type. A schema uses the scalar types, lists of them and [`Type::Nullable`]; the rest appears in
/// the middle of expressions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// Anything; checked when evaluated.
    Dyn,
    /// The type of `null`.
    Null,
    /// `true` or `false`.
    Bool,
    /// 64-bit signed integer.
    Int,
    /// 64-bit unsigned integer.
    Uint,
    /// 64-bit IEEE 754 number.
    Double,
    /// Unicode text, measured in code points.
    String,
    /// Bytes.
    Bytes,
    /// An instant from year 1 to year 9999, in nanoseconds.
    Timestamp,
    /// A length of time in nanoseconds.
    Duration,
    /// A list of one element type.
    List(Box<Type>),
    /// A map of one key and one value type.
    Map(Box<Type>, Box<Type>),
    /// The type of a type, as in `type(1) == int`.
    Type,
    /// The type or null (CEL's wrapper types).
    Nullable(Box<Type>),
    /// A type known by name only, with parameters.
    Opaque(String, Vec<Type>),
    /// A type the checker has still to find out; never leaves it.
    Var(u32),
}

impl Type {
    /// `list(string)` and its like, without the boxes.
    pub fn list(element: Type) -> Type {
        Type::List(Box::new(element))
    }

    /// `map(key, value)`.
    pub fn map(key: Type, value: Type) -> Type {
        Type::Map(Box::new(key), Box::new(value))
    }

    /// The type, or null.
    pub fn nullable(inner: Type) -> Type {
        Type::Nullable(Box::new(inner))
    }

    /// Whether it is text or bytes, or null.
    pub(crate) fn is_text(&self) -> bool {
        match self {
            Type::String | Type::Bytes => true,
            Type::Nullable(inner) => inner.is_text(),
            _ => false,
        }
    }

    /// Whether it is a list, or null.
    pub(crate) fn is_list(&self) -> bool {
        match self {
            Type::List(_) => true,
            Type::Nullable(inner) => inner.is_list(),
            _ => false,
        }
    }

    /// Reads `int`, `uint`, `double`, `bool`, `string`, `list(string)`, ... and a trailing `?` for nullable.
    ///
    /// # Errors
    /// The text is none of them, or longer than any of them needs.
    pub fn parse(text: &str) -> Result<Type, String> {
        /// Bounds the recursion below.
        const TYPE_BYTES_MAX: usize = 100;
        let text = text.trim();
        if text.len() > TYPE_BYTES_MAX {
            return Err(format!("a type's name has at most {TYPE_BYTES_MAX} bytes"));
        }
        if let Some(inner) = text.strip_suffix('?') {
            return Type::parse(inner).map(Type::nullable);
        }
        if let Some(inner) = text.strip_prefix("list(").and_then(|t| t.strip_suffix(')')) {
            return Type::parse(inner).map(Type::list);
        }
        Ok(match text {
            "bool" => Type::Bool,
            "int" => Type::Int,
            "uint" => Type::Uint,
            "double" => Type::Double,
            "string" => Type::String,
            "bytes" => Type::Bytes,
            "dyn" => Type::Dyn,
            _ => return Err(format!("no type is called {text:?}")),
        })
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Dyn => f.write_str("dyn"),
            Type::Null => f.write_str("null"),
            Type::Bool => f.write_str("bool"),
            Type::Int => f.write_str("int"),
            Type::Uint => f.write_str("uint"),
            Type::Double => f.write_str("double"),
            Type::String => f.write_str("string"),
            Type::Bytes => f.write_str("bytes"),
            Type::Timestamp => f.write_str("timestamp"),
            Type::Duration => f.write_str("duration"),
            Type::List(t) => write!(f, "list({t})"),
            Type::Map(k, v) => write!(f, "map({k}, {v})"),
            Type::Type => f.write_str("type"),
            Type::Nullable(t) => write!(f, "{t}?"),
            Type::Opaque(name, params) => {
                f.write_str(name)?;
                for (i, p) in params.iter().enumerate() {
                    write!(f, "{}{p}", if i == 0 { "(" } else { ", " })?;
                }
                f.write_str(if params.is_empty() { "" } else { ")" })
            }
            Type::Var(_) => f.write_str("dyn"),
        }
    }
}

/// How large a fact can be at most; what is larger must not be evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotSize {
    /// Bytes of a text, or of each text of a list.
    pub text_bytes: u32,
    /// Elements of a list.
    pub elements: u32,
}

impl Default for SlotSize {
    /// For names that declare nothing.
    fn default() -> SlotSize {
        SlotSize { text_bytes: 4_096, elements: 256 }
    }
}

/// The names conditions may use. A name's position in the list is its slot in [`crate::Columns`].
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    names: Vec<(String, Type)>,
    by_name: HashMap<String, usize>,
    sizes: Vec<SlotSize>,
}

impl Schema {
    /// A schema of dotted names. A name given twice keeps its first slot; [`Schema::checked`] refuses it.
    pub fn new(names: Vec<(String, Type)>) -> Schema {
        let mut by_name = HashMap::with_capacity(names.len());
        for (slot, (name, _)) in names.iter().enumerate() {
            by_name.entry(name.clone()).or_insert(slot);
        }
        let sizes = vec![SlotSize::default(); names.len()];
        Schema { names, by_name, sizes }
    }

    /// As [`Schema::new`], refusing duplicates, names that are not dotted identifiers, names that are also a
    /// prefix of another (`a` and `a.b`), and types that columns cannot hold.
    ///
    /// # Errors
    /// Every offending name, with its slot as the diagnostic's rule index absent.
    pub fn checked(names: Vec<(String, Type)>) -> Result<Schema, Vec<Diagnostic>> {
        let mut found = Vec::new();
        let schema = Schema::new(names);
        for (slot, (name, ty)) in schema.names.iter().enumerate() {
            let problem = if !name.split('.').all(crate::lexer::is_identifier) {
                Some("is not made of identifiers joined by dots")
            } else if schema.by_name.get(name) != Some(&slot) {
                Some("is declared twice")
            } else if schema.is_prefix(name) {
                Some("is also the beginning of another name")
            } else if crate::columns::SlotKind::of(ty).is_none() {
                Some("has a type that columns cannot hold")
            } else {
                None
            };
            if let Some(problem) = problem {
                found.push(Diagnostic {
                    code: Code::BadSchema,
                    rule: None,
                    span: Span::default(),
                    position: Position { line: 1, column: 1 },
                    message: format!("the schema name {name:?} ({ty}) {problem}"),
                    hint: String::new(),
                });
            }
        }
        if found.is_empty() {
            Ok(schema)
        } else {
            Err(found)
        }
    }

    /// The first `slots` names.
    pub(crate) fn first(&self, slots: usize) -> Schema {
        let mut first = Schema::new(self.names[..slots.min(self.names.len())].to_vec());
        first.sizes.copy_from_slice(&self.sizes[..first.names.len()]);
        first
    }

    /// The slot of a full dotted name.
    pub fn slot(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// The name of a slot.
    pub fn name(&self, slot: usize) -> &str {
        self.names.get(slot).map_or("", |(name, _)| name)
    }

    /// The type of a slot.
    pub fn ty(&self, slot: usize) -> &Type {
        self.names.get(slot).map_or(&Type::Dyn, |(_, ty)| ty)
    }

    /// The same names with declared sizes, where `size` has one.
    pub fn with_sizes(mut self, size: impl Fn(&str) -> Option<SlotSize>) -> Schema {
        for ((name, _), known) in self.names.iter().zip(&mut self.sizes) {
            *known = size(name).unwrap_or(*known);
        }
        self
    }

    /// How large the fact of a slot can be.
    pub fn size(&self, slot: usize) -> SlotSize {
        self.sizes.get(slot).copied().unwrap_or_default()
    }

    /// Number of slots.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is no slot.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Names and types in slot order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Type)> {
        self.names.iter().map(|(n, t)| (n.as_str(), t))
    }

    /// Whether `name` is a proper dotted beginning of some declared name (`order` of `order.sku`).
    pub fn is_prefix(&self, name: &str) -> bool {
        self.names.iter().any(|(n, _)| n.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
    }

    /// The declared name closest to a misspelt one.
    pub fn suggest(&self, name: &str) -> Option<&str> {
        did_you_mean(name, self.names.iter().map(|(n, _)| n.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: &[(&str, &str)]) -> Vec<(String, Type)> {
        names.iter().map(|(n, t)| ((*n).to_string(), Type::parse(t).unwrap())).collect()
    }

    #[test]
    fn types_read_and_print_the_same() {
        for text in ["int", "double", "bool", "string", "list(string)", "string?", "list(int)?"] {
            assert_eq!(Type::parse(text).unwrap().to_string(), text);
        }
        assert!(Type::parse("integer").is_err());
        assert!(Type::parse(&"list(".repeat(100_000)).is_err() && Type::parse(&"?".repeat(100_000)).is_err());
    }

    #[test]
    fn slots_are_positions() {
        let schema = Schema::checked(of(&[("order.id", "int"), ("order.sku", "string")])).unwrap();
        assert_eq!(schema.slot("order.sku"), Some(1));
        assert_eq!(schema.name(0), "order.id");
        assert!(schema.is_prefix("order") && !schema.is_prefix("ord") && !schema.is_prefix("order.id"));
        assert_eq!(schema.suggest("order.skv"), Some("order.sku"));
    }

    #[test]
    fn a_contradictory_schema_is_refused_whole() {
        let found =
            Schema::checked(of(&[("a", "int"), ("a", "int"), ("b.c", "int"), ("b", "int"), ("9x", "int")]))
                .unwrap_err();
        assert_eq!(found.len(), 3);
        assert!(found.iter().all(|d| d.code == Code::BadSchema));
    }
}
