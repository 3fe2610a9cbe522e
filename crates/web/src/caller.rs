//! The caller of a request, and the user acted upon.

use kernel::{Principal, UserId};

/// The outcome of authentication and of the route's access rule. `F` is what the service found out besides.
#[derive(Debug, Clone, Default)]
pub struct Caller<F> {
    /// The authenticated caller; `None` on open routes.
    pub principal: Option<Principal>,
    /// The user acted upon, where the route has one.
    pub target: Option<UserId>,
    /// Further findings of the service.
    pub facts: F,
}

impl<F: Default> Caller<F> {
    /// A caller whose credential was checked, and nothing else.
    #[must_use]
    pub fn authenticated(principal: Principal) -> Self {
        Self { principal: Some(principal), ..Self::default() }
    }
}
