//! `POST /api/v1/users/{user_id}/credits/consume`

use std::sync::Arc;

use serde_json::json;
use testkit::{TestApp, TestReply};
use tokio::task::JoinSet;

const PATH: &str = "/api/v1/users/auth0%7Ca/credits/consume";

async fn balance(app: &TestApp, token: &str) -> String {
    let reply = app.get("/api/v1/users/auth0%7Ca/credits/balance").token(token).send().await.expect(200);
    reply.text.rsplit_once("\"data\":").unwrap().1.trim_end_matches('}').to_owned()
}

#[tokio::test]
async fn answers_flat_and_whole_in_both_languages() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    let body = json!({"user_id": "auth0|a", "amount": 25.5, "reason": "GPT-4 call", "endpoint": "/api/chat/completion"});
    let reply = app
        .post(PATH)
        .token(&user.token)
        .header("Accept-Language", "zh")
        .json(&body)
        .send()
        .await
        .expect(200);
    assert!(reply.text.contains(r#""remaining_credits":974.5,"consumed_amount":25.5"#), "{}", reply.text);
    let answer = reply.json();
    assert_eq!(answer["message"], "成功消费 25.5 积分");
    assert_eq!(answer["data"]["description"], "GPT-4 call");
    assert_eq!(
        answer["data"]["metadata"],
        json!({"reason": "GPT-4 call", "endpoint": "/api/chat/completion"})
    );
    assert_eq!(answer["data"]["created_at"], "2026-01-15T12:00:00.000000Z");
    let plain =
        app.post(PATH).token(&user.token).json(&json!({"amount": "0.000001"})).send().await.expect(200);
    assert_eq!(plain.json()["message"], "Successfully consumed 0.000001 credits");
    assert_eq!(plain.json()["data"]["description"], "api_call");
    assert_eq!(balance(&app, &user.token).await, "974.499999");
}

#[tokio::test]
async fn refuses_what_is_no_amount_and_moves_nothing() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    for (amount, kind) in [
        ("-5", "greater_than"),
        ("0", "greater_than"),
        ("-0.0", "greater_than"),
        ("\"NaN\"", "finite_number"),
        ("\"Infinity\"", "finite_number"),
        ("1.0000001", "decimal_max_places"),
        ("1000000000.000001", "less_than_equal"),
        ("1e300", "less_than_equal"),
        ("true", "decimal_type"),
        ("null", "decimal_type"),
        ("\"ten\"", "decimal_parsing"),
    ] {
        let body = format!("{{\"amount\":{amount}}}");
        let reply = app.post(PATH).token(&user.token).body(body).send().await.expect(422);
        assert_eq!(reply.json()["detail"][0]["type"], kind, "{amount}: {}", reply.text);
        assert_eq!(reply.json()["detail"][0]["loc"], json!(["body", "amount"]));
    }
    assert_eq!(balance(&app, &user.token).await, "1000.0");
}

#[tokio::test]
async fn refuses_more_than_there_is_and_another_user_in_the_body() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    let consume = |body: serde_json::Value| app.post(PATH).token(&user.token).json(&body).send();
    consume(json!({"amount": 27.5})).await.expect(200);
    let short = consume(json!({"amount": 100_000})).await.expect(400);
    assert_eq!(short.json()["message"], "Insufficient credits. Available: 972.5, Required: 100000.0");
    assert_eq!(short.error_code(), "InsufficientCreditsException");
    let details = &short.json()["error_details"];
    assert_eq!((&details["available"], &details["required"]), (&json!(972.5), &json!(100_000.0)));
    assert_eq!((&details["balance"], &details["held"]), (&json!(972.5), &json!(0.0)));
    let other = consume(json!({"amount": 1, "user_id": "auth0|b"})).await.expect(400);
    assert_eq!(other.error_code(), "UserIdMismatchException");
    assert_eq!(other.json()["detail"], "user_id in body must match URL parameter");
    consume(json!({"amount": 972.5})).await.expect(200);
    assert_eq!(balance(&app, &user.token).await, "0.0");
}

async fn many(app: &Arc<TestApp>, token: &str, count: usize, amount: u32) -> Vec<TestReply> {
    let mut requests = JoinSet::new();
    for _ in 0..count {
        let request = app.post(PATH).token(token).json(&json!({"amount": amount}));
        requests.spawn(request.send());
    }
    requests.join_all().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_at_once_end_at_the_exact_balance() {
    let app = Arc::new(TestApp::start().await);
    let user = app.user("auth0|a").await;
    let replies = many(&app, &user.token, 200, 3).await;
    assert!(replies.iter().all(|reply| reply.status == 200));
    assert_eq!(balance(&app, &user.token).await, "400.0");
    let mut afters: Vec<String> =
        replies.iter().map(|reply| reply.json()["remaining_credits"].to_string()).collect();
    afters.sort();
    afters.dedup();
    assert_eq!(afters.len(), 200, "every answer shows a balance of its own");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_at_once_on_an_account_for_thirteen_succeed_thirteen_times() {
    let app = Arc::new(TestApp::start_with(&[("INITIAL_CREDITS", "130")]).await);
    let user = app.user("auth0|a").await;
    let replies = many(&app, &user.token, 60, 10).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 13);
    assert_eq!(replies.iter().filter(|reply| reply.status == 400).count(), 47);
    assert_eq!(balance(&app, &user.token).await, "0.0");
}

/// 0.1 + 0.2 of a client with binary floats.
#[tokio::test]
async fn results_of_float_arithmetic_are_understood_and_exact_in_the_books() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    let send = |body: &'static str| app.post(PATH).token(&user.token).body(body).send();
    let consumed = send(r#"{"amount":0.30000000000000004}"#).await.expect(200);
    assert!(consumed.text.contains("\"consumed_amount\":0.3,"), "{}", consumed.text);
    assert_eq!(balance(&app, &user.token).await, "999.7");
    for body in [
        r#"{"amount":"0.30000000000000004"}"#,
        r#"{"amount":0.3000000000000001}"#,
        r#"{"amount":1e-7}"#,
        r#"{"amount":0.0000001}"#,
    ] {
        let refused = send(body).await.expect(422).json();
        assert_eq!(refused["detail"][0]["type"], "decimal_max_places", "{body}");
    }
    assert_eq!(balance(&app, &user.token).await, "999.7");
}
