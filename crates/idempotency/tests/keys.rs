//! Status of a key: within a batch, from transaction to transaction, and between concurrent transactions.

use futures_util::future::join_all;
use idempotency::{Content, KeyConflict, KeyStatus, Link, NewAnswer, StoredAnswer};
use kernel::{CallerClass, Clock, Failure, Kind, fingerprint::v1};
use pg::{DbError, Tx};
use testkit::TestDb;
use uuid::Uuid;

use crate::{Request, database, looked_up, refusal, store, success};

const USER: CallerClass = CallerClass::User;
const SERVICE: CallerClass = CallerClass::Service;

/// The stored answer of a request.
async fn answer(db: &TestDb, request: &Request) -> StoredAnswer {
    let (tx, keys) = looked_up(db, std::slice::from_ref(request)).await;
    let KeyStatus::Answered(answer) = keys.status(request.keyed()) else {
        panic!("{:?}", keys.status(request.keyed()));
    };
    let answer = answer.clone();
    tx.rollback().await;
    answer
}

#[tokio::test]
async fn an_answer_is_found_as_it_was_stored_and_only_with_its_effect() {
    let (db, at) = (database().await, testkit::clock().now());
    let paid = Request::new("a", "paid", 1, USER);
    let link = Link { transaction_id: Uuid::from_u128(7), usage_record_id: Some(9) };
    let json = r#"{"v":1,"metadata":{"b":1.50,"a":[1e2]}}"#.to_owned();
    store(&db, &paid, NewAnswer { at, link: Some(link), json }).await;
    let stored = answer(&db, &paid).await;
    assert_eq!(stored.at, at);
    // As PostgreSQL writes JSON; numbers keep their digits.
    let json = r#"{"v": 1, "metadata": {"a": [100], "b": 1.50}}"#.to_owned();
    assert_eq!(stored.content, Content::Whole { json, link: Some(link) });

    let refused = Request::new("a", "refused", 1, USER);
    store(&db, &refused, refusal(at)).await;
    assert!(matches!(answer(&db, &refused).await.content, Content::Whole { link: None, .. }));

    let undone = Request::new("a", "undone", 1, USER);
    let (tx, mut keys) = looked_up(&db, std::slice::from_ref(&undone)).await;
    keys.add(undone.keyed(), 0, success(1, at));
    keys.save(&tx).await.unwrap();
    tx.rollback().await;
    let (tx, keys) = looked_up(&db, std::slice::from_ref(&undone)).await;
    assert_eq!(keys.status(undone.keyed()), KeyStatus::New);
    // The key of one user says nothing about another.
    let other = Request::new("b", "paid", 2, USER);
    assert_eq!(keys.status(other.keyed()), KeyStatus::New);
    tx.rollback().await;
}

#[tokio::test]
async fn another_request_under_a_key_is_a_conflict() {
    let (db, at) = (database().await, testkit::clock().now());
    store(&db, &Request::new("a", "k", 1, USER), success(1, at)).await;
    let other = Request::new("a", "k", 2, USER);
    let (tx, keys) = looked_up(&db, std::slice::from_ref(&other)).await;
    let conflict = KeyConflict { first_used_at: at };
    assert_eq!(keys.status(other.keyed()), KeyStatus::Conflict(conflict));
    assert_eq!((conflict.code(), conflict.kind()), ("IdempotencyConflictException", Kind::Invalid));
    tx.rollback().await;
}

#[tokio::test]
async fn the_second_in_a_batch_sees_the_first() {
    let (db, at) = (database().await, testkit::clock().now());
    let requests = [
        Request::new("a", "k", 1, USER),
        Request::new("a", "k", 1, USER),
        Request::new("a", "k", 2, USER),
        Request::new("a", "k", 2, SERVICE),
        Request::new("b", "k", 2, USER),
    ];
    let (tx, mut keys) = looked_up(&db, &requests).await;
    keys.add(requests[0].keyed(), 0, success(1, at));
    let conflict = KeyStatus::Conflict(KeyConflict { first_used_at: at });
    let statuses: Vec<_> = requests.iter().map(|request| keys.status(request.keyed())).collect();
    assert_eq!(
        statuses,
        [KeyStatus::InBatch(0), KeyStatus::InBatch(0), conflict, KeyStatus::New, KeyStatus::New]
    );
    keys.add(requests[3].keyed(), 3, success(2, at));
    keys.add(requests[4].keyed(), 4, success(3, at));
    keys.save(&tx).await.unwrap();
    tx.commit().await.unwrap();
    for (request, number) in [(&requests[0], 1), (&requests[3], 2), (&requests[4], 3)] {
        let Content::Whole { link, .. } = answer(&db, request).await.content else { panic!() };
        assert_eq!(link.unwrap().transaction_id, Uuid::from_u128(number));
    }
}

