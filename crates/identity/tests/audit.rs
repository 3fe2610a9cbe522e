//! The audit log: what is stored, how it is listed, and that it cannot be changed.

use std::net::IpAddr;

use diesel_async::SimpleAsyncConnection;
use identity::audit::{self, Action, AuditActor, AuditEvent, AuditFilter, AuditOrigin, StoredAuditEvent};
use kernel::{Clock as _, FreeForm, KeyAccess, ManualClock, Page, Principal, Start, TimePlace};
use pg::Tx;
use testkit::{TestDb, user};
use time::Duration;

/// A database with the users whom the events name.
async fn database() -> TestDb {
    let db = TestDb::create(&[identity::MIGRATIONS], &[identity::AUDITS]).await;
    for name in ["a", "aa", "b", "auth0|a", "auth0|root"] {
        sign_up(&db, name).await;
    }
    db
}

async fn sign_up(db: &TestDb, name: &str) {
    db.run(&format!(
        "INSERT INTO identity.users (user_id, role, created_at, updated_at) VALUES ('{name}', 'user', now(), now())"
    ))
    .await;
}

fn origin() -> AuditOrigin {
    AuditOrigin { address: Some("203.0.113.7".parse().unwrap()), request_id: "r-1".to_owned() }
}

fn event(clock: &ManualClock, actor: AuditActor, action: Action) -> AuditEvent {
    AuditEvent::new(clock.now(), actor, action, origin())
}

async fn record(db: &TestDb, events: &[AuditEvent]) {
    audit::record(&*db.connect().await, events).await.unwrap();
}

async fn listed(db: &TestDb, filter: AuditFilter) -> Vec<StoredAuditEvent> {
    audit::list(&mut *db.connect().await, &filter, &Page::first(500)).await.unwrap().items
}

async fn requests(db: &TestDb, filter: AuditFilter) -> Vec<String> {
    listed(db, filter).await.into_iter().map(|event| event.request_id.unwrap()).collect()
}

