//! The extension libraries as the checker sees them: strings, math, sets, lists, encoders, optionals, network, and
//! what rules about orders need: distance and local time windows.
use crate::overloads::{Library, Overload};
use crate::program::{Function, ListFunction, MathFunction, NetFunction, OptFunction, TextFunction};
use crate::schema::Type;

/// The name of the type of optional values.
pub(crate) const OPTIONAL: &str = "optional_type";
/// The name of the type of network addresses.
pub(crate) const IP: &str = "net.IP";
/// The name of the type of network ranges.
pub(crate) const CIDR: &str = "net.CIDR";

/// `optional_type(inner)`.
pub(crate) fn optional(inner: Type) -> Type {
    Type::Opaque(OPTIONAL.to_string(), vec![inner])
}

/// The type inside an optional.
pub(crate) fn inside_optional(ty: &Type) -> Option<&Type> {
    match ty {
        Type::Opaque(name, params) if name == OPTIONAL => params.first(),
        _ => None,
    }
}

struct Adder<'l>(&'l mut Library);

impl Adder<'_> {
    fn add(&mut self, name: &'static str, function: Function, member: bool, params: &[Type], result: &Type) {
        let overload = Overload { function, member, params: params.to_vec(), result: result.clone() };
        self.0.entry(name).or_default().push(overload);
    }
}

/// Adds every extension to the standard library.
pub(crate) fn add_extensions(library: &mut Library) {
    let mut adder = Adder(library);
    add_strings(&mut adder);
    add_math(&mut adder);
    add_lists(&mut adder);
    add_optionals(&mut adder);
    add_network(&mut adder);
    let (string, bytes) = (Type::String, Type::Bytes);
    adder.add("base64.encode", Function::Base64Encode, false, std::slice::from_ref(&bytes), &string);
    adder.add("base64.decode", Function::Base64Decode, false, &[string], &bytes);
    add_domain(&mut adder);
}

fn add_strings(adder: &mut Adder<'_>) {
    use TextFunction as T;
    let (s, i) = (Type::String, Type::Int);
    let list = Type::list(s.clone());
    let any_list = Type::list(Type::Var(0));
    let mut add = |name, function, params: &[&Type], result: &Type| {
        let params: Vec<Type> = params.iter().map(|t| (*t).clone()).collect();
        adder.add(name, Function::Text(function), true, &params, result);
    };
    add("charAt", T::CharAt, &[&s, &i], &s);
    for (name, function) in [("indexOf", T::IndexOf), ("lastIndexOf", T::LastIndexOf)] {
        add(name, function, &[&s, &s], &i);
        add(name, function, &[&s, &s, &i], &i);
    }
    add("join", T::Join, &[&list], &s);
    add("join", T::Join, &[&list, &s], &s);
    add("lowerAscii", T::LowerAscii, &[&s], &s);
    add("upperAscii", T::UpperAscii, &[&s], &s);
    add("replace", T::Replace, &[&s, &s, &s], &s);
    add("replace", T::Replace, &[&s, &s, &s, &i], &s);
    add("split", T::Split, &[&s, &s], &list);
    add("split", T::Split, &[&s, &s, &i], &list);
    add("substring", T::Substring, &[&s, &i], &s);
    add("substring", T::Substring, &[&s, &i, &i], &s);
    add("trim", T::Trim, &[&s], &s);
    add("format", T::Format, &[&s, &any_list], &s);
    add("reverse", T::Reverse, &[&s], &s);
    add("reverse", T::Reverse, &[&any_list], &any_list);
    adder.add("strings.quote", Function::Text(T::Quote), false, std::slice::from_ref(&s), &s);
}

fn add_math(adder: &mut Adder<'_>) {
    use MathFunction as M;
    let (int, uint, double, bool) = (Type::Int, Type::Uint, Type::Double, Type::Bool);
    let mut add = |name, function, params: &[&Type], result: &Type| {
        let params: Vec<Type> = params.iter().map(|t| (*t).clone()).collect();
        adder.add(name, Function::Math(function), false, &params, result);
    };
    // Of any number of arguments; the checker looks at them by itself.
    add("math.greatest", M::Greatest, &[], &Type::Dyn);
    add("math.least", M::Least, &[], &Type::Dyn);
    for (name, function) in
        [("math.ceil", M::Ceil), ("math.floor", M::Floor), ("math.round", M::Round), ("math.trunc", M::Trunc)]
    {
        add(name, function, &[&double], &double);
    }
    for number in [&int, &uint, &double] {
        add("math.abs", M::Abs, &[number], number);
        add("math.sign", M::Sign, &[number], number);
        add("math.sqrt", M::Sqrt, &[number], &double);
    }
    for (name, function) in
        [("math.isNaN", M::IsNan), ("math.isInf", M::IsInf), ("math.isFinite", M::IsFinite)]
    {
        add(name, function, &[&double], &bool);
    }
    for whole in [&int, &uint] {
        for (name, function) in
            [("math.bitAnd", M::BitAnd), ("math.bitOr", M::BitOr), ("math.bitXor", M::BitXor)]
        {
            add(name, function, &[whole, whole], whole);
        }
        add("math.bitNot", M::BitNot, &[whole], whole);
        add("math.bitShiftLeft", M::BitShiftLeft, &[whole, &int], whole);
        add("math.bitShiftRight", M::BitShiftRight, &[whole, &int], whole);
    }
}

