//! The user ids that tokens of an issuer stand for.

use std::sync::{Arc, PoisonError, RwLock};

use kernel::UserId;
use uuid::Uuid;

/// Prefixes of the ids of this service's own accounts, before the `|`.
pub const OWN_PREFIXES: [&str; 2] = ["email", "wechat"];

/// The name of this service as an issuer. `PUBLIC_URL` may change; the accounts stay.
pub(super) const OWN_NAME: &str = "user-service";

/// End of the ids of programs in Auth0, which have no provider.
pub(super) const MACHINE_SUFFIX: &str = "@clients";

/// The name of an issuer as the owner of ids, and the ids that its tokens may bring (HTTP contract 1.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerIds {
    name: String,
    form: IdForm,
    /// Prefixes of ids that belong to other issuers.
    reserved: Vec<String>,
}

/// Form of the ids that tokens of an issuer bring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum IdForm {
    /// Any: development tokens, and those that are signed with a shared secret.
    Any,
    /// `provider|id`, and programs: Auth0.
    WithProvider,
    /// A UUID: Supabase.
    Uuid,
    /// `<prefix>|<sub>`: an issuer of `OIDC_ISSUERS`.
    Prefixed(String),
    /// An own account.
    Own,
}

/// The user that the id of a token belongs to, once the process has found out. An id that was linked to another user is so until that
/// user is erased; that it belongs to itself never changes.
#[derive(Debug, Clone, Default)]
pub struct KnownOwner(Arc<RwLock<Option<UserId>>>);

impl IssuerIds {
    pub(super) fn new(name: String, form: IdForm) -> Self {
        let reserved = match form {
            IdForm::Own => Vec::new(),
            _ => OWN_PREFIXES.map(str::to_owned).to_vec(),
        };
        Self { name, form, reserved }
    }

    /// Those of this service.
    pub(crate) fn own() -> Self {
        Self::new(OWN_NAME.to_owned(), IdForm::Own)
    }

    /// The issuer, as the owner of ids in the database.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns true if a token of this issuer may take over the id of a user whom a service made.
    #[must_use]
    pub fn may_adopt(&self, id: &UserId) -> bool {
        match &self.form {
            IdForm::Any => true,
            IdForm::WithProvider => id.as_str().contains('|') || id.as_str().ends_with(MACHINE_SUFFIX),
            IdForm::Uuid => Uuid::try_parse(id.as_str()).is_ok(),
            IdForm::Prefixed(prefix) => has_prefix(id.as_str(), prefix),
            IdForm::Own => OWN_PREFIXES.iter().any(|prefix| has_prefix(id.as_str(), prefix)),
        }
    }

    /// The prefix that belongs to this issuer alone.
    pub(super) fn prefix(&self) -> Option<&str> {
        match &self.form {
            IdForm::Prefixed(prefix) => Some(prefix),
            _ => None,
        }
    }

    /// Keeps the ids with this prefix for another issuer.
    pub(super) fn reserve(&mut self, prefix: &str) {
        if self.prefix() != Some(prefix) {
            self.reserved.push(prefix.to_owned());
        }
    }

    /// The id that a `sub` of this issuer stands for; `None` if it is no id, or one of another issuer.
    pub(super) fn id_of(&self, sub: &str) -> Option<UserId> {
        let id = match &self.form {
            IdForm::Prefixed(prefix) => format!("{prefix}|{sub}").parse().ok()?,
            _ => sub.parse::<UserId>().ok()?,
        };
        let is_foreign = self.reserved.iter().any(|prefix| has_prefix(id.as_str(), prefix));
        let is_none_of_ours = self.form == IdForm::Own && !self.may_adopt(&id);
        (!sub.is_empty() && !is_foreign && !is_none_of_ours).then_some(id)
    }
}

impl KnownOwner {
    /// The owner.
    #[must_use]
    pub fn get(&self) -> Option<UserId> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Remembers the owner, as the database has it.
    pub fn remember(&self, owner: UserId) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(owner);
    }

    /// Forgets the owner.
    pub fn forget(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl PartialEq for KnownOwner {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl Eq for KnownOwner {}

fn has_prefix(id: &str, prefix: &str) -> bool {
    id.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('|'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(form: IdForm) -> IssuerIds {
        let mut ids = IssuerIds::new("issuer".to_owned(), form);
        ids.reserve("corp");
        ids
    }

    fn brought(ids: &IssuerIds, sub: &str) -> Option<String> {
        ids.id_of(sub).map(|id| id.to_string())
    }

    #[test]
    fn a_sub_is_the_id_unless_its_prefix_belongs_to_another_issuer() {
        for form in [IdForm::Any, IdForm::WithProvider, IdForm::Uuid] {
            let ids = ids(form);
            for sub in ["auth0|a", "a", "corporation|a", "corp", "Corp|a", "emails|a"] {
                assert_eq!(brought(&ids, sub).as_deref(), Some(sub));
            }
            for sub in ["corp|a", "email|a", "wechat|a", "email|", "", "a b", ".."] {
                assert_eq!(brought(&ids, sub), None, "{sub}");
            }
        }
    }

    #[test]
    fn a_prefix_comes_before_every_sub_of_its_issuer() {
        let ids = ids(IdForm::Prefixed("corp".to_owned()));
        for (sub, id) in
            [("a", "corp|a"), ("email|a", "corp|email|a"), ("corp|a", "corp|corp|a"), ("me", "corp|me")]
        {
            assert_eq!(brought(&ids, sub).as_deref(), Some(id));
        }
        for sub in ["", "a b", &"a".repeat(255)] {
            assert_eq!(brought(&ids, sub), None, "{sub}");
        }
    }

    #[test]
    fn own_tokens_bring_own_accounts_only() {
        let ids = ids(IdForm::Own);
        for (sub, is_own) in
            [("email|a", true), ("wechat|a", true), ("auth0|a", false), ("a", false), ("corp|a", false)]
        {
            assert_eq!(brought(&ids, sub).is_some(), is_own, "{sub}");
        }
    }

    #[test]
    fn users_of_services_go_to_the_issuer_of_their_form() {
        let uuid = "0b6f1e8a-3c5d-4f7e-9a1b-2c3d4e5f6a7b";
        for (form, adopted, left) in [
            (IdForm::Any, vec!["a", "auth0|a", uuid], vec![]),
            (IdForm::WithProvider, vec!["auth0|a", "google-oauth2|1", "x@clients"], vec!["a", uuid]),
            (IdForm::Uuid, vec![uuid], vec!["a", "auth0|a"]),
            (IdForm::Prefixed("corp".to_owned()), vec!["corp|a"], vec!["a", "auth0|a", "corp", uuid]),
        ] {
            let ids = ids(form);
            let may_adopt = |id: &&str| ids.may_adopt(&id.parse().unwrap());
            assert!(adopted.iter().all(may_adopt) && !left.iter().any(may_adopt), "{ids:?}");
        }
    }

    #[test]
    fn copies_of_a_token_share_the_owner() {
        let (known, id): (_, UserId) = (KnownOwner::default(), "a".parse().unwrap());
        let copy = known.clone();
        assert_eq!(copy.get(), None);
        known.remember(id.clone());
        assert_eq!(copy.get(), Some(id));
        assert!(copy == known && known != KnownOwner::default());
        copy.forget();
        assert_eq!(known.get(), None);
    }
}