#[tokio::test]
async fn an_event_is_listed_as_it_was_recorded() {
    let (db, clock) = (database().await, testkit::clock());
    let admin = AuditActor::Admin(user("auth0|root"));
    let rich = event(&clock, admin, Action::CreditsGranted)
        .of_user(user("auth0|a"))
        .with(&serde_json::json!({"amount": "12.5", "kind": "promo"}));
    let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
    let plain = AuditEvent::new(
        clock.now(),
        AuditActor::Anonymous,
        Action::LoginRefused,
        AuditOrigin { address: Some(mapped), request_id: String::new() },
    );
    record(&db, &[rich, plain]).await;
    record(&db, &[]).await;
    let found = listed(&db, AuditFilter::default()).await;
    let [second, first] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(
        first,
        &StoredAuditEvent {
            id: first.id,
            at: clock.now(),
            actor: "admin:auth0|root".to_owned(),
            action: "credits.granted".to_owned(),
            user_id: Some(user("auth0|a")),
            address: Some("203.0.113.7".to_owned()),
            request_id: Some("r-1".to_owned()),
            details: FreeForm::stored(r#"{"kind": "promo", "amount": "12.5"}"#.to_owned()),
        }
    );
    assert_eq!((second.actor.as_str(), second.action.as_str()), ("anonymous", "login.refused"));
    assert_eq!(second.address.as_deref(), Some("192.0.2.1"));
    assert_eq!((&second.user_id, &second.request_id), (&None, &None));
    assert!(second.details.is_empty() && second.id > first.id);
}

#[tokio::test]
async fn an_event_is_stored_exactly_if_its_change_is() {
    let (db, clock) = (database().await, testkit::clock());
    for commits in [false, true] {
        let tx = Tx::begin(db.pool()).await.unwrap();
        audit::record(tx.shared(), &[event(&clock, AuditActor::System, Action::Logout)]).await.unwrap();
        if commits {
            tx.commit().await.unwrap()
        } else {
            tx.rollback().await
        }
        assert_eq!(listed(&db, AuditFilter::default()).await.len(), usize::from(commits));
    }
}

/// An erase finds no event that is written after it.
#[tokio::test]
async fn events_that_name_a_user_who_is_gone_have_no_address() {
    let (db, clock) = (database().await, testkit::clock());
    let by = |actor: AuditActor| event(&clock, actor, Action::UserUpdated);
    let gone = || user("gone");
    record(
        &db,
        &[
            by(AuditActor::System).of_user(gone()),
            by(AuditActor::User(gone())),
            by(AuditActor::Admin(gone())).of_user(user("a")),
            by(AuditActor::Admin(user("a"))).of_user(gone()),
            by(AuditActor::Admin(user("a"))).of_user(user("b")),
            by(AuditActor::Key("gone".into())).of_user(user("b")),
        ],
    )
    .await;
    let found = listed(&db, AuditFilter::default()).await;
    let with_address: Vec<_> = found.into_iter().rev().map(|event| event.address.is_some()).collect();
    assert_eq!(with_address, [false, false, false, false, true, true]);

    // One who is going: the event waits for the end of it.
    let erase = Tx::begin(db.pool()).await.unwrap();
    let mut conn = erase.shared();
    conn.batch_execute("DELETE FROM identity.users WHERE user_id = 'a'").await.unwrap();
    let end = async {
        db.wait_for_waiting(1).await;
        erase.commit().await.unwrap();
    };
    clock.advance(Duration::SECOND);
    let last = [by(AuditActor::System).of_user(user("a"))];
    tokio::join!(record(&db, &last), end);
    assert_eq!(listed(&db, AuditFilter::default()).await[0].address, None);
}

#[tokio::test]
async fn filters_and_pages_go_through_every_event_once() {
    let (db, clock) = (database().await, testkit::clock());
    let actors = [AuditActor::User(user("a")), AuditActor::Key("k".into()), AuditActor::Bootstrap];
    let actions = [Action::UserUpdated, Action::BudgetsSet];
    let start = clock.now();
    let mut events = Vec::new();
    for nth in 0..60_usize {
        // Several at the same instant.
        if nth % 3 == 0 {
            clock.advance(Duration::SECOND);
        }
        let made = event(&clock, actors[nth % 3].clone(), actions[nth % 2]);
        let made = if nth % 4 == 0 { made.of_user(user("b")) } else { made };
        events.push(AuditEvent { origin: AuditOrigin { request_id: nth.to_string(), ..origin() }, ..made });
    }
    record(&db, &events).await;
    let from = start + Duration::seconds(3);
    let to = start + Duration::seconds(15);
    let filters = [
        AuditFilter::default(),
        AuditFilter { user_id: Some(user("b")), ..AuditFilter::default() },
        AuditFilter { actor: Some("key:k".to_owned()), ..AuditFilter::default() },
        AuditFilter { action: Some(Action::BudgetsSet), ..AuditFilter::default() },
        AuditFilter { from: Some(from), to: Some(to), ..AuditFilter::default() },
        AuditFilter {
            user_id: Some(user("b")),
            actor: Some("bootstrap".to_owned()),
            action: Some(Action::UserUpdated),
            from: Some(from),
            to: Some(to),
        },
        AuditFilter { actor: Some("user:nobody".to_owned()), ..AuditFilter::default() },
    ];
    for filter in filters {
        let fits = |event: &&AuditEvent| {
            filter.user_id.as_ref().is_none_or(|user_id| event.user_id.as_ref() == Some(user_id))
                && filter.actor.as_ref().is_none_or(|actor| event.actor.to_string() == *actor)
                && filter.action.is_none_or(|action| event.action == action)
                && filter.from.is_none_or(|from| event.at >= from)
                && filter.to.is_none_or(|to| event.at <= to)
        };
        let expected: Vec<String> =
            events.iter().filter(fits).rev().map(|event| event.origin.request_id.clone()).collect();
        assert_eq!(requests(&db, filter.clone()).await, expected, "{filter:?}");
        let mut conn = db.connect().await;
        let (mut paged, mut start) = (Vec::new(), Start::Offset(0));
        loop {
            let page = Page::<TimePlace>::new(7, start).unwrap();
            let slice = audit::list(&mut conn, &filter, &page).await.unwrap();
            paged.extend(slice.items.into_iter().map(|event| event.request_id.unwrap()));
            match slice.next {
                Some(place) => start = Start::After(place),
                None => break,
            }
        }
        assert_eq!(paged, expected, "{filter:?} in pages");
        let offset = Page::<TimePlace>::new(500, Start::Offset(5)).unwrap();
        let rest = audit::list(&mut conn, &filter, &offset).await.unwrap().items.len();
        assert_eq!(rest, expected.len().saturating_sub(5));
    }
}

const CHANGES: [&str; 3] = [
    "UPDATE identity.audit_events SET details = details",
    "DELETE FROM identity.audit_events",
    "TRUNCATE identity.audit_events",
];

async fn refusals(conn: &mut impl SimpleAsyncConnection) -> Vec<String> {
    let mut refusals = Vec::new();
    for change in CHANGES {
        refusals.push(conn.batch_execute(change).await.unwrap_err().to_string());
    }
    refusals
}

#[tokio::test]
async fn nobody_changes_what_is_stored() {
    let (db, clock) = (database().await, testkit::clock());
    record(&db, &[event(&clock, AuditActor::System, Action::Logout)]).await;
    let assert_kept = async || {
        let mut conn = db.connect().await;
        for refusal in refusals(&mut *conn).await {
            assert!(refusal.contains("permission denied"), "{refusal}");
        }
        let mut superuser = db.connect_as_superuser().await;
        for refusal in refusals(&mut *superuser).await {
            assert!(refusal.contains("append-only"), "{refusal}");
        }
    };
    assert_kept().await;
    // The exceptions leave no right behind, whether they did something or not.
    let mut conn = db.connect().await;
    clock.advance(Duration::days(2));
    record(&db, &[event(&clock, AuditActor::System, Action::Logout)]).await;
    forget_addresses(&db, "a").await;
    assert_eq!(audit::prune(&mut conn, &clock, Duration::DAY, 10).await.unwrap(), 1);
    assert_kept().await;
    assert_eq!(listed(&db, AuditFilter::default()).await.len(), 1);
}

/// Rights are catalogue rows, so they are granted only when there is something to do.
#[tokio::test]
async fn pruning_without_anything_to_do_writes_no_catalogue_row() {
    let (db, clock) = (database().await, testkit::clock());
    let by_a = event(&clock, AuditActor::User(user("a")), Action::Logout);
    record(&db, &[by_a]).await;
    let version = "SELECT xmin::text::bigint FROM pg_class WHERE oid = 'identity.audit_events'::regclass";
    let before = db.ask(version).await;
    let mut conn = db.connect().await;
    assert_eq!(audit::prune(&mut conn, &clock, Duration::DAY, 10).await.unwrap(), 0);
    assert_eq!(db.ask(version).await, before);
    clock.advance(Duration::days(2));
    assert_eq!(audit::prune(&mut conn, &clock, Duration::DAY, 10).await.unwrap(), 1);
    let after = db.ask(version).await;
    assert_ne!(after, before, "the version shows that a right was granted");
    assert_eq!(audit::prune(&mut conn, &clock, Duration::DAY, 10).await.unwrap(), 0);
    assert_eq!(db.ask(version).await, after);
}

#[tokio::test]
async fn retention_deletes_the_oldest_and_nothing_younger() {
    let (db, clock) = (database().await, testkit::clock());
    for _ in 0..5 {
        record(&db, &[event(&clock, AuditActor::System, Action::Logout)]).await;
        clock.advance(Duration::DAY);
    }
    let youngest = clock.now() - Duration::DAY;
    // The last one is exactly as old as is still kept.
    let mut conn = db.connect().await;
    let keep_for = Duration::DAY;
    assert_eq!(audit::prune(&mut conn, &clock, keep_for, 3).await.unwrap(), 3);
    assert_eq!(audit::prune(&mut conn, &clock, keep_for, 3).await.unwrap(), 1);
    assert_eq!(audit::prune(&mut conn, &clock, keep_for, 3).await.unwrap(), 0);
    let left: Vec<_> = listed(&db, AuditFilter::default()).await.into_iter().map(|event| event.at).collect();
    assert_eq!(left, [youngest]);
}

#[tokio::test]
async fn two_processes_that_prune_at_once_both_succeed() {
    let (db, clock) = (database().await, testkit::clock());
    let old = event(&clock, AuditActor::System, Action::Logout);
    record(&db, &vec![old; 20]).await;
    clock.advance(Duration::days(2));
    let mut first = Tx::begin(db.pool()).await.unwrap();
    assert_eq!(audit::prune(first.conn(), &clock, Duration::DAY, 10).await.unwrap(), 10);
    let end = async {
        db.wait_for_waiting(1).await;
        first.commit().await.unwrap();
    };
    let mut conn = db.connect().await;
    let (second, ()) = tokio::join!(audit::prune(&mut conn, &clock, Duration::DAY, 100), end);
    assert_eq!(second.unwrap(), 10);
    assert_eq!(db.ask("SELECT count(*) FROM identity.audit_events").await, 0);
}

async fn forget_addresses(db: &TestDb, name: &str) {
    Tx::run(db.pool(), async |tx| pg::personal::erase_in(tx, identity::PERSONAL_DATA, name).await)
        .await
        .unwrap();
}

#[tokio::test]
async fn addresses_are_removed_and_nothing_else_is_changed_by_those_without_limits() {
    let (db, clock) = (database().await, testkit::clock());
    record(&db, &[event(&clock, AuditActor::System, Action::Logout)]).await;
    let mut superuser = db.connect_as_superuser().await;
    superuser.batch_execute("SET identity.audit_exception = 'UPDATE'").await.unwrap();
    for change in ["details = '{\"a\": 1}'", "address = '192.0.2.9'", "address = NULL, request_id = 'x'"] {
        let change = format!("UPDATE identity.audit_events SET {change}");
        let refusal = superuser.batch_execute(&change).await.unwrap_err().to_string();
        assert!(refusal.contains("append-only"), "{change}: {refusal}");
    }
}

#[tokio::test]
async fn an_erased_user_loses_addresses_and_nothing_else() {
    let (db, clock) = (database().await, testkit::clock());
    let by = |actor: AuditActor| event(&clock, actor, Action::UserUpdated);
    let events = [
        by(AuditActor::User(user("a"))),
        by(AuditActor::Admin(user("a"))).of_user(user("b")),
        by(AuditActor::Key("k".into())).of_user(user("a")),
        by(AuditActor::User(user("aa"))).of_user(user("b")),
        by(AuditActor::System),
    ];
    record(&db, &events).await;
    let before = listed(&db, AuditFilter::default()).await;
    forget_addresses(&db, "a").await;
    forget_addresses(&db, "nobody").await;
    let after = listed(&db, AuditFilter::default()).await;
    let expected: Vec<_> = before
        .into_iter()
        .enumerate()
        // Newest first.
        .map(|(nth, event)| if nth < 2 { event } else { StoredAuditEvent { address: None, ..event } })
        .collect();
    assert_eq!(after, expected);
}

#[test]
fn actors_and_actions_have_the_words_of_the_contract() {
    let key = |name: &str, access| Principal::Key { name: name.into(), access };
    for (principal, word) in [
        (Principal::User(user("auth0|x")), "user:auth0|x"),
        (Principal::AdminUser(user("auth0|x")), "admin:auth0|x"),
        (key("bootstrap", KeyAccess::Admin), "bootstrap"),
        (
            key("0190a6c8-1c2b-7def-8abc-0123456789ab", KeyAccess::Service),
            "key:0190a6c8-1c2b-7def-8abc-0123456789ab",
        ),
    ] {
        assert_eq!(AuditActor::from(&principal).to_string(), word);
    }
    for (word, action) in Action::ALL {
        assert_eq!((action.as_str(), word.parse()), (*word, Ok(*action)));
    }
    assert_eq!("user.made".parse::<Action>().unwrap_err().to_string(), r#""user.made" is not an action"#);
    assert!("".parse::<Action>().is_err());
}
