//! Keys that sign the tokens of this service: in the database, so that all processes agree (HTTP contract 2).
//!
//! The newest key whose time has come signs. A new one is published at once and signs after five minutes, when nobody has an older
//! set any more; a replaced one stays published until its last token has expired. All by the clock of the database.

use aws_lc_rs::{
    encoding::AsBigEndian as _,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use diesel_async::AsyncPgConnection;
use kernel::Clock;
use pg::{DbError, Tx};
use secrecy::zeroize::Zeroizing;
use sha2::{Digest as _, Sha256};
use time::{Duration, OffsetDateTime};

use crate::{
    audit::{self, Action, AuditActor, AuditEvent, AuditOrigin},
    seal::{SealError, Sealer},
    store::signing_keys::{self as store, NewSigningKey},
};

/// Time from the publication of a key to its first signature (HTTP contract 2).
pub const PUBLISHED_BEFORE: Duration = Duration::minutes(5);

const PURPOSE: &str = "identity.signing_keys.sealed_key";

/// A private key (Ed25519, RFC 8032).
pub struct SigningKey {
    pair: Ed25519KeyPair,
}

/// The text is not a private Ed25519 key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a private Ed25519 key in PKCS#8 PEM: make one with openssl genpkey -algorithm ed25519")]
pub struct SigningKeyError;

/// When a new key begins to sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// After [`PUBLISHED_BEFORE`].
    Later,
    /// At once: for a key that must be replaced, such as a leaked one. Services that hold an older copy of the key set refuse the
    /// new tokens until they fetch it again.
    AtOnce,
}

/// A public key, as it is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// Its name in tokens.
    pub kid: String,
    /// The member `x` of the published key (RFC 8037).
    pub x: String,
}

/// A new key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// Its name in tokens.
    pub kid: String,
    /// When it begins to sign.
    pub signs_from: OffsetDateTime,
}

/// Everything that making keys needs.
#[derive(Debug, Clone, Copy)]
pub struct Keyring<'a> {
    /// Seals the private keys.
    pub sealer: &'a Sealer,
    /// Longest validity of a token that this process signs.
    pub token_ttl: Duration,
}

impl SigningKey {
    /// A new random key.
    ///
    /// # Errors
    /// [`SealError::Failed`] if the system gives no random bytes.
    pub fn generate() -> Result<Self, SealError> {
        Ok(Self { pair: Ed25519KeyPair::generate()? })
    }

    /// Reads a key from PEM, as `openssl genpkey -algorithm ed25519` prints it. Line ends may be written as `\n`, as in files of
    /// one line for each variable.
    ///
    /// # Errors
    /// [`SigningKeyError`] for any other text.
    pub fn from_pem(text: &str) -> Result<Self, SigningKeyError> {
        let parsed = pem::parse(text.replace("\\n", "\n")).map_err(|_| SigningKeyError)?;
        let der = Zeroizing::new(parsed.into_contents());
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).map_err(|_| SigningKeyError)?;
        Ok(Self { pair })
    }

    /// Its name: the thumbprint of the public key (RFC 7638), so that the same key has one name wherever it is imported.
    #[must_use]
    pub fn kid(&self) -> String {
        let x = URL_SAFE_NO_PAD.encode(self.public_key());
        let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
        URL_SAFE_NO_PAD.encode(Sha256::digest(members))
    }

    /// Signs a message; the signature is in base64url.
    pub(crate) fn sign(&self, message: &str) -> String {
        URL_SAFE_NO_PAD.encode(self.pair.sign(message.as_bytes()))
    }

    fn public_key(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    fn seal(&self, sealer: &Sealer) -> Result<Vec<u8>, SealError> {
        let seed = self.pair.seed()?.as_be_bytes()?;
        sealer.seal(PURPOSE, seed.as_ref())
    }

    fn open(sealer: &Sealer, signer: &store::Signer) -> Result<Self, SealError> {
        let seed = sealer.open(PURPOSE, &signer.sealed_key)?;
        // Refused if the two do not belong together.
        let pair = Ed25519KeyPair::from_seed_and_public_key(&seed, &signer.public_key);
        Ok(Self { pair: pair.map_err(|_| SealError::Damaged)? })
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({})", self.kid())
    }
}

