//! The types of this domain. No SQL, no HTTP.

mod email;
mod plan;
mod role;
mod user;

pub use email::EmailVoucher;
pub(crate) use email::fold;
pub use plan::Plan;
pub use role::{Role, RoleChanges};
pub use user::{Activity, Ensured, NewUser, User, UserStatus};
