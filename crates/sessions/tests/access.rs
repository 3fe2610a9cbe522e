//! How the lists reach their rows: by index, and only those of the page.

use diesel::{QueryableByName, sql_types::BigInt};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use kernel::{Page, Start};
use pg::Tx;
use sessions::{MessageFilter, NewMessage, Role, SessionFilter, Status};
use testkit::user;
use time::Duration;

use crate::support::House;

#[derive(QueryableByName, Debug, Clone, Copy)]
struct Reads {
    #[diesel(sql_type = BigInt)]
    scans: i64,
    #[diesel(sql_type = BigInt)]
    rows: i64,
}

/// What the statements of this connection have read so far, as PostgreSQL counts it: the plan that really ran.
async fn reads(conn: &mut AsyncPgConnection) -> Reads {
    pg::sql(
        "SELECT sum(pg_stat_get_xact_numscans(oid))::bigint AS scans,
                sum(pg_stat_get_xact_tuples_fetched(oid))::bigint AS rows
         FROM unnest(ARRAY['sessions.sessions', 'sessions.sessions_newest_created', 'sessions.messages',
                           'sessions.messages_pkey']::regclass[]) AS things (oid)",
    )
    .get_result(conn)
    .await
    .unwrap()
}

fn between(before: Reads, after: Reads) -> (i64, i64) {
    (after.scans - before.scans, after.rows - before.rows)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_sessions_reads_its_own_rows_by_index() {
    let house = House::build().await;
    for nth in 0..600 {
        house.session(&user(&format!("u{}", nth % 3))).await;
        house.clock.advance(Duration::SECOND);
    }
    let mut tx = Tx::begin(house.pool()).await.unwrap();
    tx.conn().batch_execute("ANALYZE sessions.sessions").await.unwrap();
    let mut page = Page::first(20);
    for filter in [None, Some(Status::Active), None, Some(Status::Active)] {
        let filter = SessionFilter { status: filter };
        let before = reads(tx.conn()).await;
        let slice = sessions::list(tx.conn(), &house.clock, &user("u1"), filter, &page).await.unwrap();
        assert_eq!(between(before, reads(tx.conn()).await), (1, 21), "{filter:?}");
        page = Page::new(20, Start::After(slice.next.unwrap())).unwrap();
    }
    tx.rollback().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_messages_reads_its_own_rows_by_index() {
    let house = House::build().await;
    let (session, other) = (house.session(&user("a")).await, house.session(&user("a")).await);
    let new: Vec<NewMessage> =
        (0..1_000).flat_map(|_| [house.message(&session), house.message(&other)]).collect();
    house.add(&new).await;
    let mut tx = Tx::begin(house.pool()).await.unwrap();
    tx.conn().batch_execute("ANALYZE sessions.messages").await.unwrap();
    let mut page = Page::first(20);
    for role in [None, Some(Role::User), None, Some(Role::User)] {
        let before = reads(tx.conn()).await;
        let slice = sessions::messages(tx.conn(), &session, MessageFilter { role }, &page).await.unwrap();
        assert_eq!(between(before, reads(tx.conn()).await), (1, 21), "{role:?}");
        page = Page::new(20, Start::After(slice.next.unwrap())).unwrap();
    }
    tx.rollback().await;
}
