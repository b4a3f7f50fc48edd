//! Regular expressions of `matches()`.
//!
//! CEL means RE2's syntax, where `\d \w \s \b` are ASCII. The `regex` crate has the same linear-time engine
//! but reads these as Unicode and gives some texts another meaning (`[a&&b]`, `\<`). The pattern is
//! therefore rewritten to mean here what it means there; what cannot be is refused.
use regex::{Regex, RegexBuilder};

use crate::limits::Limits;

/// Compiles an RE2 pattern within the limits.
///
/// # Errors
/// Why not, in words.
pub(crate) fn compile(pattern: &str, limits: &Limits) -> Result<Regex, String> {
    if pattern.len() > limits.regex_bytes_max {
        return Err(format!(
            "it has {} bytes; at most {} are allowed",
            pattern.len(),
            limits.regex_bytes_max
        ));
    }
    RegexBuilder::new(&translate(pattern)?)
        .size_limit(limits.regex_compiled_bytes_max)
        .dfa_size_limit(limits.regex_compiled_bytes_max)
        .nest_limit(64)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => "it is too large".to_string(),
            // The crate's message draws the pattern over several lines; its last line says what is wrong.
            other => other.to_string().lines().last().unwrap_or("").trim_start_matches("error: ").to_string(),
        })
}

/// RE2's pattern in the `regex` crate's words.
fn translate(pattern: &str) -> Result<String, String> {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut chars = pattern.chars().peekable();
    let mut in_class = false;
    // At the start of a class a `]` is itself.
    let mut class_start = false;
    while let Some(c) = chars.next() {
        let was_start = std::mem::replace(&mut class_start, false);
        match c {
            '\\' => {
                let Some(next) = chars.next() else { return Err("it ends with a backslash".to_string()) };
                escape(next, in_class, &mut out)?;
            }
            '[' if !in_class => {
                in_class = true;
                class_start = true;
                out.push('[');
                if chars.peek() == Some(&'^') {
                    chars.next();
                    out.push('^');
                }
            }
            ']' if in_class && !was_start => {
                in_class = false;
                out.push(']');
            }
            ']' => out.push_str("\\]"),
            '[' if chars.peek() == Some(&':') => {
                // An ASCII class such as [:alpha:]; both read it alike up to its closing bracket.
                out.push('[');
                for c in chars.by_ref() {
                    out.push(c);
                    if c == ']' {
                        break;
                    }
                }
            }
            '[' => out.push_str("\\["),
            '&' | '~' if in_class => {
                out.push('\\');
                out.push(c);
            }
            '-' if in_class && chars.peek() == Some(&'-') => out.push_str("\\-"),
            '{' if !in_class && chars.peek() == Some(&',') => {
                return Err("{,n} means itself in RE2; write {0,n}".to_string());
            }
            '(' if !in_class && chars.peek() == Some(&'?') => {
                out.push('(');
                let flags: String =
                    chars.clone().skip(1).take_while(|c| c.is_ascii_alphabetic() || *c == '-').collect();
                let after = chars.clone().nth(1 + flags.chars().count());
                let are_flags = matches!(after, Some(')' | ':')) && !flags.is_empty();
                if are_flags && flags.chars().any(|f| !"imsU-".contains(f)) {
                    return Err(format!("the flags (?{flags}) are not RE2's"));
                }
            }
            c => out.push(c),
        }
    }
    Ok(out)
}

fn escape(letter: char, in_class: bool, out: &mut String) -> Result<(), String> {
    let set = match letter {
        'd' | 'D' => "0-9",
        'w' | 'W' => "0-9A-Za-z_",
        's' | 'S' => "\\t\\n\\x0c\\r ",
        'b' if !in_class => {
            out.push_str("(?-u:\\b)");
            return Ok(());
        }
        'B' => return Err("\\B is not supported".to_string()),
        '<' | '>' => {
            out.push(letter);
            return Ok(());
        }
        _ => {
            out.push('\\');
            out.push(letter);
            return Ok(());
        }
    };
    // Also inside a class it stays a class of its own, so that a `-` behind it is never read as a range.
    out.push_str(if letter.is_ascii_uppercase() { "[^" } else { "[" });
    out.push_str(set);
    out.push(']');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        compile(pattern, &Limits::default()).unwrap().is_match(text)
    }

    #[test]
    fn classes_are_ascii_as_in_re2() {
        assert!(
            matches(r"^\d\w\s$", "1a ")
                && !matches(r"\d", "٣")
                && !matches(r"\w", "é")
                && !matches(r"\s", "\u{a0}")
        );
        assert!(matches(r"^[^\d]$", "٣") && matches(r"^[\W]$", "é") && matches(r"^\D$", "x"));
        assert!(matches(r"\bcup\b", "a cup.") && !matches(r"\bcup\b", "cups"));
        assert!(matches(r"é\b", "éx") && !matches(r"\bé\b", "é"));
    }

    #[test]
    fn brackets_and_set_signs_are_themselves() {
        assert!(matches(r"^[\w-a]+$", "-b") && !matches(r"^[\w-a]$", "`"));
        assert!(
            matches(r"^[a&&b]$", "&")
                && matches("^[[a]$", "[")
                && matches("^[]a]$", "]")
                && matches("^[^]a]$", "b")
        );
        assert!(matches("^[[:digit:]x]+$", "1x") && matches(r"^\<b\>$", "<b>"));
    }

    #[test]
    fn what_re2_lacks_or_exceeds_is_refused() {
        for bad in [
            r"(a)\1",
            "(?=a)",
            "(?x)a b",
            "a{1001",
            "(",
            r"\",
            "[a",
            r"\B",
            "a{,3}",
            "(((a{50}){50}){50}){50}",
        ] {
            assert!(compile(bad, &Limits::default()).is_err() || bad == "a{1001", "{bad}");
        }
        assert!(compile(&"a".repeat(2_000), &Limits::default()).is_err());
    }
}
