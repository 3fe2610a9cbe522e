//! Users and services beside one another: neither ends or uses up what is of the other class.

use credits::{HOLDS_OPEN_MAX, HoldFilter, HoldStatus, Outcome, Refusal, Replay, prune_idempotency};
use diesel_async::SimpleAsyncConnection;
use futures_util::future::join_all;
use kernel::{CallerClass, Failure, FreeForm, IdempotencyKey, Kind, Page, SystemClock, fingerprint::v1};
use testkit::TestDb;
use time::Duration;

use crate::support::{
    answers, by_user, capture, consume, credits, database, done, hold, open, release, run, under,
};

async fn sql(db: &TestDb, text: &str) {
    db.connect().await.batch_execute(text).await.unwrap();
}

async fn violations(db: &TestDb) -> Vec<credits::verify::Violation> {
    credits::verify::chunk(db.pool(), None, 10).await.unwrap().violations
}

/// The row as an earlier version wrote it.
const FORGET_CLASSES: &str = "UPDATE credits.idempotency SET caller = NULL";

#[tokio::test]
async fn users_end_no_hold_of_services_and_services_end_all() {
    let (db, clock, user) = (database().await, testkit::clock(), testkit::user("someone"));
    done(db.pool(), &clock, open(&user, credits(100))).await;
    let (of_service, command) = hold(&user, credits(10));
    let made = done(db.pool(), &clock, command).await.hold.unwrap();
    assert_eq!(made.made_by, CallerClass::Service);
    let ends = [
        capture(&user, of_service, None),
        capture(&user, of_service, Some(credits(0))),
        release(&user, of_service),
    ];
    for end in ends {
        let refused = run(db.pool(), &clock, &[by_user(end)]).await.remove(0).unwrap_err();
        assert_eq!(refused, Refusal::HoldOfService { hold_id: of_service });
        assert_eq!((refused.code(), refused.kind()), ("PermissionDeniedException", Kind::Forbidden));
        assert!(!refused.is_remembered());
    }
    let (of_user, command) = hold(&user, credits(10));
    let made = done(db.pool(), &clock, by_user(command)).await.hold.unwrap();
    assert_eq!(made.made_by, CallerClass::User);
    for (hold_id, by) in [(of_service, CallerClass::Service), (of_user, CallerClass::User)] {
        let ended = done(db.pool(), &clock, release(&user, hold_id)).await.hold.unwrap();
        assert_eq!(ended.made_by, by);
    }
    let mut conn = db.connect().await;
    let page = Page::first(10);
    let filter = HoldFilter::Only(HoldStatus::Released);
    let listed = credits::holds(&mut conn, &clock, &user, filter, &page).await.unwrap().items;
    let classes: Vec<CallerClass> = listed.iter().map(|hold| hold.made_by).collect();
    assert_eq!(classes, [CallerClass::User, CallerClass::Service]);
}

#[tokio::test]
async fn the_class_of_an_old_hold_is_that_of_its_entry() {
    let (db, clock, user) = (database().await, testkit::clock(), testkit::user("someone"));
    done(db.pool(), &clock, open(&user, credits(100))).await;
    let (of_user, command) = hold(&user, credits(10));
    done(db.pool(), &clock, by_user(command)).await;
    let (of_service, command) = hold(&user, credits(10));
    done(db.pool(), &clock, command).await;
    sql(&db, "UPDATE credits.holds SET made_by = NULL").await;
    let own = done(db.pool(), &clock, by_user(release(&user, of_user))).await;
    assert_eq!(own.hold.unwrap().made_by, CallerClass::User);
    let refused = run(db.pool(), &clock, &[by_user(release(&user, of_service))]).await;
    assert_eq!(refused, [Err(Refusal::HoldOfService { hold_id: of_service })]);
}

#[tokio::test]
async fn the_database_refuses_what_the_rules_refuse() {
    let (db, clock, user) = (database().await, testkit::clock(), testkit::user("someone"));
    done(db.pool(), &clock, open(&user, credits(100))).await;
    let (hold_id, command) = hold(&user, credits(10));
    done(db.pool(), &clock, command).await;
    let mut conn = db.connect().await;
    let text = "UPDATE credits.holds SET state = 'released', released = amount, resolved_at = created_at, ended_by = 'user'";
    let refused = conn.batch_execute(text).await.unwrap_err();
    assert!(refused.to_string().contains("holds_of_services"), "{refused}");
    done(db.pool(), &clock, release(&user, hold_id)).await;
}

