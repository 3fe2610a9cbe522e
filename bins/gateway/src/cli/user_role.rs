//! `gateway user promote` and `gateway user demote`: the role of one user, beside a running gateway or without one.

use identity::{
    Role,
    audit::{self, Action, AuditActor, AuditEvent, AuditOrigin},
    users::{self, UserChange},
};
use kernel::{Clock as _, SystemClock, UserId};
use pg::{Access, Tx};
use serde_json::json;

use super::{failure::Failure, upkeep};

/// Gives the user this role, which the list ADMIN_USER_IDS then leaves as it is unless it names them, and prints the result.
pub(super) fn run(user_id: UserId, role: Role) -> Result<(), Failure> {
    upkeep::run(Access::ReadWrite, async |_config, pool, _line| {
        let missing = pg::migrate::pending(pool, &[identity::MIGRATIONS]).await.map_err(Failure::Identity)?;
        if !missing.is_empty() {
            return Err(Failure::SchemaBehind { missing });
        }
        let wanted = UserChange { role: Some(role), ..UserChange::default() };
        let changed = Tx::run(pool, async |tx| {
            let changed = users::change(tx, &SystemClock, &user_id, &wanted).await?;
            if let Some(Ok(changed)) = &changed
                && changed.before.role != changed.after.role
            {
                let now = SystemClock.now();
                let origin = AuditOrigin::default();
                let event = AuditEvent::new(now, AuditActor::System, Action::RoleChanged, origin)
                    .of_user(user_id.clone())
                    .with(&json!({"from": changed.before.role.as_str(), "to": role.as_str()}));
                audit::record(tx.conn(), &[event]).await?;
            }
            Ok(changed)
        })
        .await
        .map_err(Failure::Identity)?;
        match changed {
            Some(Ok(changed)) => Ok(format!("{user_id}: role {}", changed.after.role.as_str())),
            Some(Err(_)) | None => Err(Failure::UnknownUser(user_id.clone())),
        }
    })
}
