//! Charged usage: `POST .../usage` with `charge`, `POST /api/v1/usage/batch`, `.../correct` and `.../explain`.

use serde_json::{Value, json};
use testkit::{TestApp, TestReply, TestUser};

const PATH: &str = "/api/v1/users/auth0%7Ca/usage";
const BATCH: &str = "/api/v1/usage/batch";

fn used(more: &Value) -> Value {
    let mut body = json!({"endpoint": "/x", "event_type": "ai_chat"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

async fn record(app: &TestApp, user: &TestUser, more: Value) -> TestReply {
    app.post(PATH).token(&user.token).json(&used(&more)).send().await
}

async fn put_price(app: &TestApp) {
    let price = json!({"prices": [{
        "model_name": "house-model", "provider": "house",
        "rates": {
            "input": {"credits": 1500, "cost_usd": 30, "per": 1_000_000},
            "output": {"credits": 4500, "cost_usd": 60, "per": 1_000_000},
        },
    }]});
    app.put("/api/v1/prices").service().json(&price).send().await.expect(200);
}

fn priced() -> Value {
    json!({"charge": true, "model_name": "house-model", "provider": "house", "prompt_tokens": 800, "completion_tokens": 450})
}

async fn balance(app: &TestApp) -> Value {
    let path = "/api/v1/users/auth0%7Ca/credits/balance";
    app.get(path).service().send().await.expect(200).json()["data"].clone()
}

#[tokio::test]
async fn a_charge_is_deducted_with_its_record() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    put_price(&app).await;
    let answer = record(&app, &user, priced()).await.expect(200).json();
    assert_eq!(answer["remaining_credits"], 996.775);
    let data = &answer["data"];
    assert_eq!(
        (&data["credits_charged"], &data["charged"], &data["calculation_method"]),
        (&json!(3.225), &json!(true), &json!("price_list"))
    );
    assert_eq!(data["cost_usd"], 0.051);
    assert_eq!(balance(&app).await, 996.775);
    let path = "/api/v1/users/auth0%7Ca/credits/transactions?limit=1";
    let listed = app.get(path).token(&user.token).send().await.expect(200).json();
    let transaction = &listed["data"][0];
    assert_eq!(
        (&transaction["transaction_id"], &transaction["usage_record_id"]),
        (&data["transaction_id"], &data["id"])
    );

    let path = format!("{PATH}/{}/explain", data["id"]);
    let told = app.get(&path).token(&user.token).send().await.expect(200).json();
    let told = &told["data"];
    assert_eq!(told["usage"], *data);
    assert_eq!(told["price"]["model_name"], "house-model");
    assert_eq!(
        told["terms"],
        json!([
            {"class": "input", "quantity": 800, "rate_per_1m": 1500.0, "credits": 1.2},
            {"class": "output", "quantity": 450, "rate_per_1m": 4500.0, "credits": 2.025},
        ])
    );
    assert_eq!(
        (&told["charged"], &told["recomputed"], &told["matches"]),
        (&json!(3.225), &json!(3.225), &json!(true))
    );
    assert_eq!(told["grants"], json!([{"grant_id": 1, "amount": 3.225}]));
    for (token, code) in [(app.user("auth0|b").await.token, "UserNotFoundException")] {
        let foreign = app.get(&path).token(&token).send().await.expect(404);
        assert_eq!(foreign.error_code(), code);
    }
    for id in ["0", "x", "99999999999999999999"] {
        let missing = app.get(&format!("{PATH}/{id}/explain")).token(&user.token).send().await;
        assert_eq!(missing.expect(404).error_code(), "UsageRecordNotFoundException");
    }
}

#[tokio::test]
async fn a_refused_charge_leaves_nothing() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    for (more, status, code) in [
        (json!({"charge": true, "credits_charged": 1000.5}), 400, "InsufficientCreditsException"),
        (json!({"charge": true, "model_name": "nobody-knows"}), 422, "PriceNotFoundException"),
        (json!({"charge": true, "credits_charged": 1, "hold_id": "h"}), 404, "HoldNotFoundException"),
        (
            json!({"charge": true, "credits_charged": 1, "hold_id": "00000000-0000-4000-8000-000000000000"}),
            404,
            "HoldNotFoundException",
        ),
    ] {
        let refused = record(&app, &user, more).await.expect(status);
        assert_eq!(refused.error_code(), code);
    }
    let listed = app.get(PATH).token(&user.token).send().await.expect(200).json();
    assert_eq!((&listed["data"], balance(&app).await), (&json!([]), json!(1000.0)));
}

#[tokio::test]
async fn a_hold_is_settled_by_the_usage_that_used_it() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    let path = "/api/v1/users/auth0%7Ca/credits/holds";
    let held = app.post(path).token(&user.token).json(&json!({"amount": 70})).send().await.expect(200);
    let hold_id = &held.json()["data"]["hold_id"];
    let more = json!({"charge": true, "credits_charged": 12.5, "hold_id": hold_id});
    let settled = record(&app, &user, more.clone()).await.expect(200).json();
    assert_eq!(settled["remaining_credits"], 987.5);
    let again = record(&app, &user, more).await.expect(409);
    assert_eq!(again.error_code(), "HoldNotOpenException");
}

