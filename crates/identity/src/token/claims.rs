//! Claims of a token, and their checks.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use kernel::UserId;
use serde::Deserialize;
use serde_json::{Number, Value};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::{
    Issuer, Provider, TokenError,
    issuer_ids::{IssuerIds, KnownOwner, MACHINE_SUFFIX},
};

/// Greatest difference between the clocks of an issuer and of this machine (HTTP contract 1.3).
const LEEWAY: Duration = Duration::seconds(60);
/// The value of `gty` in a token that a program got for credentials of its own.
const MACHINE_GRANT: &str = "client-credentials";

/// Kind of account of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SubjectKind {
    /// Somebody who logged in.
    Person,
    /// A guest of Supabase: anybody can make any number of them.
    Anonymous,
    /// A program that logged in with credentials of its own.
    Machine,
}

/// Content of a valid token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedToken {
    /// The user who speaks, by the id that `iss` and `sub` stand for. The user may have another id, see [`KnownOwner`].
    pub user_id: UserId,
    /// The issuer as the owner of ids.
    pub issuer: Arc<IssuerIds>,
    /// The user that the id belongs to, if this process knows.
    pub owner: KnownOwner,
    /// The claim `email`, if the issuer vouches for it: every address of Supabase or of this service, of Auth0 one with `email_verified`
    /// (HTTP contract 3.1).
    pub vouched_email: Option<String>,
    /// Kind of the account.
    pub subject: SubjectKind,
    /// The claim `exp`. The token is accepted for up to 60 s longer.
    pub expires_at: OffsetDateTime,
    /// The issuer that vouches for it.
    pub provider: Provider,
    /// The login that an own token belongs to (claim `sid`).
    pub login_id: Option<Uuid>,
    /// Set once the login was found to have ended.
    pub login_end: LoginEnd,
}

/// A note that the login of a token has ended, which is for good. Shared by the copies of the token.
#[derive(Debug, Clone, Default)]
pub struct LoginEnd(Arc<AtomicBool>);

