//! Gateways behind a transaction pooler, and on servers that lose data.

use testkit::{Pooling, skip_without};

use super::{
    gateway_process::{Gateway, command, database, folder, refused},
    two_processes::OTHER_DEFAULTS,
};
use crate::prelude::*;

async fn other_defaults() -> TestDb {
    let db = database().await;
    db.set_defaults(OTHER_DEFAULTS).await;
    db
}

/// Requests of every kind, many at a time: none fails, and the sums are right.
async fn assert_serves(url: &str, gateways: usize) {
    let mut all = Vec::new();
    for _ in 0..gateways {
        all.push(Gateway::on(url, &[]).await);
    }
    for user in ["a", "b"] {
        all[0].ensure(user).await;
    }
    let mut requests = JoinSet::new();
    for turn in 0..200_usize {
        let (gateway, user) = (&all[turn % all.len()], ["a", "b"][turn % 2]);
        let usage =
            json!({"endpoint": "/chat", "event_type": "ai_chat", "credits_charged": 1, "charge": true});
        let calls = [
            ("POST", "credits/consume", json!({"amount": 0.5})),
            ("POST", "usage", usage),
            ("GET", "credits/balance", Value::Null),
            ("GET", "credits/transactions?limit=3", Value::Null),
            ("GET", "usage/timeseries?tz=EST&bucket=1d", Value::Null),
        ]
        .map(|(method, path, body)| gateway.request(method, &format!("{user}/{path}")).service().json(body));
        requests.spawn(async move {
            let mut replies = Vec::new();
            for call in calls {
                replies.push(call.await);
            }
            replies
        });
    }
    let failed = requests.join_all().await.into_iter().flatten().filter(|reply| reply.status != 200);
    assert_eq!(failed.map(|reply| reply.text).collect::<Vec<_>>(), [""; 0]);
    for user in ["a", "b"] {
        assert_eq!(all[0].balance(user).await, 850.0);
    }
    let log = all[0].log();
    assert!(log.contains("through a transaction pooler"), "{log}");
    assert!(log.contains("SET timezone_abbreviations = Default"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_that_forgets_settings_between_transactions_is_served_through() {
    let db = other_defaults().await;
    let pooler = db.pooler(Pooling::Resetting).await;
    assert_serves(pooler.url(), 1).await;
}

/// Runs with PgBouncer 1.21 or newer: `just pgbouncer`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PgBouncer that keeps prepared statements: just pgbouncer"]
async fn pgbouncer_serves_two_gateways() {
    for always in ["0", "1"] {
        let db = other_defaults().await;
        let settings = [
            ("default_pool_size", "10"),
            ("max_prepared_statements", "200"),
            ("server_reset_query_always", always),
            ("server_reset_query", "RESET ALL"),
        ];
        let pgbouncer = db.pgbouncer(&settings).await.unwrap();
        assert!(pgbouncer.can_keep_statements(), "this needs PgBouncer 1.21 or newer");
        assert_serves(pgbouncer.url(), 2).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_that_loses_prepared_statements_is_refused_at_the_start() {
    let db = other_defaults().await;
    let swapping = db.pooler(Pooling::Swapping).await;
    assert_refused(swapping.url()).await;
    let Some(pgbouncer) = db.pgbouncer(&[("default_pool_size", "5")]).await else {
        return skip_without("PgBouncer");
    };
    if !pgbouncer.can_keep_statements() {
        assert_refused(pgbouncer.url()).await;
    }
}

async fn assert_refused(url: &str) {
    let folder = folder();
    let mut command = command(folder.path(), &[("DATABASE_URL", url)]);
    let refusal = move || refused(&mut command, 1, &["does not keep prepared statements"]);
    tokio::task::spawn_blocking(refusal).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_may_lose_data_is_warned_about() {
    let db = other_defaults().await;
    let log = Gateway::on(db.url(), &[]).await.log();
    for hazard in ["fsync = off", "full_page_writes = off"] {
        assert!(log.contains(&format!("runs with {hazard}")), "{log}");
    }
}
