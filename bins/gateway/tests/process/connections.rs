//! `DATABASE_POOL_SIZE` is the maximum of the whole process: a role that may open no more connections is enough.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::gateway_process::{Gateway, database};
use crate::prelude::*;

/// Fewer than the lanes that would like one each.
const CONNECTIONS: i64 = 5;
const CLIENTS: usize = 10;
const ROUNDS: usize = 8;

/// Makes a role that owns what the role of `db` owns, and says where it finds the database.
async fn limited_role(db: &TestDb, name: &str) -> String {
    let make = format!("CREATE ROLE {name} LOGIN CONNECTION LIMIT {CONNECTIONS} IN ROLE app");
    db.run_as_superuser(&make).await;
    db.url().replace("://app@", &format!("://{name}@"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_may_open_no_more_than_the_pool_serves_every_kind_of_request() {
    let db = database().await;
    let url = limited_role(&db, "limited").await;
    let variables = [("DATABASE_POOL_SIZE", &*CONNECTIONS.to_string()), ("ADMIN_USER_IDS", "auth0|admin")];
    let gateway = Arc::new(Gateway::on(&url, &variables).await);
    let done = Arc::new(AtomicBool::new(false));
    let watching = tokio::spawn(most_sessions(db.superuser_url(), Arc::clone(&done)));
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        clients.spawn(use_everything(Arc::clone(&gateway), client));
    }
    let failures = clients.join_all().await.concat();
    done.store(true, Ordering::Release);
    assert_eq!(failures, Vec::<String>::new(), "{}", gateway.log_tail());
    let most = watching.await.unwrap();
    assert!(most <= CONNECTIONS, "{most} connections at a time");
    assert!(most > 2, "the load was no load: {most} connections");
}

/// The most sessions of the role that were seen at a time.
async fn most_sessions(url: String, done: Arc<AtomicBool>) -> i64 {
    let mut conn = connect(url).await;
    let mut most = 0;
    while !AtomicBool::load(&done, Ordering::Acquire) {
        let sessions = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'limited'";
        most = most.max(testkit::ask(&mut conn, sessions).await.unwrap());
        tokio::task::yield_now().await;
    }
    most
}

/// Sends one request of every kind, again and again; answers with what was refused.
async fn use_everything(gateway: Arc<Gateway>, client: usize) -> Vec<String> {
    let mut failures = Vec::new();
    for round in 0..ROUNDS {
        let user = format!("auth0|c{client}r{round}");
        let of_user = &user;
        let ensure =
            json!({"auth0_id": user, "email": format!("c{client}r{round}@example.com"), "name": "x"});
        let records: Vec<Value> = (0..20)
            .map(|n| json!({"user_id": user, "event_type": "ai_chat", "credits_charged": 0.5, "charge": n % 2 == 0}))
            .collect();
        let mut send = async |method: &str, path: &str, body: Value| {
            let sent = gateway.request(method, path).service().json(body).try_send().await;
            let reply = sent.map(|reply| (reply.status, reply.text));
            match reply {
                Ok((200, text)) => return text,
                failed => failures.push(format!("{method} {path}: {failed:?}")),
            }
            String::new()
        };
        send("POST", "ensure", ensure).await;
        send("POST", &format!("{of_user}/credits/consume"), json!({"amount": 1})).await;
        send("GET", &format!("{of_user}/credits/balance"), Value::Null).await;
        send("POST", "/api/v1/usage/batch", json!({"records": records})).await;
        send("GET", &format!("{of_user}/credits/transactions"), Value::Null).await;
        send("GET", &format!("{of_user}/usage/stats"), Value::Null).await;
        hang_up(&gateway, &format!("{of_user}/usage/timeseries?bucket=15m&tz=Asia/Kolkata")).await;
        send("GET", &format!("{of_user}/usage/export?format=csv"), Value::Null).await;
        let session = send("POST", &format!("{of_user}/sessions"), json!({"title": "x"})).await;
        let session: Value = serde_json::from_str(&session).unwrap_or_default();
        let session = format!("/api/v1/sessions/{}", session["session_id"].as_str().unwrap_or_default());
        let message = json!({"role": "user", "content": "hello"});
        send("POST", &format!("{session}/messages"), message).await;
        send("GET", &format!("{session}/messages"), Value::Null).await;
        send("DELETE", &session, Value::Null).await;
        hang_up(&gateway, "/api/v1/usage/timeseries?bucket=1h&group_by=user").await;
        send("GET", "/api/v1/usage/summary?tz=Asia/Shanghai", Value::Null).await;
        send("GET", "/health", Value::Null).await;
        send("GET", "/readyz", Value::Null).await;
    }
    failures
}

/// Sends a request and goes away without waiting for the answer: its statement is ended by a cancellation.
async fn hang_up(gateway: &Gateway, path: &str) {
    let address = gateway.url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.unwrap();
    let key = testkit::SERVICE_KEY;
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.set_zero_linger().unwrap();
}