#[tokio::test]
async fn what_was_stored_without_a_class_counts_for_any_class_by_what_was_asked() {
    let (db, at) = (database().await, testkit::clock().now());
    store(&db, &Request::new("a", "k", 1, USER), success(1, at)).await;
    forget_classes(&db).await;
    for caller in [USER, SERVICE] {
        let same = Request::new("a", "k", 1, caller);
        let first = answer(&db, &same).await;
        // For another request the key is free, to each class once; also within a batch.
        let other = Request::new("a", "k", 2, caller);
        let (tx, mut keys) = looked_up(&db, &[same.clone(), other.clone()]).await;
        keys.add(other.keyed(), 0, success(2, at));
        assert_eq!(keys.status(same.keyed()), KeyStatus::Answered(&first));
        assert_eq!(keys.status(other.keyed()), KeyStatus::InBatch(0));
        tx.rollback().await;
        store(&db, &other, success(2, at)).await;
        assert_ne!(answer(&db, &other).await, first);
        let third = Request::new("a", "k", 3, caller);
        let (tx, keys) = looked_up(&db, std::slice::from_ref(&third)).await;
        assert!(matches!(keys.status(third.keyed()), KeyStatus::Conflict(_)));
        tx.rollback().await;
        assert_eq!(answer(&db, &same).await, first);
    }
}

#[tokio::test]
async fn stored_keys_are_known_by_the_fingerprints_of_earlier_versions() {
    let (db, at) = (database().await, testkit::clock().now());
    let asked = || v1::Fingerprint::new().word("consume");
    // The earliest versions hashed what was sent; later an empty object is an absent one.
    for (key, stored) in [
        ("empty", asked().json(&kernel::FreeForm::empty()).word("1").hashes().next().unwrap()),
        ("absent", asked().object(None).word("1").hashes().next().unwrap()),
    ] {
        let mut request = Request::new("a", key, 0, USER);
        request.key = kernel::IdempotencyKey::new(key, stored).unwrap();
        store(&db, &request, success(1, at)).await;
    }
    let now = |key: &str| {
        let mut now = Request::new("a", key, 9, USER);
        now.key = now.key.with_v1(asked().object(None).word("1"));
        now
    };
    assert_eq!(answer(&db, &now("absent")).await.at, at);
    // Versions that knew classes took both for one request.
    let empty = now("empty");
    let (tx, keys) = looked_up(&db, std::slice::from_ref(&empty)).await;
    assert!(matches!(keys.status(empty.keyed()), KeyStatus::Conflict(_)));
    tx.rollback().await;
    forget_classes(&db).await;
    for key in ["empty", "absent"] {
        assert_eq!(answer(&db, &now(key)).await.at, at, "{key}");
    }
}

/// Makes the rows as a version without classes wrote them.
async fn forget_classes(db: &TestDb) {
    db.run("UPDATE idempotency.answers SET caller = NULL").await;
}

/// A transaction that looked up before another one stored its answer finds it by the unique key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_transactions_at_once_store_one_answer() {
    let db = database().await;
    let (one, two, at) = (db.pool_of(10), db.pool_of(10), testkit::clock().now());
    let tasks = (0..50_u128).map(|number| {
        let pool = if number % 2 == 0 { one.clone() } else { two.clone() };
        let requests =
            [Request::new("hasty", "k", 1, USER), Request::new("hasty", &format!("own {number}"), 1, USER)];
        tokio::spawn(async move {
            for attempt in 0.. {
                assert!(attempt < 100, "overtaken for ever");
                let tx = Tx::begin(&pool).await.unwrap();
                let wanted = requests.iter().map(Request::keyed);
                let mut keys = idempotency::look_up(tx.shared(), wanted).await.unwrap();
                let is_first = keys.status(requests[0].keyed()) == KeyStatus::New;
                for (place, request) in requests.iter().enumerate().skip(usize::from(!is_first)) {
                    keys.add(request.keyed(), place, success(number, at));
                }
                match keys.save(&tx).await {
                    Ok(()) => {
                        tx.commit().await.unwrap();
                        return is_first;
                    }
                    Err(DbError::Contention(_)) => tx.rollback().await,
                    Err(error) => panic!("{error}"),
                }
            }
            false
        })
    });
    let firsts: Vec<bool> = join_all(tasks).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(firsts.iter().filter(|first| **first).count(), 1);
    let shared = answer(&db, &Request::new("hasty", "k", 1, USER)).await;
    let number = firsts.iter().position(|first| *first).unwrap();
    let Content::Whole { link, .. } = shared.content else { panic!() };
    assert_eq!(link.unwrap().transaction_id, Uuid::from_u128(number as u128));
    // What was not overtaken was stored with it, all or nothing.
    for number in 0..50 {
        answer(&db, &Request::new("hasty", &format!("own {number}"), 1, USER)).await;
    }
}
