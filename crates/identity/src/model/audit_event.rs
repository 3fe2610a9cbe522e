//! Events of the audit log (HTTP contract 3.6).

use std::{fmt, net::IpAddr, str::FromStr, sync::Arc};

use kernel::{FreeForm, KeyAccess, Principal, UserId};
use serde::Serialize;
use time::OffsetDateTime;

/// The name of the configured key as a [`Principal::Key`].
pub const BOOTSTRAP: &str = "bootstrap";

/// An audited action with its actor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    /// When it was done.
    pub at: OffsetDateTime,
    /// The actor.
    pub actor: AuditActor,
    /// Its kind.
    pub action: Action,
    /// The user acted upon, if there is one.
    pub user_id: Option<UserId>,
    /// The request.
    pub origin: AuditOrigin,
    /// Plain values about it: an object. Never secrets, and no contact data: an erase removes the address and nothing else.
    pub details: FreeForm,
}

/// The actor of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditActor {
    /// A user.
    User(UserId),
    /// A user with the role `admin`.
    Admin(UserId),
    /// The holder of an API key, by its id.
    Key(Arc<str>),
    /// The holder of a configured key.
    Bootstrap,
    /// The service itself, or its command line.
    System,
    /// Somebody without a credential.
    Anonymous,
}

/// Origin of an event; by default no request, but the service itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditOrigin {
    /// Address of the client.
    pub address: Option<IpAddr>,
    /// The id of the request; empty for none.
    pub request_id: String,
}

/// A stored event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAuditEvent {
    /// Its number: unique, but not in the order of commits.
    pub id: i64,
    /// When it was done.
    pub at: OffsetDateTime,
    /// Its actor, as a word: see [`AuditActor`].
    pub actor: String,
    /// Its action, as a word.
    pub action: String,
    /// The user acted upon.
    pub user_id: Option<UserId>,
    /// Address of the client.
    pub address: Option<String>,
    /// The id of the request.
    pub request_id: Option<String>,
    /// Plain values about it.
    pub details: FreeForm,
}

/// Filter of the events; all of them by default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditFilter {
    /// Only those of this actor, as a word.
    pub actor: Option<String>,
    /// Only those about this user.
    pub user_id: Option<UserId>,
    /// Only these.
    pub action: Option<Action>,
    /// Only those at this instant or later.
    pub from: Option<OffsetDateTime>,
    /// Only those at this instant or earlier.
    pub to: Option<OffsetDateTime>,
}

/// The text is not an action.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an action")]
pub struct UnknownAction(String);

/// Names the actions, each with its word.
macro_rules! actions {
    ($($(#[$about:meta])* $name:ident = $word:literal;)+) => {
        /// The kind of an audited event (HTTP contract 3.6).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Action {
            $($(#[$about])* $name,)+
        }

        impl Action {
            /// All actions with their words, in the order of the contract.
            pub const ALL: &[(&'static str, Self)] = &[$(($word, Self::$name)),+];

            /// The word on the wire and in the database.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)+
                }
            }
        }
    };
}

actions! {
    /// A login with a password or with WeChat succeeded.
    LoginSucceeded = "login.succeeded";
    /// A login was refused.
    LoginRefused = "login.refused";
    /// A refresh token was used again, and its login ended.
    LoginRefreshReused = "login.refresh_reused";
    /// A login ended, or all of a user.
    Logout = "logout";
    /// An own account was made.
    AccountRegistered = "account.registered";
    /// An API key was made.
    ApiKeyCreated = "api_key.created";
    /// An API key was revoked.
    ApiKeyRevoked = "api_key.revoked";
    /// The profile of a user was changed.
    UserUpdated = "user.updated";
    /// A user was deactivated.
    UserDisabled = "user.disabled";
    /// A user was activated again.
    UserEnabled = "user.enabled";
    /// The role of a user was changed.
    RoleChanged = "role.changed";
    /// Bought credits were added.
    CreditsRecharged = "credits.recharged";
    /// Credits were given.
    CreditsGranted = "credits.granted";
    /// A charge was given back.
    CreditsRefunded = "credits.refunded";
    /// The budgets of a user were replaced.
    BudgetsSet = "budgets.set";
    /// Prices were put.
    PricesSet = "prices.set";
    /// The data of a user was exported.
    UserExported = "user.exported";
    /// A user was erased.
    UserErased = "user.erased";
    /// A webhook endpoint was made.
    WebhookEndpointCreated = "webhook_endpoint.created";
    /// A webhook endpoint was disabled.
    WebhookEndpointDisabled = "webhook_endpoint.disabled";
    /// A signing key followed another.
    SigningKeyRotated = "signing_key.rotated";
}

impl AuditEvent {
    /// An event about no user, without details.
    #[must_use]
    pub fn new(at: OffsetDateTime, actor: AuditActor, action: Action, origin: AuditOrigin) -> Self {
        Self { at, actor, action, user_id: None, origin, details: FreeForm::empty() }
    }

    /// The event, about this user.
    #[must_use]
    pub fn of_user(self, user_id: UserId) -> Self {
        Self { user_id: Some(user_id), ..self }
    }

    /// The event, with the members of an object as its details.
    #[must_use]
    pub fn with(self, details: &impl Serialize) -> Self {
        match serde_json::to_string(details) {
            Ok(text) if text.starts_with('{') => Self { details: FreeForm::stored(text), ..self },
            _ => {
                tracing::error!(action = self.action.as_str(), "details of an audit event are no object");
                self
            }
        }
    }
}

impl From<&Principal> for AuditActor {
    fn from(principal: &Principal) -> Self {
        match principal {
            Principal::User(user_id) => Self::User(user_id.clone()),
            Principal::AdminUser(user_id) => Self::Admin(user_id.clone()),
            Principal::Key { name, access: KeyAccess::Admin } if **name == *BOOTSTRAP => Self::Bootstrap,
            Principal::Key { name, .. } => Self::Key(Arc::clone(name)),
        }
    }
}

impl fmt::Display for AuditActor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user_id) => write!(f, "user:{user_id}"),
            Self::Admin(user_id) => write!(f, "admin:{user_id}"),
            Self::Key(key_id) => write!(f, "key:{key_id}"),
            Self::Bootstrap => f.write_str(BOOTSTRAP),
            Self::System => f.write_str("system"),
            Self::Anonymous => f.write_str("anonymous"),
        }
    }
}

impl FromStr for Action {
    type Err = UnknownAction;

    fn from_str(text: &str) -> Result<Self, UnknownAction> {
        let found = Self::ALL.iter().find(|(word, _)| *word == text);
        found.map(|(_, action)| *action).ok_or_else(|| UnknownAction(text.to_owned()))
    }
}
