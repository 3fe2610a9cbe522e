//! All problems of a configuration, one line each, without any secret.

use std::fmt;

/// Why the process cannot be configured as it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    lines: Vec<String>,
}

impl Problems {
    pub(super) fn new(lines: Vec<String>) -> Self {
        Self { lines }
    }

    /// These, and further ones.
    pub(super) fn with(mut self, further: Vec<String>) -> Self {
        self.lines.extend(further);
        self
    }

    /// One sentence a problem, each beginning with the name of the variable.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        &self.lines
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines.join("\n"))
    }
}

impl std::error::Error for Problems {}
