//! Rate limits that processes share through Redis.

use std::sync::atomic::{AtomicBool, Ordering};

use kernel::SystemClock;
use secrecy::SecretString;
use testkit::{RedisServer, TOKEN_SECRET};

use super::gateway_process::{Gateway, database};
use crate::prelude::*;

const BALANCE: &str = "/api/v1/users/auth0%7Ca/credits/balance";

/// Waits until a gateway has logged a text so often.
async fn logged(gateway: &Gateway, text: &str, times: usize) {
    let mut deadline = Deadline::new();
    while gateway.log().matches(text).count() < times {
        assert!(deadline.allows_another(), "{text:?} is missing: {}", gateway.log_tail());
        tokio::task::yield_now().await;
    }
}

const SHARED: &str = "rate limits are counted in Redis";
const ALONE: &str = "this process counts rate limits alone";

/// A call to Redis that a busy machine delays is not shared, so this is tried until it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_services_with_one_redis_share_the_budget_of_a_user() {
    let Some(redis) = RedisServer::start().await else { return };
    let url = redis.url();
    let variables = [("RATE_LIMIT_ENABLED", "true"), ("RATE_LIMIT_USER_BURST", "10"), ("REDIS_URL", &url)];
    let (one, two) = tokio::join!(TestApp::start_with(&variables), TestApp::start_with(&variables));
    let mut deadline = Deadline::new();
    let mut attempt = 0;
    loop {
        attempt += 1;
        let token = one.token(&format!("auth0|{attempt}"));
        let mut given = 0;
        for app in [&one, &two].into_iter().cycle().take(40) {
            // A token makes no user.
            match app.get("/api/v1/users/me").token(&token).await.status {
                404 => given += 1,
                status => assert_eq!(status, 429),
            }
        }
        if given == 10 {
            break;
        }
        assert!(deadline.allows_another(), "{given} of 40");
    }
}

/// The round trips of ten requests. Redis is given up for a moment when a busy machine delays a call, so this is tried until
/// none is.
async fn round_trips(redis: &RedisServer, expected: u64, request: impl Fn() -> TestRequest) {
    let mut deadline = Deadline::new();
    loop {
        let before = redis.calls("evalsha").await;
        for _ in 0..10 {
            request().await;
        }
        let asked = redis.calls("evalsha").await - before;
        if asked == 10 * expected {
            return;
        }
        assert!(deadline.allows_another(), "{asked} round trips of 10 requests");
    }
}

/// Requests and bytes are judged together, as are a login's account and the pair of account and address.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_costs_one_round_trip_to_redis() {
    let Some(redis) = RedisServer::start().await else { return };
    let url = redis.url();
    let variables = [
        ("RATE_LIMIT_ENABLED", "true"),
        ("RATE_LIMIT_USER_BURST", "1000000"),
        ("RATE_LIMIT_ANONYMOUS_BURST", "1000000"),
        ("RATE_LIMIT_LOGIN", "10000"),
        ("REDIS_URL", &url),
    ];
    let (app, user) = TestApp::with_user(&variables).await;
    let consume = "/api/v1/users/auth0%7Ca/credits/consume";
    round_trips(&redis, 1, || app.get(BALANCE).by(&user)).await;
    round_trips(&redis, 1, || app.post(consume).by(&user).json(json!({"amount": "0.000001"}))).await;
    round_trips(&redis, 1, || app.post("/api/v1/users/auth0%7Cb/credits/consume").by(&user).body("{}")).await;
    round_trips(&redis, 1, || app.get(BALANCE).token("invalid")).await;
    round_trips(&redis, 0, || app.post(consume).service().json(json!({"amount": "0.000001"}))).await;
    let login = json!({"email": "nobody@example.com", "password": "correct horse battery"});
    round_trips(&redis, 2, || app.post("/api/auth/email-login").json(&login)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_go_on_while_redis_is_gone_or_silent() {
    let Some(mut redis) = RedisServer::start().await else { return };
    let url = redis.url();
    let db = database().await;
    let secret = ("SUPABASE_JWT_SECRET", TOKEN_SECRET);
    let variables =
        [secret, ("REDIS_URL", &url), ("RATE_LIMIT_USER", "1000000"), ("RATE_LIMIT_USER_BURST", "1000000")];
    let gateway = Arc::new(Gateway::on(db.url(), &variables).await);
    gateway.ensure("auth0|a").await;
    logged(&gateway, SHARED, 1).await;
    assert!(gateway.metrics().await.contains("user_service_rate_limits_shared 1"));
    let (secret, user) = (SecretString::from(TOKEN_SECRET), testkit::user("auth0|a"));
    let token = identity::dev_token(&secret, &user, "someone@example.com", SystemClock.now());
    let done = Arc::new(AtomicBool::new(false));
    let mut load = JoinSet::new();
    for _ in 0..8 {
        let (gateway, token, done) = (Arc::clone(&gateway), token.clone(), Arc::clone(&done));
        load.spawn(async move {
            let mut answered = 0;
            while !done.load(Ordering::Relaxed) {
                let reply = gateway.request("GET", BALANCE).token(&token).expect(200).await;
                assert!(reply.header("ratelimit").starts_with("\"user\";r="), "{reply:?}");
                answered += 1;
            }
            answered
        });
    }
    redis.kill();
    logged(&gateway, ALONE, 1).await;
    assert!(gateway.metrics().await.contains("user_service_rate_limits_shared 0"));
    redis.start_again().await;
    logged(&gateway, SHARED, 2).await;
    redis.pause();
    logged(&gateway, ALONE, 2).await;
    redis.resume();
    logged(&gateway, SHARED, 3).await;
    done.store(true, Ordering::Relaxed);
    let answered = load.join_all().await;
    assert!(answered.iter().all(|answered| *answered > 0), "{answered:?}");
    let log = gateway.log();
    // One line for each change; a busy machine may add some.
    let (shared, alone) = (log.matches(SHARED).count(), log.matches(ALONE).count());
    assert!(shared.abs_diff(alone) <= 1 && alone < 20, "{shared} and {alone}");
}

#[tokio::test]
async fn a_service_starts_without_its_redis() {
    let db = database().await;
    let gateway = Gateway::on(db.url(), &[("REDIS_URL", "redis+unix:///nowhere/redis.sock")]).await;
    logged(&gateway, ALONE, 1).await;
    let open = gateway.request("GET", "/").expect(200).await;
    assert_eq!(open.header("ratelimit"), "\"anonymous\";r=39;t=1");
}
