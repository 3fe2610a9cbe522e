//! All SQL of this domain.

pub(crate) mod api_keys;
pub(crate) mod audit_events;
pub(crate) mod audits;
pub(crate) mod credentials;
pub(crate) mod development_secret;
pub(crate) mod erasures;
pub(crate) mod identities;
pub(crate) mod logins;
pub(crate) mod mails;
pub(crate) mod personal;
pub(crate) mod roles;
pub(crate) mod signing_keys;
pub(crate) mod statuses;
pub(crate) mod user_lists;
pub(crate) mod users;
