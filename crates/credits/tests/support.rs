//! Commands with names, and running them in a transaction of their own.

use credits::{
    Action, Applied, Command, Defaults, Entry, Executed, HoldMode, Outcome, ReferenceScope, Refusal,
};
use kernel::{Actor, CallerClass, Clock, Credits, FreeForm, Ids, RandomIds, UserId};
use pg::{Pool, Tx};
use testkit::TestDb;
use time::Duration;
use uuid::Uuid;

/// This many whole credits.
pub fn credits(whole: i64) -> Credits {
    Credits::from_micro(whole * 1_000_000)
}

pub fn command(user: &UserId, action: Action) -> Command {
    Command {
        user_id: user.clone(),
        actor: Actor::Service,
        caller: CallerClass::Service,
        nonce: RandomIds.uuid(),
        description: None,
        metadata: FreeForm::empty(),
        action,
    }
}

/// The command as the user themselves give it.
pub fn by_user(command: Command) -> Command {
    Command { actor: Actor::User, caller: CallerClass::User, ..command }
}

pub fn open(user: &UserId, initial: Credits) -> Command {
    command(user, Action::Open { initial })
}

pub fn consume(user: &UserId, amount: Credits) -> Command {
    command(user, Action::Consume { amount, usage_record_id: None })
}

pub fn recharge(user: &UserId, amount: Credits, reference_id: Option<&str>) -> Command {
    command(
        user,
        Action::Recharge {
            amount,
            reference_id: reference_id.map(str::to_owned),
            scope: ReferenceScope::User,
        },
    )
}

/// A hold of a minute under a new id.
pub fn hold(user: &UserId, amount: Credits) -> (Uuid, Command) {
    let hold_id = RandomIds.uuid();
    let action = Action::Hold { hold_id, amount, mode: HoldMode::Exact, ttl: Duration::minutes(1) };
    (hold_id, command(user, action))
}

pub fn capture(user: &UserId, hold_id: Uuid, amount: Option<Credits>) -> Command {
    command(user, Action::Capture { hold_id, amount, usage_record_id: None })
}

pub fn release(user: &UserId, hold_id: Uuid) -> Command {
    command(user, Action::Release { hold_id })
}

pub fn refund(user: &UserId, transaction_id: Uuid, amount: Option<Credits>) -> Command {
    command(user, Action::Refund { transaction_id, amount, reason: "it broke".to_owned() })
}

/// The id of the transaction that this command makes, if its first entry has this `seq`.
pub fn transaction_id(seq: i64, command: &Command) -> Uuid {
    credits::core::transaction_id(seq, command.nonce).unwrap()
}

/// A fresh database with the schema of the ledger, audited when it is dropped.
pub async fn database() -> TestDb {
    TestDb::create(&[credits::MIGRATIONS], &[credits::AUDITS]).await
}

/// Runs the commands in one transaction and commits.
pub async fn execute(pool: &Pool, clock: &dyn Clock, commands: &[Command]) -> Executed {
    let mut tx = Tx::begin(pool).await.unwrap();
    let executed = credits::execute(&mut tx, clock, Defaults::default(), commands).await.unwrap();
    tx.commit().await.unwrap();
    executed
}

/// The outcomes of [`execute`].
pub async fn answers(pool: &Pool, clock: &dyn Clock, commands: &[Command]) -> Vec<Outcome> {
    execute(pool, clock, commands).await.outcomes
}

/// The results of [`execute`].
pub async fn run(pool: &Pool, clock: &dyn Clock, commands: &[Command]) -> Vec<Result<Applied, Refusal>> {
    let outcomes = answers(pool, clock, commands).await.into_iter();
    outcomes.map(|outcome| outcome.result).collect()
}

/// Runs one command, which must succeed.
pub async fn done(pool: &Pool, clock: &dyn Clock, command: Command) -> Applied {
    run(pool, clock, &[command]).await.remove(0).unwrap()
}

/// The entry that a command must have.
pub fn entry(applied: &Applied) -> &Entry {
    applied.entry.as_ref().unwrap()
}
