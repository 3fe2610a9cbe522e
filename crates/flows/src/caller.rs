//! The status of a caller who acts for himself, asked in the transaction of what he wants.
//!
//! Guarantees what asking beforehand would: nothing is done for a user who is disabled or unknown. It spares the hot path
//! a question of its own.

use std::collections::{BTreeMap, BTreeSet};

use identity::UserStatus;
use kernel::UserId;
use pg::{DbError, PgConnection};

/// Whether the status of the user has been looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallerCheck {
    /// It has, or it does not matter.
    Done,
    /// It is to be looked at together with the work.
    Due,
    /// Somebody else acts for him: only whether he was ever ensured is to be looked at together with the work.
    Exists,
}

/// Why nothing was done for a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallerRejected {
    /// His account is disabled.
    Disabled,
    /// He was never ensured.
    Unknown,
}

/// The callers that a batch has to know.
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

    /// Lets a user pass, with his status if it was looked at.
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
