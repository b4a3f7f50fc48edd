//! Text to tokens, as the CEL language definition's lexical grammar says.
//!
//! All lexical errors of a source are reported at once: a bad literal is skipped and reading goes on.
use crate::diagnostic::{Code, Diagnostics, Span};

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub enum TokenKind {
    /// A name; reserved words are names here, the parser refuses them where they may not stand.
    Ident,
    /// A name in back-quotes, allowed after a dot only. Holds the name without the quotes.
    QuotedIdent(String),
    /// An integer without its sign: the sign decides whether 2^63 fits.
    Int(u64),
    /// An unsigned integer.
    Uint(u64),
    /// A floating point number.
    Double(f64),
    /// A string literal, escapes resolved.
    Str(String),
    /// A bytes literal, escapes resolved.
    Bytes(Vec<u8>),
    /// An operator or bracket, one of [`PUNCTUATION`].
    Punct(&'static str),
    /// The end of the text.
    End,
}

/// A token and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    /// What it is.
    pub kind: TokenKind,
    /// Where it stands.
    pub span: Span,
}

/// Operators and brackets, longer ones before their prefixes.
pub const PUNCTUATION: &[&str] = &[
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "!", "?", ":", "+", "-", "*", "/", "%", "(", ")", "[", "]",
    "{", "}", ".", ",",
];

/// Words that may not be names of variables.
pub const RESERVED: &[&str] = &[
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Words with a meaning of their own.
pub const KEYWORDS: &[&str] = &["true", "false", "null", "in"];

/// Whether `text` is a name that can be declared.
pub fn is_identifier(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b == b'_' || b.is_ascii_alphabetic())
        && bytes.all(|b| b == b'_' || b.is_ascii_alphanumeric())
        && !RESERVED.contains(&text)
        && !KEYWORDS.contains(&text)
}

/// All tokens of `source`, ended by [`TokenKind::End`]; what is wrong goes to `found`.
pub(crate) fn tokens(source: &str, found: &mut Diagnostics<'_>) -> Vec<Token> {
    let mut lexer = Lexer { source, bytes: source.as_bytes(), at: 0, found };
    let mut out = Vec::with_capacity(source.len() / 3 + 1);
    while let Some(token) = lexer.next_token() {
        out.push(token);
    }
    let end = source.len();
    out.push(Token { kind: TokenKind::End, span: Span::new(end, end) });
    out
}

struct Lexer<'s, 'd, 'e> {
    source: &'s str,
    bytes: &'s [u8],
    at: usize,
    found: &'d mut Diagnostics<'e>,
}

