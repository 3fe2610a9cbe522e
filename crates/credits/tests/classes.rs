//! Users and services beside one another: neither ends what is of the other class.

use credits::{HOLDS_OPEN_MAX, HoldFilter, HoldStatus, Refusal};
use diesel_async::SimpleAsyncConnection;
use kernel::{CallerClass, Failure, Kind, Page};
use testkit::TestDb;

use crate::support::{by_user, capture, credits, database, done, hold, open, release, run};

async fn violations(db: &TestDb) -> Vec<credits::verify::Violation> {
    credits::verify::chunk(db.pool(), None, 10).await.unwrap().violations
}

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
    db.run("UPDATE credits.holds SET made_by = NULL").await;
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
        db.run(&format!("UPDATE credits.holds SET {change}")).await;
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
        db.run(&set("made_by = 'user'")).await;
        let end = if is_captured { capture(&user, hold_id, None) } else { release(&user, hold_id) };
        done(db.pool(), &clock, by_user(end)).await;
        db.run(&set("made_by = 'service', ended_by = NULL")).await;
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
