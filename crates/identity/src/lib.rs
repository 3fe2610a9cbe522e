#![doc = include_str!("../README.md")]

pub mod api_key;
pub mod error;
pub mod model;
mod store;
pub mod token;
pub mod users;

pub use api_key::BootstrapKey;
pub use error::IdentityRefusal;
pub use model::{Activity, EmailVoucher, Ensured, NewUser, Plan, Role, RoleChanges, User, UserStatus};
pub use store::audits::AUDITS;
pub use token::{
    Algorithm, Issuer, IssuerError, JwksTiming, Provider, SubjectKind, TokenError, VerifiedToken, Verifier,
    dev_token, development_secret,
};

/// The schema of this crate: `identity`.
pub const MIGRATIONS: &[pg::Migration] = pg::migrations!(
    "identity": "20261121100000_create_users", "20261121143015_fold_emails", "20261123140100_index_created_users",
    "20261130060000_vouch_for_emails", "20261130060010_validate_vouched_emails",
    "20261130060020_index_vouched_emails", "20261130060030_share_contact_addresses",
    "20261130060100_note_role_source", "20261130060110_validate_role_sources",
    "20261130060120_index_administrators", "20261130070000_create_development_secret"
);