#[tokio::test]
async fn events_and_keys_are_charged_once() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    let event = |amount: i64| json!({"charge": true, "credits_charged": amount, "event_id": "e1"});
    let first = record(&app, &user, event(10)).await.expect(200).json();
    assert_eq!(first.get("replayed"), None);
    let again = record(&app, &user, event(10)).await.expect(200).json();
    assert_eq!((&again["data"], &again["replayed"]), (&first["data"], &json!(true)));
    let other = record(&app, &user, event(11)).await.expect(409);
    assert_eq!(other.error_code(), "UsageConflictException");

    let keyed = |body: Value| {
        let request = app.post(PATH).token(&user.token).header("Idempotency-Key", "k1");
        request.json(&used(&body)).send()
    };
    let body = json!({"charge": true, "credits_charged": 5, "request_data": {"b": 1.10, "a": "x"}});
    let first = keyed(body.clone()).await.expect(200);
    let again = keyed(body.clone()).await.expect(200);
    assert_eq!((&again.text, again.header("idempotency-replayed")), (&first.text, "true"));
    let mut other = body;
    other["credits_charged"] = json!(6);
    assert_eq!(keyed(other).await.expect(422).error_code(), "IdempotencyConflictException");
    assert_eq!(balance(&app).await, 985.0);
}

#[tokio::test]
async fn a_batch_is_as_one_by_one() {
    let app = TestApp::start().await;
    let _user = app.user("auth0|a").await;
    let _other = app.user("auth0|b").await;
    let charge =
        |amount: i64, event: &str| json!({"charge": true, "credits_charged": amount, "event_id": event});
    let records = json!({"records": [
        item("auth0|a", &charge(600, "e1")),
        item("auth0|a", &charge(600, "e2")),
        item("auth0|a", &charge(600, "e1")),
        item("auth0|a", &charge(400, "e2")),
        item("auth0|b", &json!({})),
        item("auth0|a", &json!({"tokens_used": -1})),
        {"event_type": "t"},
        7,
        item("auth0|nobody", &json!({})),
    ]});
    let send = |key: &str| {
        let request = app.post(BATCH).service().header("Idempotency-Key", key);
        request.json(&records).send()
    };
    let answer = send("k").await.expect(200);
    let data = answer.json()["data"].clone();
    let told: Vec<String> = data["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| match item["status"].as_str().unwrap() {
            "failed" => item["error_code"].as_str().unwrap().to_owned(),
            status => format!("{status} {}", item["remaining_credits"]),
        })
        .collect();
    assert_eq!(
        told,
        [
            "recorded 400.0",
            "InsufficientCreditsException",
            "replayed 400.0",
            "recorded 0.0",
            "recorded null",
            "ValidationException",
            "ValidationException",
            "ValidationException",
            "UserNotFoundException",
        ]
    );
    let counts = (&data["recorded"], &data["replayed"], &data["failed"]);
    assert_eq!(counts, (&json!(3), &json!(1), &json!(5)));
    let again = send("k").await.expect(200);
    assert_eq!(again.json()["data"], data);
    assert_eq!(balance(&app).await, 0.0);
}

fn item(user: &str, more: &Value) -> Value {
    let mut item = json!({"user_id": user, "event_type": "ai_chat"});
    item.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    item
}

