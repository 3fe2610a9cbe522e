//! `POST /api/auth/wechat-login`: a login with a code of WeChat (HTTP contract 9).

use actix_web::http::header::{HeaderValue, RETRY_AFTER};
use flows::{
    sign_up::SignUp,
    wechat_sign_up::{self, WechatSignUp},
};
use identity::{
    EmailVoucher, NewUser,
    audit::{self, Action},
    users,
    wechat::{WechatError, WechatUser},
};
use kernel::Actor;
use pg::{Attempts, Tx};

use super::{
    login::{Login, event, refused},
    tokens::{self, Tokens, own_tokens},
};
use crate::http::prelude::*;

input! {
    /// A login with WeChat.
    pub struct WechatLogin {
        /// The code of `wx.login`.
        code: parse::Secret = required(Body, parse::secret(1, 255)), example("0a1b2c3d4e5f");
    }
}

pub fn doc() -> Doc {
    Doc::new("accounts", "Log in with WeChat")
        .description(
            "The first login creates a user `wechat|<unionid>`, or `wechat|<openid>` where WeChat gives no `unionid`, with the initial \
             credits. Later logins with either id find the same user.",
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
    let request = sign_up(&call, wechat.user_of(&code.0).await.map_err(answer)?);
    match log_in(&call, &request).await? {
        Login::Open(tokens) => tokens::reply(&call, &tokens),
        Login::Disabled | Login::Wrong => Err(ApiError::new(&catalogue::ACCOUNT_DISABLED)),
    }
}

fn sign_up(call: &Call, wechat: WechatUser) -> WechatSignUp {
    let (app, user_id) = (&call.app, wechat.new_user_id().clone());
    let event = event(call, Action::AccountRegistered, &user_id, "wechat");
    let role = app.config.auth.role_of(&user_id);
    let user = NewUser {
        user_id,
        email: None,
        email_voucher: EmailVoucher::Nobody,
        name: None,
        role,
        brought_by: None,
    };
    let sign_up =
        SignUp { user, initial: app.config.credits.initial, actor: Actor::User, sealer: app.sealer.clone() };
    WechatSignUp { wechat, sign_up, event }
}

/// Finds or creates the user and opens their login, in one transaction.
async fn log_in(call: &Call, request: &WechatSignUp) -> Result<Login, ApiError> {
    let (app, tokens) = (&call.app, own_tokens(call)?);
    let (clock, ids) = (&*app.clock, &*app.ids);
    let mut attempts = Attempts::up_to(3);
    loop {
        let work = async |tx: &mut Tx| {
            let user_id = match wechat_sign_up::in_tx(tx, clock, ids, request).await? {
                Ok(user) => user.user_id,
                Err(refusal) => return Ok(Err(refusal)),
            };
            let user = users::lock(tx, &user_id).await?;
            let Some(user) = user.filter(|user| user.is_active) else {
                audit::record(tx.conn(), &[refused(call, Some(user_id), "wechat")]).await?;
                return Ok(Ok(Login::Disabled));
            };
            let email = user.email.as_deref().filter(|_| user.email_vouched);
            let opened = identity::logins::open(tokens, tx.conn(), clock, ids, &user_id, email).await?;
            let succeeded = event(call, Action::LoginSucceeded, &user_id, "wechat");
            audit::record(tx.conn(), &[succeeded]).await?;
            Ok(Ok(Login::Open(opened)))
        };
        match Tx::decide(&app.pool, work).await {
            Err(error) if attempts.again(&error).await => {}
            login => {
                let login = login.map_err(ApiError::answered)?;
                return login.map_err(|refusal| ApiError::from_failure(&refusal));
            }
        }
    }
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
