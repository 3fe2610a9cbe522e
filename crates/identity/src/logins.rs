//! Logins with tokens of this service: one refresh token at a time, which each use replaces (HTTP contract 3.7).
//!
//! A refresh token is `login id (16 bytes) | tag (16) | secret (32)` in base64url. The database has a digest of the present secret
//! and of the one before. The next secret follows from the present one and SECRETS_KEY: so a client whose answer was lost gets
//! the same one again, and neither an old token nor a copy of the database leads to the next. The tag is the same for all tokens of
//! a login; it distinguishes an older token, whose use ends the login, from a text with the id of somebody's login.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use diesel_async::AsyncPgConnection;
use kernel::{Clock, Ids, UserId};
use pg::{DbError, Tx};
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use time::Duration;
use uuid::Uuid;

use crate::{
    audit::{self, Action, AuditActor, AuditEvent, AuditOrigin},
    seal::Sealer,
    store::logins::{self as store, LockedLogin, NewLogin},
    token::OwnTokens,
};

pub use crate::model::LoginSelection;

/// Time in which the previous refresh token is a repeat, and not a theft (HTTP contract 3.7).
pub const REPEAT_WITHIN: Duration = Duration::seconds(10);

const TAG: &str = "tag of refresh tokens";
const FIRST: &str = "first refresh token";
const NEXT: &str = "next refresh token";

/// Bytes of a refresh token.
const TOKEN_BYTES: usize = 64;

/// The tokens of a login.
#[derive(Debug)]
pub struct LoginTokens {
    /// The user.
    pub user_id: UserId,
    /// The login, claim `sid` of the access token.
    pub login_id: Uuid,
    /// Opens the routes of the user.
    pub access_token: SecretString,
    /// Gets the next pair.
    pub refresh_token: SecretString,
}

/// Opens a login of an active user whose credentials were checked. `email` is the address that the user has confirmed.
///
/// # Errors
/// [`DbError`] as for [`OwnTokens::issue`]; [`DbError::Contention`] for a user who was deactivated in the meantime.
pub async fn open(
    tokens: &OwnTokens,
    conn: &mut AsyncPgConnection,
    clock: &dyn Clock,
    ids: &dyn Ids,
    user_id: &UserId,
    email: Option<&str>,
) -> Result<LoginTokens, DbError> {
    let login_id = ids.uuid();
    // Chance that nobody keeps, so that SECRETS_KEY and the table do not lead to the secret either.
    let chance = [*login_id.as_bytes(), *ids.uuid().as_bytes(), *ids.uuid().as_bytes()].concat();
    let sealer = tokens.sealer();
    let first = tags(sealer, login_id).zip(sealer.derive(FIRST, &Zeroizing::new(chance))).next();
    let (tag, secret) = first.ok_or_else(|| DbError::Inconsistent("no key seals secrets".to_owned()))?;
    let refresh = RefreshToken { login_id, tag, secret };
    store::insert(conn, clock.pinned(), &refresh.row(user_id, tokens)).await?;
    pair(tokens, conn, clock, user_id, email, &refresh).await
}

/// Exchanges a refresh token for new tokens; `None` for one that is unknown, has expired, or whose login has ended. Repeating the
/// previous one within [`REPEAT_WITHIN`] returns the present one again; using it later, or an older one, ends the login. Commit
/// also when nothing is returned.
///
/// # Errors
/// [`DbError`] as for [`OwnTokens::issue`].
pub async fn refresh(
    tokens: &OwnTokens,
    tx: &mut Tx,
    clock: &dyn Clock,
    presented: &SecretString,
    origin: AuditOrigin,
) -> Result<Option<LoginTokens>, DbError> {
    let Some(presented) = RefreshToken::read(presented) else {
        return Ok(None);
    };
    let login_id = presented.login_id;
    let Some(login) = store::lock(tx.conn(), clock.pinned(), login_id).await? else {
        return Ok(None);
    };
    let next = match judge(tokens.sealer(), &login, &presented) {
        Verdict::Rotate(next) => {
            store::rotate(tx.conn(), login.now, &next.row(&login.user_id, tokens)).await?;
            next
        }
        Verdict::Repeat(present) => present,
        Verdict::Reused => {
            store::end(tx.conn(), clock.pinned(), &login.user_id, LoginSelection::One(login_id)).await?;
            tracing::warn!(user.id = %login.user_id, "a refresh token was used again: its login has ended");
            let event =
                AuditEvent::new(clock.now(), AuditActor::Anonymous, Action::LoginRefreshReused, origin)
                    .of_user(login.user_id)
                    .with(&serde_json::json!({"login_id": login_id}));
            audit::record(tx.conn(), &[event]).await?;
            return Ok(None);
        }
        Verdict::Refused => return Ok(None),
    };
    pair(tokens, tx.conn(), clock, &login.user_id, login.email.as_deref(), &next).await.map(Some)
}

