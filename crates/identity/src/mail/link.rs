//! The token in a link.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use kernel::Ids;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use url::Url;

use super::LinkPurpose;

/// A token that a mail brings and a route takes: `reset_` or `confirm_`, then 244 random bits. The database has its digest only.
#[derive(Clone)]
pub struct LinkToken(SecretString);

impl LinkToken {
    /// A new token.
    pub(crate) fn new(ids: &dyn Ids, purpose: LinkPurpose) -> Self {
        let random = [ids.uuid().into_bytes(), ids.uuid().into_bytes()].concat();
        Self(format!("{}_{}", purpose.as_str(), URL_SAFE_NO_PAD.encode(random)).into())
    }

    /// A token that a caller presents; any text.
    #[must_use]
    pub fn presented(text: SecretString) -> Self {
        Self(text)
    }

    /// The token, for the outbox.
    pub(super) fn text(&self) -> &str {
        self.0.expose_secret()
    }

    /// The digest of the token, as the database has it.
    pub(crate) fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.0.expose_secret()).into()
    }

    /// The link with the token.
    pub(crate) fn link(&self, base: &Url) -> SecretString {
        let mut link = base.clone();
        link.set_query(Some(&format!("token={}", self.0.expose_secret())));
        String::from(link).into()
    }
}

impl fmt::Debug for LinkToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkToken([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use kernel::SeededIds;

    use super::*;

    #[test]
    fn tokens_name_their_purpose_and_are_never_the_same() {
        let ids = SeededIds::new(1);
        let (reset, confirm) =
            (LinkToken::new(&ids, LinkPurpose::Reset), LinkToken::new(&ids, LinkPurpose::Confirm));
        assert!(reset.0.expose_secret().starts_with("reset_"));
        assert!(confirm.0.expose_secret().starts_with("confirm_"));
        assert_eq!(reset.0.expose_secret().len(), "reset_".len() + 43);
        assert_ne!(reset.digest(), LinkToken::new(&ids, LinkPurpose::Reset).digest());
        assert_eq!(reset.digest(), LinkToken::presented(reset.0.clone()).digest());
        assert_eq!(format!("{reset:?}"), "LinkToken([redacted])");
    }

    #[test]
    fn a_link_is_the_base_and_the_token() {
        let token = LinkToken::presented("reset_x".into());
        for (base, link) in [
            ("https://app.example.com/account", "https://app.example.com/account?token=reset_x"),
            ("https://app.example.com", "https://app.example.com/?token=reset_x"),
        ] {
            assert_eq!(token.link(&base.parse().unwrap()).expose_secret(), link);
        }
    }
}
