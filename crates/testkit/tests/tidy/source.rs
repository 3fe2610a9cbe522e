//! A Rust source taken apart far enough to be searched: code, string literals, functions.

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
        let mut scanner =
            Scanner { rest: text, code: String::with_capacity(text.len()), line: 1, literals: Vec::new() };
        scanner.run();
        let (code, tests) = without_test_modules(&scanner.code);
        let literals = scanner
            .literals
            .into_iter()
            .filter(|literal| tests.iter().all(|lines| !lines.contains(&literal.line)))
            .collect();
        Self { path: path.to_owned(), text: text.to_owned(), code, literals }
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

struct Scanner<'a> {
    rest: &'a str,
    code: String,
    line: usize,
    literals: Vec<Literal>,
}

impl Scanner<'_> {
    fn run(&mut self) {
        while let Some(c) = self.rest.chars().next() {
            if self.rest.starts_with("//") {
                self.hide(self.rest.find('\n').unwrap_or(self.rest.len()));
            } else if self.rest.starts_with("/*") {
                self.hide(block_comment_bytes(self.rest));
            } else if let Some((start, end)) = string_bytes(self.rest).filter(|_| !self.is_in_word(c)) {
                self.keep_literal(start, end);
            } else if let Some(length) = char_bytes(self.rest) {
                self.hide(length);
            } else {
                self.keep(c.len_utf8());
            }
        }
    }

    /// The `r` of `for"..."` would begin no raw string.
    fn is_in_word(&self, next: char) -> bool {
        is_word_char(next) && self.code.ends_with(is_word_char)
    }

    fn keep(&mut self, bytes: usize) {
        let (text, rest) = self.rest.split_at(bytes);
        self.code.push_str(text);
        self.line += text.matches('\n').count();
        self.rest = rest;
    }

    fn hide(&mut self, bytes: usize) {
        let (text, rest) = self.rest.split_at(bytes);
        self.code.extend(text.chars().map(blank));
        self.line += text.matches('\n').count();
        self.rest = rest;
    }

    /// `start` and `end` are where the content begins and ends.
    fn keep_literal(&mut self, start: usize, end: usize) {
        self.literals.push(Literal { line: self.line, text: self.rest[start..end].to_owned() });
        self.keep(start);
        self.hide(end - start);
        if !self.rest.is_empty() {
            self.keep(1);
        }
    }
}

fn blank(c: char) -> char {
    if c == '\n' { '\n' } else { ' ' }
}

fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Block comments nest.
fn block_comment_bytes(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0_usize);
    while at < text.len() {
        if text[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if text[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// Where the content of a string literal at the beginning of `text` starts and ends.
fn string_bytes(text: &str) -> Option<(usize, usize)> {
    let prefix = text.len() - text.trim_start_matches(['b', 'c']).len();
    let after = text.get(prefix.min(1)..)?;
    let prefix = prefix.min(1);
    if let Some(raw) = after.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let start = prefix + 1 + hashes + 1;
            let closing = format!("\"{}", "#".repeat(hashes));
            let end = text[start..].find(&closing).map_or(text.len(), |at| start + at);
            return Some((start, end));
        }
    }
    if !after.starts_with('"') {
        return None;
    }
    let start = prefix + 1;
    let mut escaped = false;
    let end = text[start..].find(|c| {
        let closes = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        closes
    });
    Some((start, end.map_or(text.len(), |at| start + at)))
}

/// Length of a character literal at the beginning of `text`; a lifetime is none.
fn char_bytes(text: &str) -> Option<usize> {
    let content = text.strip_prefix('\'')?;
    if let Some(escape) = content.strip_prefix('\\') {
        let first = escape.chars().next()?.len_utf8();
        return escape[first..].find('\'').map(|at| 2 + first + at + 1);
    }
    let first = content.chars().next()?.len_utf8();
    content[first..].starts_with('\'').then_some(1 + first + 1)
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

/// Blanks `#[cfg(test)] mod name { .. }` and tells which lines it were.
fn without_test_modules(code: &str) -> (String, Vec<std::ops::RangeInclusive<usize>>) {
    let (mut kept, mut lines) = (code.to_owned(), Vec::new());
    let mut from = 0;
    while let Some(at) = kept[from..].find("#[cfg(test)]").map(|at| from + at) {
        from = at + 1;
        let Some(open) = kept[at..].find(['{', ';']).map(|open| at + open) else {
            continue;
        };
        if !has_word(&kept[at..open], "mod") || kept[open..].starts_with(';') {
            continue;
        }
        let end = open + braced(&kept[open..]).len();
        lines.push(line_of(&kept, at)..=line_of(&kept, end.saturating_sub(1)));
        let blanked: String =
            kept[at..end].bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }).collect();
        kept.replace_range(at..end, &blanked);
    }
    (kept, lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r##"//! unwrap in a comment
fn first<'a>(name: &'a str) -> char {
    let text = "SELECT \"x\" // no comment"; /* f64 /* nested */ still */
    let raw = r#"raw "quoted" text"#;
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
        assert_eq!(literals, [(3, r#"SELECT \"x\" // no comment"#), (4, r#"raw "quoted" text"#)]);
    }

    #[test]
    fn functions_are_found_with_signature_and_body() {
        let source = Source::new("crates/x/src/y.rs", TEXT);
        let functions = source.functions();
        let names: Vec<(usize, &str)> = functions.iter().map(|found| (found.line, found.name)).collect();
        assert_eq!(names, [(2, "first"), (10, "given"), (17, "last")]);
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
