//! Constant SQL is parsed once per connection: what ADR 0004 claims, asked of the server and of diesel.

use std::sync::{Arc, Mutex};

use diesel::{
    ExpressionMethods, QueryDsl, QueryableByName,
    connection::InstrumentationEvent,
    sql_types::{BigInt, Text},
    upsert::excluded,
};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use pg::Prepared;

use crate::support::notes;

mod tables {
    diesel::table! {
        notes.notes (id) {
            id -> BigInt,
            body -> Text,
        }
    }
}
use tables::notes::dsl as note;

#[derive(QueryableByName, Debug, PartialEq)]
struct KeptRow {
    #[diesel(sql_type = Text)]
    statement: String,
    #[diesel(sql_type = BigInt)]
    runs: i64,
}

/// The statements that begin with `verb` and are prepared on this connection, with how often each was run.
async fn kept(conn: &mut AsyncPgConnection, verb: &str) -> Vec<KeptRow> {
    let sql = "SELECT statement, generic_plans + custom_plans AS runs FROM pg_prepared_statements \
        WHERE statement LIKE $1 || ' %' ORDER BY name";
    diesel::sql_query(sql).bind::<Text, _>(verb).load(conn).await.unwrap()
}

/// The texts diesel decides to cache from here on.
fn watch_cache(conn: &mut AsyncPgConnection) -> Arc<Mutex<Vec<String>>> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    conn.set_instrumentation(move |event: InstrumentationEvent<'_>| {
        if let InstrumentationEvent::CacheQuery { sql, .. } = event {
            sink.lock().unwrap().push(sql.to_owned());
        }
    });
    seen
}

#[tokio::test]
async fn prepared_update_is_parsed_once_for_three_runs() {
    let db = notes().await;
    let mut conn = db.connect().await;
    let cached = watch_cache(&mut conn);
    for id in 0..3_i64 {
        Prepared(diesel::update(note::notes.filter(note::id.eq(id))).set(note::body.eq("b")))
            .execute(&mut conn)
            .await
            .unwrap();
    }
    let statements = kept(&mut conn, "UPDATE").await;
    assert_eq!(statements.len(), 1, "{statements:?}");
    assert_eq!(statements[0].runs, 3);
    assert_eq!(cached.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn plain_update_is_thrown_away_after_each_run_which_is_why_prepared_exists() {
    let db = notes().await;
    let mut conn = db.connect().await;
    let cached = watch_cache(&mut conn);
    for id in 0..3_i64 {
        diesel::update(note::notes.filter(note::id.eq(id)))
            .set(note::body.eq("b"))
            .execute(&mut conn)
            .await
            .unwrap();
        // Nothing is left to be used again, so the next run has to parse anew.
        assert_eq!(kept(&mut conn, "UPDATE").await, []);
    }
    assert!(cached.lock().unwrap().is_empty());
}

#[tokio::test]
async fn hand_written_sql_is_parsed_once_whatever_is_bound() {
    let db = notes().await;
    let mut conn = db.connect().await;
    for id in 0..3_i64 {
        let body = "b".repeat(usize::try_from(id).unwrap());
        pg::sql("UPDATE notes.notes SET body = $2 WHERE id = $1")
            .bind::<BigInt, _>(id)
            .bind::<Text, _>(&body)
            .execute(&mut conn)
            .await
            .unwrap();
    }
    let statements = kept(&mut conn, "UPDATE").await;
    assert_eq!(statements.len(), 1, "{statements:?}");
    assert_eq!(statements[0].runs, 3);
}

#[tokio::test]
async fn prepared_upsert_is_parsed_once_and_returns_rows() {
    let db = notes().await;
    let mut conn = db.connect().await;
    let mut bodies: Vec<String> = Vec::new();
    for body in ["a", "b", "c"] {
        let upsert = diesel::insert_into(note::notes)
            .values((note::id.eq(1_i64), note::body.eq(body)))
            .on_conflict(note::id)
            .do_update()
            .set(note::body.eq(excluded(note::body)))
            .returning(note::body);
        bodies.push(Prepared(upsert).get_result(&mut conn).await.unwrap());
    }
    assert_eq!(bodies, ["a", "b", "c"]);
    let statements = kept(&mut conn, "INSERT").await;
    assert_eq!(statements.len(), 1, "{statements:?}");
    assert_eq!(statements[0].runs, 3);
}

#[tokio::test]
async fn statements_outlive_the_transaction_that_prepared_them() {
    let db = notes().await;
    let pool = db.pool_of(1);
    for id in 0..3_i64 {
        let mut tx = pg::Tx::begin(&pool).await.unwrap();
        pg::sql("DELETE FROM notes.notes WHERE id = $1")
            .bind::<BigInt, _>(id)
            .execute(tx.conn())
            .await
            .unwrap();
        if id == 1 {
            tx.rollback().await;
        } else {
            tx.commit().await.unwrap();
        }
    }
    let statements = kept(&mut pool.get().await.unwrap(), "DELETE").await;
    assert_eq!(statements.len(), 1, "{statements:?}");
    assert_eq!(statements[0].runs, 3);
}
