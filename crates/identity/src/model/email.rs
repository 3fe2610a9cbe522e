//! E-mail addresses: how they are compared, and who vouches for one.

/// Voucher that an e-mail address belongs to a user (HTTP contract 3.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EmailVoucher {
    /// The user's token, for this address and no other.
    Token(String),
    /// A service or an administrator, for the address they give.
    Staff,
    /// Nobody: anybody may have written the address.
    Nobody,
}

impl EmailVoucher {
    /// Returns true if an address that is given now is vouched for.
    #[must_use]
    pub fn vouches_for(&self, given: &str) -> bool {
        match self {
            Self::Token(_) => self.is_token_for(given),
            Self::Staff => true,
            Self::Nobody => false,
        }
    }

    /// Returns true if a token vouches for this address, wherever the address comes from.
    pub(crate) fn is_token_for(&self, address: &str) -> bool {
        match self {
            Self::Token(vouched) => fold(vouched) == fold(address),
            Self::Staff | Self::Nobody => false,
        }
    }
}

/// The form in which addresses are compared: lower case by Unicode, not by the locale of any machine.
///
/// Only case is folded. Letters that look alike (another alphabet, composed and decomposed accents) stay different, and an
/// address with the Kelvin sign, whose lower case is the ASCII letter k, never equals one of ASCII: the two are different
/// mailboxes.
pub(crate) fn fold(address: &str) -> String {
    let lower = address.to_lowercase();
    if lower.is_ascii() == address.is_ascii() { lower } else { address.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_is_folded_and_nothing_else() {
        for (one, same) in
            [("Test@Example.COM", "test@example.com"), ("\u{c4}rger@example.com", "\u{e4}rger@example.com")]
        {
            assert_eq!(fold(one), fold(same), "{one}");
        }
        for (one, other) in [
            ("i@example.com", "\u{131}@example.com"),
            ("mark@example.com", "mar\u{212a}@example.com"),
            ("a@example.com", "a@example.com "),
        ] {
            assert_ne!(fold(one), fold(other), "{one}");
        }
    }

    #[test]
    fn a_token_vouches_for_its_own_address_only() {
        let token = EmailVoucher::Token("A@example.com".to_owned());
        assert!(token.vouches_for("a@EXAMPLE.com") && token.is_token_for("a@example.com"));
        assert!(!token.vouches_for("b@example.com") && !token.is_token_for("b@example.com"));
        assert!(EmailVoucher::Staff.vouches_for("a@example.com"));
        assert!(!EmailVoucher::Staff.is_token_for("a@example.com"));
        assert!(!EmailVoucher::Nobody.vouches_for("a@example.com"));
    }
}