#[tokio::test]
async fn a_user_who_ended_a_hold_of_a_service_is_found() {
    let (mut db, clock, user) = (database().await, testkit::clock(), testkit::user("someone"));
    done(db.pool(), &clock, open(&user, credits(100))).await;
    let (hold_id, command) = hold(&user, credits(10));
    done(db.pool(), &clock, by_user(command)).await;
    done(db.pool(), &clock, by_user(release(&user, hold_id))).await;
    assert_eq!(violations(&db).await, []);
    // The class of who made it is not that of its entry; so is then the class of who ended it.
    for (change, found) in [("made_by = 'service', ended_by = NULL", 1), ("ended_by = 'service'", 2)] {
        sql(&db, &format!("UPDATE credits.holds SET {change}")).await;
        let violations = violations(&db).await;
        assert_eq!(violations.len(), found, "{violations:?}");
        assert!(violations.iter().all(|one| one.rule.starts_with("credits L20")));
    }
    db.forgo_audits();
}

#[tokio::test]
async fn what_a_version_without_classes_let_users_end_is_no_damage() {
    let (db, clock, user) = (database().await, testkit::clock(), testkit::user("someone"));
    done(db.pool(), &clock, open(&user, credits(100))).await;
    for is_captured in [true, false] {
        let (hold_id, command) = hold(&user, credits(10));
        done(db.pool(), &clock, command).await;
        // Such a version does not ask who made the hold, and does not say who ended it.
        let set = |columns: &str| format!("UPDATE credits.holds SET {columns} WHERE id = '{hold_id}'");
        sql(&db, &set("made_by = 'user'")).await;
        let end = if is_captured { capture(&user, hold_id, None) } else { release(&user, hold_id) };
        done(db.pool(), &clock, by_user(end)).await;
        sql(&db, &set("made_by = 'service', ended_by = NULL")).await;
        assert_eq!(violations(&db).await, []);
    }
}

#[test]
fn a_thousand_holds_of_each_class_are_open_at_most() {
    use credits::core::{AccountState, Stop, apply};
    let (now, user) = (testkit::instant(), testkit::user("someone"));
    let mut state = AccountState::fresh(user.clone(), now);
    apply(&mut state, &open(&user, credits(5_000)), now).unwrap();
    for _ in 0..HOLDS_OPEN_MAX {
        apply(&mut state, &hold(&user, credits(1)).1, now).unwrap();
    }
    let full = Stop::Refused(Refusal::TooManyHolds { limit: 1_000 });
    assert_eq!(apply(&mut state, &hold(&user, credits(1)).1, now), Err(full.clone()));
    for _ in 0..HOLDS_OPEN_MAX {
        apply(&mut state, &by_user(hold(&user, credits(1)).1), now).unwrap();
    }
    assert_eq!(apply(&mut state, &by_user(hold(&user, credits(1)).1), now), Err(full));
}

#[tokio::test]
async fn each_class_has_its_own_keys_in_and_across_batches() {
    let (db, clock, user) = (database().await, testkit::clock(), testkit::user("someone"));
    done(db.pool(), &clock, open(&user, credits(100))).await;
    let of_user = |key: &str| by_user(under(consume(&user, credits(1)), key, 1));
    let of_service = |key: &str| under(consume(&user, credits(2)), key, 2);
    // In one batch, in either order; in two.
    let batch = [of_user("a"), of_service("a"), of_service("b"), of_user("b"), of_user("a")];
    let mut first = answers(db.pool(), &clock, &batch).await;
    let replays: Vec<Replay> = first.iter().map(|one| one.replay).collect();
    assert_eq!(replays, [Replay::First, Replay::First, Replay::First, Replay::First, Replay::ByKey]);
    first.pop();
    first.extend(answers(db.pool(), &clock, &[of_service("c")]).await);
    first.extend(answers(db.pool(), &clock, &[of_user("c")]).await);
    let commands =
        [of_user("a"), of_service("a"), of_service("b"), of_user("b"), of_service("c"), of_user("c")];
    clock.advance(Duration::HOUR);
    for (command, first) in commands.iter().zip(&first) {
        let again = answers(db.pool(), &clock, std::slice::from_ref(command)).await.remove(0);
        let expected = Outcome { replay: Replay::ByKey, ..first.clone() };
        assert_eq!(again, expected);
        let other = under(command.clone(), command.idempotency.as_ref().unwrap().key(), 9);
        let refused = run(db.pool(), &clock, &[other]).await.remove(0).unwrap_err();
        assert!(matches!(refused, Refusal::IdempotencyConflict { .. }));
    }
    // Pruned, they still stand for what was done.
    let mut conn = db.connect().await;
    let pruned = prune_idempotency(&mut conn, &clock, Duration::ZERO, 2).await.unwrap();
    assert_eq!((pruned.refusals, pruned.successes), (0, 2));
    let pruned = prune_idempotency(&mut conn, &clock, Duration::ZERO, 9).await.unwrap();
    assert_eq!((pruned.refusals, pruned.successes), (0, 4));
    for (command, first) in commands.iter().zip(&first) {
        let again = answers(db.pool(), &clock, std::slice::from_ref(command)).await.remove(0);
        let entry = |outcome: &Outcome| outcome.result.clone().unwrap().entry;
        assert_eq!((again.replay, entry(&again)), (Replay::ByKey, entry(first)));
    }
}

