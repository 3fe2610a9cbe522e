//! `PATCH /api/v1/users/{user_id}`: changes a user (HTTP contract 3.3).

use flows::CallerCheck;
use identity::{
    Activity, Role,
    audit::{self, Action, AuditEvent},
    users::{self, UserChange, UserChanged},
};
use pg::{Attempts, Tx};

use super::body::{ChangedUser, ROLES};
use crate::http::{
    call::rejected_caller,
    fields::{Source, Value, input::Input as _, parser::parser},
    prelude::*,
};

/// The fields that a user may not set.
const OF_ADMINISTRATORS: [&str; 3] = ["is_active", "role", "email"];

input! {
    /// Changes of a user. Fields that are absent stay as they are.
    pub struct UpdateUser {
        /// Display name, 1 to 255 characters.
        name: Option<String> = optional(Body, parse::text(1, 255)), example("Test User");
        /// Administrators only: false refuses every request of the user and ends all logins.
        is_active: Option<bool> = optional(Body, parse::boolean());
        /// Administrators only: user or admin. `ADMIN_USER_IDS` has the last word about those that it names.
        role: Option<Role> = optional(Body, parse::one_of(ROLES));
        /// Administrators only: an address that the administrator vouches for. An account that was registered with it, and never
        /// confirmed it, loses it as its login name to an own account of this user.
        email: Option<String> = optional(Body, parse::email());
    }
}

pub fn doc() -> Doc {
    Doc::new("users", "Change a user")
        .description(
            "Users change their own name, administrators all fields of every user. While a user is deactivated every request of \
             theirs is refused; after it they have to log in again.",
        )
        .body::<UpdateUser>(json!({"name": "Test User"}))
        .reply_envelope::<ChangedUser>("User updated successfully", json!({
            "user_id": "auth0|test123", "email": "test.user@example.com", "name": "Test User", "credits": 974.5,
            "credits_total": 1000, "plan": "free", "is_active": true, "email_verified": true, "role": "user",
        }))
        .errors(&[&catalogue::DUPLICATE_ENTRY])
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let is_admin = call.principal()?.is_admin();
    let input = call
        .input_with(move |fields| {
            let mut names = OF_ADMINISTRATORS.into_iter();
            let given = |name| fields.optional(Source::Body, name, parser(|| json!({}), anything)).is_some();
            match !is_admin && names.any(given) {
                true => Some(None),
                false => UpdateUser::read(fields, &()).map(Some),
            }
        })
        .await?;
    let input = input.ok_or_else(|| ApiError::new(&catalogue::PERMISSION_DENIED))?;
    let user_id = call.user().await?;
    let change = UserChange {
        name: input.name,
        email: input.email,
        role: input.role,
        activity: input.is_active.map(|is| if is { Activity::Active } else { Activity::Deactivated }),
    };
    let (app, clock) = (&call.app, &*call.app.clock);
    let mut attempts = Attempts::up_to(3);
    let changed = loop {
        let work = async |tx: &mut Tx| {
            let changed = match users::change(tx, clock, &user_id, &change).await? {
                Some(Ok(changed)) => changed,
                Some(Err(refusal)) => return Ok(Err(refusal)),
                None => return Ok(Ok(None)),
            };
            audit::record(tx.conn(), &events(&call, &changed)).await?;
            Ok(Ok(Some(changed)))
        };
        match Tx::decide(&app.pool, work).await {
            Err(error) if attempts.again(&error).await => {}
            changed => break changed.map_err(ApiError::answered)?,
        }
    };
    let changed = changed.map_err(|refusal| ApiError::from_failure(&refusal))?;
    let user = changed.ok_or_else(|| ApiError::user_not_found(&user_id))?.after;
    let balance = app.balances.ask(&user_id, CallerCheck::Done).await.map_err(ApiError::answered)?;
    let balance = balance.map_err(|why| rejected_caller(why, &user_id))?;
    let message = Text::new("User updated successfully", "用户更新成功");
    call.envelope(&message, ChangedUser::new(user, balance.as_ref()))
}

fn anything(_value: Value<'_>) -> crate::http::fields::Parsed<()> {
    Ok(())
}

/// The events of a change for the audit log: names of fields, and no contact data.
fn events(call: &Call, changed: &UserChanged) -> Vec<AuditEvent> {
    let UserChanged { before, after, renamed } = changed;
    let event = |action| call.audit_event(action).of_user(after.user_id.clone());
    let fields = [
        ("name", before.name != after.name),
        ("email", (&before.email, before.email_vouched) != (&after.email, after.email_vouched)),
    ];
    let fields: Vec<&str> = fields.into_iter().filter(|(_, is_new)| *is_new).map(|(name, _)| name).collect();
    let mut events = Vec::new();
    if !fields.is_empty() {
        events.push(event(Action::UserUpdated).with(&json!({"fields": fields})));
    }
    if let Some(renamed) = renamed {
        let event = call.audit_event(Action::UserUpdated).of_user(renamed.clone());
        events.push(event.with(&json!({"fields": ["login_name"]})));
    }
    match (before.is_active, after.is_active) {
        (true, false) => events.push(event(Action::UserDisabled)),
        (false, true) => events.push(event(Action::UserEnabled)),
        _ => {}
    }
    if before.role != after.role {
        let roles = json!({"from": before.role.as_str(), "to": after.role.as_str()});
        events.push(event(Action::RoleChanged).with(&roles));
    }
    events
}
