//! `POST /api/v1/users/{user_id}/credits/consume`

use crate::prelude::*;

const PATH: &str = "credits/consume";

async fn balance(app: &TestApp, token: &str) -> String {
    let reply = app.get("credits/balance").token(token).expect(200).await;
    reply.text.rsplit_once("\"data\":").unwrap().1.trim_end_matches('}').to_owned()
}

#[tokio::test]
async fn answers_flat_and_whole_in_both_languages() {
    let (app, user) = TestApp::with_user(&[]).await;
    let body = json!({"user_id": "auth0|a", "amount": 25.5, "reason": "GPT-4 call", "endpoint": "/api/chat/completion"});
    let reply = app.post(PATH).by(&user).header("Accept-Language", "zh").json(&body).expect(200).await;
    assert!(reply.text.contains(r#""remaining_credits":974.5,"consumed_amount":25.5"#), "{}", reply.text);
    let answer = reply.json();
    answer.has(json!({
        "message": "成功消费 25.5 积分", "data.description": "GPT-4 call",
        "data.metadata": {"reason": "GPT-4 call", "endpoint": "/api/chat/completion"},
        "data.created_at": "2026-01-15T12:00:00.000000Z",
    }));
    let plain = app.post(PATH).by(&user).json(json!({"amount": "0.000001"})).expect(200).await;
    plain.has(json!({"message": "Successfully consumed 0.000001 credits", "data.description": "api_call"}));
    assert_eq!(balance(&app, &user.token).await, "974.499999");
}

#[tokio::test]
async fn refuses_what_is_no_amount_and_moves_nothing() {
    let (app, user) = TestApp::with_user(&[]).await;
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
        let reply = app.post(PATH).by(&user).body(body).expect(422).await;
        assert_eq!(reply.json()["detail"][0]["type"], kind, "{amount}: {}", reply.text);
        assert_eq!(reply.json()["detail"][0]["loc"], json!(["body", "amount"]));
    }
    assert_eq!(balance(&app, &user.token).await, "1000.0");
}

#[tokio::test]
async fn refuses_more_than_there_is_and_another_user_in_the_body() {
    let (app, user) = TestApp::with_user(&[]).await;
    let consume = |body: serde_json::Value| app.post(PATH).by(&user).json(&body);
    consume(json!({"amount": 27.5})).expect(200).await;
    let short = consume(json!({"amount": 100_000})).expect(400).await;
    assert_eq!(short.json()["message"], "Insufficient credits. Available: 972.5, Required: 100000.0");
    assert_eq!(short.error_code(), "InsufficientCreditsException");
    let details = &short.json()["error_details"];
    details.has(json!({"available": 972.5, "required": 100_000.0, "balance": 972.5, "held": 0.0}));
    let other =
        consume(json!({"amount": 1, "user_id": "auth0|b"})).refused(400, "UserIdMismatchException").await;
    assert_eq!(other.json()["detail"], "user_id in body must match URL parameter");
    consume(json!({"amount": 972.5})).expect(200).await;
    assert_eq!(balance(&app, &user.token).await, "0.0");
}

async fn many(app: &TestApp, token: &str, count: usize, amount: u32) -> Vec<TestReply> {
    let mut requests = JoinSet::new();
    for _ in 0..count {
        let request = app.post(PATH).token(token).json(json!({"amount": amount}));
        requests.spawn(request.send());
    }
    requests.join_all().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_at_once_end_at_the_exact_balance() {
    let (app, user) = TestApp::with_user(&[]).await;
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
    let (app, user) = TestApp::with_user(&[("INITIAL_CREDITS", "130")]).await;
    let replies = many(&app, &user.token, 60, 10).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 13);
    assert_eq!(replies.iter().filter(|reply| reply.status == 400).count(), 47);
    assert_eq!(balance(&app, &user.token).await, "0.0");
}

/// 0.1 + 0.2 of a client with binary floats.
#[tokio::test]
async fn results_of_float_arithmetic_are_understood_and_exact_in_the_books() {
    let (app, user) = TestApp::with_user(&[]).await;
    let send = |body: &'static str| app.post(PATH).by(&user).body(body);
    let consumed = send(r#"{"amount":0.30000000000000004}"#).expect(200).await;
    assert!(consumed.text.contains("\"consumed_amount\":0.3,"), "{}", consumed.text);
    assert_eq!(balance(&app, &user.token).await, "999.7");
    for body in [
        r#"{"amount":"0.30000000000000004"}"#,
        r#"{"amount":0.3000000000000001}"#,
        r#"{"amount":1e-7}"#,
        r#"{"amount":0.0000001}"#,
    ] {
        let refused = send(body).expect(422).await.json();
        assert_eq!(refused["detail"][0]["type"], "decimal_max_places", "{body}");
    }
    assert_eq!(balance(&app, &user.token).await, "999.7");
}
