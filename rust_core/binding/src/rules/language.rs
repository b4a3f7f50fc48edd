//! The language by itself, for conformance suites: one expression, with types and values in the suites' forms.
use std::sync::Arc;

use cuptime_rules as core;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyFloat, PyInt, PyString};

use super::{diagnostic_tuple, DiagnosticTuple};

/// Adds this room's functions to the module.
pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(cel_eval, m)?)
}

/// Compiles and evaluates one expression; see `_core.pyi` for the forms of types and values.
#[pyfunction]
#[pyo3(signature = (expr, env, bindings, container, check, evaluate, macros = true))]
#[allow(clippy::too_many_arguments)] // The suites' cases have as many fields.
fn cel_eval<'py>(
    py: Python<'py>,
    expr: &str,
    env: &Bound<'py, PyDict>,
    bindings: &Bound<'py, PyDict>,
    container: &str,
    check: bool,
    evaluate: bool,
    macros: bool,
) -> PyResult<(&'static str, Py<PyAny>)> {
    let limits = core::Limits::default();
    let Environment { names, declarations } = environment(env, bindings, check)?;
    let schema = core::Schema::new(names);
    let options = core::Options { container, check, declarations: &declarations };
    let compiled = core::parse_as(expr, macros, &limits)
        .and_then(|tree| core::compile(&tree, expr, &schema, &options, &limits));
    let program = match compiled {
        Ok(program) => program,
        Err(diagnostics) => {
            let tuples: Vec<DiagnosticTuple> = diagnostics.into_iter().map(diagnostic_tuple).collect();
            return Ok(("diagnostics", tuples.into_pyobject(py)?.into_any().unbind()));
        }
    };
    if !evaluate {
        return Ok(("type", program.ty.to_string().into_pyobject(py)?.into_any().unbind()));
    }
    let mut values = Vec::with_capacity(schema.len());
    for (name, _) in schema.iter() {
        values.push(bindings.get_item(name)?.map(|v| value_of(&v)).transpose()?);
    }
    match program.value(core::Facts::Values(&values), &limits) {
        Ok(value) => Ok(("value", form_of(py, &value)?)),
        Err(fault) => Ok(("error", fault.kind.as_str().into_pyobject(py)?.into_any().unbind())),
    }
}

struct Environment {
    names: Vec<(String, core::Type)>,
    declarations: Vec<core::Declaration>,
}

fn environment(env: &Bound<'_, PyDict>, bindings: &Bound<'_, PyDict>, check: bool) -> PyResult<Environment> {
    let (mut names, mut declarations) = (Vec::new(), Vec::new());
    for (name, ty) in env {
        let name: String = name.extract()?;
        let overloads = ty.cast::<PyDict>().ok().map(|d| d.get_item("overloads")).transpose()?.flatten();
        let Some(overloads) = overloads else {
            names.push((name, type_of(&ty, &mut Vec::new())?));
            continue;
        };
        for overload in overloads.try_iter()? {
            let overload = overload?;
            let mut params = Vec::new();
            let mut types = Vec::new();
            for param in overload.get_item("params")?.try_iter()? {
                types.push(type_of(&param?, &mut params)?);
            }
            declarations.push(core::Declaration {
                name: name.clone(),
                member: overload.get_item("member")?.extract()?,
                params: types,
                result: type_of(&overload.get_item("result")?, &mut params)?,
            });
        }
    }
    if !check {
        // Without checking, a value may be bound to a name nobody declared.
        for (name, _) in bindings {
            let name: String = name.extract()?;
            if !names.iter().any(|(n, _)| *n == name) {
                names.push((name, core::Type::Dyn));
            }
        }
    }
    Ok(Environment { names, declarations })
}

