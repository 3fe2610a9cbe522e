//! The readiness probe writes, needs room on the disk, and leaves the table of probes to others as it was.

use diesel_async::SimpleAsyncConnection as _;
use futures_util::future::try_join_all;
use pg::{
    Pool,
    probe::{self, ProbeDepth},
};

use crate::support::{ask_pool, notes};

const DEPTHS: [ProbeDepth; 2] = [ProbeDepth::Row, ProbeDepth::Page];
const ROWS: &str = "SELECT count(*) FROM public.user_service_probes";

async fn run(pool: &Pool, statements: &[&str]) {
    let mut conn = pool.get().await.unwrap();
    for sql in statements {
        conn.batch_execute(sql).await.unwrap();
    }
}

async fn pages(pool: &Pool) -> i64 {
    ask_pool(pool, "pg_relation_size('public.user_service_probes') / 8192").await
}

#[tokio::test]
async fn a_probe_deletes_only_what_it_has_written() {
    let db = notes().await;
    run(db.pool(), &["INSERT INTO public.user_service_probes VALUES ('of another process')"]).await;
    for depth in DEPTHS {
        probe::write(db.pool(), depth).await.unwrap();
        assert_eq!(ask_pool(db.pool(), ROWS).await, 1, "{depth:?}");
    }
}

#[tokio::test]
async fn many_processes_probe_one_database_at_the_same_time() {
    let db = notes().await;
    let probes = (0..8).flat_map(|_| DEPTHS).map(|depth| probe::write(db.pool(), depth));
    try_join_all(probes).await.unwrap();
    assert_eq!(ask_pool(db.pool(), ROWS).await, 0);
}

#[tokio::test]
async fn a_probe_of_a_page_takes_a_new_one_however_many_are_free() {
    let db = notes().await;
    run(
        db.pool(),
        &[
            "INSERT INTO public.user_service_probes SELECT repeat('x', 7000) FROM generate_series(1, 300)",
            // The last page stays in use, so that a vacuum does not return the free ones to the system.
            "INSERT INTO public.user_service_probes VALUES (repeat('y', 7000))",
            "DELETE FROM public.user_service_probes WHERE filler LIKE 'x%'",
            "VACUUM public.user_service_probes",
        ],
    )
    .await;
    let before = pages(db.pool()).await;
    assert!(before > 300, "{before}");
    probe::write(db.pool(), ProbeDepth::Page).await.unwrap();
    assert!(pages(db.pool()).await > before);
}

#[tokio::test]
async fn a_probe_that_writes_nothing_fails() {
    let db = notes().await;
    run(
        db.pool(),
        &["CREATE FUNCTION public.skip() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
            CREATE TRIGGER skip BEFORE INSERT ON public.user_service_probes FOR EACH ROW EXECUTE FUNCTION public.skip()"],
    )
    .await;
    for depth in DEPTHS {
        assert!(probe::write(db.pool(), depth).await.is_err(), "{depth:?}");
    }
}
