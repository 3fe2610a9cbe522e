//! The events that receivers want.

use std::collections::{BTreeMap, BTreeSet};

use kernel::UserId;

/// The events that a receiver wants now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receiver {
    /// The user whose events are wanted; `None` for all users.
    pub only_user_id: Option<UserId>,
    /// The types that are wanted; `None` for all types.
    pub event_types: Option<BTreeSet<String>>,
}

/// The events that any receiver wants.
#[derive(Debug, Default)]
pub struct Wanted(BTreeMap<Option<UserId>, Vec<Option<BTreeSet<String>>>>);

impl Wanted {
    pub(crate) fn new(receivers: impl IntoIterator<Item = Receiver>) -> Self {
        let mut wanted = Self::default();
        for receiver in receivers {
            wanted.0.entry(receiver.only_user_id).or_default().push(receiver.event_types);
        }
        wanted
    }

    /// Returns true if no receiver wants any event.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns true if a receiver wants events of this type about this user.
    #[must_use]
    pub fn contains(&self, user_id: &UserId, event_type: &str) -> bool {
        let of_user = self.0.get(&None).into_iter().chain(self.0.get(&Some(user_id.clone())));
        of_user.flatten().any(|types| types.as_ref().is_none_or(|types| types.contains(event_type)))
    }
}
