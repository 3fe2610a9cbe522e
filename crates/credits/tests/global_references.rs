//! References that are unique among all users.

use credits::{Action, Command, GrantKind, NewGrant, NewGrantKind, ReferenceScope, Refusal};
use futures_util::future::join_all;
use kernel::{Actor, Clock, Credits, Failure, Kind, SystemClock, UserId};
use pg::{DbError, Pool, Tx};
use time::Duration;

use crate::support::{by_user, command, credits, database, done, open, recharge, run};

fn payment(user: &UserId, amount: Credits, reference: &str) -> Command {
    let action =
        Action::Recharge { amount, reference_id: Some(reference.to_owned()), scope: ReferenceScope::Global };
    command(user, action)
}

fn gift(user: &UserId, amount: Credits, reference: &str) -> Command {
    let new = NewGrant {
        reference_id: Some(reference.to_owned()),
        scope: ReferenceScope::Global,
        ..NewGrant::new(NewGrantKind::Promo, amount)
    };
    command(user, Action::Grant(new))
}

/// A reference that is unique among all users.
pub async fn shared_names(pool: &Pool, user: &UserId) {
    run(pool, &SystemClock, &[payment(user, credits(1), "pi_global")]).await;
}

#[tokio::test]
async fn a_reference_credits_one_user_in_and_across_batches() {
    let (db, clock) = (database().await, testkit::clock());
    let (a, b) = (testkit::user("a"), testkit::user("b"));
    for user in [&a, &b] {
        done(db.pool(), &clock, open(user, credits(10))).await;
    }
    let batch = [
        payment(&b, credits(5), "pi_1"),
        payment(&a, credits(5), "pi_1"),
        payment(&b, credits(5), "pi_1"),
        gift(&a, credits(1), "pi_2"),
        gift(&b, credits(1), "pi_2"),
        recharge(&a, credits(7), Some("pi_1")),
    ];
    let results = run(db.pool(), &clock, &batch).await;
    let taken = Err(Refusal::ReferenceTaken);
    assert!(results[0].as_ref().is_ok_and(|done| !done.replayed));
    assert!(results[2].as_ref().is_ok_and(|done| done.replayed));
    assert!(results[3].as_ref().is_ok_and(|done| done.grant.as_ref().unwrap().kind == GrantKind::Promo));
    assert_eq!((&results[1], &results[4]), (&taken, &taken));
    // What is unique per user only is another matter.
    assert!(results[5].is_ok());
    let later =
        [payment(&a, credits(5), "pi_1"), gift(&b, credits(9), "pi_2"), payment(&b, credits(6), "pi_1")];
    let results = run(db.pool(), &clock, &later).await;
    assert_eq!((&results[0], &results[1]), (&taken, &taken));
    assert!(matches!(results[2], Err(Refusal::ReferenceConflict { .. })));
    let refusal = Refusal::ReferenceTaken;
    assert_eq!((refusal.code(), refusal.kind()), ("ReferenceConflictException", Kind::Conflict));
    assert!(refusal.details().is_empty());
}

#[tokio::test]
async fn a_reference_that_the_user_has_becomes_unique_among_all() {
    let (db, clock) = (database().await, testkit::clock());
    let (a, b) = (testkit::user("a"), testkit::user("b"));
    for user in [&a, &b] {
        done(db.pool(), &clock, open(user, credits(10))).await;
    }
    done(db.pool(), &clock, recharge(&a, credits(5), Some("pi_1"))).await;
    let again = done(db.pool(), &clock, payment(&a, credits(5), "pi_1")).await;
    assert!(again.replayed);
    assert_eq!(
        run(db.pool(), &clock, &[payment(&b, credits(5), "pi_1")]).await,
        [Err(Refusal::ReferenceTaken)]
    );
    // What is refused for another reason claims nothing.
    let limit = run(db.pool(), &clock, &[payment(&a, credits::BALANCE_MAX, "pi_3")]).await;
    assert!(matches!(limit[0], Err(Refusal::BalanceLimit)));
    done(db.pool(), &clock, payment(&b, credits(5), "pi_3")).await;
    // A refusal is one that keys remember.
    let refused = run(db.pool(), &clock, &[payment(&a, credits(5), "pi_3")]).await.remove(0);
    assert!(refused.as_ref().is_err_and(Refusal::is_remembered), "{refused:?}");
}

