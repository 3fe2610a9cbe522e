//! Keys and answers on a real database.

#![cfg(test)]

mod keys;
mod pruning;
mod statements;

use idempotency::{KeyedRequest, Keys, Link, NewAnswer};
use kernel::{CallerClass, IdempotencyKey, UserId};
use pg::Tx;
use testkit::TestDb;
use time::OffsetDateTime;
use uuid::Uuid;

/// A fresh database with the schema of the crate, audited when it is dropped.
async fn database() -> TestDb {
    TestDb::create(&[idempotency::MIGRATIONS], &[idempotency::AUDITS]).await
}

/// A request with a key, as the tests write it.
#[derive(Clone)]
struct Request {
    user_id: UserId,
    key: IdempotencyKey,
    caller: CallerClass,
}

impl Request {
    fn new(user: &str, key: &str, fingerprint: u8, caller: CallerClass) -> Self {
        let key = IdempotencyKey::new(key, [fingerprint; 32]).unwrap();
        Self { user_id: testkit::user(user), key, caller }
    }

    fn keyed(&self) -> KeyedRequest<'_> {
        KeyedRequest { user_id: &self.user_id, key: &self.key, caller: self.caller }
    }
}

/// A transaction that has looked the keys of these requests up.
async fn looked_up(db: &TestDb, requests: &[Request]) -> (Tx, Keys) {
    let tx = Tx::begin(db.pool()).await.unwrap();
    let keys = idempotency::look_up(tx.shared(), requests.iter().map(Request::keyed)).await.unwrap();
    (tx, keys)
}

/// The answer of a success, with its number.
fn success(number: u128, at: OffsetDateTime) -> NewAnswer {
    let link = Link { transaction_id: Uuid::from_u128(number), usage_record_id: None };
    NewAnswer { at, link: Some(link), json: format!(r#"{{"v":1,"number":{number}}}"#) }
}

/// The answer of a refusal.
fn refusal(at: OffsetDateTime) -> NewAnswer {
    NewAnswer { at, link: None, json: r#"{"v":1,"refused":true}"#.to_owned() }
}

/// Stores the answer to a request whose key is new.
async fn store(db: &TestDb, request: &Request, answer: NewAnswer) {
    let (tx, mut keys) = looked_up(db, std::slice::from_ref(request)).await;
    assert_eq!(keys.status(request.keyed()), idempotency::KeyStatus::New);
    keys.add(request.keyed(), 0, answer);
    keys.save(&tx).await.unwrap();
    tx.commit().await.unwrap();
}

/// Rows of answers that the transaction has read.
async fn rows_read(conn: &mut pg::PgConnection) -> i64 {
    let read = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables \
         WHERE relid = 'idempotency.answers'::regclass";
    testkit::ask(conn, read).await.unwrap()
}
