//! The statement for plain charges: one instant, the conditions of other domains, and all or nothing.

use credits::{
    Action, BudgetPeriod, Command, Guards, NewBudget, NewGrant, NewGrantKind, Outcome, PlainCharge,
};
use diesel_async::SimpleAsyncConnection as _;
use kernel::{Clock, Credits, ManualClock, SystemClock, UserId};
use pg::{DbError, Tx};
use testkit::TestDb;
use time::Duration;
use uuid::Uuid;

use crate::{
    budgets::set,
    support::{by_user, command, consume, credits, database, entry, open, run},
};

const SAME_EDITION: &str = "'00000000-0000-0000-0000-000000000000'::uuid";

/// Spends with these guards; the edition is known to be nil.
async fn spend(
    db: &TestDb,
    clock: &dyn Clock,
    (edition, may_act): (&'static str, &'static str),
    charges: &[(&Command, bool)],
) -> Result<Vec<Option<Outcome>>, DbError> {
    spend_by(db, clock, credits::spend_text(Guards { edition, may_act }), charges).await
}

async fn spend_by(
    db: &TestDb,
    clock: &dyn Clock,
    text: String,
    charges: &[(&Command, bool)],
) -> Result<Vec<Option<Outcome>>, DbError> {
    let charges: Vec<_> =
        charges.iter().map(|(command, acts)| PlainCharge::new(command, *acts).unwrap()).collect();
    let conn = db.pool().get().await.unwrap();
    credits::spend(&conn, clock, text.leak(), Uuid::nil(), &charges).await
}

/// An account of 10 credits, and of 4 that end after `life` and are spent first.
async fn account(db: &TestDb, clock: &dyn Clock, life: Duration) -> UserId {
    let user = testkit::user("someone");
    run(db.pool(), clock, &[open(&user, credits(10))]).await;
    let expires_at = Some(clock.now() + life);
    let grant = NewGrant { expires_at, ..NewGrant::new(NewGrantKind::Promo, credits(4)) };
    assert!(run(db.pool(), clock, &[command(&user, Action::Grant(grant))]).await[0].is_ok());
    user
}

async fn entries(db: &TestDb) -> i64 {
    db.ask("SELECT count(*) FROM credits.entries").await
}

/// The audits look when the database is dropped.
#[tokio::test]
async fn charges_follow_each_other_while_the_head_covers_them_and_nothing_is_due() {
    let (db, clock) = (database().await, testkit::clock());
    let user = account(&db, &clock, Duration::MINUTE).await;
    let charge = |amount| consume(&user, credits(amount));
    let (one, two) = (charge(1), charge(2));
    let spend = async |charges: &[(&Command, bool)]| {
        spend(&db, &clock, (SAME_EDITION, "true"), charges).await.unwrap()
    };
    let spent = spend(&[(&one, false), (&two, false)]).await;
    let before = |outcome: &Option<Outcome>| {
        let entry = outcome.as_ref().unwrap().result.as_ref().unwrap().entry.clone().unwrap();
        (entry.seq, entry.balance_before)
    };
    assert_eq!(spent.iter().map(before).collect::<Vec<_>>(), [(3, credits(14)), (4, credits(13))]);
    // Exactly the rest of the head, and more than it.
    assert_eq!(spend(&[(&one, false)]).await, [None]);
    assert_eq!(spend(&[(&two, false)]).await, [None]);
    let half = consume(&user, Credits::from_micro(500_000));
    let budget = NewBudget { period: BudgetPeriod::Day, zone: "UTC".to_owned(), limit: credits(1_000) };
    set(db.pool(), &user, &[budget]).await.unwrap();
    assert_eq!(spend(&[(&half, false)]).await, [None]);
    set(db.pool(), &user, &[]).await.unwrap();
    clock.advance(Duration::MINUTE - Duration::MICROSECOND);
    assert!(spend(&[(&half, false)]).await[0].is_some());
    clock.advance(Duration::MICROSECOND);
    let quarter = consume(&user, Credits::from_micro(250_000));
    assert_eq!(spend(&[(&quarter, false)]).await, [None]);
}

#[tokio::test]
async fn charge_that_waits_for_the_edition_happens_after_the_wait() {
    let db = database().await;
    let user = account(&db, &SystemClock, Duration::milliseconds(1_500)).await;
    let slow = "(SELECT '00000000-0000-0000-0000-000000000000'::uuid FROM pg_sleep(1.6))";
    let spent = spend(&db, &SystemClock, (slow, "true"), &[(&consume(&user, credits(1)), false)]).await;
    assert_eq!(spent.unwrap(), [None], "the head has ended");
}

