//! The rule engine: conditions in CEL, the Common Expression Language, over the facts of an order.
//!
//! ```text
//! text -> lexer -> parser -> ast -> check (types, slots) -> program -> eval on Columns -> matches
//!                                                                   \-> explain
//! ```
//! The language is CEL as its definition and conformance suite say: 64-bit integers that fault on overflow,
//! numbers compared by value across types, texts measured in code points, three-valued logic in which a
//! deciding side absorbs a fault on the other; the extension libraries strings, math, sets, lists, encoders, optionals,
//! two-variable macros, bindings and network. Protobuf messages other than the well-known wrappers are refused at
//! compile time with the code `unsupported`; nothing is ever evaluated to something else.
//!
//! The crate knows no clock, no thread and no file: the same rules, row and `now_ms` give the same answer.
//!
//! ```
//! use cuptime_rules::{Action, Limits, Mode, RuleSet, RuleSource, Schema, Tally, Type};
//!
//! let schema = Schema::new(vec![("user.credit_score".into(), Type::Int), ("order.time_slot".into(), Type::String)]);
//! let rule = RuleSource {
//!     id: "early".into(), name: "early".into(), priority: 1, enabled: true,
//!     condition: "user.credit_score >= 90 && order.time_slot == 'morning'".into(),
//!     actions: vec![Action { kind: "assign_rider_priority".into(), value: "1".into() }],
//!     ..RuleSource::default()
//! };
//! let set = RuleSet::compile(vec![rule], &schema, &Limits::default()).unwrap();
//! let mut columns = set.columns();
//! columns.push_int(0, 93);
//! columns.push_str(1, "morning");
//! columns.end_row();
//! let (mut matches, mut tally) = (Vec::new(), Tally::new(&set));
//! set.evaluate(&columns, 0, 0, Mode::First, &mut matches, &mut tally);
//! assert_eq!(matches, [0]);
//! ```
pub mod ast;
mod batch;
mod calls;
mod canonical;
mod check;
mod check_macros;
mod columns;
mod convert;
mod cost;
mod diagnostic;
mod digest;
mod eval;
mod explain;
mod ext;
mod index;
mod lexer;
mod library;
mod limits;
mod macros;
mod masks;
mod matcher;
mod names;
mod operate;
mod overloads;
mod pairs;
mod parser;
mod pattern;
mod program;
mod schema;
mod sources;
mod symbols;
mod tally;
mod time;
mod unify;
mod value;
mod variables;
mod walk;

pub use batch::Matches;
pub use canonical::canonical;
pub use check::{compile, Options, Program};
pub use columns::{Columns, Interned, SlotKind};
pub use cost::Cost;
pub use diagnostic::{Code, Diagnostic, Position, Span};
pub use eval::Facts;
pub use explain::{Outcome, Verdict};
pub use index::{Finding, Oddity};
pub use limits::Limits;
pub use matcher::{compile_rule, Mode, Rule, RuleIndex, RuleSet};
pub use overloads::Declaration;
pub use pairs::{Open, PairRules, Sides};
pub use parser::{parse, parse_as};
pub use program::{Fault, FaultKind};
pub use schema::{Schema, SlotSize, Type};
pub use sources::{Action, HitPolicy, Namespace, OnError, RuleSource};
pub use tally::{RuleTally, Tally};
pub use time::Timestamp;
pub use value::{KeyProblem, Map, Value};
pub use variables::Variable;
