//! Flows on a real database: several domains, one commit.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod audits;
mod jobs;
mod keys;
mod keys_at_random;
mod ledger_audit;
mod local;
mod metering;
mod metering_audit;
mod metering_sequences;
mod migrations;
mod operations;
mod sign_up;
mod statements;
mod sweeper;
mod usage_anomalies;
mod usage_upkeep;

use flows::sign_up::SignUp;
use identity::{EmailVoucher, NewUser, Role};
use kernel::{Actor, UserId};
use testkit::TestDb;

/// A database with the schema of all domains.
async fn database() -> TestDb {
    TestDb::create(flows::MIGRATIONS, flows::AUDITS).await
}

/// A first login of this user.
fn request(name: &str, initial: &str) -> SignUp {
    let user_id: UserId = testkit::user(name);
    let user = NewUser {
        user_id,
        email: format!("{name}@example.com"),
        email_voucher: EmailVoucher::Staff,
        name: name.to_owned(),
        role: Role::User,
    };
    SignUp { user, initial: initial.parse().unwrap(), actor: Actor::User }
}