/// Ends logins of a user, whose access tokens are refused from the next request on, and returns how many were live.
///
/// # Errors
/// [`DbError`] when the database cannot be asked.
pub async fn end(
    tx: &mut Tx,
    clock: &dyn Clock,
    user_id: &UserId,
    selection: LoginSelection,
) -> Result<usize, DbError> {
    store::end(tx.conn(), clock.pinned(), user_id, selection).await
}

/// Deletes logins that have ended or expired, at most `limit`, and returns how many there were.
///
/// # Errors
/// [`DbError`] when the database cannot be asked.
pub async fn prune(tx: &mut Tx, clock: &dyn Clock, limit: usize) -> Result<usize, DbError> {
    store::prune(tx.conn(), clock.pinned(), i64::try_from(limit).unwrap_or(i64::MAX)).await
}

/// Shared by all tokens of a login.
type Tag = [u8; 16];

struct RefreshToken {
    login_id: Uuid,
    tag: Tag,
    secret: Zeroizing<[u8; 32]>,
}

/// Outcome of a look at a refresh token.
enum Verdict {
    /// It is the present one: this one replaces it.
    Rotate(RefreshToken),
    /// It is the one before, a moment ago: this is the present one.
    Repeat(RefreshToken),
    /// It was replaced earlier.
    Reused,
    /// It is not one of a live login.
    Refused,
}

fn judge(sealer: &Sealer, login: &LockedLogin, presented: &RefreshToken) -> Verdict {
    let digest = presented.digest();
    let is = |stored: &[u8]| bool::from(digest.as_slice().ct_eq(stored));
    if !login.is_live {
        return Verdict::Refused;
    }
    if is(&login.refresh_digest) {
        return presented.successors(sealer).next().map_or(Verdict::Refused, Verdict::Rotate);
    }
    let is_previous = login.previous_digest.as_deref().is_some_and(is);
    if is_previous && login.now - login.rotated_at <= REPEAT_WITHIN {
        // With another SECRETS_KEY by now it may not be found.
        let mut successors = presented.successors(sealer);
        let present = successors.find(|token| token.digest().as_slice() == login.refresh_digest);
        return present.map_or(Verdict::Refused, Verdict::Repeat);
    }
    let is_older = tags(sealer, presented.login_id).any(|tag| bool::from(tag.ct_eq(&presented.tag)));
    if is_previous || is_older { Verdict::Reused } else { Verdict::Refused }
}

impl RefreshToken {
    fn read(text: &SecretString) -> Option<Self> {
        let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(text.expose_secret()).ok()?);
        if bytes.len() != TOKEN_BYTES {
            return None;
        }
        let (login_id, rest) = bytes.split_first_chunk::<16>()?;
        let (tag, secret) = rest.split_first_chunk::<16>()?;
        let secret = Zeroizing::new(secret.try_into().ok()?);
        Some(Self { login_id: Uuid::from_bytes(*login_id), tag: *tag, secret })
    }

    fn bytes(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new([self.login_id.as_bytes().as_slice(), &self.tag, self.secret.as_slice()].concat())
    }

    fn text(&self) -> SecretString {
        URL_SAFE_NO_PAD.encode(self.bytes()).into()
    }

    fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.bytes()).into()
    }

    fn row<'a>(&self, user_id: &'a UserId, tokens: &OwnTokens) -> NewLogin<'a> {
        NewLogin { user_id, id: self.login_id, refresh_digest: self.digest(), ttl: tokens.validity().refresh }
    }

    /// The next token, by each key; by the current one first.
    fn successors<'a>(&self, sealer: &'a Sealer) -> impl Iterator<Item = Self> + use<'a> {
        let login_id = self.login_id;
        let secrets = sealer.derive(NEXT, &self.bytes());
        tags(sealer, login_id).zip(secrets).map(move |(tag, secret)| Self { login_id, tag, secret })
    }
}

/// The tag of a login, by each key; by the current one first.
fn tags(sealer: &Sealer, login_id: Uuid) -> impl Iterator<Item = Tag> + use<'_> {
    sealer.derive(TAG, login_id.as_bytes()).filter_map(|derived| derived.first_chunk().copied())
}

async fn pair(
    tokens: &OwnTokens,
    conn: &mut AsyncPgConnection,
    clock: &dyn Clock,
    user_id: &UserId,
    email: Option<&str>,
    refresh: &RefreshToken,
) -> Result<LoginTokens, DbError> {
    let login_id = refresh.login_id;
    let access_token = tokens.issue(conn, clock, user_id, login_id, email).await?;
    Ok(LoginTokens { user_id: user_id.clone(), login_id, access_token, refresh_token: refresh.text() })
}
