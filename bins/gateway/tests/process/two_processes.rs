//! Two gateways on one database stay exact together.

use std::{collections::BTreeMap, sync::Arc};

use super::gateway_process::{Gateway, database};
use crate::prelude::*;

/// Two gateways on one database, which goes last.
struct Both {
    gateways: [Arc<Gateway>; 2],
    _db: TestDb,
}

impl Both {
    async fn start() -> Self {
        Self::start_where(&[]).await
    }

    /// Where the role of the gateways has other defaults.
    async fn start_where(settings: &[(&str, &str)]) -> Self {
        let db = database().await;
        db.set_defaults(settings).await;
        let variables = [("INITIAL_CREDITS", "130")];
        let (one, two) = tokio::join!(Gateway::on(db.url(), &variables), Gateway::on(db.url(), &variables));
        Self { gateways: [Arc::new(one), Arc::new(two)], _db: db }
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
    sign_ups.join_all().await;
    assert_eq!(gateways[0].balance("auth0%7Cboth").await, 130.0, "one initial grant");

    let mut spenders = JoinSet::new();
    for turn in 0..60 {
        spenders.spawn(gateways[turn % 2].consume("auth0%7Cboth", 10).send());
    }
    let replies = spenders.join_all().await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 13);
    assert_eq!(replies.iter().filter(|reply| reply.status == 400).count(), 47);
    assert_eq!(gateways[1].balance("auth0%7Cboth").await, 0.0);
}

/// Each event goes to both, and there are more than twice as many as the budget has room for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_keep_a_budget_and_charge_each_event_once() {
    let both = Both::start().await;
    let [one, two] = &both.gateways;
    one.ensure("a").await;
    let budgets = json!({"budgets": [{"period": "day", "limit": 25}]});
    one.request("PUT", "a/credits/budgets").service().json(budgets).expect(200).await;

    let mut charges = JoinSet::new();
    for event in 0..30 {
        for gateway in [one, two] {
            let body = json!({
                "event_id": format!("e{event}"), "endpoint": "/chat", "event_type": "ai_chat", "credits_charged": 2,
                "charge": true,
            });
            let charge = gateway.post("a/usage", body);
            charges.spawn(async move { (event, charge.await) });
        }
    }
    let mut records: BTreeMap<i32, Vec<Value>> = BTreeMap::new();
    for (event, reply) in charges.join_all().await {
        match reply.status {
            200 => records.entry(event).or_default().push(reply.data()["id"].clone()),
            status => assert_eq!((status, reply.error_code().as_str()), (400, "BudgetExceededException")),
        }
    }
    assert_eq!(records.len(), 12, "{records:?}");
    for ids in records.values() {
        assert!(ids.iter().all(|id| id.is_number() && *id == ids[0]), "{ids:?}");
    }
    assert_eq!(two.balance("a").await, 106.0);
    two.get("a/credits/budgets").data().await.has(json!({"budgets.0.spent": 24.0}));
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
        let path = format!("{}/credits/consume", users[turn % users.len()]);
        spenders.spawn(both.gateways[turn % 2].post(&path, json!({"amount": 0.25})).send());
    }
    let failed: Vec<_> = spenders.join_all().await.into_iter().filter(|reply| reply.status != 200).collect();
    assert!(failed.is_empty(), "{} of 600 failed: {:?}", failed.len(), failed[0]);
    for user in users {
        assert_eq!(both.gateways[1].balance(user).await, 80.0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_development_token_of_one_gateway_is_accepted_by_the_other() {
    let both = Both::start().await;
    let [one, two] = &both.gateways;
    let path = "/auth/dev-token?user_id=auth0%7Ctest123&email=test@example.com";
    let issued = one.request("POST", path).ok().await;
    for gateway in [two, one] {
        let body = json!({"email": "test@example.com", "name": "Test"});
        gateway.request("POST", "ensure").token(issued["token"].text()).json(body).expect(200).await;
    }
}
