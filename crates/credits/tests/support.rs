//! Commands with names, and running them in a transaction of their own.

use credits::{Action, Applied, Command, Entry, Refusal};
use kernel::{Actor, Clock, Credits, FreeForm, Ids, RandomIds, UserId};
use pg::{Pool, Tx};
use testkit::TestDb;

/// This many whole credits.
pub fn credits(whole: i64) -> Credits {
    Credits::from_micro(whole * 1_000_000)
}

pub fn command(user: &UserId, action: Action) -> Command {
    Command {
        user_id: user.clone(),
        actor: Actor::Service,
        transaction_id: RandomIds.uuid(),
        description: None,
        metadata: FreeForm::empty(),
        action,
    }
}

pub fn open(user: &UserId, initial: Credits) -> Command {
    command(user, Action::Open { initial })
}

pub fn consume(user: &UserId, amount: Credits) -> Command {
    command(
        user,
        Action::Consume {
            amount,
            usage_record_id: None,
        },
    )
}

pub fn recharge(user: &UserId, amount: Credits, reference_id: Option<&str>) -> Command {
    command(
        user,
        Action::Recharge {
            amount,
            reference_id: reference_id.map(str::to_owned),
        },
    )
}

/// A fresh database with the schema of the ledger, audited when it is dropped.
pub async fn database() -> TestDb {
    TestDb::create(&[credits::MIGRATIONS], &[credits::AUDITS]).await
}

/// Runs the commands in one transaction and commits.
pub async fn run(pool: &Pool, clock: &dyn Clock, commands: &[Command]) -> Vec<Result<Applied, Refusal>> {
    let mut tx = Tx::begin(pool).await.unwrap();
    let outcomes = credits::execute(&mut tx, clock, commands).await.unwrap();
    tx.commit().await.unwrap();
    outcomes
}

/// Runs one command, which must succeed.
pub async fn done(pool: &Pool, clock: &dyn Clock, command: Command) -> Applied {
    run(pool, clock, &[command]).await.remove(0).unwrap()
}

/// The entry that a command must have.
pub fn entry(applied: &Applied) -> &Entry {
    applied.entry.as_ref().unwrap()
}
