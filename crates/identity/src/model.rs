//! The types of this domain. No SQL, no HTTP.

pub(crate) mod api_key;
pub(crate) mod audit_event;
mod email;
mod login;
mod plan;
mod role;
mod user;

pub use email::EmailVoucher;
pub(crate) use email::fold;
pub use login::Which;
pub use plan::Plan;
pub use role::{Role, RoleChanges};
pub use user::{
    Acting, ActingStatus, Activity, BroughtBy, Ensured, Identity, NewUser, Standing, StatusQuery, User,
    UserChange, UserChanged, UserStatus,
};
