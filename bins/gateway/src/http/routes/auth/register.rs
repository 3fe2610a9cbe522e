//! `POST /api/auth/register`: an own account (HTTP contract 9).

use flows::{
    registration::{self, Registration},
    sign_up::SignUp,
};
use identity::{
    EmailVoucher, NewUser, Password,
    audit::{Action, AuditActor},
    credentials::login_name,
    mail::LinkPurpose,
};
use kernel::{Actor, UserId};

use super::tokens::own_tokens;
use crate::http::prelude::*;

input! {
    /// An account to register.
    pub struct Register {
        /// E-mail address: the login name, compared without regard to case. It is mailed a link that confirms it, where mail is
        /// configured.
        email: String = required(Body, parse::email()), example("new.user@example.com");
        /// Any 8 to 128 characters, except for the most common passwords.
        password: Password = required(Body, parse::new_password()), example("correct horse battery staple");
        /// Display name.
        nickname: Option<String> = optional(Body, parse::text(1, 64)), example("用户名");
    }
}

/// The account that was made.
#[derive(Debug, Serialize, ToSchema)]
pub struct Registered<'a> {
    /// A sentence in the caller's language.
    message: &'a str,
    /// Integer id of the user.
    user_id: i64,
}

pub fn doc() -> Doc {
    Doc::new("accounts", "Register an account")
        .description(
            "Creates a user `email|<uuid>` with the initial credits. Until the address is confirmed it is no more than the login \
             name of the account: its owner can still come to hold it, and takes the account over by `POST \
             /api/auth/forgot-password`. The language of the mail is that of the answer.",
        )
        .body::<Register>(json!({
            "email": "new.user@example.com", "password": "correct horse battery staple", "nickname": "用户名",
        }))
        .reply::<Registered<'_>>(json!({"message": "注册成功", "user_id": 123}))
        .errors(&[&catalogue::DUPLICATE_ENTRY, &catalogue::PROVIDER_NOT_CONFIGURED])
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let input = call.input::<Register>().await?;
    call.charge_account(&login_name(&input.email)).await?;
    own_tokens(&call)?;
    let registration = registration(&call, input).await?;
    let app = &call.app;
    let user = registration::run(&app.pool, &*app.clock, &*app.ids, &registration)
        .await
        .map_err(ApiError::answered)?
        .map_err(|refusal| ApiError::from_failure(&refusal))?;
    tracing::info!(user.id = %user.user_id, "an account was registered");
    let message = Text::new("Registered", "注册成功");
    Reply::json(&Registered { message: message.in_language(call.language), user_id: user.id })
}

async fn registration(call: &Call, input: Register) -> Result<Registration, ApiError> {
    let Register { email, password, nickname } = input;
    let app = &call.app;
    let user_id = new_user_id(call)?;
    let mail = match app.accounts.has_mail() {
        true => Some(app.accounts.mail(&*app.ids, LinkPurpose::Confirm, &email, call.language)?),
        false => None,
    };
    let hashed = app.accounts.passwords.hash(call.client_network(), password).await;
    let password_hash = hashed.map_err(|error| ApiError::from_failure(&error))?;
    let mut event = call.audit_event(Action::AccountRegistered).of_user(user_id.clone());
    event.actor = AuditActor::User(user_id.clone());
    let role = app.config.auth.role_of(&user_id);
    let user = NewUser {
        user_id,
        email: Some(email.clone()),
        email_voucher: EmailVoucher::Nobody,
        name: nickname,
        role,
        brought_by: None,
    };
    let sign_up =
        SignUp { user, initial: app.config.credits.initial, actor: Actor::User, sealer: app.sealer.clone() };
    Ok(Registration { sign_up, email, password_hash, mail, event })
}

fn new_user_id(call: &Call) -> Result<UserId, ApiError> {
    format!("email|{}", call.app.ids.uuid()).parse().map_err(|error| {
        tracing::error!(error = %error, "a new user id cannot be read");
        ApiError::new(&catalogue::INTERNAL)
    })
}
