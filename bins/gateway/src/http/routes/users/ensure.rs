//! `POST /api/v1/users/ensure`: makes sure that the user of a login exists (HTTP contract 3.1).

use std::sync::Arc;

use flows::sign_up::{self, SignUp};
use identity::{BroughtBy, EmailVoucher, NewUser, SubjectKind, VerifiedToken};
use kernel::{Credits, Principal, UserId};

use crate::http::{access::own_id, fault::Fault, prelude::*, wire::PlanName};

input! {
    /// Login of a user.
    pub struct EnsureUser {
        /// External id. A user's token contains it; a service must set it.
        auth0_id: Option<UserId> = optional(Body, parse::user_id()), example("auth0|test123");
        /// E-mail address, compared without regard to case. The user holds it if the token vouches for it (Supabase: the claim
        /// `email`; Auth0: with `email_verified`), or if a service or an administrator gives it; else it is stored as a contact,
        /// which holds nothing.
        email: String = required(Body, parse::email()), example("test.user@example.com");
        /// Display name, 1 to 255 characters.
        name: String = required(Body, parse::text(1, 255)), example("Test User");
    }
}

/// The user, new or existing.
#[derive(Debug, Serialize, ToSchema)]
pub struct EnsuredUser {
    success: bool,
    /// Internal integer id.
    user_id: i64,
    /// External id.
    #[schema(value_type = String)]
    auth0_id: UserId,
    email: Option<String>,
    name: Option<String>,
    /// Credits left.
    #[serde(serialize_with = "Credits::serialize_plain")]
    #[schema(value_type = f64)]
    credits: Credits,
    /// Credits ever granted and recharged.
    #[serde(serialize_with = "Credits::serialize_plain")]
    #[schema(value_type = f64)]
    credits_total: Credits,
    /// free, pro or enterprise.
    #[schema(value_type = PlanName)]
    plan: String,
    is_active: bool,
    /// True if this call created the user.
    created: bool,
}

pub fn doc() -> Doc {
    Doc::new("users", "Make sure a user exists")
        .description(
            "Call it after every login. A new user gets one initial grant of credits, but not with the token of an anonymous \
             Supabase user or of a machine (`gty` client-credentials, `sub` ending in `@clients`); neither later, when an \
             anonymous user becomes a permanent one: a service may grant credits then. An existing user is returned \
             unchanged, e-mail address and name of the request being ignored. An address that is vouched for and held by \
             another user is refused.",
        )
        .body::<EnsureUser>(json!({"auth0_id": "auth0|test123", "email": "test.user@example.com", "name": "Test User"}))
        .reply::<EnsuredUser>(json!({
            "success": true, "user_id": 112, "auth0_id": "auth0|test123", "email": "test.user@example.com",
            "name": "Test User", "credits": 1000, "credits_total": 1000, "plan": "free", "is_active": true,
            "created": true,
        }))
        .errors(&[&catalogue::DUPLICATE_ENTRY])
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let input = call.input::<EnsureUser>().await?;
    let user_id = user_id_of(&call, input.auth0_id)?;
    let email_voucher = voucher(&call, &user_id)?;
    let initial = initial_credits(&call, &user_id);
    let token = call.token_of(&user_id).cloned();
    // An id that was linked finds its user; it is a user of its own if that one was erased in this moment.
    let user_id = token.as_ref().map_or(user_id, |token| token.user_id.clone());
    let role = call.app.config.auth.role_of(&user_id);
    let is_settled = |token: &&VerifiedToken| token.owner.get().is_some_and(|owner| owner == token.user_id);
    let brought_by = token.as_ref().filter(|token| !is_settled(token)).map(|token| BroughtBy {
        issuer: Arc::clone(&token.issuer),
        may_link: call.app.config.auth.link_verified_emails && token.subject == SubjectKind::Person,
    });
    let sign_up = SignUp {
        user: NewUser {
            user_id,
            email: Some(input.email),
            email_voucher,
            name: Some(input.name),
            role,
            brought_by,
        },
        initial,
        actor: call.principal()?.actor(),
        sealer: call.app.sealer.clone(),
    };
    let app = &call.app;
    let signed_up = sign_up::run(&app.pool, &*app.clock, &*app.ids, &sign_up)
        .await
        .map_err(ApiError::answered)?
        .map_err(|refusal| ApiError::from_failure(&refusal))?;
    // A user of whom nothing was known before.
    if matches!(call.principal()?, Principal::User(_)) && !signed_up.user.is_active {
        return Err(ApiError::new(&catalogue::ACCOUNT_DISABLED));
    }
    if let Some(token) = token {
        token.owner.remember(signed_up.user.user_id.clone());
    }
    if signed_up.created {
        tracing::info!(user.id = %signed_up.user.user_id, "a user was created");
    }
    Reply::json(&EnsuredUser {
        success: true,
        user_id: signed_up.user.id,
        auth0_id: signed_up.user.user_id,
        email: signed_up.user.email,
        name: signed_up.user.name,
        credits: signed_up.balance.posted,
        credits_total: signed_up.balance.lifetime_granted,
        plan: signed_up.user.plan.as_str().to_owned(),
        is_active: signed_up.user.is_active,
        created: signed_up.created,
    })
}

/// A user is who his token says; a service says for whom it asks.
fn user_id_of(call: &Call, named: Option<UserId>) -> Result<UserId, ApiError> {
    let principal = call.principal()?;
    let named = named.map(|named| own_id(principal, &call.caller().facts, &named).clone());
    match (principal, named) {
        (Principal::User(own), None) => Ok(own.clone()),
        (Principal::User(own), Some(named)) if *own == named => Ok(named),
        (Principal::User(own), Some(named)) => {
            Err(ApiError::new(&catalogue::PERMISSION_DENIED).text(Text::new(
                format!("Token mismatch: token auth0_id ({own}) does not match request auth0_id ({named})"),
                format!("令牌不匹配: 令牌中的 auth0_id ({own}) 与请求中的 auth0_id ({named}) 不一致"),
            )))
        }
        (Principal::AdminUser(_) | Principal::Key { .. }, Some(named)) => Ok(named),
        (Principal::AdminUser(own), None) => Ok(own.clone()),
        (Principal::Key { .. }, None) => Err(ApiError::faults(vec![Fault::missing("body", "auth0_id")])),
    }
}

/// Voucher for the address of this user (HTTP contract 3.1).
fn voucher(call: &Call, user_id: &UserId) -> Result<EmailVoucher, ApiError> {
    let vouched = call.token_of(user_id).and_then(|token| token.vouched_email.clone());
    Ok(match (vouched, call.principal()?) {
        (Some(email), _) => EmailVoucher::Token(email),
        (None, Principal::AdminUser(_) | Principal::Key { .. }) => EmailVoucher::Staff,
        (None, Principal::User(_)) => EmailVoucher::Nobody,
    })
}

/// The grant for a new user. Guests and programs cost nothing to make, so they get none (HTTP contract 3.1).
fn initial_credits(call: &Call, user_id: &UserId) -> Credits {
    match call.token_of(user_id).map(|token| token.subject) {
        Some(SubjectKind::Anonymous | SubjectKind::Machine) => Credits::ZERO,
        Some(SubjectKind::Person) | None => call.app.config.credits.initial,
    }
}
