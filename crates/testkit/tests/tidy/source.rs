//! A Rust source taken apart far enough to be searched: code, string literals, functions.

use std::ops::Range;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// One file.
#[derive(Debug, Clone)]
pub struct Source {
    /// From the root: `crates/pg/src/tx.rs`.
    pub path: String,
    /// The file as it is.
    pub text: String,
    /// Same length and lines, with comments, the content of literals, and `#[cfg(test)]` modules blanked.
    pub code: String,
    /// String literals outside `#[cfg(test)]` modules.
    pub literals: Vec<Literal>,
}

/// One string literal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Literal {
    /// From 1.
    pub line: usize,
    /// As written, with escapes.
    pub text: String,
}

/// One function, from `fn` to its closing brace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function<'a> {
    /// From 1.
    pub line: usize,
    pub name: &'a str,
    /// From the name to the opening brace.
    pub signature: &'a str,
    pub body: &'a str,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        let code = text.bytes().map(|byte| blank(char::from(byte))).collect();
        let mut reader = Reader { text, code, literals: Vec::new() };
        let tokens: TokenStream = text.parse().unwrap_or_else(|error| panic!("{path}: {error}"));
        reader.read(tokens);
        Self { path: path.to_owned(), text: text.to_owned(), code: reader.code, literals: reader.literals }
    }

    /// Whether it is compiled into the crate itself.
    pub fn is_production(&self) -> bool {
        self.path.contains("/src/") && !self.path.contains("/tests/") && !self.path.ends_with("/tests.rs")
    }

    /// `path:line`, for messages.
    pub fn at(&self, line: usize) -> String {
        format!("{}:{line}", self.path)
    }

    /// Lines of code, numbered from 1.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.code.lines())
    }

    /// Every function with a body.
    pub fn functions(&self) -> Vec<Function<'_>> {
        let code = self.code.as_str();
        let mut found = Vec::new();
        for (start, _) in code.match_indices("fn ") {
            if code[..start].ends_with(is_word_char) {
                continue;
            }
            let after = &code[start + 3..];
            let name = after.split(|c| !is_word_char(c)).next().unwrap_or_default();
            // A function type `fn (..)` has no name, a required method of a trait no body.
            let Some(end) = after.find(['{', ';']).filter(|_| !name.is_empty()) else {
                continue;
            };
            if after[end..].starts_with(';') {
                continue;
            }
            let body = braced(&after[end..]);
            found.push(Function { line: line_of(code, start), name, signature: &after[..end], body });
        }
        found
    }
}

/// Whether `word` occurs in `text` as a whole word; it may be a path like `env::var`.
pub fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        !text[..at].ends_with(is_word_char) && !text[at + word.len()..].starts_with(is_word_char)
    })
}

/// The code with the content of attributes blanked.
pub fn without_attributes(code: &str) -> String {
    let mut kept = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find("#[") {
        let (before, attribute) = rest.split_at(at);
        kept.push_str(before);
        let mut depth = 0_usize;
        let end = attribute.find(|c| {
            depth = match c {
                '[' => depth + 1,
                ']' => depth.saturating_sub(1),
                _ => depth,
            };
            c == ']' && depth == 0
        });
        let (attribute, after) = attribute.split_at(end.map_or(attribute.len(), |end| end + 1));
        kept.extend(attribute.chars().map(blank));
        rest = after;
    }
    kept + rest
}

/// Copies tokens to their places in blank code.
struct Reader<'a> {
    text: &'a str,
    code: String,
    literals: Vec<Literal>,
}

impl Reader<'_> {
    fn read(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut rest = tokens.as_slice();
        while let [token, after @ ..] = rest {
            rest = match token {
                // A documentation comment is an attribute to the parser.
                TokenTree::Punct(mark) if mark.as_char() == '#' && self.is_comment(mark) => {
                    let attribute = after.iter().position(|token| matches!(token, TokenTree::Group(_)));
                    &after[attribute.map_or(0, |at| at + 1)..]
                }
                TokenTree::Punct(mark) if mark.as_char() == '#' => match test_module(after) {
                    Some(tokens) => &after[tokens..],
                    None => self.keep(token, after),
                },
                _ => self.keep(token, after),
            };
        }
    }

    fn is_comment(&self, mark: &proc_macro2::Punct) -> bool {
        self.text[mark.span().byte_range()].starts_with('/')
    }

    fn keep<'t>(&mut self, token: &TokenTree, after: &'t [TokenTree]) -> &'t [TokenTree] {
        match token {
            TokenTree::Group(group) => {
                if group.delimiter() != Delimiter::None {
                    self.copy(group.span_open().byte_range());
                    self.copy(group.span_close().byte_range());
                }
                self.read(group.stream());
            }
            TokenTree::Literal(literal) => self.literal(literal),
            token => self.copy(token.span().byte_range()),
        }
        after
    }

    /// Of a text only the quotes are code, of a character nothing.
    fn literal(&mut self, literal: &proc_macro2::Literal) {
        let range = literal.span().byte_range();
        let written = &self.text[range.clone()];
        if written.trim_start_matches(['b', 'c', 'r', '#']).starts_with('"') {
            let (open, close) = (written.find('"').unwrap(), written.rfind('"').unwrap());
            self.copy(range.start..range.start + open + 1);
            self.copy(range.start + close..range.start + close + 1);
            let text = written[open + 1..close].to_owned();
            self.literals.push(Literal { line: literal.span().start().line, text });
        } else if !written.contains('\'') {
            self.copy(range);
        }
    }

    fn copy(&mut self, range: Range<usize>) {
        let text = &self.text[range.clone()];
        self.code.replace_range(range, text);
    }
}

