//! Secrets at rest: what the database keeps of them can be read with the key of the configuration only.
//!
//! A sealed value is `id of the key (8 bytes) | nonce (12) | cipher text and tag`, by AES-256-GCM-SIV (RFC 8452), which bears
//! random nonces. The purpose is authenticated with it, so that a value that was moved to another column does not open.

use std::fmt;

use aws_lc_rs::{
    aead::{AES_256_GCM_SIV, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    error::Unspecified,
    hmac,
};
use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};

/// Bytes of a key.
pub const SECRET_KEY_BYTES: usize = 32;

const KEY_ID_BYTES: usize = 8;
const HEAD_BYTES: usize = KEY_ID_BYTES + NONCE_LEN;

/// Base64 as `openssl rand -base64 32` prints it; the padding may be missing.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A key that seals: 32 random bytes (`SECRETS_KEY`, HTTP contract 14).
#[derive(Clone, PartialEq, Eq)]
pub struct SecretKey(Zeroizing<[u8; SECRET_KEY_BYTES]>);

/// The text is not 32 bytes in base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not {SECRET_KEY_BYTES} bytes in base64: make one with openssl rand -base64 32")]
pub struct SecretKeyError;

/// A sealed value could not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Neither the current nor a previous key sealed it.
    #[error(
        "a secret in the database was sealed with another key: set SECRETS_KEY or SECRETS_KEY_PREVIOUS to it"
    )]
    OtherKey,
    /// It was changed, or sealed for another purpose.
    #[error("a sealed secret in the database is damaged")]
    Damaged,
    /// The library failed.
    #[error("a secret could not be sealed")]
    Failed,
}

/// A secret of 32 bytes.
pub type Derived = Zeroizing<[u8; SECRET_KEY_BYTES]>;

/// Seals and opens secrets. Shared by all threads.
pub struct Sealer {
    current: Key,
    previous: Vec<Key>,
}

struct Key {
    id: [u8; KEY_ID_BYTES],
    key: RandomizedNonceKey,
    deriving: hmac::Key,
}

impl SecretKey {
    /// Reads a key from base64.
    ///
    /// # Errors
    /// [`SecretKeyError`] for any other text.
    pub fn from_base64(text: &str) -> Result<Self, SecretKeyError> {
        let bytes = Zeroizing::new(BASE64.decode(text).map_err(|_| SecretKeyError)?);
        let key = bytes.as_slice().try_into().map_err(|_| SecretKeyError)?;
        Ok(Self(Zeroizing::new(key)))
    }

    /// The key of a development installation without a configured one (ADR 0024). It belongs to the database, like the secret
    /// it is derived from, so that processes on one database agree.
    #[must_use]
    pub fn of_development(secret: &SecretString) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
        Self(Zeroizing::new(first_bytes(hmac::sign(&key, b"key that seals secrets").as_ref())))
    }

    fn bytes(&self) -> &[u8] {
        self.0.as_slice()
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey([redacted])")
    }
}

impl Sealer {
    /// Seals with `current` and opens what any of the keys sealed.
    ///
    /// # Errors
    /// [`SealError::Failed`] if the library refuses a key, which it does not for one of this length.
    pub fn new(current: &SecretKey, previous: &[SecretKey]) -> Result<Self, SealError> {
        let previous = previous.iter().map(Key::new).collect::<Result<_, _>>()?;
        Ok(Self { current: Key::new(current)?, previous })
    }

    /// Seals a value for one purpose, such as a table and its column. Each call returns another text.
    ///
    /// # Errors
    /// [`SealError::Failed`] if the system gives no random bytes.
    pub fn seal(&self, purpose: &'static str, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let Key { id, key, .. } = &self.current;
        let mut text = plain.to_vec();
        let nonce = key.seal_in_place_append_tag(associated(purpose, id), &mut text)?;
        Ok([id.as_slice(), nonce.as_ref(), &text].concat())
    }

    /// Opens a value that was sealed for this purpose.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn open(&self, purpose: &'static str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (head, text) = sealed.split_at_checked(HEAD_BYTES).ok_or(SealError::Damaged)?;
        let (id, nonce) = head.split_at(KEY_ID_BYTES);
        let key = self.keys().find(|key| key.id == id).ok_or(SealError::OtherKey)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Damaged)?;
        let mut text = Zeroizing::new(text.to_vec());
        let plain = key.key.open_in_place(nonce, associated(purpose, &key.id), &mut text);
        let length = plain.map_err(|_| SealError::Damaged)?.len();
        text.truncate(length);
        Ok(text)
    }

    /// Secrets that follow from data and from each key, that of the current key first. Without the key nobody finds them.
    pub fn derive<'a>(
        &'a self,
        purpose: &'static str,
        data: &[u8],
    ) -> impl Iterator<Item = Derived> + use<'a> {
        let message = Zeroizing::new([purpose.as_bytes(), &[0], data].concat());
        self.keys().map(move |key| Zeroizing::new(first_bytes(hmac::sign(&key.deriving, &message).as_ref())))
    }

    fn keys(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.current).chain(&self.previous)
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer([redacted])")
    }
}

impl Key {
    fn new(key: &SecretKey) -> Result<Self, SealError> {
        let namer = hmac::Key::new(hmac::HMAC_SHA256, key.bytes());
        let id = first_bytes(hmac::sign(&namer, b"id of a key that seals secrets").as_ref());
        let deriving = hmac::sign(&namer, b"key that derives secrets");
        Ok(Self {
            id,
            key: RandomizedNonceKey::new(&AES_256_GCM_SIV, key.bytes())?,
            deriving: hmac::Key::new(hmac::HMAC_SHA256, deriving.as_ref()),
        })
    }
}

impl From<Unspecified> for SealError {
    fn from(_: Unspecified) -> Self {
        Self::Failed
    }
}

/// The key's id has a fixed length, so that no other purpose yields the same bytes.
fn associated(purpose: &'static str, id: &[u8; KEY_ID_BYTES]) -> Aad<Vec<u8>> {
    Aad::from([id.as_slice(), purpose.as_bytes()].concat())
}

/// The first bytes of a longer text; missing ones are zero.
fn first_bytes<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut first = [0; N];
    first.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    first
}