#[tokio::test]
async fn charge_that_waits_for_its_account_happens_before_the_wait() {
    let db = database().await;
    let user = account(&db, &SystemClock, Duration::DAY).await;
    let charge = consume(&user, credits(1));
    // It changes the row, so the statement looks at it again.
    let mut other = Tx::begin(db.pool()).await.unwrap();
    other.conn().batch_execute("UPDATE credits.accounts SET low_balance_at = 1").await.unwrap();
    let committed = async {
        db.wait_for_waiting(1).await;
        let waited = SystemClock.now();
        other.commit().await.unwrap();
        waited
    };
    let charges = [(&charge, false)];
    let spent = spend(&db, &SystemClock, (SAME_EDITION, "true"), &charges);
    let (spent, waited) = futures_util::join!(spent, committed);
    let applied = spent.unwrap().remove(0).unwrap().result.unwrap();
    assert_eq!(applied.balance.posted, credits(13));
    assert!(entry(&applied).created_at < waited);
}

#[tokio::test]
async fn charges_of_one_account_need_all_that_each_of_them_needs() {
    let (db, clock) = (database().await, testkit::clock());
    let user = account(&db, &clock, Duration::DAY).await;
    let before = entries(&db).await;
    let (of_service, own) = (consume(&user, credits(1)), by_user(consume(&user, credits(1))));
    for charges in [[(&of_service, false), (&own, true)], [(&own, true), (&of_service, false)]] {
        assert_eq!(spend(&db, &clock, (SAME_EDITION, "false"), &charges).await.unwrap(), [None, None]);
    }
    let unknown = ("'00000000-0000-4000-8000-000000000000'::uuid", "true");
    assert_eq!(spend(&db, &clock, unknown, &[(&of_service, false)]).await.unwrap(), [None]);
    assert_eq!(entries(&db).await, before);
    let spent = spend(&db, &clock, (SAME_EDITION, "false"), &[(&of_service, false)]).await.unwrap();
    assert!(spent[0].is_some());
}

#[tokio::test]
async fn time_of_an_account_does_not_go_back() {
    let (db, clock) = (database().await, testkit::clock());
    let user = account(&db, &clock, Duration::DAY).await;
    let behind = ManualClock::at(clock.now() - Duration::HOUR);
    let charge = consume(&user, credits(1));
    let spent = spend(&db, &behind, (SAME_EDITION, "true"), &[(&charge, false)]).await.unwrap();
    assert_eq!(spent[0].as_ref().unwrap().at, clock.now());
}

#[tokio::test]
async fn charges_without_their_entries_are_not_booked() {
    let (db, clock) = (database().await, testkit::clock());
    let user = account(&db, &clock, Duration::DAY).await;
    let before = entries(&db).await;
    db.run_as_superuser(
        "CREATE FUNCTION public.lose() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
         CREATE TRIGGER lose BEFORE INSERT ON credits.entries FOR EACH ROW WHEN (NEW.amount = 2000000)
         EXECUTE FUNCTION public.lose()",
    )
    .await;
    let (kept, lost) = (consume(&user, credits(1)), consume(&user, credits(2)));
    let spent = spend(&db, &clock, (SAME_EDITION, "true"), &[(&kept, false), (&lost, false)]).await;
    assert!(matches!(spent, Err(DbError::Statement(_))), "{spent:?}");
    assert_eq!(entries(&db).await, before);
}

#[tokio::test]
async fn an_answer_that_is_not_that_of_the_rules_is_a_fault() {
    for (part, wrong) in [
        ("to_hex(seq)", "to_hex(seq + 1)"),
        ("SELECT place, id", "SELECT place + 1 AS place, id"),
        ("AS complete\nFROM charges", "AS complete\nFROM charges WHERE place = 2"),
        ("old.next_due_at > greatest(old.as_of, instant.now)", "true"),
    ] {
        let (mut db, clock) = (database().await, testkit::clock());
        let user = account(&db, &clock, Duration::MINUTE).await;
        clock.advance(Duration::MINUTE * i32::from(wrong == "true"));
        let right = credits::spend_text(Guards { edition: SAME_EDITION, may_act: "true" });
        let text = right.replace(part, wrong);
        assert!(text != right, "{part}");
        let (one, two) = (consume(&user, credits(1)), consume(&user, credits(1)));
        let spent = spend_by(&db, &clock, text, &[(&one, false), (&two, false)]).await;
        assert!(matches!(spent, Err(DbError::Inconsistent(_))), "{wrong}: {spent:?}");
        db.forgo_audits();
    }
}
