//! Filter of the list of users.

use std::collections::BTreeSet;

use time::OffsetDateTime;

use super::{Plan, Role, fold};

/// Filter of the users; all of them by default (HTTP contract 3.3).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UserFilter {
    /// Only those whose id or address begins with this text, or whose name contains it, without case.
    pub text: Option<String>,
    /// Only those with this role.
    pub role: Option<Role>,
    /// Only those with this plan.
    pub plan: Option<Plan>,
    /// Only those who may use the service, or who may not.
    pub is_active: Option<bool>,
    /// Only those made at this instant or later.
    pub from: Option<OffsetDateTime>,
    /// Only those made at this instant or earlier.
    pub to: Option<OffsetDateTime>,
}

/// A text that is looked for, in the forms in which the database compares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SoughtText {
    /// Beginning of an id, in lower case.
    pub(crate) id: String,
    /// Beginning of an address, as addresses are folded.
    pub(crate) email: String,
    /// Parts of a name. The database folds A to Z only, so other letters are looked for in lower case, in upper case, and with
    /// a great first letter.
    pub(crate) names: Vec<String>,
}

impl SoughtText {
    pub(crate) fn new(text: &str) -> Self {
        let lower = text.to_lowercase();
        let mut letters = lower.chars();
        let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
        let capital = first + letters.as_str();
        let names: BTreeSet<String> = [lower, text.to_uppercase(), capital, text.to_owned()]
            .into_iter()
            .map(|form| form.to_ascii_lowercase())
            .collect();
        Self { id: text.to_ascii_lowercase(), email: fold(text), names: names.into_iter().collect() }
    }

    /// The first text after all that begin with this one, by code points.
    pub(crate) fn end_of(beginning: &str) -> String {
        format!("{beginning}\u{10ffff}")
    }

    /// Returns whether every form of the name has a pair of letters, by which names are indexed.
    pub(crate) fn has_pairs(&self) -> bool {
        self.names.iter().all(|name| name.chars().nth(1).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_sought_in_its_forms() {
        let sought = SoughtText::new("Ann");
        assert_eq!((&*sought.id, &*sought.email, sought.names), ("ann", "ann", vec!["ann".to_owned()]));
        let sought = SoughtText::new("\u{438}\u{432}\u{430}\u{43d}");
        let forms =
            ["\u{418}\u{412}\u{410}\u{41d}", "\u{418}\u{432}\u{430}\u{43d}", "\u{438}\u{432}\u{430}\u{43d}"];
        assert_eq!(sought.names, forms);
        assert!(SoughtText::new("\u{738b}\u{4f1f}").has_pairs() && !SoughtText::new("a").has_pairs());
        assert!("ann" < &*SoughtText::end_of("ann") && "anna" < &*SoughtText::end_of("ann"));
        assert!("ano" > &*SoughtText::end_of("ann"));
    }
}
