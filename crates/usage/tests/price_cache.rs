//! A price book in a process is never older than what the database shows.

use std::sync::Arc;

use diesel_async::SimpleAsyncConnection;
use futures_util::future::join_all;
use kernel::Actor;
use pg::Tx;
use testkit::{TestDb, clock, instant};
use usage::{
    Prices, prices,
    rating::{Key, PriceBook, TokenClass},
};

use crate::support::{database, new_price, put_one};

fn charge(book: &PriceBook, model: &str) -> Option<i64> {
    let key = Key { provider: "openai".to_owned(), model: model.to_owned(), service_tier: String::new() };
    let at = instant() + time::Duration::DAY;
    Some(book.find(&key, 0, at)?.rates[&TokenClass::Input].charge_pico)
}

async fn book(db: &TestDb, prices: &Prices) -> Arc<PriceBook> {
    let conn = db.pool().get().await.unwrap();
    prices.book(&conn).await.unwrap()
}

#[tokio::test]
async fn a_change_is_seen_by_every_process_at_once_and_read_once() {
    let (db, clock) = (database().await, clock());
    let (one, other) = (Prices::new(), Prices::new());
    assert_eq!(*book(&db, &one).await, PriceBook::default());
    for pico in 1..=5 {
        put_one(&db, &clock, new_price("openai", "gpt-4", pico)).await;
        for cache in [&one, &other, &one.clone()] {
            assert_eq!(charge(&*book(&db, cache).await, "gpt-4"), Some(pico));
        }
        assert!(Arc::ptr_eq(&book(&db, &one).await, &book(&db, &one.clone()).await));
        clock.advance(time::Duration::MINUTE);
    }
}

#[tokio::test]
async fn a_transaction_sees_its_own_change_and_others_do_not() {
    let (db, clock) = (database().await, clock());
    let cache = Prices::new();
    put_one(&db, &clock, new_price("openai", "gpt-4", 1)).await;
    clock.advance(time::Duration::MINUTE);
    let mut tx = Tx::begin(db.pool()).await.unwrap();
    let new = [new_price("openai", "gpt-4", 2)];
    prices::put(&mut tx, &clock, Actor::Admin, &new).await.unwrap().unwrap();
    assert_eq!(charge(&cache.book(tx.shared()).await.unwrap(), "gpt-4"), Some(2));
    assert_eq!(charge(&*book(&db, &cache).await, "gpt-4"), Some(1), "not committed");
    assert_eq!(charge(&cache.book(tx.shared()).await.unwrap(), "gpt-4"), Some(2));
    tx.rollback().await;
    assert_eq!(charge(&*book(&db, &cache).await, "gpt-4"), Some(1));
    // As many changes as were rolled back: a mere count would take the book of before for this one.
    put_one(&db, &clock, new_price("openai", "gpt-4", 3)).await;
    assert_eq!(charge(&*book(&db, &cache).await, "gpt-4"), Some(3));
}

#[tokio::test]
async fn aliases_and_changes_by_hand_are_seen_too() {
    let (db, clock) = (database().await, clock());
    let cache = Prices::new();
    put_one(&db, &clock, new_price("openai", "gpt-4", 7)).await;
    assert_eq!(charge(&*book(&db, &cache).await, "gpt-4-0613"), None);
    let mut conn = db.pool().get().await.unwrap();
    for (sql, expected) in [
        (
            "INSERT INTO usage.model_aliases VALUES ('openai', 'gpt-4-0613', 'openai', 'gpt-4', 'test', now())",
            Some(7),
        ),
        ("UPDATE usage.model_aliases SET model = 'other'", None),
        ("UPDATE usage.model_aliases SET model = 'gpt-4-0613'", Some(7)),
        ("TRUNCATE usage.model_aliases", None),
    ] {
        conn.batch_execute(sql).await.unwrap();
        assert_eq!(charge(&*book(&db, &cache).await, "gpt-4-0613"), expected, "{sql}");
    }
}

/// Writers raise the price step by step and note, after each commit, how far they came. Whoever asks after that sees at
/// least as much, through caches that many tasks share.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_book_is_older_than_what_was_committed_before_the_question() {
    use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
    let (db, clock) = (database().await, clock());
    let db = Arc::new(db);
    put_one(&db, &clock, new_price("openai", "gpt-4", 0)).await;
    let (committed, done) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicBool::new(false)));
    let caches = [Prices::new(), Prices::new()];
    let readers = (0..4).map(|n| {
        let (db, cache) = (Arc::clone(&db), caches[n % 2].clone());
        let (committed, done) = (Arc::clone(&committed), Arc::clone(&done));
        tokio::spawn(async move {
            let mut asked = 0;
            while !done.load(Ordering::SeqCst) {
                let least = committed.load(Ordering::SeqCst);
                let seen = charge(&*book(&db, &cache).await, "gpt-4").unwrap();
                assert!(seen >= least, "a book of {seen} when {least} was committed");
                asked += 1;
            }
            asked
        })
    });
    let readers: Vec<_> = readers.collect();
    for pico in 1..=60 {
        clock.advance(time::Duration::SECOND);
        put_one(&db, &clock, new_price("openai", "gpt-4", pico)).await;
        committed.store(pico, Ordering::SeqCst);
    }
    done.store(true, Ordering::SeqCst);
    for asked in join_all(readers).await {
        assert!(asked.unwrap() > 0);
    }
}
