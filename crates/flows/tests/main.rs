//! Flows on a real database: several domains, one commit.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod audited;
mod audits;
mod erased_grants;
mod erasure;
mod jobs;
mod keys;
mod keys_at_random;
mod ledger_audit;
mod local;
mod message_index;
mod metering;
mod metering_audit;
mod metering_sequences;
mod migrations;
mod operations;
mod personal_data;
mod plain_charges;
mod replies;
mod sign_up;
mod statements;
mod sweeper;
mod usage_anomalies;
mod usage_upkeep;

use flows::sign_up::SignUp;
use identity::{EmailVoucher, NewUser, Role};
use kernel::{Actor, ManualClock, UserId};
use testkit::TestDb;
use time::OffsetDateTime;
use webhooks::Receiver;

/// A database with the schema of all domains, and a receiver that always wants all events.
async fn database() -> TestDb {
    let db = TestDb::create(flows::MIGRATIONS, flows::AUDITS).await;
    let always = ManualClock::at(OffsetDateTime::UNIX_EPOCH);
    receive(&db, &always, Some(&EVERYTHING)).await;
    db
}

const EVERYTHING: Receiver = Receiver { only_user_id: None, event_types: None };

/// Sets what the receiver of the tests wants.
async fn receive(db: &TestDb, clock: &ManualClock, receiver: Option<&Receiver>) {
    pg::Tx::run(db.pool(), async |tx| webhooks::configure(tx, clock, "tests", receiver).await).await.unwrap();
}

/// A first login of this user.
fn request(name: &str, initial: &str) -> SignUp {
    let user_id: UserId = testkit::user(name);
    let user = NewUser {
        user_id,
        email: Some(format!("{name}@example.com")),
        email_voucher: EmailVoucher::Staff,
        name: Some(name.to_owned()),
        role: Role::User,
        brought_by: None,
    };
    SignUp { user, initial: initial.parse().unwrap(), actor: Actor::User, sealer: None }
}