/// Makes sure that there is a key that signs, and that it can be opened. The first one is `imported`, or else random; afterwards the
/// database decides. Concurrent calls make one key.
///
/// # Errors
/// [`DbError`] when the database cannot be asked. [`DbError::Inconsistent`] when the key in it was sealed with another key than that
/// of the configuration.
pub async fn prepare(
    tx: &mut Tx,
    clock: &dyn Clock,
    keyring: Keyring<'_>,
    imported: Option<&SigningKey>,
) -> Result<(), DbError> {
    let conn = tx.conn();
    store::lock(conn).await?;
    match store::signer(conn, clock.pinned()).await? {
        Some(_) => {
            open_all(conn, clock, keyring.sealer).await?;
            store::raise_token_ttl(conn, keyring.token_ttl.whole_seconds()).await
        }
        None => {
            let made = imported.is_none().then(SigningKey::generate).transpose().map_err(unusable)?;
            match imported.or(made.as_ref()) {
                Some(key) => insert(conn, clock, keyring, key, Start::AtOnce).await.map(drop),
                None => Ok(()),
            }
        }
    }
}

/// Makes a new key, which replaces the present one, and one that does not sign yet.
///
/// # Errors
/// [`DbError`] when the database cannot be asked. [`DbError::Inconsistent`] as [`prepare`]: no process could open the new key.
pub async fn rotate(
    tx: &mut Tx,
    clock: &dyn Clock,
    keyring: Keyring<'_>,
    start: Start,
) -> Result<Rotated, DbError> {
    let conn = tx.conn();
    store::lock(conn).await?;
    open_all(conn, clock, keyring.sealer).await?;
    let key = SigningKey::generate().map_err(unusable)?;
    let rotated = insert(conn, clock, keyring, &key, start).await?;
    let event =
        AuditEvent::new(clock.now(), AuditActor::System, Action::SigningKeyRotated, AuditOrigin::default())
            .with(&serde_json::json!({"kid": rotated.kid}));
    audit::record(conn, &[event]).await?;
    Ok(rotated)
}

/// The published keys, newest first.
///
/// # Errors
/// [`DbError`] when the database cannot be asked.
pub async fn published(conn: &mut AsyncPgConnection, clock: &dyn Clock) -> Result<Vec<PublicKey>, DbError> {
    let keys = store::published(conn, clock.pinned()).await?.into_iter();
    Ok(keys.map(|key| PublicKey { kid: key.kid, x: URL_SAFE_NO_PAD.encode(key.public_key) }).collect())
}

/// Deletes the keys whose last token has expired, and returns their number.
///
/// # Errors
/// [`DbError`] when the database cannot be asked.
pub async fn prune(tx: &mut Tx, clock: &dyn Clock) -> Result<usize, DbError> {
    store::prune(tx.conn(), clock.pinned()).await
}

/// Makes sure that the keys that sign now or later can be opened, by the other processes too: they have the same `SECRETS_KEY` if the
/// keys were sealed with it.
async fn open_all(conn: &mut AsyncPgConnection, clock: &dyn Clock, sealer: &Sealer) -> Result<(), DbError> {
    for signer in store::signers(conn, clock.pinned()).await? {
        SigningKey::open(sealer, &signer).map_err(unusable)?;
    }
    Ok(())
}

/// The key that signs now, with its name.
pub(crate) async fn signer(
    conn: &mut AsyncPgConnection,
    clock: &dyn Clock,
    sealer: &Sealer,
) -> Result<(String, SigningKey), DbError> {
    let signer = store::signer(conn, clock.pinned()).await?;
    let signer = signer.ok_or_else(|| DbError::Inconsistent("no key signs tokens".to_owned()))?;
    let key = SigningKey::open(sealer, &signer).map_err(unusable)?;
    Ok((signer.kid, key))
}

async fn insert(
    conn: &mut AsyncPgConnection,
    clock: &dyn Clock,
    keyring: Keyring<'_>,
    key: &SigningKey,
    start: Start,
) -> Result<Rotated, DbError> {
    let delay = match start {
        Start::Later => PUBLISHED_BEFORE,
        Start::AtOnce => Duration::ZERO,
    };
    let kid = key.kid();
    let new = NewSigningKey {
        kid: &kid,
        public_key: key.public_key(),
        sealed_key: &key.seal(keyring.sealer).map_err(unusable)?,
        delay_seconds: delay.whole_seconds(),
        token_ttl_seconds: keyring.token_ttl.whole_seconds(),
    };
    let signs_from = store::insert(conn, clock.pinned(), new).await?;
    Ok(Rotated { kid, signs_from })
}

/// The error is a sentence for operators, and names the variable.
fn unusable(error: SealError) -> DbError {
    DbError::Inconsistent(error.to_string())
}
