//! The standard library as the checker sees it: every function and operator with the types it takes.
//!
//! `Type::Var(0)` and `Type::Var(1)` stand for "any type, the same throughout".
use std::collections::HashMap;
use std::sync::OnceLock;

use crate::library::optional;
use crate::program::{Function, Part};
use crate::schema::Type;

/// One way to call a function.
#[derive(Clone, Debug)]
pub(crate) struct Overload {
    pub function: Function,
    /// Called as `target.name(...)`; the target is the first parameter.
    pub member: bool,
    pub params: Vec<Type>,
    pub result: Type,
}

/// A function the embedder declares: the checker accepts it, nothing can evaluate it.
#[derive(Clone, Debug)]
pub struct Declaration {
    /// Its name, dotted if it belongs to a container.
    pub name: String,
    /// Called as `target.name(...)`.
    pub member: bool,
    /// Types of its parameters; [`Type::Var`] numbers its type parameters from 0.
    pub params: Vec<Type>,
    /// Type of its result.
    pub result: Type,
}

pub(crate) type Library = HashMap<&'static str, Vec<Overload>>;

/// Functions called by name.
pub(crate) fn functions() -> &'static Library {
    static LIBRARY: OnceLock<Library> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let mut library = build_functions();
        crate::library::add_extensions(&mut library);
        library
    })
}

/// Operators, under their symbols (`-_` is the sign, `[]` the index).
pub(crate) fn operators() -> &'static Library {
    static LIBRARY: OnceLock<Library> = OnceLock::new();
    LIBRARY.get_or_init(build_operators)
}

fn build_functions() -> Library {
    use Type::{Bool, Bytes, Double, Duration, Dyn, Int, String, Timestamp, Uint};
    let any = || Type::Var(0);
    let list = || Type::list(Type::Var(0));
    let map = || Type::map(Type::Var(0), Type::Var(1));
    let mut library = Library::new();
    let mut add = |name: &'static str, function: Function, member: bool, params: Vec<Type>, result: Type| {
        library.entry(name).or_default().push(Overload { function, member, params, result });
    };
    for member in [false, true] {
        for sized in [String, Bytes, list(), map()] {
            add("size", Function::Size, member, vec![sized], Int);
        }
        add("matches", Function::Matches, member, vec![String, String], Bool);
    }
    for (name, function) in [
        ("startsWith", Function::StartsWith),
        ("endsWith", Function::EndsWith),
        ("contains", Function::Contains),
    ] {
        add(name, function, true, vec![String, String], Bool);
    }
    for from in [Int, Uint, Double, String, Timestamp] {
        add("int", Function::Int, false, vec![from], Int);
    }
    for from in [Uint, Int, Double, String] {
        add("uint", Function::Uint, false, vec![from], Uint);
    }
    for from in [Double, Int, Uint, String] {
        add("double", Function::Double, false, vec![from], Double);
    }
    for from in [String, Bool, Int, Uint, Double, Bytes, Timestamp, Duration] {
        add("string", Function::String, false, vec![from], String);
    }
    for from in [Bool, String] {
        add("bool", Function::Bool, false, vec![from], Bool);
    }
    for from in [Bytes, String] {
        add("bytes", Function::Bytes, false, vec![from], Bytes);
    }
    for from in [Timestamp, String, Int] {
        add("timestamp", Function::Timestamp, false, vec![from], Timestamp);
    }
    for from in [Duration, String] {
        add("duration", Function::Duration, false, vec![from], Duration);
    }
    add("type", Function::Type, false, vec![any()], Type::Type);
    add("dyn", Function::Dyn, false, vec![any()], Dyn);
    for (name, part, of_duration) in [
        ("getFullYear", Part::FullYear, false),
        ("getMonth", Part::Month, false),
        ("getDate", Part::Date, false),
        ("getDayOfMonth", Part::DayOfMonth, false),
        ("getDayOfWeek", Part::DayOfWeek, false),
        ("getDayOfYear", Part::DayOfYear, false),
        ("getHours", Part::Hours, true),
        ("getMinutes", Part::Minutes, true),
        ("getSeconds", Part::Seconds, true),
        ("getMilliseconds", Part::Milliseconds, true),
    ] {
        let function = Function::Get(part);
        add(name, function, true, vec![Timestamp], Int);
        add(name, function, true, vec![Timestamp, String], Int);
        if of_duration {
            add(name, function, true, vec![Duration], Int);
        }
    }
    library
}

fn build_operators() -> Library {
    use Type::{Bool, Bytes, Double, Duration, Int, String, Timestamp, Uint};
    let any = || Type::Var(0);
    let list = || Type::list(Type::Var(0));
    let map = || Type::map(Type::Var(0), Type::Var(1));
    let mut library = Library::new();
    let mut add = |name: &'static str, params: Vec<Type>, result: Type| {
        // Operators have nodes of their own; the function is never used.
        library.entry(name).or_default().push(Overload {
            function: Function::Unbound,
            member: false,
            params,
            result,
        });
    };
    for symbol in ["==", "!="] {
        add(symbol, vec![any(), any()], Bool);
    }
    for symbol in ["<", "<=", ">", ">="] {
        for same in [Bool, Int, Uint, Double, String, Bytes, Timestamp, Duration] {
            add(symbol, vec![same.clone(), same], Bool);
        }
        for (left, right) in
            [(Int, Uint), (Int, Double), (Uint, Int), (Uint, Double), (Double, Int), (Double, Uint)]
        {
            add(symbol, vec![left, right], Bool);
        }
    }
    add("in", vec![any(), list()], Bool);
    add("in", vec![any(), map()], Bool);
    for symbol in ["+", "-", "*", "/", "%"] {
        for same in [Int, Uint, Double] {
            if symbol != "%" || same != Double {
                add(symbol, vec![same.clone(), same.clone()], same);
            }
        }
    }
    for joined in [String, Bytes, list(), Duration] {
        add("+", vec![joined.clone(), joined.clone()], joined);
    }
    add("+", vec![Timestamp, Duration], Timestamp);
    add("+", vec![Duration, Timestamp], Timestamp);
    add("-", vec![Timestamp, Timestamp], Duration);
    add("-", vec![Timestamp, Duration], Timestamp);
    add("-", vec![Duration, Duration], Duration);
    add("-_", vec![Int], Int);
    add("-_", vec![Double], Double);
    add("[]", vec![list(), Int], any());
    add("[]", vec![map(), any()], Type::Var(1));
    // Of an optional target the answer is optional, with `[?]` of any target.
    add("[]", vec![optional(list()), Int], optional(any()));
    add("[]", vec![optional(map()), any()], optional(Type::Var(1)));
    for target in [list(), optional(list())] {
        add("[?]", vec![target, Int], optional(any()));
    }
    for target in [map(), optional(map())] {
        add("[?]", vec![target, any()], optional(Type::Var(1)));
    }
    library
}
