//! The canonical text of a condition: what a formatter writes in its place.
use crate::diagnostic::Diagnostics;
use crate::lexer;
use crate::limits::Limits;
use crate::parser::parse;

/// `source` as [`crate::ast::Expr`] prints it, which parses to the same tree and is canonical already.
///
/// `None` when nothing may be written in its place: it does not parse, it has a comment (the tree knows none), or the
/// limits that it keeps would be broken by the canonical text, which may be longer.
pub fn canonical(source: &str, limits: &Limits) -> Option<String> {
    let tree = parse(source, limits).ok()?;
    if has_comment(source) {
        return None;
    }
    let text = tree.to_string();
    (parse(&text, limits).ok()? == tree).then_some(text)
}

/// Whether `//` stands between two tokens. Only for a source without lexical faults.
fn has_comment(source: &str) -> bool {
    let mut found = Diagnostics::new(source, 1);
    let mut behind = 0;
    lexer::tokens(source, &mut found).iter().any(|token| {
        let (start, end) = (token.span.start as usize, token.span.end as usize);
        let between = source.get(behind..start).unwrap_or("");
        behind = end;
        between.contains("//")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_text_for_all_ways_of_writing() {
        let limits = Limits::default();
        for (written, wanted) in [
            ("(a)==\"b\"&&( c>1 )", "a == 'b' && c > 1"),
            ("a\n  || b && c", "a || b && c"),
            ("(a || b) && c", "(a || b) && c"),
            ("x in ['//', r'\\d', ]", "x in ['//', '\\\\d']"),
            ("0x10 - (1 - 2)", "16 - (1 - 2)"),
            ("- 1 < (2 * 3) + 4", "-1 < 2 * 3 + 4"),
            ("a ? (b) : (c ? d : e)", "a ? b : c ? d : e"),
        ] {
            assert_eq!(canonical(written, &limits).as_deref(), Some(wanted), "{written}");
            assert_eq!(canonical(wanted, &limits).as_deref(), Some(wanted));
        }
    }

    #[test]
    fn what_would_lose_something_has_none() {
        let limits = Limits::default();
        for written in ["a // why\n&& b", "// why\na", "a // why", "a &&", "'open", ""] {
            assert_eq!(canonical(written, &limits), None, "{written}");
        }
        assert_eq!(canonical("'a // no comment'", &limits).as_deref(), Some("'a // no comment'"));
        let short = Limits { source_bytes_max: 5, ..limits };
        assert_eq!(canonical("a&&!b", &short), None);
    }
}
