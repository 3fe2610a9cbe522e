//! API keys: their text, what the database keeps of them, and their rights (HTTP contract 3.6).
//!
//! The text is `usk_live_` and 52 bytes in URL-safe base64: the id of the key (16), the secret (32), a checksum (4). The
//! checksum makes a typing error a refusal without a question to the database.

use std::{fmt, num::NonZeroU32, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use kernel::{CursorError, Ids, KeyAccess, TimePlace};
use secrecy::{SecretString, zeroize::Zeroizing};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use uuid::Uuid;

/// Beginning of every key. A credential that begins so is a key, and never a token.
pub const KEY_PREFIX: &str = "usk_live_";

/// Characters of the id that show which key is meant.
const SHOWN: usize = 4;
const ID_BYTES: usize = 16;
const SECRET_BYTES: usize = 32;
const CHECKSUM_BYTES: usize = 4;

/// Scope of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyScope {
    /// Reading, for any user.
    Read,
    /// Everything a user may do, for any user, except changing, erasing and exporting users.
    Service,
    /// Everything.
    Admin,
}

/// The scopes of a key: at least one, from the least to the highest, which decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyScopes(Vec<KeyScope>);

/// The text is no list of scopes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no list of scopes")]
pub struct UnknownScopes(String);

/// A key that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewApiKey {
    /// Name for people.
    pub name: String,
    /// Its scopes.
    pub scopes: KeyScopes,
    /// End of its validity.
    pub expires_at: Option<OffsetDateTime>,
    /// Its own limit of requests.
    pub requests_per_second: Option<NonZeroU32>,
}

/// A key as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its id, which is no secret.
    pub key_id: Uuid,
    /// Name for people.
    pub name: String,
    /// Beginning of its text, to recognise it by.
    pub prefix: String,
    /// Its scopes.
    pub scopes: KeyScopes,
    /// Time of its making.
    pub created_at: OffsetDateTime,
    /// End of its validity.
    pub expires_at: Option<OffsetDateTime>,
    /// The hour of its last use.
    pub last_used_at: Option<OffsetDateTime>,
    /// Time of its revocation.
    pub revoked_at: Option<OffsetDateTime>,
}

/// The stored part of a key, by which it is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKey {
    pub(crate) key_id: Uuid,
    pub(crate) secret_digest: Vec<u8>,
    pub(crate) scopes: KeyScopes,
    pub(crate) requests_per_second: Option<NonZeroU32>,
    pub(crate) expires_at: Option<OffsetDateTime>,
    pub(crate) revoked_at: Option<OffsetDateTime>,
}

/// A key whose text is right, and which had not been revoked when it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifiedKey {
    /// Its id.
    pub key_id: Uuid,
    /// Its rights: those of its highest scope.
    pub access: KeyAccess,
    /// Its own limit of requests.
    pub requests_per_second: Option<NonZeroU32>,
    /// End of its validity.
    pub expires_at: Option<OffsetDateTime>,
}

/// The place of a key in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyPlace {
    /// Time of its making.
    pub created_at: OffsetDateTime,
    /// Its id.
    pub key_id: Uuid,
}

/// A key as it is presented: its form is right.
pub(crate) struct PresentedKey {
    pub(crate) key_id: Uuid,
    pub(crate) secret_digest: [u8; 32],
}

/// The text of a new key, and what is stored of it.
pub(crate) struct MintedKey {
    pub(crate) key_id: Uuid,
    pub(crate) prefix: String,
    pub(crate) secret_digest: [u8; 32],
    pub(crate) text: SecretString,
}

impl KeyScope {
    /// All scopes with their words.
    pub const ALL: &[(&'static str, Self)] =
        &[("read", Self::Read), ("service", Self::Service), ("admin", Self::Admin)];

    /// The word on the wire and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Service => "service",
            Self::Admin => "admin",
        }
    }

    /// The scope of that name, if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(word, _)| *word == name).map(|(_, scope)| *scope)
    }
}

impl KeyScopes {
    /// These scopes; `None` without any.
    #[must_use]
    pub fn new(mut scopes: Vec<KeyScope>) -> Option<Self> {
        scopes.sort_unstable();
        scopes.dedup();
        (!scopes.is_empty()).then_some(Self(scopes))
    }

    /// The words of the scopes.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        self.0.iter().map(|scope| scope.as_str()).collect()
    }

    /// The rights of the highest scope.
    #[must_use]
    pub fn access(&self) -> KeyAccess {
        match self.0.last() {
            Some(KeyScope::Admin) => KeyAccess::Admin,
            Some(KeyScope::Service) => KeyAccess::Service,
            Some(KeyScope::Read) | None => KeyAccess::Read,
        }
    }
}

/// Words with commas between them.
impl FromStr for KeyScopes {
    type Err = UnknownScopes;

    fn from_str(text: &str) -> Result<Self, UnknownScopes> {
        let scopes: Option<Vec<_>> = text.split(',').map(|word| KeyScope::from_name(word.trim())).collect();
        scopes.and_then(Self::new).ok_or_else(|| UnknownScopes(text.to_owned()))
    }
}

impl StoredKey {
    /// The key, if it was not revoked.
    pub(crate) fn verified(&self) -> Option<VerifiedKey> {
        self.revoked_at.is_none().then_some(VerifiedKey {
            key_id: self.key_id,
            access: self.scopes.access(),
            requests_per_second: self.requests_per_second,
            expires_at: self.expires_at,
        })
    }
}

