//! Reads variables one by one, and remembers what was wrong and what counts in the end.

use web::rate_limit::RedisUrl;

use super::{
    problems::Problems,
    variable::{About, Fallback, Secrecy, Variable},
};

/// The value that counts for one variable, for showing it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// The variable.
    pub name: &'static str,
    /// Its value, `(hidden)` for a secret; none when it is not set and has no default.
    pub text: Option<String>,
    /// Where the value comes from.
    pub origin: Origin,
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The environment or `.env`.
    Set,
    /// The default of this version, or one computed from other variables.
    Default,
}

/// Shown for a value that must not be seen.
pub(super) const HIDDEN: &str = "(hidden)";

/// Longest part of a wrong value that is repeated, in characters.
const QUOTE_CHARS_MAX: usize = 80;

pub(super) struct Reader<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    problems: Vec<String>,
    values: Vec<Effective>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { lookup, problems: Vec::new(), values: Vec::new() }
    }

    /// Returns true if a variable is set, well or badly. An empty value counts as not set.
    pub(super) fn is_set(&self, name: &str) -> bool {
        self.raw(name).is_some()
    }

    /// Notes a problem if the variable is set and empty: where the default is the less safe choice, an empty value is more
    /// likely a mistake than meant.
    pub(super) fn refuse_empty(&mut self, about: &About) {
        if (self.lookup)(about.name).is_some_and(|value| value.is_empty()) {
            self.problem(about, "is set but empty: give it a value, or unset it");
        }
    }

    /// The value as it was given, or nothing.
    pub(super) fn raw(&self, name: &str) -> Option<String> {
        (self.lookup)(name).filter(|value| !value.is_empty())
    }

    /// The value, or the default of the table.
    pub(super) fn value<T: Default>(&mut self, variable: &Variable<T>) -> T {
        self.optional(variable).unwrap_or_default()
    }

    /// The value, or this default.
    pub(super) fn value_or<T: Default>(&mut self, variable: &Variable<T>, default: &str) -> T {
        self.optional_or(variable, Some(default)).unwrap_or_default()
    }

    /// The value, or the default of the table; none if there is neither, or the value is wrong.
    pub(super) fn optional<T>(&mut self, variable: &Variable<T>) -> Option<T> {
        let default = match variable.about.fallback {
            Fallback::Value(text) => Some(text),
            Fallback::Computed(_) | Fallback::Nothing => None,
        };
        self.optional_or(variable, default)
    }

    /// The value, or this default; none if there is neither, or the value is wrong and the default too.
    ///
    /// A wrong value is noted, and the default takes its place so that other rules can still be checked.
    pub(super) fn optional_or<T>(&mut self, variable: &Variable<T>, default: Option<&str>) -> Option<T> {
        let about = &variable.about;
        let given = self.raw(about.name);
        let origin = if given.is_some() { Origin::Set } else { Origin::Default };
        let counts = given.as_deref().or(default);
        self.values.push(Effective {
            name: about.name,
            text: counts.map(|text| shown(about.secrecy, text)),
            origin,
        });
        let text = counts?;
        match sound(text).and_then(|()| (variable.parse)(text)) {
            Ok(value) => Some(value),
            Err(fault) => {
                self.problems.push(sentence(about, origin, text, &fault));
                default.and_then(|text| (variable.parse)(text).ok())
            }
        }
    }

    /// Notes a problem that belongs to a variable.
    pub(super) fn problem(&mut self, about: &About, what: &str) {
        self.problems.push(format!("{}: {what}", about.name));
    }

    /// Notes a problem if one of two variables is set and the other is not.
    pub(super) fn both_or_neither(&mut self, one: &About, other: &About) {
        for (missing, set) in [(one, other), (other, one)] {
            if self.is_set(set.name) && !self.is_set(missing.name) {
                self.problem(missing, &format!("is not set, but {} is", set.name));
            }
        }
    }

    /// The problem, or the value that counts.
    pub(super) fn finish(self) -> Result<Vec<Effective>, Problems> {
        if self.problems.is_empty() { Ok(self.values) } else { Err(Problems::new(self.problems)) }
    }
}

/// Rules for every value.
fn sound(text: &str) -> Result<(), String> {
    if text.contains(['\0', char::REPLACEMENT_CHARACTER]) {
        Err("is not UTF-8 text".to_owned())
    } else if text.trim() != text {
        Err("begins or ends with white space".to_owned())
    } else {
        Ok(())
    }
}

fn sentence(about: &About, origin: Origin, text: &str, fault: &str) -> String {
    let value = if about.secrecy == Secrecy::Shown {
        let mut quote: String = text.chars().take(QUOTE_CHARS_MAX).collect();
        if quote.len() < text.len() {
            quote.push_str("...");
        }
        format!("{quote:?}")
    } else {
        "the value".to_owned()
    };
    match origin {
        Origin::Set => format!("{}: {value} {fault}", about.name),
        Origin::Default => format!("{}: its default {value} {fault}", about.name),
    }
}

fn shown(secrecy: Secrecy, text: &str) -> String {
    match secrecy {
        Secrecy::Shown => text.to_owned(),
        Secrecy::PasswordHidden => {
            let database = pg::DatabaseUrl::parse(text).map(|url| url.to_string()).ok();
            let redis = || RedisUrl::parse(text).map(|url| url.to_string()).ok();
            database.or_else(redis).unwrap_or_else(|| HIDDEN.to_owned())
        }
        Secrecy::Hidden => HIDDEN.to_owned(),
    }
}
