//! Description of one variable, for reading it and for documenting it.

/// A variable whose value is a `T`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Variable<T> {
    /// Its description.
    pub(super) about: About,
    /// Reads a value that is not empty. The error ends a sentence that begins with the value: `is not a port`.
    pub(super) parse: fn(&str) -> Result<T, String>,
}

/// Description of a variable of any type.
#[derive(Debug, Clone, Copy)]
pub(super) struct About {
    /// Its name in the environment.
    pub(super) name: &'static str,
    /// Its default.
    pub(super) fallback: Fallback,
    /// True if its value may be shown.
    pub(super) secrecy: Secrecy,
    /// Its purpose, in a phrase.
    pub(super) meaning: &'static str,
}

/// Default of a variable.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fallback {
    /// This value, read as if it had been set.
    Value(&'static str),
    /// A value that depends on others or on the machine, in words.
    Computed(&'static str),
    /// Nothing.
    Nothing,
}

/// Permission to show the value of a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Secrecy {
    /// Yes.
    Shown,
    /// Yes, except for the password that the URL may hold.
    PasswordHidden,
    /// No.
    Hidden,
}

/// Variables that belong together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group {
    /// Headline in the documentation.
    pub(super) title: &'static str,
    /// Its variables.
    pub(super) variables: &'static [About],
}

/// A variable of a part of the contract that this version does not have yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Later {
    /// The missing thing.
    pub(super) feature: &'static str,
    /// The variables that will belong to it.
    pub(super) names: &'static [&'static str],
}
