//! The outcome of a login, and what the audit log has of it.

use identity::{
    audit::{Action, AuditActor, AuditEvent},
    logins::LoginTokens,
};
use kernel::UserId;

use crate::http::prelude::*;

/// The outcome of a login.
pub enum Login {
    /// It is open.
    Open(LoginTokens),
    /// The user may not use the service.
    Disabled,
    /// The password was another one.
    Wrong,
}

/// An event about a login of a user by a method.
pub fn event(call: &Call, action: Action, user_id: &UserId, method: &str) -> AuditEvent {
    let event = call.audit_event(action).of_user(user_id.clone()).with(&json!({"method": method}));
    AuditEvent { actor: AuditActor::User(user_id.clone()), ..event }
}

/// A refused login of a user, if there is one with that name. The actor is the caller: anonymous, or a user who would change their
/// password.
pub fn refused(call: &Call, user_id: Option<UserId>, method: &str) -> AuditEvent {
    let event = call.audit_event(Action::LoginRefused).with(&json!({"method": method}));
    match user_id {
        Some(user_id) => event.of_user(user_id),
        None => event,
    }
}
