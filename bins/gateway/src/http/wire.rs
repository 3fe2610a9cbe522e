//! The small types that answers of several domains share.

pub use web::wire::{CallerClassName, SuccessWord, Timestamp};

web::words! {
    /// Plan of a user.
    PlanName = identity::Plan::ALL.map(identity::Plan::as_str);
    /// Role of a user.
    UserRoleName = ["user", "admin"];
}