impl LoginEnd {
    /// Returns true if the end was noted.
    #[must_use]
    pub fn is_noted(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Notes the end.
    pub fn note(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl PartialEq for LoginEnd {
    fn eq(&self, other: &Self) -> bool {
        self.is_noted() == other.is_noted()
    }
}

impl Eq for LoginEnd {}

/// The claims that are looked at, of whatever type they are. `null` counts as absent.
#[derive(Deserialize)]
pub(super) struct Claims {
    iss: Option<Value>,
    sub: Option<Value>,
    aud: Option<Value>,
    exp: Option<Value>,
    nbf: Option<Value>,
    iat: Option<Value>,
    email: Option<Value>,
    email_verified: Option<Value>,
    is_anonymous: Option<Value>,
    gty: Option<Value>,
    role: Option<Value>,
    sid: Option<Value>,
}

impl Claims {
    /// The issuer, as far as an unverified token can be believed.
    pub(super) fn issuer(&self) -> Option<&str> {
        self.iss.as_ref().and_then(Value::as_str)
    }

    /// Judges the claims of a token whose signature is right. Returns the instant before which it is not valid, too.
    pub(super) fn check(
        &self,
        issuer: &Issuer,
        now: OffsetDateTime,
    ) -> Result<(VerifiedToken, Option<OffsetDateTime>), TokenError> {
        if !names(self.aud.as_ref(), &issuer.audience) {
            return Err(TokenError::Audience);
        }
        if let (Some(required), Some(role)) = (issuer.role, &self.role)
            && role.as_str() != Some(required)
        {
            return Err(TokenError::Claim("role"));
        }
        let expires_at = instant("exp", self.exp.as_ref())?.ok_or(TokenError::Claim("exp"))?;
        if is_over(expires_at, now) {
            return Err(TokenError::Expired);
        }
        // `None` is less than any instant.
        let starts_at = instant("nbf", self.nbf.as_ref())?.max(instant("iat", self.iat.as_ref())?);
        if is_ahead(starts_at, now) {
            return Err(TokenError::NotYetValid);
        }
        let user_id = self.subject(&issuer.ids).ok_or(TokenError::Claim("sub"))?;
        let token = VerifiedToken {
            subject: self.subject_kind(&user_id),
            user_id,
            issuer: Arc::clone(&issuer.ids),
            owner: KnownOwner::default(),
            vouched_email: self.vouched_email(issuer.provider).map(str::to_owned),
            expires_at,
            provider: issuer.provider,
            login_id: self.login_id(issuer.provider)?,
            login_end: LoginEnd::default(),
        };
        Ok((token, starts_at))
    }

    /// Only this service knows logins; what others say in `sid` is theirs.
    fn login_id(&self, provider: Provider) -> Result<Option<Uuid>, TokenError> {
        if provider != Provider::Own {
            return Ok(None);
        }
        let sid = self.sid.as_ref().and_then(Value::as_str).and_then(|text| text.parse().ok());
        sid.ok_or(TokenError::Claim("sid")).map(Some)
    }

    fn subject(&self, ids: &IssuerIds) -> Option<UserId> {
        ids.id_of(self.sub.as_ref()?.as_str()?)
    }

    /// Supabase marks guests by `is_anonymous`; Auth0 marks programs by `gty` and by the end of `sub`.
    fn subject_kind(&self, user_id: &UserId) -> SubjectKind {
        if names(self.gty.as_ref(), MACHINE_GRANT) || user_id.as_str().ends_with(MACHINE_SUFFIX) {
            SubjectKind::Machine
        } else if self.is_anonymous == Some(Value::Bool(true)) {
            SubjectKind::Anonymous
        } else {
            SubjectKind::Person
        }
    }

    /// Claims that users can edit themselves, such as `user_metadata`, are not even read.
    fn vouched_email(&self, provider: Provider) -> Option<&str> {
        let is_vouched = match provider {
            Provider::Supabase | Provider::Own => true,
            Provider::Auth0 | Provider::Oidc => self.email_verified == Some(Value::Bool(true)),
        };
        self.email.as_ref().and_then(Value::as_str).filter(|_| is_vouched)
    }
}

/// At `exp` the token is over (RFC 7519, section 4.1.4), hence "not later" and not "earlier".
pub(super) fn is_over(expires_at: OffsetDateTime, now: OffsetDateTime) -> bool {
    expires_at.saturating_add(LEEWAY) <= now
}

/// Returns true if a token is not valid yet.
pub(super) fn is_ahead(starts_at: Option<OffsetDateTime>, now: OffsetDateTime) -> bool {
    starts_at > Some(now.saturating_add(LEEWAY))
}

/// Returns true if a claim is this text, or a list with it.
fn names(claim: Option<&Value>, text: &str) -> bool {
    match claim {
        Some(Value::String(one)) => one == text,
        Some(Value::Array(many)) => many.iter().any(|one| one.as_str() == Some(text)),
        _ => false,
    }
}

/// A `NumericDate` (RFC 7519, section 2): seconds since 1970, possibly with a fraction; never a text.
fn instant(claim: &'static str, value: Option<&Value>) -> Result<Option<OffsetDateTime>, TokenError> {
    match value {
        None => Ok(None),
        Some(Value::Number(seconds)) => since_1970(seconds).ok_or(TokenError::Claim(claim)).map(Some),
        Some(_) => Err(TokenError::Claim(claim)),
    }
}

/// `None` outside the years that can be represented.
fn since_1970(seconds: &Number) -> Option<OffsetDateTime> {
    match seconds.as_i64() {
        Some(whole) => OffsetDateTime::from_unix_timestamp(whole).ok(),
        None => OffsetDateTime::UNIX_EPOCH.checked_add(Duration::checked_seconds_f64(seconds.as_f64()?)?),
    }
}
