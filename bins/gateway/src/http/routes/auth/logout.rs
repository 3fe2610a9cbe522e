//! `POST /api/auth/logout`: ends the login of the token, or all of its user (HTTP contract 3.7).

use identity::{
    audit::{self, Action},
    logins::{self, LoginSelection},
};

use crate::http::prelude::*;

input! {
    /// Logins to end.
    pub struct LogOut {
        /// True ends all logins of the user.
        all: Option<bool> = optional(Body, parse::boolean()), default(false);
    }
}

/// A sentence.
#[derive(Debug, Serialize, ToSchema)]
pub struct LoggedOut {
    message: String,
}

pub fn doc() -> Doc {
    Doc::new("auth", "Log out")
        .description(
            "Ends the login of the token, or with `all` every login of its user: their access and refresh tokens are refused from \
             the next request on, by every process.",
        )
        .optional_body::<LogOut>(json!({"all": false}))
        .reply::<LoggedOut>(json!({"message": "已退出登录"}))
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let all = call.input::<LogOut>().await?.all.unwrap_or(false);
    let (user_id, login_id) = call.login()?;
    let selection = if all { LoginSelection::All } else { LoginSelection::One(login_id) };
    let event = call
        .audit_event(Action::Logout)
        .of_user(user_id.clone())
        .with(&json!({"login_id": login_id, "all": all}));
    let clock = &*call.app.clock;
    call.write(async |tx| {
        // Another request may have ended it in the same moment.
        match logins::end(tx, clock, &user_id, selection).await? {
            0 => Ok(()),
            _ => audit::record(tx.conn(), std::slice::from_ref(&event)).await,
        }
    })
    .await?;
    let message = Text::new("Logged out", "已退出登录");
    Reply::json(&LoggedOut { message: message.in_language(call.language).to_owned() })
}
