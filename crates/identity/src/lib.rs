#![doc = include_str!("../README.md")]

pub mod api_key;
pub mod api_keys;
pub mod audit;
pub mod credentials;
pub mod erasures;
pub mod error;
pub mod identities;
pub mod logins;
pub mod mail;
pub mod model;
mod outside;
pub mod passwords;
pub mod seal;
pub mod signing_keys;
mod store;
pub mod token;
pub mod users;
pub mod wechat;

pub use api_key::BootstrapKey;
pub use error::IdentityRefusal;
pub use model::{
    Acting, ActingStatus, Activity, AvatarChange, BroughtBy, EmailVoucher, Ensured, Identity, NewUser,
    OwnedId, Plan, ProfileChange, Role, RoleChanges, Standing, StatusQuery, User, UserStatus,
};
pub use outside::is_loopback;
pub use passwords::{Password, PasswordCheck, PasswordError, PasswordFault, PasswordPool};
pub use store::{
    audits::AUDITS,
    personal::{PERSONAL_DATA, PERSONAL_DATA_AT_ONCE},
    users::MAY_ACT,
};
pub use token::{
    Algorithm, Issuer, IssuerError, IssuerIds, JwksTiming, KnownOwner, LoginEnd, OWN_PREFIXES, OwnTokens,
    Provider, SubjectKind, TokenError, Validity, VerifiedToken, Verifier, dev_token, development_secret,
};

/// The schema of this crate: `identity`.
pub const MIGRATIONS: &[pg::Migration] = include!(concat!(env!("OUT_DIR"), "/migrations.rs"));
