//! `POST /api/auth/change-password`: another password instead of the present one (HTTP contract 3.7).

use identity::{
    Password, PasswordCheck,
    audit::{self, Action},
    credentials,
    logins::{self, Which},
};

use super::message::{Message, message};
use crate::http::prelude::*;

input! {
    /// Another password.
    pub struct ChangePassword {
        /// The present password.
        current_password: String = required(Body, parse::secret(1, 255)), example("correct horse battery staple");
        /// Any 8 to 128 characters, except for the most common passwords.
        new_password: Password = required(Body, parse::new_password()), example("battery staple correct horse");
    }
}

pub fn doc() -> Doc {
    Doc::new("accounts", "Change the password")
        .description("Ends the other logins of the user.")
        .body::<ChangePassword>(json!({
            "current_password": "correct horse battery staple", "new_password": "battery staple correct horse",
        }))
        .reply::<Message<'_>>(json!({"message": "密码已修改"}))
        .errors(&[&catalogue::INVALID_CREDENTIALS])
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let ChangePassword { current_password, new_password } = call.input().await?;
    let (user_id, login_id) = call.login()?;
    let wrong = || ApiError::new(&catalogue::INVALID_CREDENTIALS);
    let passwords = &call.app.accounts.passwords;
    let account = call.look_up(async |conn| credentials::of_user(conn, &user_id).await).await?;
    let stored = account.as_ref().map(|account| account.password_hash.clone());
    let checked = passwords.check(Password::presented(&current_password.into()), stored).await;
    let account = match (checked.map_err(|error| ApiError::from_failure(&error))?, account) {
        (PasswordCheck::Right { .. }, Some(account)) => account,
        _ => return Err(wrong()),
    };
    let hash = passwords.hash(new_password).await.map_err(|error| ApiError::from_failure(&error))?;
    let event = call
        .audit_event(Action::UserUpdated)
        .of_user(user_id.clone())
        .with(&json!({"changed": ["password"]}));
    let clock = &*call.app.clock;
    let changed = call
        .write(async |tx| {
            if credentials::lock_unchanged(tx, &account).await?.is_none() {
                return Ok(false);
            }
            credentials::set_password(tx, clock, &user_id, &hash).await?;
            logins::end(tx, clock, &user_id, Which::Others(login_id)).await?;
            audit::record(tx.conn(), std::slice::from_ref(&event)).await?;
            Ok(true)
        })
        .await?;
    if !changed {
        return Err(wrong());
    }
    message(&call, "The password was changed", "密码已修改")
}
