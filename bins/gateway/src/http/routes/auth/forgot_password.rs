//! `POST /api/auth/forgot-password`: a mail with a link to set a new password (HTTP contract 3.7).

use actix_web::http::StatusCode;
use identity::{
    credentials::login_name,
    mail::{self, LinkPurpose},
};

use super::message::{Message, message};
use crate::http::prelude::*;

input! {
    /// The account whose password was forgotten.
    pub struct ForgotPassword {
        /// The login name.
        email: String = required(Body, parse::email()), example("user@example.com");
    }
}

pub fn doc() -> Doc {
    Doc::new("accounts", "Ask for a new password")
        .description(
            "Mails a link with a token for `POST /api/auth/reset-password`, valid once and for 30 minutes, if there is such an \
             account; the answer does not say so. An account is sent at most 5 such mails in 30 minutes.",
        )
        .body::<ForgotPassword>(json!({"email": "user@example.com"}))
        .reply_accepted::<Message<'_>>(json!({"message": "如果该邮箱已注册，您将收到一封邮件"}))
        .errors(&[&catalogue::PROVIDER_NOT_CONFIGURED])
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let ForgotPassword { email } = call.input().await?;
    call.charge_account(&login_name(&email)).await?;
    let app = &call.app;
    // The account is looked up when the mail is sent: until then the work is the same for every address.
    let mail = app.accounts.mail(&*app.ids, LinkPurpose::Reset, &email, call.language)?;
    call.write(async |tx| mail::enqueue(tx.conn(), &*app.clock, &mail).await).await?;
    let reply = message(
        &call,
        "If there is an account with this address, it is sent a mail",
        "如果该邮箱已注册，您将收到一封邮件",
    )?;
    Ok(reply.status(StatusCode::ACCEPTED))
}