#[tokio::test]
async fn a_reference_that_credited_another_user_before_is_taken() {
    let (db, clock) = (database().await, testkit::clock());
    let users = ["a", "b", "c", "d"].map(testkit::user);
    let [a, b, c, d] = &users;
    for user in &users {
        done(db.pool(), &clock, open(user, credits(10))).await;
    }
    let taken = || Err(Refusal::ReferenceTaken);
    let scheduled = NewGrant {
        reference_id: Some("later".to_owned()),
        effective_at: Some(clock.now() + Duration::DAY),
        ..NewGrant::new(NewGrantKind::Plan, credits(5))
    };
    let of_admin = Command { actor: Actor::Admin, ..recharge(a, credits(5), Some("of admin")) };
    done(db.pool(), &clock, recharge(a, credits(5), Some("pi_1"))).await;
    done(db.pool(), &clock, command(a, Action::Grant(scheduled))).await;
    done(db.pool(), &clock, of_admin).await;
    // Before the claim, in the same batch.
    let batch = [recharge(a, credits(5), Some("pi_2")), payment(b, credits(5), "pi_2")];
    assert_eq!(run(db.pool(), &clock, &batch).await[1], taken());
    for reference in ["pi_1", "pi_2", "later", "of admin"] {
        let refused = run(db.pool(), &clock, &[payment(b, credits(5), reference)]).await;
        assert_eq!(refused, [taken()], "{reference}");
    }
    // The user who was credited claims it, and nothing is given twice.
    let again = done(db.pool(), &clock, payment(a, credits(5), "pi_1")).await;
    assert!(again.replayed);
    // For others it still counts in their own scope; who has it there has it, also if many do.
    for user in [b, c, d] {
        let own = done(db.pool(), &clock, recharge(user, credits(5), Some("of all"))).await;
        assert!(!own.replayed);
        done(db.pool(), &clock, recharge(user, credits(5), Some("pi_1"))).await;
    }
    let again = done(db.pool(), &clock, payment(d, credits(5), "of all")).await;
    assert!(again.replayed);
    let others = [payment(a, credits(5), "of all"), payment(d, credits(5), "pi_1")];
    assert_eq!(run(db.pool(), &clock, &others).await, [taken(), taken()]);
}

#[tokio::test]
async fn what_users_gave_themselves_blocks_no_payment_of_others() {
    let (db, clock) = (database().await, testkit::clock());
    let users = ["a", "b", "c"].map(testkit::user);
    let [a, b, c] = &users;
    for user in &users {
        done(db.pool(), &clock, open(user, credits(10))).await;
    }
    let own = |user, reference| by_user(recharge(user, credits(1), Some(reference)));
    done(db.pool(), &clock, own(a, "pi_1")).await;
    let batch = [own(a, "pi_2"), payment(b, credits(5), "pi_2")];
    assert!(run(db.pool(), &clock, &batch).await.iter().all(Result::is_ok));
    assert!(!done(db.pool(), &clock, payment(b, credits(5), "pi_1")).await.replayed);
    // Nor does it give the user a payment of another one.
    done(db.pool(), &clock, recharge(b, credits(5), Some("pi_3"))).await;
    done(db.pool(), &clock, own(c, "pi_3")).await;
    assert_eq!(
        run(db.pool(), &clock, &[payment(c, credits(1), "pi_3")]).await,
        [Err(Refusal::ReferenceTaken)]
    );
    // The reference of initial grants of earlier versions is nobody's.
    done(db.pool(), &clock, payment(a, credits(1), "initial")).await;
}

/// In a transaction of its own, again when another one was first, as the committer does it.
async fn pay(pool: Pool, commands: Vec<Command>) -> usize {
    loop {
        let mut tx = Tx::begin(&pool).await.unwrap();
        match credits::execute(&mut tx, &SystemClock, credits::Defaults::default(), &commands).await {
            Err(DbError::Contention(_)) => tx.rollback().await,
            executed => {
                tx.commit().await.unwrap();
                let outcomes = executed.unwrap().outcomes;
                return outcomes.iter().filter(|outcome| outcome.result.is_ok()).count();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_one_wins_each_reference() {
    let db = database().await;
    let users: Vec<UserId> = (0..8).map(|number| testkit::user(&format!("user-{number}"))).collect();
    for user in &users {
        done(db.pool(), &SystemClock, open(user, credits(1))).await;
    }
    let pool = db.pool_of(8);
    for round in 0..5 {
        // Each names the references in an order of its own.
        let tasks = users.iter().enumerate().map(|(place, user)| {
            let names = (0..4).map(|number| format!("pi_{round}_{}", (number + place) % 4));
            let commands = names.map(|name| payment(user, credits(1), &name)).collect();
            tokio::spawn(pay(pool.clone(), commands))
        });
        let won: usize = join_all(tasks).await.into_iter().map(Result::unwrap).sum();
        assert_eq!(won, 4);
    }
}
