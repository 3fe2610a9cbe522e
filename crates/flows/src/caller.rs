//! The status of a caller who acts for themselves, read in the transaction of the operation.
//!
//! Guarantees the same as a check beforehand: nothing is done for a user who is disabled or unknown. It saves the hot path a
//! query of its own.

use std::collections::{BTreeMap, BTreeSet};

use identity::UserStatus;
use kernel::UserId;
use pg::{DbError, PgConnection};

/// The check of the user that is still to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CallerCheck {
    /// None.
    #[default]
    Done,
    /// The user must exist and be active.
    Due,
    /// Somebody else acts for the user, who must exist.
    Exists,
}

/// The reason that nothing was done for a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallerRejected {
    /// The account is disabled.
    Disabled,
    /// The user was never ensured.
    Unknown,
}

/// The statuses of the callers of a batch.
#[derive(Debug, Default)]
pub(crate) struct CallerStatuses(BTreeMap<UserId, Option<UserStatus>>);

impl CallerStatuses {
    /// Reads the status of those whose check is due, in one statement; in none if there is nobody.
    pub(crate) async fn load<'a>(
        conn: &PgConnection,
        asked: impl Iterator<Item = (&'a UserId, CallerCheck)>,
    ) -> Result<Self, DbError> {
        let due: BTreeSet<&UserId> =
            asked.filter(|(_, check)| *check != CallerCheck::Done).map(|(user_id, _)| user_id).collect();
        if due.is_empty() {
            return Ok(Self::default());
        }
        let due: Vec<UserId> = due.into_iter().cloned().collect();
        let statuses = identity::users::statuses(conn, &due).await?;
        Ok(Self(due.into_iter().zip(statuses).collect()))
    }

    /// Admits a user, with the status if it was read.
    pub(crate) fn admit(
        &self,
        user_id: &UserId,
        check: CallerCheck,
    ) -> Result<Option<UserStatus>, CallerRejected> {
        if check == CallerCheck::Done {
            return Ok(None);
        }
        match self.0.get(user_id).copied().flatten() {
            None => Err(CallerRejected::Unknown),
            Some(_) if check == CallerCheck::Exists => Ok(None),
            Some(status) if !status.is_active => Err(CallerRejected::Disabled),
            Some(status) => Ok(Some(status)),
        }
    }
}
