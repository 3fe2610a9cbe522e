//! `POST /api/auth/wechat-login`: a login with a code of WeChat (HTTP contract 9).

use actix_web::http::header::{HeaderValue, RETRY_AFTER};
use flows::sign_up::{self, SignUp};
use identity::{
    EmailVoucher, NewUser, User,
    audit::{self, Action},
    users,
    wechat::{WechatError, WechatUser},
};
use kernel::Actor;

use super::{
    login::{Login, event, refused},
    tokens::{self, Tokens, own_tokens},
};
use crate::http::prelude::*;

input! {
    /// A login with WeChat.
    pub struct WechatLogin {
        /// The code of `wx.login`.
        code: String = required(Body, parse::secret(1, 255)), example("0a1b2c3d4e5f");
    }
}

pub fn doc() -> Doc {
    Doc::new("accounts", "Log in with WeChat")
        .description(
            "The first login creates a user `wechat|<unionid>`, or `wechat|<openid>` where WeChat gives no `unionid`, with the initial \
             credits. Who logged in before their `unionid` was given keeps the first user.",
        )
        .body::<WechatLogin>(json!({"code": "0a1b2c3d4e5f"}))
        .reply::<Tokens>(tokens::example())
        .errors(&[
            &catalogue::WECHAT_CODE_INVALID,
            &catalogue::PERMISSION_DENIED,
            &catalogue::ACCOUNT_DISABLED,
            &catalogue::PROVIDER_NOT_CONFIGURED,
            &catalogue::PROVIDER_UNAVAILABLE,
        ])
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let WechatLogin { code } = call.input().await?;
    let wechat = call.app.accounts.wechat()?;
    own_tokens(&call)?;
    let named = wechat.user_of(&code.into()).await.map_err(answer)?;
    let (user, created) = match known(&call, &named).await? {
        Some(user) => (user, false),
        None => sign_up(&call, &named).await?,
    };
    match log_in(&call, &user, created).await? {
        Login::Open(tokens) => tokens::reply(&call, &tokens),
        Login::Disabled | Login::Wrong => Err(ApiError::new(&catalogue::ACCOUNT_DISABLED)),
    }
}

/// The user by the first of the ids that has one.
async fn known(call: &Call, named: &WechatUser) -> Result<Option<User>, ApiError> {
    call.look_up(async |conn| {
        for user_id in named.user_ids() {
            if let Some(user) = users::find(conn, user_id).await? {
                return Ok(Some(user));
            }
        }
        Ok(None)
    })
    .await
}

/// The user, and whether this call created them.
async fn sign_up(call: &Call, named: &WechatUser) -> Result<(User, bool), ApiError> {
    let (app, user_id) = (&call.app, named.new_user_id().clone());
    let role = app.config.auth.role_of(&user_id);
    let user = NewUser {
        user_id,
        email: None,
        email_voucher: EmailVoucher::Nobody,
        name: None,
        role,
        brought_by: None,
    };
    let request = SignUp { user, initial: app.config.credits.initial, actor: Actor::User };
    let signed_up =
        sign_up::run(&app.pool, &*app.clock, &*app.ids, &request).await.map_err(ApiError::answered)?;
    let signed_up = signed_up.map_err(|refusal| ApiError::from_failure(&refusal))?;
    Ok((signed_up.user, signed_up.created))
}

async fn log_in(call: &Call, user: &User, created: bool) -> Result<Login, ApiError> {
    let (app, tokens) = (&call.app, own_tokens(call)?);
    let mut events = vec![event(call, Action::LoginSucceeded, &user.user_id, "wechat")];
    if created {
        events.insert(0, event(call, Action::AccountRegistered, &user.user_id, "wechat"));
    }
    let disabled = refused(call, Some(user.user_id.clone()), "wechat");
    call.write(async |tx| {
        let user = users::lock(tx, &user.user_id).await?;
        let Some(user) = user.filter(|user| user.is_active) else {
            audit::record(tx.conn(), std::slice::from_ref(&disabled)).await?;
            return Ok(Login::Disabled);
        };
        let (clock, ids) = (&*app.clock, &*app.ids);
        let email = user.email.as_deref().filter(|_| user.email_vouched);
        let opened = identity::logins::open(tokens, tx.conn(), clock, ids, &user.user_id, email).await?;
        audit::record(tx.conn(), &events).await?;
        Ok(Login::Open(opened))
    })
    .await
}

fn answer(error: WechatError) -> ApiError {
    let answer = ApiError::from_failure(&error);
    match error {
        WechatError::TooFrequent => answer.header(RETRY_AFTER, HeaderValue::from_static("60")),
        WechatError::Blocked => {
            answer.text(Text::new("WeChat blocks this account", "该微信账户已被微信限制登录"))
        }
        WechatError::CodeInvalid | WechatError::Unavailable => answer,
    }
}
