//! Why a token is not accepted.

use kernel::{Failure, Kind};

/// Why a token is not accepted. Clients learn only whether it has expired; the rest is for operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Longer than [`TOKEN_BYTES_MAX`](super::TOKEN_BYTES_MAX).
    #[error("token is too long")]
    TooLong,
    /// Not three base64url parts with a JSON object in each of the first two.
    #[error("token is malformed")]
    Malformed,
    /// The header has `crit`: it demands extensions that are not understood here (RFC 7515, section 4.1.11).
    #[error("token header demands critical extensions")]
    CriticalHeader,
    /// `iss` is not, byte for byte, that of a configured issuer.
    #[error("token issuer is not known")]
    UnknownIssuer,
    /// `alg` is not one of the issuer's, or not that of the key.
    #[error("token algorithm is not that of the issuer's key")]
    Algorithm,
    /// The issuer publishes no key of that `kid`.
    #[error("token key is not known")]
    UnknownKey,
    /// The signature does not belong to the token.
    #[error("token signature is wrong")]
    Signature,
    /// `aud` does not name this service.
    #[error("token audience is another one")]
    Audience,
    /// A required claim is missing, or a claim has a value that is not allowed.
    #[error("token claim {0} is missing or not allowed")]
    Claim(&'static str),
    /// `exp` has passed.
    #[error("token has expired")]
    Expired,
    /// `nbf` or `iat` lie ahead.
    #[error("token is not valid yet")]
    NotYetValid,
    /// The issuer's keys could not be fetched since the start, or not within the last 24 hours.
    #[error("keys of the token issuer are not available")]
    KeysUnavailable,
}

impl TokenError {
    /// A word for the label of a metric; there are few of them.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::TooLong => "token_too_long",
            Self::Malformed => "token_malformed",
            Self::CriticalHeader => "token_critical_header",
            Self::UnknownIssuer => "token_issuer",
            Self::Algorithm => "token_algorithm",
            Self::UnknownKey => "token_key",
            Self::Signature => "token_signature",
            Self::Audience => "token_audience",
            Self::Claim(_) => "token_claim",
            Self::Expired => "token_expired",
            Self::NotYetValid => "token_not_yet_valid",
            Self::KeysUnavailable => "token_keys_unavailable",
        }
    }
}

impl Failure for TokenError {
    fn code(&self) -> &'static str {
        match self {
            Self::Expired => "TokenExpiredException",
            Self::KeysUnavailable => "ProviderUnavailableException",
            _ => "AuthenticationException",
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::KeysUnavailable => Kind::Unavailable,
            _ => Kind::Unauthenticated,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_follow_the_catalogue() {
        assert_eq!(TokenError::Expired.code(), "TokenExpiredException");
        assert_eq!(TokenError::Expired.kind(), Kind::Unauthenticated);
        assert_eq!(TokenError::Signature.code(), "AuthenticationException");
        assert_eq!(TokenError::Claim("sub").kind(), Kind::Unauthenticated);
        assert_eq!(TokenError::KeysUnavailable.code(), "ProviderUnavailableException");
        assert_eq!(TokenError::KeysUnavailable.kind(), Kind::Unavailable);
    }
}
