//! The administrators that the configuration names, brought into the database at each start (HTTP contract 14).
//!
//! A process of before, with another list, may still serve then, and a user of its list who signs up there becomes an
//! administrator. So the list is applied a second time when such a process should have ended. It is not applied
//! periodically: of processes with different lists the last one to start has to keep the last word.

use std::{sync::Arc, time::Duration};

use flows::jobs::{Job, Next};
use kernel::{Clock, UserId};
use pg::{Attempts, DbError, Pool, Tx};

/// Most user ids in one line of the log.
const NAMED_MAX: usize = 100;

/// Time from the start of a process to the second application of its list.
const AGAIN_AFTER: Duration = Duration::from_mins(5);

/// The job that applies the list once more, until it has succeeded.
#[must_use]
pub fn job(pool: &Pool, clock: &Arc<dyn Clock>, listed: &[UserId]) -> Job {
    let job = Job::new(
        "apply_admin_user_ids",
        AGAIN_AFTER,
        (pool.clone(), Arc::clone(clock), listed.to_vec()),
        |(pool, clock, listed)| Box::pin(async { apply(pool, &**clock, listed).await.map(|()| Next::Never) }),
    );
    job.first_after(AGAIN_AFTER)
}

/// Gives exactly these users the role of administrator by configuration, and logs every change.
///
/// # Errors
/// [`DbError`] when the database cannot be asked.
pub async fn apply(pool: &Pool, clock: &dyn Clock, listed: &[UserId]) -> Result<(), DbError> {
    let mut attempts = Attempts::up_to(3);
    let changes = loop {
        match once(pool, clock, listed).await {
            Err(error) if attempts.again(&error).await => {}
            result => break result?,
        }
    };
    if !changes.promoted.is_empty() {
        tracing::info!(
            users.count = changes.promoted.len(),
            users.ids = names(&changes.promoted),
            "users of ADMIN_USER_IDS are administrators now"
        );
    }
    if !changes.demoted.is_empty() {
        tracing::warn!(
            users.count = changes.demoted.len(),
            users.ids = names(&changes.demoted),
            "users who are not in ADMIN_USER_IDS any more have lost the role of administrator"
        );
    }
    Ok(())
}

async fn once(pool: &Pool, clock: &dyn Clock, listed: &[UserId]) -> Result<identity::RoleChanges, DbError> {
    Tx::run(pool, async |tx| identity::users::apply_admins(tx, clock, listed).await).await
}

/// The ids, the first of them if there are very many.
fn names(users: &[UserId]) -> String {
    let ids: Vec<&str> = users.iter().take(NAMED_MAX).map(UserId::as_str).collect();
    let more = users.len().saturating_sub(ids.len());
    let rest = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{}{rest}", ids.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_log_names_a_bounded_number_of_users() {
        let users = |count: usize| -> Vec<UserId> {
            (0..count).map(|number| format!("u{number}").parse().unwrap()).collect()
        };
        assert_eq!(names(&users(2)), "u0, u1");
        assert!(names(&users(100)).ends_with(", u99"));
        assert!(names(&users(103)).ends_with(", u99 and 3 more"));
    }
}
