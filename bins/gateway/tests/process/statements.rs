//! Statements that requests cost: a verified caller costs the one that reads their status.

use testkit::{Pooling, TOKEN_SECRET, TestPooler};

use super::gateway_process::{Gateway, database};
use crate::{own_logins::open_on, prelude::*};

const PUBLIC_URL: &str = "https://users.example.com";
/// A user whose tokens are those of another issuer.
const OTHERS_USER: &str = "auth0|a";
/// A user whose tokens are those of this service.
const OWN_USER: &str = "email|b";

/// Statements of one request of a caller who was seen before. Those of background jobs may come between, so the fewest of several
/// tries count.
async fn executed(pooler: &TestPooler, request: impl Fn() -> TestRequest) -> Vec<String> {
    request().expect(200).await;
    let mut tries = Vec::new();
    for _ in 0..5 {
        let before = pooler.executed().len();
        request().expect(200).await;
        let mut executed = pooler.executed().split_off(before);
        executed.retain(|text| !text.contains("BEGIN") && !text.contains("COMMIT"));
        tries.push(executed);
    }
    tries.into_iter().min_by_key(Vec::len).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_verified_caller_costs_one_statement_whatever_the_credential() {
    let db = database().await;
    let pooler = db.pooler(Pooling::Resetting).await;
    let variables = [("SUPABASE_JWT_SECRET", TOKEN_SECRET), ("PUBLIC_URL", PUBLIC_URL)];
    let gateway = Gateway::on(pooler.url(), &variables).await;
    gateway.ensure(OTHERS_USER).await;
    gateway.ensure(OWN_USER).await;
    let now = kernel::SystemClock.now();
    let token = identity::dev_token(&TOKEN_SECRET.into(), &testkit::user(OTHERS_USER), "a@example.com", now);
    let own = open_on(&db, &kernel::SystemClock, PUBLIC_URL, OWN_USER).await.user.token;
    let body = json!({"name": "service", "scopes": ["service"]});
    let key = gateway.post("/api/v1/api-keys", body).data().await["key"].text().to_owned();
    let callers = [(SERVICE_KEY, OWN_USER), (&token, OTHERS_USER), (&own, OWN_USER), (&key, OWN_USER)];
    for (method, path, body) in [("GET", "balance", Value::Null), ("POST", "consume", json!({"amount": 0.5}))]
    {
        let mut work: Option<Vec<String>> = None;
        for (credential, user) in callers {
            let path = format!("{user}/credits/{path}");
            let request = || gateway.request(method, &path).token(credential).json(body.clone());
            let executed = executed(&pooler, request).await;
            let reads_status = |text: &String| text.contains("identity.");
            let (status, others): (Vec<String>, Vec<String>) = executed.into_iter().partition(reads_status);
            assert_eq!(status.len(), 1, "{method} {path} with {credential:.8}: {status:#?}");
            assert!(!others.is_empty());
            let work = work.get_or_insert_with(|| others.clone());
            assert_eq!(*work, others, "{method} {path} with {credential:.8}");
        }
    }
}
