//! The events that receivers want.

use std::collections::{BTreeMap, BTreeSet};

use kernel::UserId;

/// The events that a receiver wants now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receiver {
    /// The user whose events are wanted; `None` for all users.
    pub only_user_id: Option<UserId>,
    /// The types that are wanted; `None` for all types.
    pub event_types: EventTypes,
}

/// The events that any receiver wants.
#[derive(Debug, Default)]
pub struct Wanted {
    of_all: Vec<EventTypes>,
    of_user: BTreeMap<UserId, Vec<EventTypes>>,
}

/// Types of events; `None` for all types.
type EventTypes = Option<BTreeSet<String>>;

impl Wanted {
    pub(crate) fn new(receivers: impl IntoIterator<Item = Receiver>) -> Self {
        let mut wanted = Self::default();
        for receiver in receivers {
            let types = match receiver.only_user_id {
                None => &mut wanted.of_all,
                Some(user_id) => wanted.of_user.entry(user_id).or_default(),
            };
            types.push(receiver.event_types);
        }
        wanted
    }

    /// Returns true if no receiver wants any event.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.of_all.is_empty() && self.of_user.is_empty()
    }

    /// Returns true if a receiver wants events of this type about this user.
    #[must_use]
    pub fn contains(&self, user_id: &UserId, event_type: &str) -> bool {
        let of_user = self.of_user.get(user_id).into_iter().flatten();
        self.of_all
            .iter()
            .chain(of_user)
            .any(|types| types.as_ref().is_none_or(|types| types.contains(event_type)))
    }
}