/// Number of tokens of `[cfg(test)] mod name { .. }`, if these are such.
fn test_module(tokens: &[TokenTree]) -> Option<usize> {
    let [TokenTree::Group(attribute), after @ ..] = tokens else { return None };
    if attribute.stream().to_string().replace(' ', "") != "cfg(test)" {
        return None;
    }
    let module = after.iter().position(|token| matches!(token, TokenTree::Ident(word) if word == "mod"))?;
    let is_body =
        |token: &&TokenTree| matches!(token, TokenTree::Group(body) if body.delimiter() == Delimiter::Brace);
    // Before `mod` there may be `pub` only.
    let has_body = module <= 1 && after.get(module + 2).as_ref().is_some_and(is_body);
    has_body.then_some(1 + module + 3)
}

fn blank(c: char) -> char {
    if c == '\n' { '\n' } else { ' ' }
}

fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// From an opening brace to its closing one.
fn braced(text: &str) -> &str {
    let mut depth = 0_usize;
    let end = text.find(|c| {
        depth = match c {
            '{' => depth + 1,
            '}' => depth.saturating_sub(1),
            _ => depth,
        };
        c == '}' && depth == 0
    });
    &text[..end.map_or(text.len(), |end| end + 1)]
}

fn line_of(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r##"//! unwrap in a comment
fn first<'a>(name: &'a str) -> char {
    let text = "SELECT \"x\" // no comment"; /* f64 /* nested */ still */
    let raw = r#"raw "quoted" text"#;
    let half = 8 / 2; call("of half");
    ['"', '\'', '{', 'x'][0]
}

pub trait Needs {
    fn required(&self) -> u8;
    fn given(&self) -> u8 { 1 }
}

#[cfg(test)]
mod tests {
    fn hidden() { let f64 = "in a test"; }
}
fn last() {}
"##;

    #[test]
    fn comments_literals_and_tests_are_not_code() {
        let source = Source::new("crates/x/src/y.rs", TEXT);
        for hidden in ["unwrap", "SELECT", "f64", "nested", "quoted", "hidden"] {
            assert!(!source.code.contains(hidden), "{hidden} in {}", source.code);
        }
        assert!(source.code.contains("fn last"));
        assert_eq!(source.code.lines().count(), TEXT.lines().count());
        let literals: Vec<(usize, &str)> =
            source.literals.iter().map(|literal| (literal.line, literal.text.as_str())).collect();
        assert_eq!(
            literals,
            [(3, r#"SELECT \"x\" // no comment"#), (4, r#"raw "quoted" text"#), (5, "of half")]
        );
        assert!(source.code.contains("8 / 2; call("));
    }

    #[test]
    fn functions_are_found_with_signature_and_body() {
        let source = Source::new("crates/x/src/y.rs", TEXT);
        let functions = source.functions();
        let names: Vec<(usize, &str)> = functions.iter().map(|found| (found.line, found.name)).collect();
        assert_eq!(names, [(2, "first"), (11, "given"), (18, "last")]);
        assert!(functions[0].signature.contains("name: &'a str"));
        assert!(functions[0].body.contains("let raw") && functions[0].body.ends_with('}'));
    }

    #[test]
    fn words_and_attributes_are_told_apart() {
        assert!(has_word("x = env::var(\"A\")", "env::var"));
        assert!(!has_word("env::vary", "env::var") && !has_word("my_f64", "f64"));
        let code = without_attributes("#[schema(value_type = [f64; 2])]\ncost: Usd, #[a] b");
        assert!(!code.contains("f64") && code.contains("cost: Usd") && code.ends_with(" b"));
    }

    #[test]
    fn files_that_only_tests_compile_are_told_apart() {
        for (path, production) in [
            ("crates/x/src/y.rs", true),
            ("crates/x/src/y/tests.rs", false),
            ("crates/x/src/y/tests/z.rs", false),
            ("crates/x/tests/main.rs", false),
            ("crates/x/benches/b.rs", false),
        ] {
            assert_eq!(Source::new(path, "").is_production(), production, "{path}");
        }
    }
}
