//! The one place that reads the environment of the process and the `.env` file beside it.
//!
//! Values of `.env` are literal: secrets hold `$` and backslashes, and the libraries that read such files substitute the one and
//! unescape the other, so the few rules of `docs/configuration.md` are applied here.

use std::{collections::HashMap, io::ErrorKind, path::Path};

use super::problems::Problems;

/// Name of the file, in the working directory.
pub(super) const FILE: &str = ".env";
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The variables of `.env`, below those of the real environment.
pub(super) struct Environment {
    file: HashMap<String, String>,
}

impl Environment {
    /// The value of a variable. The real environment wins, even by an empty value: that switches off what `.env` sets.
    ///
    /// Bytes that are not UTF-8 come back as U+FFFD, which the reader refuses.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
    pub(super) fn get(&self, name: &str) -> Option<String> {
        match std::env::var_os(name) {
            Some(value) => Some(value.to_string_lossy().into_owned()),
            None => self.file.get(name).cloned(),
        }
    }

    /// The names of all variables, in the real environment and in `.env`; those that are not UTF-8 are left out.
    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        let real = std::env::vars_os().filter_map(|(name, _value)| name.into_string().ok());
        real.chain(self.file.keys().cloned())
    }
}

/// Reads `.env` in the working directory, if there is one; folders above are not searched.
///
/// # Errors
/// [`Problems`] when the file is there and cannot be read, or has a line that is not `NAME=value`.
pub(super) fn read() -> Result<Environment, Problems> {
    match std::fs::read(Path::new(FILE)) {
        Ok(bytes) => assignments(&bytes).map(|file| Environment { file }),
        Err(error) if error.kind() == ErrorKind::NotFound => match std::fs::read_link(FILE) {
            Err(_no_link) => Ok(Environment { file: HashMap::new() }),
            Ok(target) => Err(Problems::new(vec![format!(
                "{FILE}: is a symbolic link to {}, which does not exist",
                target.display()
            )])),
        },
        Err(error) => Err(Problems::new(vec![format!("{FILE}: cannot be read: {error}")])),
    }
}

/// The assignments of a file; of several of one name the last. A problem names its line and never the text, which may hold
/// a secret.
fn assignments(bytes: &[u8]) -> Result<HashMap<String, String>, Problems> {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let (mut file, mut problems) = (HashMap::new(), Vec::new());
    for (number, line) in (1_usize..).zip(bytes.split(|byte| *byte == b'\n')) {
        let line = str::from_utf8(line).map_err(|_| "is not UTF-8");
        match line.and_then(|line| assignment(line.trim())) {
            Ok(None) => {}
            Ok(Some((name, value))) => {
                file.insert(name.to_owned(), value.to_owned());
            }
            Err(problem) => problems.push(format!("{FILE}: line {number} {problem}")),
        }
    }
    if problems.is_empty() { Ok(file) } else { Err(Problems::new(problems)) }
}

/// The name and the value of a trimmed line; none on an empty line or a comment.
fn assignment(line: &str) -> Result<Option<(&str, &str)>, &'static str> {
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let exported = line.strip_prefix("export").filter(|rest| rest.starts_with(char::is_whitespace));
    let (name, value) = exported
        .unwrap_or(line)
        .split_once('=')
        .map(|(name, value)| (name.trim(), value.trim_start()))
        .ok_or("is not NAME=value")?;
    let is_name = !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !is_name {
        return Err("is not NAME=value");
    }
    literal(value).map(|value| Some((name, value)))
}

/// The value of an assignment: as it stands, without the quotes around it and without a comment after it.
fn literal(text: &str) -> Result<&str, &'static str> {
    let quote = text.chars().next().filter(|first| ['"', '\''].contains(first));
    let Some(quote) = quote else {
        let comment = text.starts_with('#').then_some(0);
        let end = comment.or_else(|| text.find(char::is_whitespace)).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return match is_comment(rest) {
            true => Ok(value),
            false => Err("has a value with spaces, which needs quotes"),
        };
    };
    let (value, rest) = text
        .strip_prefix(quote)
        .and_then(|inside| inside.split_once(quote))
        .ok_or("has a value whose quote is not closed on the line")?;
    match is_comment(rest) {
        true => Ok(value),
        false => Err("has more text after the closing quote"),
    }
}

/// Returns true if what follows a value is nothing or a comment.
fn is_comment(rest: &str) -> bool {
    let rest = rest.trim_start();
    rest.is_empty() || rest.starts_with('#')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<HashMap<String, String>, Vec<String>> {
        assignments(text.as_bytes()).map_err(|problems| problems.lines().to_vec())
    }

    #[test]
    fn assignments_are_read_with_and_without_quotes() {
        let file = parse(
            "\u{feff}# comment\nPORT=9000\r\nAPP_NAME=\"User Service\"  # name\nDEBUG=\n\n  export LOG_LEVEL = info # level\n\
             HOST='::1'\nPORT=9001\nCORS_ORIGINS=# none",
        )
        .unwrap();
        for (name, value) in [
            ("PORT", "9001"),
            ("APP_NAME", "User Service"),
            ("DEBUG", ""),
            ("LOG_LEVEL", "info"),
            ("HOST", "::1"),
            ("CORS_ORIGINS", ""),
        ] {
            assert_eq!(file[name], value, "{name}");
        }
    }

    #[test]
    fn values_are_literal() {
        for value in [
            "pa$$word",
            "pa${HOME}word$1",
            "$HOME",
            r"back\slash\n\$\t\\",
            "`id`$(id)",
            "a#b",
            "a=b==",
            "a\"b'c",
            "!%^&*()[]{}|;:<>?,./~",
            "密码",
        ] {
            let quoted = if value.contains('"') { [value, value] } else { [value, &format!("\"{value}\"")] };
            for text in quoted {
                assert_eq!(parse(&format!("SECRET={text}\n")).unwrap()["SECRET"], value, "{text}");
            }
        }
        assert_eq!(parse("SECRET='a # b $c \\'\n").unwrap()["SECRET"], r"a # b $c \");
        assert_eq!(parse("SECRET=\"a 'b' c\"").unwrap()["SECRET"], "a 'b' c");
    }

    #[test]
    fn malformed_lines_are_all_located_without_being_repeated() {
        let bytes =
            b"PORT=9000\nMETRICS_TOKEN=top secret value\n# fine\nno assignment here\n=secret\nA B=secret\n\
            QUOTED='secret\nTAIL=\"secret\"secret\nBYTES=secret\xff\n1A=secret\nexport\n";
        let lines = assignments(bytes).map_err(|problems| problems.lines().to_vec()).unwrap_err();
        let expected = [
            ".env: line 2 has a value with spaces, which needs quotes",
            ".env: line 4 is not NAME=value",
            ".env: line 5 is not NAME=value",
            ".env: line 6 is not NAME=value",
            ".env: line 7 has a value whose quote is not closed on the line",
            ".env: line 8 has more text after the closing quote",
            ".env: line 9 is not UTF-8",
            ".env: line 10 is not NAME=value",
            ".env: line 11 is not NAME=value",
        ];
        assert_eq!(lines, expected);
    }
}