impl Lexer<'_, '_, '_> {
    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn next_token(&mut self) -> Option<Token> {
        loop {
            self.skip_blank();
            let start = self.at;
            if start >= self.bytes.len() {
                return None;
            }
            // `None` is an error already reported; reading goes on behind it.
            if let Some(kind) = self.token() {
                return Some(Token { kind, span: Span::new(start, self.at) });
            }
        }
    }

    fn skip_blank(&mut self) {
        loop {
            match self.peek(0) {
                b' ' | b'\t' | b'\n' | b'\r' | 0x0c if self.at < self.bytes.len() => self.at += 1,
                b'/' if self.peek(1) == b'/' => {
                    while self.at < self.bytes.len() && self.peek(0) != b'\n' {
                        self.at += 1;
                    }
                }
                _ => return,
            }
        }
    }

    fn token(&mut self) -> Option<TokenKind> {
        let first = self.peek(0);
        if let Some((prefix, raw, bytes)) = self.literal_prefix() {
            return self.quoted(prefix, raw, bytes);
        }
        if first == b'_' || first.is_ascii_alphabetic() {
            while matches!(self.peek(0), b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z') {
                self.at += 1;
            }
            return Some(TokenKind::Ident);
        }
        if first.is_ascii_digit() || (first == b'.' && self.peek(1).is_ascii_digit()) {
            return self.number();
        }
        if first == b'`' {
            return self.quoted_ident();
        }
        let rest = &self.source[self.at..];
        if let Some(punct) = PUNCTUATION.iter().find(|p| rest.starts_with(**p)) {
            self.at += punct.len();
            return Some(TokenKind::Punct(punct));
        }
        let bad = rest.chars().next().unwrap_or('\u{fffd}');
        let start = self.at;
        self.at += bad.len_utf8();
        let hint = match bad {
            '&' => "write && for \"and\"",
            '|' => "write || for \"or\"",
            '=' => "write == to compare",
            '“' | '”' | '‘' | '’' => "use straight quotes: ' or \"",
            _ => "",
        };
        self.fail(Code::BadCharacter, start, format!("{bad:?} starts nothing in CEL"), hint);
        None
    }

    fn fail(&mut self, code: Code, start: usize, message: String, hint: &str) {
        self.found.add(code, Span::new(start, self.at), message, hint.to_string());
    }

    /// Length of the prefix before the quote, and whether the literal is raw, and bytes.
    fn literal_prefix(&self) -> Option<(usize, bool, bool)> {
        let is_quote = |b: u8| b == b'"' || b == b'\'';
        match (self.peek(0).to_ascii_lowercase(), self.peek(1).to_ascii_lowercase(), self.peek(2)) {
            (q, _, _) if is_quote(q) => Some((0, false, false)),
            (b'r', q, _) if is_quote(q) => Some((1, true, false)),
            (b'b', q, _) if is_quote(q) => Some((1, false, true)),
            (b'b', b'r', q) if is_quote(q) => Some((2, true, true)),
            _ => None,
        }
    }

    fn quoted(&mut self, prefix: usize, raw: bool, is_bytes: bool) -> Option<TokenKind> {
        let start = self.at;
        self.at += prefix;
        let quote = self.peek(0);
        let width = if self.peek(1) == quote && self.peek(2) == quote { 3 } else { 1 };
        self.at += width;
        let closing = [quote; 3];
        let mut out: Vec<u8> = Vec::new();
        let mut sound = true;
        loop {
            if self.at >= self.bytes.len() {
                self.fail(Code::BadString, start, "this literal does not end".to_string(), "close the quote");
                return None;
            }
            if self.bytes[self.at..].starts_with(&closing[..width]) {
                self.at += width;
                break;
            }
            let byte = self.peek(0);
            if width == 1 && (byte == b'\n' || byte == b'\r') {
                self.fail(
                    Code::BadString,
                    start,
                    "this literal does not end on its line".to_string(),
                    "close the quote, or use three quotes for text over several lines",
                );
                return None;
            }
            if byte == b'\\' && raw {
                // Raw: a backslash stands for itself and escapes nothing, not even the quote.
                out.push(byte);
                self.at += 1;
            } else if byte == b'\\' {
                sound &= self.escape(&mut out, is_bytes);
            } else {
                out.push(byte);
                self.at += 1;
            }
        }
        if !sound {
            return None;
        }
        if is_bytes {
            return Some(TokenKind::Bytes(out));
        }
        match String::from_utf8(out) {
            Ok(text) => Some(TokenKind::Str(text)),
            Err(_) => {
                self.fail(Code::BadString, start, "this literal is not Unicode text".to_string(), "");
                None
            }
        }
    }

    /// Reads one escape at the backslash; `false` when it was bad (and reported).
    fn escape(&mut self, out: &mut Vec<u8>, is_bytes: bool) -> bool {
        let start = self.at;
        let letter = self.peek(1);
        self.at += 2;
        let simple = match letter {
            b'\\' | b'?' | b'"' | b'\'' | b'`' => Some(letter),
            b'a' => Some(0x07),
            b'b' => Some(0x08),
            b'f' => Some(0x0c),
            b'n' => Some(b'\n'),
            b'r' => Some(b'\r'),
            b't' => Some(b'\t'),
            b'v' => Some(0x0b),
            _ => None,
        };
        if let Some(byte) = simple {
            out.push(byte);
            return true;
        }
        let (digits, radix) = match letter {
            b'x' | b'X' => (2, 16),
            b'u' if !is_bytes => (4, 16),
            b'U' if !is_bytes => (8, 16),
            b'0'..=b'3' => {
                self.at -= 1;
                (3, 8)
            }
            _ => {
                self.at = self.at.min(self.bytes.len());
                while !self.source.is_char_boundary(self.at) {
                    self.at += 1;
                }
                self.fail(Code::BadString, start, "no such escape".to_string(), "write \\\\ for a backslash");
                return false;
            }
        };
        let number = self
            .source
            .get(self.at..self.at + digits)
            .filter(|t| t.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|t| u32::from_str_radix(t, radix).ok());
        let Some(number) = number else {
            let message =
                format!("this escape needs {digits} {} digits", if radix == 8 { "octal" } else { "hex" });
            self.fail(Code::BadString, start, message, "");
            return false;
        };
        self.at += digits;
        if is_bytes {
            // Three octal digits starting 0-3 and two hex digits both stay below 256.
            out.push(number as u8);
            return true;
        }
        match char::from_u32(number) {
            Some(c) => {
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                true
            }
            None => {
                self.fail(Code::BadString, start, "this escape is not a Unicode code point".to_string(), "");
                false
            }
        }
    }

    fn quoted_ident(&mut self) -> Option<TokenKind> {
        let start = self.at;
        self.at += 1;
        while matches!(self.peek(0), b'_' | b'.' | b'-' | b'/' | b' ' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z')
        {
            self.at += 1;
        }
        if self.peek(0) != b'`' || self.at == start + 1 {
            self.fail(Code::Syntax, start, "this back-quoted name does not end".to_string(), "");
            return None;
        }
        self.at += 1;
        Some(TokenKind::QuotedIdent(self.source[start + 1..self.at - 1].to_string()))
    }

    fn digits(&mut self) {
        while self.peek(0).is_ascii_digit() {
            self.at += 1;
        }
    }

    fn number(&mut self) -> Option<TokenKind> {
        let start = self.at;
        if self.peek(0) == b'0' && matches!(self.peek(1), b'x' | b'X') && self.peek(2).is_ascii_hexdigit() {
            self.at += 2;
            while self.peek(0).is_ascii_hexdigit() {
                self.at += 1;
            }
            let value = u64::from_str_radix(&self.source[start + 2..self.at], 16).ok();
            return self.integer(start, value);
        }
        self.digits();
        let mut is_double = false;
        if self.peek(0) == b'.' && self.peek(1).is_ascii_digit() {
            is_double = true;
            self.at += 1;
            self.digits();
        }
        if matches!(self.peek(0), b'e' | b'E') {
            let sign = usize::from(matches!(self.peek(1), b'+' | b'-'));
            if self.peek(1 + sign).is_ascii_digit() {
                is_double = true;
                self.at += 1 + sign;
                self.digits();
            }
        }
        if !is_double {
            let value = self.source[start..self.at].parse().ok();
            return self.integer(start, value);
        }
        match self.source[start..self.at].parse::<f64>() {
            Ok(value) if value.is_finite() => Some(TokenKind::Double(value)),
            _ => {
                self.fail(Code::BadNumber, start, "this number does not fit a double".to_string(), "");
                None
            }
        }
    }

    fn integer(&mut self, start: usize, value: Option<u64>) -> Option<TokenKind> {
        let unsigned = matches!(self.peek(0), b'u' | b'U');
        self.at += usize::from(unsigned);
        match value {
            Some(value) if unsigned => Some(TokenKind::Uint(value)),
            Some(value) => Some(TokenKind::Int(value)),
            None => {
                self.fail(Code::BadNumber, start, "this number does not fit 64 bits".to_string(), "");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lex(source: &str) -> Result<Vec<TokenKind>, Vec<Code>> {
        let mut found = Diagnostics::new(source, 100);
        let tokens = tokens(source, &mut found);
        if found.is_empty() {
            Ok(tokens.into_iter().map(|t| t.kind).filter(|k| *k != TokenKind::End).collect())
        } else {
            Err(found.into_vec().into_iter().map(|d| d.code).collect())
        }
    }

    #[test]
    fn numbers() {
        use TokenKind::{Double, Ident, Int, Punct, Uint};
        assert_eq!(
            lex("1 1u 0xFF 0xfU 1.5 .5 1e3 1.e"),
            Ok(vec![
                Int(1),
                Uint(1),
                Int(255),
                Uint(15),
                Double(1.5),
                Double(0.5),
                Double(1000.0),
                Int(1),
                Punct("."),
                Ident,
            ])
        );
        assert_eq!(lex("18446744073709551616 1e999"), Err(vec![Code::BadNumber, Code::BadNumber]));
    }

    #[test]
    fn strings_and_bytes() {
        let text = |s: &str| Ok(vec![TokenKind::Str(s.to_string())]);
        assert_eq!(lex(r"'\u5496\u5561 \x41 \101 \''"), text("咖啡 A A '"));
        assert_eq!(lex(r"r'\n'"), text("\\n"));
        assert_eq!(lex("'''a'\n\"b'''"), text("a'\n\"b"));
        assert_eq!(lex(r"b'\377é'"), Ok(vec![TokenKind::Bytes(vec![0xff, 0xc3, 0xa9])]));
    }

    #[test]
    fn every_bad_literal_is_reported() {
        for bad in
            [r"'\q'", r"'\ud800'", r"b'\u0041'", "'a\nb'", "'open", r"'\U00110000'", r"'\8'", r"'\x4'", "'\\"]
        {
            assert_eq!(lex(bad).map_err(|c| c[0]), Err(Code::BadString), "{bad}");
        }
        assert_eq!(lex("a & b = “c”").unwrap_err().len(), 4);
    }

    #[test]
    fn comments_and_blanks_are_nothing() {
        assert_eq!(lex(" // all\n\t\u{c}\r// end"), Ok(vec![]));
    }
}