/// A type in the suites' form; `params` numbers the type parameters met so far.
fn type_of(form: &Bound<'_, PyAny>, params: &mut Vec<String>) -> PyResult<core::Type> {
    if let Ok(name) = form.extract::<String>() {
        return Ok(match name.as_str() {
            "DYN" => core::Type::Dyn,
            "NULL" => core::Type::Null,
            "BOOL" => core::Type::Bool,
            "INT64" => core::Type::Int,
            "UINT64" => core::Type::Uint,
            "DOUBLE" => core::Type::Double,
            "STRING" => core::Type::String,
            "BYTES" => core::Type::Bytes,
            "TYPE" => core::Type::Type,
            "TIMESTAMP" | "google.protobuf.Timestamp" => core::Type::Timestamp,
            "DURATION" | "google.protobuf.Duration" => core::Type::Duration,
            "ANY" | "google.protobuf.Any" | "google.protobuf.Value" => core::Type::Dyn,
            "google.protobuf.Struct" => core::Type::map(core::Type::String, core::Type::Dyn),
            "google.protobuf.ListValue" => core::Type::list(core::Type::Dyn),
            "google.protobuf.BoolValue" => core::Type::nullable(core::Type::Bool),
            "google.protobuf.Int32Value" | "google.protobuf.Int64Value" => {
                core::Type::nullable(core::Type::Int)
            }
            "google.protobuf.UInt32Value" | "google.protobuf.UInt64Value" => {
                core::Type::nullable(core::Type::Uint)
            }
            "google.protobuf.FloatValue" | "google.protobuf.DoubleValue" => {
                core::Type::nullable(core::Type::Double)
            }
            "google.protobuf.StringValue" => core::Type::nullable(core::Type::String),
            "google.protobuf.BytesValue" => core::Type::nullable(core::Type::Bytes),
            other => return Err(PyValueError::new_err(format!("no type form {other:?}"))),
        });
    }
    let form = form.cast::<PyDict>()?;
    if let Some(element) = form.get_item("list")? {
        return Ok(core::Type::list(type_of(&element, params)?));
    }
    if let Some(pair) = form.get_item("map")? {
        return Ok(core::Type::map(
            type_of(&pair.get_item(0)?, params)?,
            type_of(&pair.get_item(1)?, params)?,
        ));
    }
    if let Some(inner) = form.get_item("wrapper")? {
        return Ok(core::Type::nullable(type_of(&inner, params)?));
    }
    if form.contains("type")? {
        return Ok(core::Type::Type);
    }
    for key in ["primitive", "well_known", "message", "message_type"] {
        if let Some(name) = form.get_item(key)? {
            return type_of(&name, params);
        }
    }
    if let Some(name) = form.get_item("param")? {
        let name: String = name.extract()?;
        let number = params.iter().position(|p| *p == name).unwrap_or_else(|| {
            params.push(name);
            params.len() - 1
        });
        return Ok(core::Type::Var(number as u32));
    }
    if let Some(name) = form.get_item("abstract")? {
        let mut of = Vec::new();
        if let Some(list) = form.get_item("of")? {
            for ty in list.try_iter()? {
                of.push(type_of(&ty?, params)?);
            }
        }
        return Ok(core::Type::Opaque(name.extract()?, of));
    }
    Err(PyValueError::new_err("no such type form"))
}

/// A whole number, as a number or written.
fn whole(plain: &Bound<'_, PyAny>) -> PyResult<i64> {
    match plain.extract::<String>() {
        Ok(text) => text.parse().map_err(|_| PyValueError::new_err(format!("no whole number {text:?}"))),
        Err(_) => plain.extract(),
    }
}

