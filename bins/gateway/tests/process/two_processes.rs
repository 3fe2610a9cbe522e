//! Two gateways on one database stay exact together.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::TestDb;
use tokio::task::JoinSet;

use super::gateway_process::{Gateway, folder};

/// Two gateways with their folders on one database, which goes last.
struct Both {
    gateways: [Arc<Gateway>; 2],
    _folders: [TempDir; 2],
    _db: TestDb,
}

impl Both {
    async fn start() -> Self {
        Self::start_where(&[]).await
    }

    /// Where the role of the gateways has other defaults.
    async fn start_where(settings: &[(&str, &str)]) -> Self {
        let db = TestDb::create(gateway::app::MIGRATIONS, gateway::app::AUDITS).await;
        db.set_defaults(settings).await;
        let (one, two) = (folder(), folder());
        let variables = [("DATABASE_URL", db.url()), ("INITIAL_CREDITS", "130")];
        let (first, second) =
            tokio::join!(Gateway::start(one.path(), &variables), Gateway::start(two.path(), &variables));
        Self { gateways: [Arc::new(first), Arc::new(second)], _folders: [one, two], _db: db }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_on_one_database_stay_exact() {
    let both = Both::start().await;
    let gateways = &both.gateways;
    let mut sign_ups = JoinSet::new();
    for turn in 0..20 {
        let gateway = Arc::clone(&gateways[turn % 2]);
        sign_ups.spawn(async move { gateway.ensure("auth0|both").await });
    }
    while let Some(done) = sign_ups.join_next().await {
        done.unwrap();
    }
    assert_eq!(gateways[0].balance("auth0%7Cboth").await, 130.0, "one initial grant");

    let mut spenders = JoinSet::new();
    for turn in 0..60 {
        let gateway = Arc::clone(&gateways[turn % 2]);
        spenders.spawn(async move { gateway.consume("auth0%7Cboth", 10).await.unwrap().0 });
    }
    let mut statuses = Vec::new();
    while let Some(status) = spenders.join_next().await {
        statuses.push(status.unwrap());
    }
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 13);
    assert_eq!(statuses.iter().filter(|status| **status == 400).count(), 47);
    assert_eq!(gateways[1].balance("auth0%7Cboth").await, 0.0);
}

/// Each event goes to both, and there are more than twice as many as the budget has room for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_keep_a_budget_and_charge_each_event_once() {
    let both = Both::start().await;
    let [one, two] = &both.gateways;
    one.ensure("a").await;
    let budgets = json!({"budgets": [{"period": "day", "limit": 25}]});
    let (status, _) = one.send("PUT", "/api/v1/users/a/credits/budgets", budgets).await.unwrap();
    assert_eq!(status, 200);

    let mut charges = JoinSet::new();
    for event in 0..30 {
        for gateway in [one, two] {
            let gateway = Arc::clone(gateway);
            let body = json!({
                "event_id": format!("e{event}"), "endpoint": "/chat", "event_type": "ai_chat", "credits_charged": 2,
                "charge": true,
            });
            charges.spawn(async move {
                let reply = gateway.send("POST", "/api/v1/users/a/usage", body).await;
                (event, reply.unwrap())
            });
        }
    }
    let mut records: BTreeMap<i32, Vec<Value>> = BTreeMap::new();
    while let Some(done) = charges.join_next().await {
        let (event, (status, reply)) = done.unwrap();
        match status {
            200 => records.entry(event).or_default().push(reply["data"]["id"].clone()),
            400 => assert_eq!(reply["error_code"], "BudgetExceededException"),
            _ => panic!("{status} {reply}"),
        }
    }
    assert_eq!(records.len(), 12, "{records:?}");
    for ids in records.values() {
        assert!(ids.iter().all(|id| id.is_number() && *id == ids[0]), "{ids:?}");
    }
    assert_eq!(two.balance("a").await, 106.0);
    let (_, reply) = two.send("GET", "/api/v1/users/a/credits/budgets", Value::Null).await.unwrap();
    assert_eq!(reply["data"]["budgets"][0]["spent"], 24.0, "{reply}");
}

/// What an operator may have set for the role, or for all of a server.
pub const OTHER_DEFAULTS: &[(&str, &str)] = &[
    ("default_transaction_isolation", "'repeatable read'"),
    ("synchronous_commit", "off"),
    ("jit", "on"),
    ("plan_cache_mode", "auto"),
    ("enable_seqscan", "on"),
    ("search_path", "'nowhere, pg_catalog'"),
    ("row_security", "on"),
    ("TimeZone", "'Asia/Kathmandu'"),
    ("timezone_abbreviations", "'Australia'"),
    ("DateStyle", "'SQL, DMY'"),
    ("IntervalStyle", "sql_standard"),
    ("standard_conforming_strings", "off"),
    ("lock_timeout", "'1ms'"),
    ("statement_timeout", "'1s'"),
    ("idle_in_transaction_session_timeout", "'50ms'"),
    ("exit_on_error", "on"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_where_the_role_has_other_defaults() {
    let both = Both::start_where(OTHER_DEFAULTS).await;
    let users = ["a", "b", "c"];
    for user in users {
        both.gateways[0].ensure(user).await;
    }
    let mut spenders = JoinSet::new();
    for turn in 0..600 {
        let gateway = Arc::clone(&both.gateways[turn % 2]);
        let user = users[turn % users.len()];
        spenders.spawn(async move {
            let body = json!({"amount": 0.25});
            let path = format!("/api/v1/users/{user}/credits/consume");
            let (status, reply) = gateway.send("POST", &path, body).await.unwrap();
            (status != 200).then(|| format!("{status} {reply}"))
        });
    }
    let mut failed = Vec::new();
    while let Some(failure) = spenders.join_next().await {
        failed.extend(failure.unwrap());
    }
    assert!(failed.is_empty(), "{} of 600 failed: {}", failed.len(), failed[0]);
    for user in users {
        assert_eq!(both.gateways[1].balance(user).await, 80.0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_development_token_of_one_gateway_is_accepted_by_the_other() {
    let both = Both::start().await;
    let [one, two] = &both.gateways;
    let path = "/auth/dev-token?user_id=auth0%7Ctest123&email=test@example.com";
    let issued: Value =
        one.client.post(format!("{}{path}", one.url)).send().await.unwrap().json().await.unwrap();
    for gateway in [two, one] {
        let ensured = gateway
            .client
            .post(format!("{}/api/v1/users/ensure", gateway.url))
            .bearer_auth(issued["token"].as_str().unwrap())
            .json(&json!({"email": "test@example.com", "name": "Test"}));
        assert_eq!(ensured.send().await.unwrap().status(), 200);
    }
}
