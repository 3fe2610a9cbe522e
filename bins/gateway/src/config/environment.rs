//! The one place that reads the environment of the process and the `.env` file beside it.

use std::{collections::HashMap, io::Read};

use super::Problems;

/// Name of the file, in the working directory.
pub(super) const FILE: &str = ".env";

/// The variables of `.env`, below those of the real environment.
pub(super) struct Environment {
    file: HashMap<String, String>,
}

impl Environment {
    /// The value of a variable. The real environment wins, even by an empty value: that switches off what `.env` sets.
    ///
    /// Bytes that are not UTF-8 come back as U+FFFD, which the reader refuses.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the environment"
    )]
    pub(super) fn get(&self, name: &str) -> Option<String> {
        match std::env::var_os(name) {
            Some(value) => Some(value.to_string_lossy().into_owned()),
            None => self.file.get(name).cloned(),
        }
    }
}

/// Reads `.env` in the working directory, if there is one; folders above are not searched.
///
/// # Errors
/// [`Problems`] when the file is there and cannot be read, or has a line that is not `NAME=value`.
pub(super) fn read() -> Result<Environment, Problems> {
    let lines = match dotenvy::from_path_iter(FILE) {
        Ok(lines) => lines,
        Err(error) if error.not_found() => return Ok(Environment { file: HashMap::new() }),
        Err(error) => return Err(Problems::new(vec![format!("{FILE}: {}", describe(&error))])),
    };
    assignments(lines).map(|file| Environment { file })
}

fn assignments(lines: dotenvy::Iter<impl Read>) -> Result<HashMap<String, String>, Problems> {
    let (mut file, mut problems, mut place) = (HashMap::new(), Vec::new(), "the first assignment".to_owned());
    for line in lines {
        match line {
            Ok((name, value)) => {
                place = format!("the assignment after that of {name}");
                file.insert(name, value);
            }
            Err(dotenvy::Error::LineParse(..)) => {
                problems.push(format!(
                    "{FILE}: {place} is not NAME=value (put a value with spaces or special characters in quotes)"
                ));
                place = "an assignment further down".to_owned();
            }
            Err(error) => {
                problems.push(format!("{FILE}: {}", describe(&error)));
                break;
            }
        }
    }
    if problems.is_empty() {
        Ok(file)
    } else {
        Err(Problems::new(problems))
    }
}

/// Never the text of a line, which may hold a secret: dotenvy's own words repeat it.
fn describe(error: &dotenvy::Error) -> String {
    match error {
        dotenvy::Error::Io(cause) => format!("cannot be read: {cause}"),
        _ => "cannot be read".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &'static str) -> Result<HashMap<String, String>, Vec<String>> {
        assignments(dotenvy::from_read_iter(text.as_bytes())).map_err(|problems| problems.lines().to_vec())
    }

    #[test]
    fn assignments_are_read_with_and_without_quotes() {
        let file = parse("# comment\nPORT=9000\nAPP_NAME=\"User Service\"  # name\nDEBUG=\n").unwrap();
        assert_eq!(file["PORT"], "9000");
        assert_eq!(file["APP_NAME"], "User Service");
        assert_eq!(file["DEBUG"], "");
    }

    #[test]
    fn malformed_lines_are_all_located_without_being_repeated() {
        let lines = parse("PORT=9000\nMETRICS_TOKEN=top secret value\nno assignment here\n").unwrap_err();
        assert_eq!(lines.len(), 2);
        assert!(
            lines[0].starts_with(".env: the assignment after that of PORT is not NAME=value"),
            "{lines:?}"
        );
        assert!(!lines.concat().contains("secret"));
    }
}
