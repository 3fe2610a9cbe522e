//! `POST /api/auth/change-password`: another password instead of the present one (HTTP contract 3.7).

use identity::{
    Password, PasswordCheck,
    audit::{self, Action},
    credentials::{self, login_name},
    logins::{self, LoginSelection},
    passwords::PASSWORD_CHARS_PRESENTED_MAX,
};
use kernel::UserId;

use super::{
    login::refused,
    message::{Message, message},
};
use crate::http::prelude::*;

input! {
    /// Another password.
    pub struct ChangePassword {
        /// The present password.
        current_password: parse::Secret = required(Body, parse::secret(1, PASSWORD_CHARS_PRESENTED_MAX)), example("correct horse battery staple");
        /// Any 8 to 128 characters, except for the most common passwords.
        new_password: Password = required(Body, parse::new_password()), example("battery staple correct horse");
    }
}

pub fn doc() -> Doc {
    Doc::new("accounts", "Change the password")
        .description(
            "Ends the other logins of the user. Counted as a login too, by address and account, so that a stolen token is no way \
             to guess the password.",
        )
        .body::<ChangePassword>(json!({
            "current_password": "correct horse battery staple", "new_password": "battery staple correct horse",
        }))
        .reply::<Message<'_>>(json!({"message": "密码已修改"}))
        .errors(&[&catalogue::INVALID_CREDENTIALS])
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let ChangePassword { current_password, new_password } = call.input().await?;
    let (user_id, login_id) = call.login()?;
    let passwords = &call.app.accounts.passwords;
    let account = call.look_up(async |conn| credentials::of_user(conn, &user_id).await).await?;
    let email = account.as_ref().and_then(|account| account.email.as_deref());
    call.charge_login(&email.map_or_else(|| user_id.to_string(), login_name)).await?;
    let stored = account.as_ref().map(|account| account.password_hash.clone());
    let checked = passwords.check(&user_id, Password::presented(&current_password.0), stored).await;
    let account = match (checked.map_err(|error| ApiError::from_failure(&error))?, account) {
        (PasswordCheck::Right { .. }, Some(account)) => account,
        _ => return Err(wrong(&call, user_id).await?),
    };
    let hash = passwords.hash(&user_id, new_password).await;
    let hash = hash.map_err(|error| ApiError::from_failure(&error))?;
    let event =
        call.audit_event(Action::UserUpdated).of_user(user_id.clone()).with(&json!({"fields": ["password"]}));
    let clock = &*call.app.clock;
    let changed = call
        .write(async |tx| {
            if credentials::lock_unchanged(tx, &account).await?.is_none() {
                return Ok(false);
            }
            credentials::set_password(tx, clock, &user_id, &hash).await?;
            logins::end(tx, clock, &user_id, LoginSelection::Others(login_id)).await?;
            audit::record(tx.conn(), std::slice::from_ref(&event)).await?;
            Ok(true)
        })
        .await?;
    if !changed {
        return Err(wrong(&call, user_id).await?);
    }
    message(&call, "The password was changed", "密码已修改")
}

/// The refusal of a wrong password, which the audit log has.
async fn wrong(call: &Call, user_id: UserId) -> Result<ApiError, ApiError> {
    let event = refused(call, Some(user_id), "password");
    call.write(async |tx| audit::record(tx.conn(), std::slice::from_ref(&event)).await).await?;
    Ok(ApiError::new(&catalogue::INVALID_CREDENTIALS))
}
