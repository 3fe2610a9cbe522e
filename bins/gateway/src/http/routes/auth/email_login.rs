//! `POST /api/auth/email-login`: a login with a password (HTTP contract 9).

use identity::{
    Password, PasswordCheck,
    audit::{self, Action},
    credentials::{self, Credential, login_name},
    passwords::PASSWORD_CHARS_PRESENTED_MAX,
};

use super::{
    login::{Login, refused},
    tokens::{self, Tokens, own_tokens},
};
use crate::http::prelude::*;

input! {
    /// A login with a password.
    pub struct EmailLogin {
        /// The address given at registration, in any case.
        email: String = required(Body, parse::email()), example("user@example.com");
        /// The password.
        password: parse::Secret = required(Body, parse::secret(1, PASSWORD_CHARS_PRESENTED_MAX)), example("correct horse battery staple");
    }
}

pub fn doc() -> Doc {
    Doc::new("accounts", "Log in with a password")
        .description(
            "A wrong password, an unknown address and an account without a password are answered alike, and take the same time. While \
             too many passwords are being checked, the answer is 503.",
        )
        .body::<EmailLogin>(json!({"email": "user@example.com", "password": "correct horse battery staple"}))
        .reply::<Tokens>(tokens::example())
        .errors(&[&catalogue::INVALID_CREDENTIALS, &catalogue::ACCOUNT_DISABLED, &catalogue::PROVIDER_NOT_CONFIGURED])
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let EmailLogin { email, password } = call.input().await?;
    call.charge_account(&login_name(&email)).await?;
    own_tokens(&call)?;
    let account = call.look_up(async |conn| credentials::find(conn, &email).await).await?;
    let stored = account.as_ref().map(|account| account.password_hash.clone());
    let password = Password::presented(&password.0);
    let checked = call.app.accounts.passwords.check(call.client_network(), password, stored).await;
    let login = match (checked.map_err(|error| ApiError::from_failure(&error))?, &account) {
        (PasswordCheck::Right { renewed }, Some(account)) => log_in(&call, account, renewed).await?,
        _ => Login::Wrong,
    };
    match login {
        Login::Open(tokens) => tokens::reply(&call, &tokens),
        Login::Disabled => Err(ApiError::new(&catalogue::ACCOUNT_DISABLED)),
        Login::Wrong => {
            // The same work whether there is such an account.
            let event = refused(&call, account.map(|account| account.user_id), "password");
            call.write(async |tx| audit::record(tx.conn(), std::slice::from_ref(&event)).await).await?;
            Err(ApiError::new(&catalogue::INVALID_CREDENTIALS))
        }
    }
}

/// Opens a login, unless the password was changed since it was checked.
async fn log_in(call: &Call, account: &Credential, renewed: Option<String>) -> Result<Login, ApiError> {
    let (app, tokens) = (&call.app, own_tokens(call)?);
    let succeeded = super::login::event(call, Action::LoginSucceeded, &account.user_id, "password");
    let disabled = refused(call, Some(account.user_id.clone()), "password");
    call.write(async |tx| {
        let Some(account) = credentials::lock_unchanged(tx, account).await? else {
            return Ok(Login::Wrong);
        };
        if !account.is_active {
            audit::record(tx.conn(), std::slice::from_ref(&disabled)).await?;
            return Ok(Login::Disabled);
        }
        if let Some(hash) = &renewed {
            credentials::renew_hash(tx, &account.user_id, hash).await?;
        }
        let (clock, ids, email) = (&*app.clock, &*app.ids, account.held_email());
        let opened = identity::logins::open(tokens, tx.conn(), clock, ids, &account.user_id, email).await?;
        audit::record(tx.conn(), std::slice::from_ref(&succeeded)).await?;
        Ok(Login::Open(opened))
    })
    .await
}
