//! Links to files of the local folder: an HMAC stands for the credential (HTTP contract 7).

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use time::OffsetDateTime;
use uuid::Uuid;

/// The use that a link allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkUse {
    /// To fetch the file (GET, HEAD).
    Fetch,
    /// To upload its bytes (PUT).
    Upload,
}

impl LinkUse {
    /// The words that are signed: method, and treatment by a browser.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Fetch => ("GET", "attachment"),
            Self::Upload => ("PUT", "none"),
        }
    }
}

/// Keys that sign links: the present one, then those that may have signed links that are still valid.
#[derive(Clone)]
pub struct LinkKeys(Vec<hmac::Key>);

impl LinkKeys {
    /// Signs with `current`, and accepts what any of them signed.
    #[must_use]
    pub fn new(current: &[u8; 32], previous: &[[u8; 32]]) -> Self {
        let key = |bytes: &[u8; 32]| hmac::Key::new(hmac::HMAC_SHA256, bytes);
        Self(std::iter::once(current).chain(previous).map(key).collect())
    }

    /// No keys: no link is signed or accepted. For a store that signs links itself.
    #[must_use]
    pub fn none() -> Self {
        Self(Vec::new())
    }

    /// The query of a link: `e` seconds since 1970 at which it ends, `d` treatment by a browser, `s` signature.
    #[must_use]
    pub fn query(&self, link: LinkUse, file_id: Uuid, ends_at: OffsetDateTime) -> String {
        let (ends, (_, disposition)) = (ends_at.unix_timestamp().to_string(), link.words());
        let sign = |key| hmac::sign(key, &message(link, file_id, &ends, disposition));
        let signature = self.0.first().map(sign).map_or_else(String::new, |tag| URL_SAFE_NO_PAD.encode(tag));
        format!("e={ends}&d={disposition}&s={signature}")
    }

    /// True if the values of a query are those of a link that is valid now.
    #[must_use]
    pub fn accepts(
        &self,
        link: LinkUse,
        file_id: Uuid,
        (ends, disposition, signature): (&str, &str, &str),
        now: OffsetDateTime,
    ) -> bool {
        let Ok(signature) = URL_SAFE_NO_PAD.decode(signature) else {
            return false;
        };
        let message = message(link, file_id, ends, disposition);
        // Compared in constant time.
        let is_signed = self.0.iter().any(|key| hmac::verify(key, &message, &signature).is_ok());
        is_signed && ends.parse().is_ok_and(|ends: i64| now.unix_timestamp() < ends)
    }
}

impl std::fmt::Debug for LinkKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LinkKeys([redacted])")
    }
}

/// No part but the last may hold a line break, and the id has a fixed length, so that no two links have the same text.
fn message(link: LinkUse, file_id: Uuid, ends: &str, disposition: &str) -> Vec<u8> {
    let (method, _) = link.words();
    format!("{method}\n{file_id}\n{ends}\n{disposition}").into_bytes()
}

#[cfg(test)]
mod tests {
    use time::{Duration, macros::datetime};

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-30 12:00 UTC);

    fn parts(query: &str) -> (&str, &str, &str) {
        let mut parts = query.split('&').map(|part| part.split_once('=').unwrap().1);
        (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap())
    }

    #[test]
    fn a_link_allows_one_use_of_one_file_until_it_ends() {
        let (keys, id) = (LinkKeys::new(&[1; 32], &[]), Uuid::from_u128(7));
        let query = keys.query(LinkUse::Fetch, id, NOW + Duration::hours(1));
        let (ends, disposition, signature) = parts(&query);
        let accepts = |link, id, ends, disposition, signature, now| {
            keys.accepts(link, id, (ends, disposition, signature), now)
        };
        assert!(accepts(LinkUse::Fetch, id, ends, disposition, signature, NOW));
        assert!(accepts(LinkUse::Fetch, id, ends, disposition, signature, NOW + Duration::seconds(3599)));
        assert!(!accepts(LinkUse::Fetch, id, ends, disposition, signature, NOW + Duration::hours(1)));
        assert!(!accepts(LinkUse::Upload, id, ends, disposition, signature, NOW));
        assert!(!accepts(LinkUse::Fetch, Uuid::from_u128(8), ends, disposition, signature, NOW));
        assert!(!accepts(LinkUse::Fetch, id, "9999999999", disposition, signature, NOW));
        assert!(!accepts(LinkUse::Fetch, id, ends, "inline", signature, NOW));
        assert!(!accepts(LinkUse::Fetch, id, ends, disposition, &signature[1..], NOW));
        for other in ["", "x", "é", "AAAA"] {
            assert!(!accepts(LinkUse::Fetch, id, ends, disposition, other, NOW), "{other:?}");
        }
    }

    #[test]
    fn links_outlive_the_rotation_of_the_key() {
        let (old, id) = (LinkKeys::new(&[1; 32], &[]), Uuid::from_u128(7));
        let query = old.query(LinkUse::Upload, id, NOW + Duration::hours(1));
        let both = LinkKeys::new(&[2; 32], &[[1; 32]]);
        assert!(both.accepts(LinkUse::Upload, id, parts(&query), NOW));
        assert!(!LinkKeys::new(&[2; 32], &[]).accepts(LinkUse::Upload, id, parts(&query), NOW));
        assert_ne!(both.query(LinkUse::Upload, id, NOW + Duration::hours(1)), query);
    }
}