impl PresentedKey {
    /// Reads the text of a key; `None` if it has not the form of one.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let body = text.strip_prefix(KEY_PREFIX)?;
        let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(body).ok()?);
        let (key_id, rest) = bytes.split_first_chunk::<ID_BYTES>()?;
        let (secret, sum) = rest.split_first_chunk::<SECRET_BYTES>()?;
        let is_whole = *sum == checksum(key_id, secret);
        is_whole.then(|| Self { key_id: Uuid::from_bytes(*key_id), secret_digest: digest(secret) })
    }
}

impl MintedKey {
    /// A new key: a secret of 256 bits from three random UUIDs, which have 366.
    pub(crate) fn draw(ids: &dyn Ids) -> Self {
        let key_id = ids.uuid();
        let mut random = Sha256::new_with_prefix(b"secret of an API key");
        for _ in 0..3 {
            random.update(ids.uuid());
        }
        let secret: Zeroizing<[u8; SECRET_BYTES]> = Zeroizing::new(random.finalize().into());
        let id = key_id.into_bytes();
        let bytes = Zeroizing::new([id.as_slice(), secret.as_slice(), &checksum(&id, &secret)].concat());
        let text = Zeroizing::new([KEY_PREFIX, &URL_SAFE_NO_PAD.encode(bytes.as_slice())].concat());
        Self {
            key_id,
            prefix: text.chars().take(KEY_PREFIX.len().saturating_add(SHOWN)).collect(),
            secret_digest: digest(&secret),
            text: SecretString::from(text.as_str()),
        }
    }
}

fn digest(secret: &[u8; SECRET_BYTES]) -> [u8; 32] {
    Sha256::digest(secret).into()
}

/// Not a signature: it finds typing errors.
fn checksum(key_id: &[u8; ID_BYTES], secret: &[u8; SECRET_BYTES]) -> [u8; CHECKSUM_BYTES] {
    let digest = Sha256::new_with_prefix(KEY_PREFIX).chain_update(key_id).chain_update(secret).finalize();
    digest.first_chunk().copied().unwrap_or_default()
}

impl fmt::Display for KeyPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.created_at.unix_timestamp_nanos(), self.key_id)
    }
}

impl FromStr for KeyPlace {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let (at, id) = text.split_once(':').ok_or(CursorError)?;
        let key_id = Uuid::try_parse(id).map_err(|_| CursorError)?;
        Ok(Self { created_at: TimePlace::instant(at)?, key_id })
    }
}

#[cfg(test)]
mod tests {
    use kernel::SeededIds;
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_made_and_no_typing_error_passes() {
        let minted = MintedKey::draw(&SeededIds::new(7));
        let text = minted.text.expose_secret();
        let read = PresentedKey::read(text).unwrap();
        assert_eq!((read.key_id, read.secret_digest), (minted.key_id, minted.secret_digest));
        assert!(text.starts_with(&minted.prefix) && minted.prefix.len() == "usk_live_ab12".len());
        assert_eq!(text.len(), KEY_PREFIX.len() + 70);
        for place in 0..text.len() {
            for wrong in ["A", "b", "_", "-", "9", "", "\u{e9}", " "] {
                let changed = [&text[..place], wrong, &text[place + 1..]].concat();
                assert!(changed == text || PresentedKey::read(&changed).is_none(), "{changed}");
            }
        }
        for changed in
            [&text[1..], &text[..text.len() - 1], &format!("{text}A"), "", KEY_PREFIX, "usk_live_AAAA"]
        {
            assert!(PresentedKey::read(changed).is_none(), "{changed}");
        }
    }

    #[test]
    fn keys_differ_and_only_their_digest_is_stored() {
        let ids = SeededIds::new(7);
        let (one, other) = (MintedKey::draw(&ids), MintedKey::draw(&ids));
        assert_ne!(one.text.expose_secret(), other.text.expose_secret());
        assert_ne!(one.secret_digest, other.secret_digest);
        let body = one.text.expose_secret().strip_prefix(KEY_PREFIX).unwrap();
        let bytes = URL_SAFE_NO_PAD.decode(body).unwrap();
        assert_eq!(one.secret_digest[..], Sha256::digest(&bytes[16..48])[..]);
    }

    #[test]
    fn the_highest_scope_decides() {
        for (text, names, access) in [
            ("read", &["read"][..], KeyAccess::Read),
            ("service, read,service", &["read", "service"][..], KeyAccess::Service),
            ("read,admin,service", &["read", "service", "admin"][..], KeyAccess::Admin),
        ] {
            let scopes: KeyScopes = text.parse().unwrap();
            assert_eq!((scopes.names(), scopes.access()), (names.to_vec(), access));
        }
        for wrong in ["", ",", "read,", "Read", "all"] {
            assert!(wrong.parse::<KeyScopes>().is_err(), "{wrong}");
        }
        assert_eq!(KeyScopes::new(Vec::new()), None);
    }

    #[test]
    fn a_place_survives_its_text() {
        let place = KeyPlace { created_at: OffsetDateTime::UNIX_EPOCH, key_id: Uuid::from_u128(7) };
        assert_eq!(place.to_string().parse(), Ok(place));
        for wrong in [
            "",
            "0",
            "0:",
            "0:x",
            ":00000000-0000-0000-0000-000000000007",
            "1:00000000-0000-0000-0000-000000000007",
        ] {
            assert_eq!(wrong.parse::<KeyPlace>(), Err(CursorError), "{wrong}");
        }
    }
}
