//! The types of this domain. No SQL, no HTTP.

pub(crate) mod api_key;
pub(crate) mod audit_event;
mod credential;
mod email;
mod login;
mod mail;
mod plan;
mod role;
mod user;
pub(crate) mod user_filter;

pub use credential::Credential;
pub use email::EmailVoucher;
pub(crate) use email::fold;
pub use login::LoginSelection;
pub use mail::LinkPurpose;
pub(crate) use mail::{StoredLink, StoredMail};
pub use plan::Plan;
pub use role::{Role, RoleChanges};
pub use user::{
    Acting, ActingStatus, Activity, AvatarChange, BroughtBy, Ensured, Identity, NewUser, OwnedId,
    ProfileChange, Standing, StatusQuery, User, UserChange, UserChanged, UserStatus,
};