fn add_lists(adder: &mut Adder<'_>) {
    use ListFunction as L;
    let (any, int, bool) = (Type::Var(0), Type::Int, Type::Bool);
    let list = Type::list(any.clone());
    for (name, function) in [
        ("sets.contains", L::SetContains),
        ("sets.equivalent", L::SetEquivalent),
        ("sets.intersects", L::SetIntersects),
    ] {
        adder.add(name, Function::List(function), false, &[list.clone(), list.clone()], &bool);
    }
    let range = Function::List(L::Range);
    adder.add("lists.range", range, false, std::slice::from_ref(&int), &Type::list(int.clone()));
    let mut add = |name, function, params: &[Type], result: &Type| {
        adder.add(name, Function::List(function), true, params, result);
    };
    add("slice", L::Slice, &[list.clone(), int.clone(), int.clone()], &list);
    let dyn_list = Type::list(Type::Dyn);
    add("flatten", L::Flatten, std::slice::from_ref(&list), &dyn_list);
    add("flatten", L::Flatten, &[list.clone(), int.clone()], &dyn_list);
    add("distinct", L::Distinct, std::slice::from_ref(&list), &list);
    for ordered in [Type::Int, Type::Uint, Type::Double, Type::Bool, Type::String, Type::Bytes] {
        let list = Type::list(ordered);
        add("sort", L::Sort, std::slice::from_ref(&list), &list);
    }
    for ordered in [Type::Timestamp, Type::Duration] {
        let list = Type::list(ordered);
        add("sort", L::Sort, std::slice::from_ref(&list), &list);
    }
    add("first", L::First, std::slice::from_ref(&list), &optional(any.clone()));
    add("last", L::Last, std::slice::from_ref(&list), &optional(any));
}

fn add_optionals(adder: &mut Adder<'_>) {
    use OptFunction as O;
    let any = Type::Var(0);
    let maybe = optional(any.clone());
    let mut add = |name, function, member, params: &[&Type], result: &Type| {
        let params: Vec<Type> = params.iter().map(|t| (*t).clone()).collect();
        adder.add(name, Function::Opt(function), member, &params, result);
    };
    add("optional.none", O::None, false, &[], &maybe);
    add("optional.of", O::Of, false, &[&any], &maybe);
    add("optional.ofNonZeroValue", O::OfNonZeroValue, false, &[&any], &maybe);
    add("hasValue", O::HasValue, true, &[&maybe], &Type::Bool);
    add("value", O::Value, true, &[&maybe], &any);
    add("or", O::Or, true, &[&maybe, &maybe], &maybe);
    add("orValue", O::OrValue, true, &[&maybe, &any], &any);
    let (maybes, list) = (Type::list(maybe), Type::list(any));
    add("optional.unwrap", O::UnwrapAll, false, &[&maybes], &list);
    add("unwrapOpt", O::UnwrapAll, true, &[&maybes], &list);
}

fn add_network(adder: &mut Adder<'_>) {
    use NetFunction as N;
    let ip = Type::Opaque(IP.to_string(), Vec::new());
    let cidr = Type::Opaque(CIDR.to_string(), Vec::new());
    let (s, i, b) = (Type::String, Type::Int, Type::Bool);
    let mut add = |name, function, member, params: &[&Type], result: &Type| {
        let params: Vec<Type> = params.iter().map(|t| (*t).clone()).collect();
        adder.add(name, Function::Net(function), member, &params, result);
    };
    add("ip", N::Ip, false, &[&s], &ip);
    add("ip", N::Ip, true, &[&cidr], &ip);
    add("isIP", N::IsIp, false, &[&s], &b);
    add("ip.isCanonical", N::IsCanonical, false, &[&s], &b);
    add("family", N::Family, true, &[&ip], &i);
    for (name, function) in [
        ("isLoopback", N::IsLoopback),
        ("isUnspecified", N::IsUnspecified),
        ("isGlobalUnicast", N::IsGlobalUnicast),
        ("isLinkLocalMulticast", N::IsLinkLocalMulticast),
        ("isLinkLocalUnicast", N::IsLinkLocalUnicast),
    ] {
        add(name, function, true, &[&ip], &b);
    }
    add("cidr", N::Cidr, false, &[&s], &cidr);
    add("isCIDR", N::IsCidr, false, &[&s], &b);
    for other in [&ip, &s] {
        add("containsIP", N::ContainsIp, true, &[&cidr, other], &b);
    }
    for other in [&cidr, &s] {
        add("containsCIDR", N::ContainsCidr, true, &[&cidr, other], &b);
    }
    add("masked", N::Masked, true, &[&cidr], &cidr);
    add("prefixLength", N::PrefixLength, true, &[&cidr], &i);
    adder.add("string", Function::String, false, std::slice::from_ref(&ip), &s);
    adder.add("string", Function::String, false, std::slice::from_ref(&cidr), &s);
}

fn add_domain(adder: &mut Adder<'_>) {
    let (double, string) = (Type::Double, Type::String);
    let place = [double.clone(), double.clone(), double.clone(), double.clone()];
    adder.add("geo.distance_m", Function::DistanceM, false, &place, &double);
    let window = [Type::Timestamp, string.clone(), string.clone(), string];
    adder.add("time.in_window", Function::InWindow, false, &window, &Type::Bool);
    let mut window_ms = window;
    window_ms[0] = Type::Int;
    adder.add("time.in_window", Function::InWindow, false, &window_ms, &Type::Bool);
}
