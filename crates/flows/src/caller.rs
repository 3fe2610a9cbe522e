//! The status of a caller who acts for themselves, read in the transaction of the operation.
//!
//! Guarantees the same as a check beforehand: nothing is done for a user who is disabled or unknown. It saves the hot path a
//! query of its own.

use std::collections::{BTreeMap, BTreeSet};

use identity::{Acting, ActingStatus, UserStatus};
use kernel::UserId;
use pg::{DbError, PgConnection};
use uuid::Uuid;

/// The check of the user that is still to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CallerCheck {
    /// None.
    #[default]
    Done,
    /// The user must exist and be active, and so must the login by which they act, if they do by one.
    Due {
        /// The login of an own token.
        login_id: Option<Uuid>,
    },
    /// Somebody else acts for the user, who must exist.
    Exists,
    /// As [`CallerCheck::Exists`], for a user who existed a moment ago. They may have been erased since; a read and a charge without a
    /// key need no other look.
    Known,
}

impl CallerCheck {
    /// The user whose status must be read, with their login.
    fn acting(self, user_id: &UserId) -> Option<Acting> {
        match self {
            Self::Done => None,
            Self::Due { login_id } => Some(Acting { user_id: user_id.clone(), login_id }),
            Self::Exists | Self::Known => Some(Acting { user_id: user_id.clone(), login_id: None }),
        }
    }
}

/// The reason that nothing was done for a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallerRejected {
    /// The account is disabled.
    Disabled,
    /// The user was never ensured.
    Unknown,
    /// The login of their token has ended.
    LoggedOut,
}

/// The mark by which an erase sees a transaction that is to write: it waits for those that may have read the user before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Noted {
    /// Nothing yet.
    Not,
    /// The lock of the receivers, whose statement was sent before.
    WithReceivers,
}

/// The statuses of the callers of a batch.
#[derive(Debug, Default)]
pub(crate) struct CallerStatuses(BTreeMap<Acting, Option<ActingStatus>>);

impl CallerStatuses {
    /// Reads the status of those whose check is due, in one statement; in none if there is nobody. Users who were known a moment ago
    /// are known enough for a read.
    pub(crate) async fn load<'a>(
        conn: &PgConnection,
        asked: impl Iterator<Item = (&'a UserId, CallerCheck)>,
    ) -> Result<Self, DbError> {
        let due = due(asked.filter(|(_, check)| *check != CallerCheck::Known));
        let statuses = match due.is_empty() {
            true => Vec::new(),
            false => identity::users::acting(conn, &due.iter().collect::<Vec<_>>()).await?,
        };
        Ok(Self(due.into_iter().zip(statuses).collect()))
    }

    /// As [`CallerStatuses::load`], for all that is not done, in a transaction that writes: none of them is erased until it ends.
    pub(crate) async fn load_to_write<'a>(
        conn: &PgConnection,
        noted: Noted,
        asked: impl Iterator<Item = (&'a UserId, CallerCheck)>,
    ) -> Result<Self, DbError> {
        let due = due(asked);
        let acting = due.iter().collect::<Vec<_>>();
        let statuses = match noted {
            _ if due.is_empty() => Vec::new(),
            Noted::WithReceivers => identity::users::acting(conn, &acting).await?,
            Noted::Not => identity::users::acting_to_write(conn, &acting).await?,
        };
        Ok(Self(due.into_iter().zip(statuses).collect()))
    }

    /// Admits a user, with the status if it was read.
    pub(crate) fn admit(
        &self,
        user_id: &UserId,
        check: CallerCheck,
    ) -> Result<Option<UserStatus>, CallerRejected> {
        let Some(acting) = check.acting(user_id) else {
            return Ok(None);
        };
        let Some(status) = self.0.get(&acting).copied() else {
            return if check == CallerCheck::Known { Ok(None) } else { Err(CallerRejected::Unknown) };
        };
        match status {
            // The login went with the user.
            None if acting.login_id.is_some() => Err(CallerRejected::LoggedOut),
            None => Err(CallerRejected::Unknown),
            Some(_) if matches!(check, CallerCheck::Exists | CallerCheck::Known) => Ok(None),
            Some(ActingStatus { user, .. }) if !user.is_active => Err(CallerRejected::Disabled),
            Some(status) if !status.login_is_live => Err(CallerRejected::LoggedOut),
            Some(status) => Ok(Some(status.user)),
        }
    }
}

fn due<'a>(asked: impl Iterator<Item = (&'a UserId, CallerCheck)>) -> BTreeSet<Acting> {
    asked.filter_map(|(user_id, check)| check.acting(user_id)).collect()
}