#[tokio::test]
async fn a_batch_has_its_bounds_and_a_user_records_for_himself() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    let _other = app.user("auth0|b").await;
    let own = app
        .post(BATCH)
        .token(&user.token)
        .json(&json!({"records": [item("auth0|b", &json!({})), item("auth0|a", &json!({}))]}))
        .send()
        .await
        .expect(200)
        .json();
    assert_eq!(own["data"]["results"][0]["error_code"], "PermissionDeniedException");
    assert_eq!(own["message"], "Recorded 1 of 2 usage records");
    let longest = "k".repeat(255);
    for (key, status) in [(longest.as_str(), 200), ("", 422), ("schl\u{fc}ssel", 422)] {
        let body = json!({"records": [item("auth0|a", &json!({}))]});
        let answer = app.post(BATCH).service().header("Idempotency-Key", key).json(&body).send().await;
        let answer = answer.expect(status);
        assert!(status == 422 || answer.json()["data"]["recorded"] == 1, "{}", answer.text);
    }
    let many: Vec<Value> = (0..1_001).map(|_| item("auth0|a", &json!({}))).collect();
    for records in [json!([]), json!("x"), json!(many), Value::Null] {
        let refused = app.post(BATCH).service().json(&json!({"records": records})).send().await;
        assert_eq!(refused.expect(422).error_code(), "ValidationException");
    }
    let most = app.post(BATCH).service().json(&json!({"records": many[..1_000]})).send().await;
    assert_eq!(most.expect(200).json()["data"]["recorded"], 1_000);
}

#[tokio::test]
async fn a_keyed_correction_that_the_ledger_refuses_stays_refused() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    let charged = record(&app, &user, json!({"charge": true, "credits_charged": 100})).await;
    let id = charged.expect(200).json()["data"]["id"].clone();
    let recharge = |amount: f64| {
        let request = app.post("/api/v1/users/auth0%7Ca/credits/recharge").service();
        request.json(&json!({ "amount": amount })).send()
    };
    // So much that the charge cannot be given back.
    recharge(999_999_050.0).await.expect(200);
    let path = format!("{PATH}/{id}/correct");
    let correct = || {
        let request = app.post(&path).service().header("Idempotency-Key", "k");
        request.json(&json!({"reason": "wrong model"})).send()
    };
    let first = correct().await.expect(400);
    assert_eq!(first.error_code(), "BalanceLimitExceededException");
    let spent = app.post("/api/v1/users/auth0%7Ca/credits/consume").service();
    spent.json(&json!({"amount": 1_000})).send().await.expect(200);
    let again = correct().await.expect(400);
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(again.json()["error_details"], first.json()["error_details"], "what was answered first");
    assert_eq!(balance(&app).await, 999_998_950.0);
    let other = app.post(&path).service().json(&json!({"reason": "wrong model"}));
    other.send().await.expect(200);
    assert_eq!(balance(&app).await, 999_999_050.0);
}

#[tokio::test]
async fn a_record_is_taken_back_with_its_charge_once() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    put_price(&app).await;
    let charged = record(&app, &user, json!({"charge": true, "credits_charged": 100})).await;
    let id = charged.expect(200).json()["data"]["id"].clone();
    let path = format!("{PATH}/{id}/correct");
    let correct = |body: Value| {
        let request = app.post(&path).service().header("Idempotency-Key", "k");
        request.json(&body).send()
    };
    let mut replacement = used(&priced());
    replacement["metadata"] = Value::Null;
    let body = json!({"reason": "wrong model", "replacement": replacement});
    let first = correct(body.clone()).await.expect(200);
    let data = first.json()["data"].clone();
    assert_eq!(data["correction"]["credits_charged"], -100.0);
    assert_eq!(data["correction"]["correction_of"], id);
    let told = &data["correction"]["billing_metadata"]["refund_transaction_id"];
    assert_eq!(*told, data["refund"]["transaction_id"]);
    assert_eq!(data["replacement"]["credits_charged"], 3.225);
    assert_eq!(data["refund"]["amount"], 100.0);
    assert_eq!(balance(&app).await, 996.775);
    let again = correct(body.clone()).await.expect(200);
    assert_eq!((&again.text, again.header("idempotency-replayed")), (&first.text, "true"));
    let stats = app.get(&format!("{PATH}/stats")).token(&user.token).send().await.expect(200);
    let stats = stats.json()["data"].clone();
    assert_eq!((&stats["total_records"], &stats["total_credits_charged"]), (&json!(1), &json!(3.225)));
    let twice = app.post(&path).service().json(&body).send().await.expect(409);
    assert_eq!(twice.error_code(), "AlreadyCorrectedException");
    let missing = app.post(&format!("{PATH}/0/correct")).service().json(&body).send().await;
    assert_eq!(missing.expect(404).error_code(), "UsageRecordNotFoundException");
    let own = app.post(&path).token(&user.token).json(&body).send().await;
    assert_eq!(own.expect(403).error_code(), "PermissionDeniedException");
    assert_eq!(balance(&app).await, 996.775);
}
