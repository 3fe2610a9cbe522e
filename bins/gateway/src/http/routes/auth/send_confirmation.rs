//! `POST /api/auth/send-confirmation`: a mail with a link that confirms the address (HTTP contract 3.7).

use actix_web::http::StatusCode;
use identity::{
    credentials,
    mail::{self, LinkPurpose},
};

use super::message::{Message, message};
use crate::http::prelude::*;

pub fn doc() -> Doc {
    Doc::new("accounts", "Ask for a mail to confirm the address")
        .description(
            "Mails a link with a token for `POST /api/auth/confirm-email`, valid once and for 30 minutes, unless the address of the \
             account is confirmed already. An account is sent at most 5 such mails in 30 minutes.",
        )
        .reply_accepted::<Message<'_>>(json!({"message": "如果邮箱尚未确认，您将收到一封邮件"}))
        .errors(&[&catalogue::PROVIDER_NOT_CONFIGURED])
}

pub async fn handle(call: Call) -> Result<Reply, ApiError> {
    let (user_id, _) = call.login()?;
    let app = &call.app;
    app.accounts.needs_mail()?;
    let account = call.look_up(async |conn| credentials::of_user(conn, &user_id).await).await?;
    if let Some(address) = account.and_then(|account| account.email) {
        let mail = app.accounts.mail(&*app.ids, LinkPurpose::Confirm, &address, call.language)?;
        call.write(async |tx| mail::enqueue(tx.conn(), &*app.clock, &mail).await).await?;
    }
    let reply = message(
        &call,
        "If the address is not confirmed yet, it is sent a mail",
        "如果邮箱尚未确认，您将收到一封邮件",
    )?;
    Ok(reply.status(StatusCode::ACCEPTED))
}
