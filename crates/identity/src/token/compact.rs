//! The compact form of a token, taken apart and not yet believed (RFC 7515, section 7.1).

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IgnoredAny},
};

use super::{TokenError, claims::Claims};

/// Longest token that is looked at, in bytes (HTTP contract 1.3).
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// A token in its parts. Nothing in it can be trusted before the signature was verified.
pub(super) struct Compact<'a> {
    pub(super) header: Header,
    pub(super) claims: Claims,
    /// All of it.
    pub(super) text: &'a str,
    /// Signed text: the first two parts as they came.
    pub(super) message: &'a str,
    /// The third part, in base64url.
    pub(super) signature: &'a str,
}

/// The members of the header that have a say. `jku`, `x5u`, `jwk` and the like are not even read: keys come from the
/// configuration only.
#[derive(Deserialize)]
pub(super) struct Header {
    pub(super) alg: String,
    pub(super) kid: Option<String>,
    #[serde(default, rename = "crit", deserialize_with = "present")]
    has_crit: bool,
}

/// A signed text of any content.
pub(super) struct Signed<'a> {
    pub(super) header: Header,
    payload: Vec<u8>,
    pub(super) message: &'a str,
    pub(super) signature: &'a str,
}

impl<'a> Signed<'a> {
    /// Takes it apart.
    pub(super) fn parse(token: &'a str) -> Result<Self, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::TooLong);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, payload) = message.split_once('.').ok_or(TokenError::Malformed)?;
        let header: Header = json_object(&decoded(header)?)?;
        if header.has_crit {
            return Err(TokenError::CriticalHeader);
        }
        Ok(Self { header, payload: decoded(payload)?, message, signature })
    }
}

impl<'a> Compact<'a> {
    /// Takes a token apart.
    pub(super) fn parse(token: &'a str) -> Result<Self, TokenError> {
        let Signed { header, payload, message, signature } = Signed::parse(token)?;
        Ok(Self { header, claims: json_object(&payload)?, text: token, message, signature })
    }
}

/// A fourth part fails here too: the dot is not in the base64 alphabet.
fn decoded(part: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed)
}

/// Repeated members are an error of serde's.
fn json_object<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, TokenError> {
    // serde would also fill a struct from a JSON array.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(TokenError::Malformed);
    }
    serde_json::from_slice(bytes).map_err(|_| TokenError::Malformed)
}

/// True for any value, `null` included: the member is there.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}