#[tokio::test]
async fn stored_keys_count_for_any_class_by_what_was_asked() {
    let (db, clock, user) = (database().await, testkit::clock(), testkit::user("someone"));
    done(db.pool(), &clock, open(&user, credits(100))).await;
    let stored = answers(db.pool(), &clock, &[under(consume(&user, credits(1)), "k", 1)]).await.remove(0);
    sql(&db, FORGET_CLASSES).await;
    let repeat = |outcome: &Outcome| Outcome { replay: Replay::ByKey, ..outcome.clone() };
    let same = under(consume(&user, credits(1)), "k", 1);
    let with_user = [same.clone(), by_user(same.clone())];
    assert_eq!(answers(db.pool(), &clock, &with_user).await, [repeat(&stored), repeat(&stored)]);
    // For another request the key is free, to each class once.
    let others =
        [under(consume(&user, credits(2)), "k", 2), by_user(under(consume(&user, credits(3)), "k", 3))];
    for other in &others {
        let first = answers(db.pool(), &clock, std::slice::from_ref(other)).await.remove(0);
        assert_eq!(first.replay, Replay::First);
        let again = answers(db.pool(), &clock, std::slice::from_ref(other)).await.remove(0);
        assert_eq!(again, repeat(&first));
        let conflict = under(other.clone(), "k", 7);
        let refused = run(db.pool(), &clock, &[conflict]).await.remove(0).unwrap_err();
        assert!(matches!(refused, Refusal::IdempotencyConflict { .. }));
    }
    assert_eq!(answers(db.pool(), &clock, &with_user).await, [repeat(&stored), repeat(&stored)]);
}

#[tokio::test]
async fn stored_keys_are_known_by_the_fingerprints_of_earlier_versions() {
    let (db, clock, user) = (database().await, testkit::clock(), testkit::user("someone"));
    done(db.pool(), &clock, open(&user, credits(100))).await;
    let with_key =
        |key: IdempotencyKey| credits::Command { idempotency: Some(key), ..consume(&user, credits(1)) };
    // Such a version hashed what was sent; now an empty object is an absent one.
    let asked = || v1::Fingerprint::new().word("consume");
    let former = asked().json(&FreeForm::empty()).word("1").hashes().next().unwrap();
    let formerly = with_key(IdempotencyKey::new("k", former).unwrap());
    let first = done(db.pool(), &clock, formerly).await;
    let now = asked().object(None).word("1");
    let now = with_key(IdempotencyKey::new("k", [9; 32]).unwrap().with_v1(now));
    for text in ["SELECT 1", FORGET_CLASSES] {
        sql(&db, text).await;
        let again = answers(db.pool(), &clock, std::slice::from_ref(&now)).await.remove(0);
        assert_eq!((again.replay, again.result), (Replay::ByKey, Ok(first.clone())));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_classes_at_once_have_one_effect_each() {
    let (db, user) = (database().await, testkit::user("hasty"));
    done(db.pool(), &SystemClock, open(&user, credits(100))).await;
    let (one, two) = (db.pool_of(6), db.pool_of(6));
    let tasks = (0..40_usize).map(|number| {
        let pool = if number % 2 == 0 { one.clone() } else { two.clone() };
        let command = match number % 4 {
            0 | 1 => under(consume(&user, credits(3)), "k", 1),
            _ => by_user(under(consume(&user, credits(5)), "k", 2)),
        };
        tokio::spawn(async move { answers(&pool, &SystemClock, &[command]).await.remove(0) })
    });
    let outcomes: Vec<Outcome> = join_all(tasks).await.into_iter().map(Result::unwrap).collect();
    let first = outcomes.iter().filter(|one| one.replay == Replay::First);
    assert_eq!(first.count(), 2);
    let left = done(db.pool(), &SystemClock, consume(&user, credits(1))).await.balance;
    assert_eq!(left.posted, credits(100 - 3 - 5 - 1));
}
