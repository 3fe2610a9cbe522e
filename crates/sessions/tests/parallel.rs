//! Many at once, on real connections.

use kernel::{Scope, Usd};
use pg::Tx;
use sessions::{NewMessage, SessionRefusal, Status};
use testkit::user;

use crate::support::{House, add, not_found};

#[tokio::test(flavor = "multi_thread")]
async fn sixty_parallel_messages_count_sixty() {
    let house = House::build().await;
    let session = house.session(&user("auth0|a")).await;
    let pool = house.db.pool_of(20);
    let tasks: Vec<_> = (1..=60)
        .map(|nth: i64| {
            let new = NewMessage {
                tokens_used: nth,
                cost_usd: Usd::from_nano(1_000_000 + nth),
                ..house.message(&session)
            };
            let (pool, clock) = (pool.clone(), house.clock.clone());
            tokio::spawn(async move { add(&pool, &clock, &[new]).await.remove(0).unwrap().seq })
        })
        .collect();
    let mut seqs = Vec::new();
    for task in tasks {
        seqs.push(task.await.unwrap());
    }
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=60).collect::<Vec<i64>>());
    let after = house.find(session.session_id).await.unwrap();
    assert_eq!((after.message_count, after.total_tokens), (60, 1_830));
    assert_eq!(after.total_cost, Usd::from_nano(60_001_830));
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_over_the_same_sessions_do_not_deadlock() {
    let house = House::build().await;
    let mut sessions = Vec::new();
    for name in ["auth0|c", "auth0|a", "auth0|b", "auth0|a"] {
        sessions.push(house.session(&user(name)).await);
    }
    let pool = house.db.pool_of(20);
    let tasks: Vec<_> = (0..40)
        .map(|nth| {
            let mut order = sessions.clone();
            order.rotate_left(nth % 4);
            if nth % 2 == 0 {
                order.reverse();
            }
            let new: Vec<_> = order.iter().map(|session| house.message(session)).collect();
            let (pool, clock) = (pool.clone(), house.clock.clone());
            tokio::spawn(async move { add(&pool, &clock, &new).await })
        })
        .collect();
    for task in tasks {
        assert!(task.await.unwrap().iter().all(Result::is_ok));
    }
    for session in sessions {
        let after = house.find(session.session_id).await.unwrap();
        assert_eq!((after.message_count, after.total_tokens), (40, 200));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_race_with_a_deletion_are_deleted_or_refused() {
    let house = House::build().await;
    let session = house.session(&user("auth0|a")).await;
    let id = session.session_id;
    let pool = house.db.pool_of(20);
    let writers: Vec<_> = (0..30)
        .map(|_| {
            let new = house.message(&session);
            let (pool, clock) = (pool.clone(), house.clock.clone());
            tokio::spawn(async move { add(&pool, &clock, &[new]).await.remove(0) })
        })
        .collect();
    let deletion = {
        let pool = pool.clone();
        tokio::spawn(async move {
            let mut tx = Tx::begin(&pool).await.unwrap();
            let deleted = sessions::delete(&mut tx, id, &Scope::Any).await.unwrap();
            tx.commit().await.unwrap();
            deleted.unwrap().message_count
        })
    };
    let mut added = 0;
    for writer in writers {
        match writer.await.unwrap() {
            Ok(_) => added += 1,
            Err(refusal) => assert_eq!(refusal, not_found(id)),
        }
    }
    assert_eq!(deletion.await.unwrap(), added);
    assert_eq!(house.find(id).await, None);
    assert_eq!(house.messages(&session).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn setting_the_status_loses_no_message() {
    let house = House::build().await;
    let session = house.session(&user("auth0|a")).await;
    let id = session.session_id;
    let tasks: Vec<_> = (0..40)
        .map(|nth| {
            let new = house.message(&session);
            let (pool, clock) = (house.pool().clone(), house.clock.clone());
            tokio::spawn(async move {
                if nth % 2 == 0 {
                    return add(&pool, &clock, &[new]).await.remove(0).map(drop);
                }
                let mut tx = Tx::begin(&pool).await.unwrap();
                let set = sessions::set_status(&mut tx, &clock, id, &Scope::Any, Status::Completed).await;
                tx.commit().await.unwrap();
                set.unwrap().map(drop)
            })
        })
        .collect();
    for task in tasks {
        let outcome: Result<(), SessionRefusal> = task.await.unwrap();
        assert_eq!(outcome, Ok(()));
    }
    let after = house.find(id).await.unwrap();
    assert_eq!((after.message_count, after.status), (20, Status::Completed));
}
