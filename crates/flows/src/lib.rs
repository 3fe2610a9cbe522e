#![doc = include_str!("../README.md")]

mod answers;
pub mod audit_pruning;
mod audited;
pub mod audits;
mod batch;
pub mod caller;
pub mod erasure;
pub mod events;
pub mod files;
pub mod jobs;
pub mod last_use;
pub mod ledger_audit;
mod local;
pub mod mail_delivery;
pub mod message_index;
mod operation;
pub mod operations;
pub mod pruning;
pub mod readiness;
pub mod reads;
pub mod registration;
pub mod replies;
pub mod session_end;
pub mod session_keys;
pub mod sign_up;
pub mod sweeper;
mod unit_of_work;
pub mod usage_anomalies;
pub mod usage_summary;
pub mod usage_upkeep;
pub mod verify;
pub mod wechat_sign_up;
mod whole_credits;

pub use audited::Audited;
pub use caller::{CallerCheck, CallerRejected};
pub use idempotency::{KeyConflict, Pruned, Replay};
pub use local::LocalClient;
pub use operation::Outcome;
pub use operations::{
    Writes,
    correction::{Correct, CorrectError, CorrectOutcome, Corrected, Replacement},
    ledger::{CommandRefusal, LedgerOutcome},
    metering::{MeterRefusal, Recorded, UsageCommand, UsageOutcome},
};
pub use readiness::{Readiness, ReadinessProbe};
pub use reads::{BalanceReads, StatusReads};
pub use whole_credits::WholeCredits;

/// The statement that books plain charges, whole, by name: for `EXPLAIN`.
#[must_use]
pub fn statements() -> Vec<(&'static str, &'static str)> {
    vec![("spend", &batch::SPEND)]
}

/// Migrations of every domain.
pub const MIGRATIONS: &[&[pg::Migration]] = &[
    identity::MIGRATIONS,
    credits::MIGRATIONS,
    sessions::MIGRATIONS,
    ::files::MIGRATIONS,
    usage::MIGRATIONS,
    webhooks::MIGRATIONS,
    idempotency::MIGRATIONS,
];

/// Rules about stored data of every domain, and of those that hold across them.
pub const AUDITS: &[&[pg::Audit]] = &[
    identity::AUDITS,
    credits::AUDITS,
    sessions::AUDITS,
    ::files::AUDITS,
    usage::AUDITS,
    webhooks::AUDITS,
    idempotency::AUDITS,
    audits::AUDITS,
];