/// A value in the suites' form, `{kind: plain}`.
fn value_of(form: &Bound<'_, PyAny>) -> PyResult<core::Value> {
    let form = form.cast::<PyDict>()?;
    let Some((kind, plain)) = form.iter().next() else {
        return Err(PyValueError::new_err("an empty value form"));
    };
    let bad = || PyValueError::new_err("a value form that does not read");
    Ok(match kind.extract::<String>()?.as_str() {
        "null" => core::Value::Null,
        "bool" => core::Value::Bool(plain.extract()?),
        "int" => core::Value::Int(plain.extract::<String>()?.parse().map_err(|_| bad())?),
        "uint" => core::Value::Uint(plain.extract::<String>()?.parse().map_err(|_| bad())?),
        "double" => core::Value::Double(plain.extract::<String>()?.parse().map_err(|_| bad())?),
        "string" => core::Value::str(&plain.extract::<String>()?),
        "bytes" => {
            let hex: String = plain.extract()?;
            let bytes: Option<Vec<u8>> =
                (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(hex.get(i..i + 2)?, 16).ok()).collect();
            core::Value::Bytes(bytes.ok_or_else(bad)?.into())
        }
        "list" => {
            let elements: PyResult<Vec<core::Value>> = plain.try_iter()?.map(|e| value_of(&e?)).collect();
            core::Value::List(elements?.into())
        }
        "map" => {
            let mut map = core::Map::new();
            for pair in plain.try_iter()? {
                let pair = pair?;
                map.insert(value_of(&pair.get_item(0)?)?, value_of(&pair.get_item(1)?)?)
                    .map_err(|_| bad())?;
            }
            core::Value::Map(Arc::new(map))
        }
        "timestamp" => {
            let (seconds, nanos) = (whole(&plain.get_item(0)?)?, whole(&plain.get_item(1)?)?);
            core::Value::Timestamp(
                u32::try_from(nanos)
                    .ok()
                    .and_then(|nanos| core::Timestamp::new(seconds, nanos))
                    .ok_or_else(bad)?,
            )
        }
        "duration" => {
            let (seconds, nanos) = (whole(&plain.get_item(0)?)?, whole(&plain.get_item(1)?)?);
            let whole = seconds.checked_mul(1_000_000_000).and_then(|whole| whole.checked_add(nanos));
            core::Value::Duration(whole.ok_or_else(bad)?)
        }
        "type" => core::Value::Type(plain.extract::<String>()?.into()),
        _ => return Err(bad()),
    })
}

fn form_of(py: Python<'_>, value: &core::Value) -> PyResult<Py<PyAny>> {
    let form = PyDict::new(py);
    match value {
        core::Value::Null => form.set_item("null", py.None())?,
        core::Value::Bool(v) => form.set_item("bool", v)?,
        core::Value::Int(v) => form.set_item("int", PyInt::new(py, *v))?,
        core::Value::Uint(v) => form.set_item("uint", PyInt::new(py, *v))?,
        core::Value::Double(v) => form.set_item("double", PyFloat::new(py, *v))?,
        core::Value::Str(v) => form.set_item("string", PyString::new(py, v))?,
        core::Value::Bytes(v) => form.set_item("bytes", PyBytes::new(py, v))?,
        core::Value::List(v) => {
            let elements: PyResult<Vec<Py<PyAny>>> = v.iter().map(|e| form_of(py, e)).collect();
            form.set_item("list", elements?)?;
        }
        core::Value::Map(v) => {
            let entries: PyResult<Vec<(Py<PyAny>, Py<PyAny>)>> =
                v.entries().iter().map(|(k, v)| Ok((form_of(py, k)?, form_of(py, v)?))).collect();
            form.set_item("map", entries?)?;
        }
        core::Value::Type(v) => form.set_item("type", PyString::new(py, v))?,
        core::Value::Optional(v) => {
            let inner = v.as_deref().map(|v| form_of(py, v)).transpose()?;
            form.set_item("optional", inner)?;
        }
        network @ (core::Value::Ip(_) | core::Value::Cidr(..)) => {
            form.set_item("network", network.to_string())?
        }
        core::Value::Timestamp(v) => form.set_item("timestamp", (v.seconds(), v.nanos()))?,
        core::Value::Duration(v) => form.set_item("duration", (v / 1_000_000_000, v % 1_000_000_000))?,
    }
    Ok(form.into_any().unbind())
}
