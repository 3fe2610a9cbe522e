#![doc = include_str!("../README.md")]
#![cfg_attr(
    not(test),
    deny(clippy::as_conversions, clippy::indexing_slicing, clippy::arithmetic_side_effects)
)]

pub mod amount;
pub mod amount_sum;
pub mod call_error;
pub mod clock;
mod decimal;
pub mod failure;
pub mod fingerprint;
pub mod idempotency;
pub mod ids;
pub mod page;
pub mod principal;
pub mod stored;
pub mod text;
pub mod user_id;

pub use amount::{AmountError, Credits, Usd};
pub use amount_sum::{CreditsSum, UsdSum};
pub use call_error::CallError;
pub use clock::{Clock, ManualClock, SystemClock, rfc3339};
pub use failure::{Detail, Failure, Kind};
pub use fingerprint::Fingerprint;
pub use idempotency::{IdempotencyKey, InvalidIdempotencyKey};
pub use ids::{Ids, RandomIds, SeededIds};
pub use page::{Cursor, CursorError, Found, Page, PageError, Slice, Start, TimePlace};
pub use principal::{Actor, CallerClass, KeyAccess, Principal, Scope, UnknownCallerClass};
pub use text::{FreeForm, TextError};
pub use user_id::{UserId, UserIdError};
