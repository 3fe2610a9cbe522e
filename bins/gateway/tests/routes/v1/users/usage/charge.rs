//! Charged usage: `POST .../usage` with `charge`, `POST /api/v1/usage/batch`, `.../correct` and `.../explain`.

use crate::prelude::*;

const PATH: &str = "/api/v1/users/auth0%7Ca/usage";
const BATCH: &str = "/api/v1/usage/batch";

fn used(more: &Value) -> Value {
    let mut body = json!({"endpoint": "/x", "event_type": "ai_chat"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn record(app: &TestApp, user: &TestUser, more: Value) -> TestRequest {
    app.post(PATH).by(user).json(used(&more))
}

async fn put_price(app: &TestApp) {
    let price = json!({"prices": [{
        "model_name": "house-model", "provider": "house",
        "rates": {
            "input": {"credits": 1500, "cost_usd": 30, "per": 1_000_000},
            "output": {"credits": 4500, "cost_usd": 60, "per": 1_000_000},
        },
    }]});
    app.put("/api/v1/prices").service().json(&price).expect(200).await;
}

fn priced() -> Value {
    json!({"charge": true, "model_name": "house-model", "provider": "house", "prompt_tokens": 800, "completion_tokens": 450})
}

#[tokio::test]
async fn a_charge_is_deducted_with_its_record() {
    let (app, user) = TestApp::with_user(&[]).await;
    put_price(&app).await;
    let answer = record(&app, &user, priced()).ok().await;
    assert_eq!(answer["remaining_credits"], 996.775);
    let data = &answer["data"];
    data.has(json!({
        "credits_charged": 3.225, "charged": true, "calculation_method": "price_list", "cost_usd": 0.051,
    }));
    assert_eq!(app.balance().await, 996.775);
    let path = "/api/v1/users/auth0%7Ca/credits/transactions?limit=1";
    let listed = app.get(path).by(&user).ok().await;
    let transaction = &listed["data"][0];
    transaction.has(json!({"transaction_id": data["transaction_id"], "usage_record_id": data["id"]}));

    let path = format!("{PATH}/{}/explain", data["id"]);
    let told = app.get(&path).by(&user).ok().await;
    let told = &told["data"];
    told.has(json!({
        "usage": data, "price.model_name": "house-model",
        "terms": [
            {"class": "input", "quantity": 800, "rate_per_1m": 1500.0, "credits": 1.2},
            {"class": "output", "quantity": 450, "rate_per_1m": 4500.0, "credits": 2.025},
        ],
        "charged": 3.225, "recomputed": 3.225, "matches": true, "grants": [{"grant_id": 1, "amount": 3.225}],
    }));
    app.get(&path).by(&app.user("auth0|b").await).refused(404, "UserNotFoundException").await;
    for id in ["0", "x", "99999999999999999999"] {
        app.get(&format!("{PATH}/{id}/explain")).by(&user).refused(404, "UsageRecordNotFoundException").await;
    }
}

#[tokio::test]
async fn a_refused_charge_leaves_nothing() {
    let (app, user) = TestApp::with_user(&[]).await;
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
        record(&app, &user, more).refused(status, code).await;
    }
    let listed = app.get(PATH).by(&user).ok().await;
    assert_eq!((&listed["data"], app.balance().await), (&json!([]), json!(1000.0)));
}

#[tokio::test]
async fn a_hold_is_settled_by_the_usage_that_used_it() {
    let (app, user) = TestApp::with_user(&[]).await;
    let path = "/api/v1/users/auth0%7Ca/credits/holds";
    let held = app.post(path).by(&user).json(json!({"amount": 70})).expect(200).await;
    let hold_id = &held.json()["data"]["hold_id"];
    let more = json!({"charge": true, "credits_charged": 12.5, "hold_id": hold_id});
    let settled = record(&app, &user, more.clone()).ok().await;
    assert_eq!(settled["remaining_credits"], 987.5);
    record(&app, &user, more).refused(409, "HoldNotOpenException").await;
}

#[tokio::test]
async fn events_and_keys_are_charged_once() {
    let (app, user) = TestApp::with_user(&[]).await;
    let event = |amount: i64| json!({"charge": true, "credits_charged": amount, "event_id": "e1"});
    let first = record(&app, &user, event(10)).ok().await;
    assert_eq!(first.get("replayed"), None);
    let again = record(&app, &user, event(10)).ok().await;
    assert_eq!((&again["data"], &again["replayed"]), (&first["data"], &json!(true)));
    record(&app, &user, event(11)).refused(409, "UsageConflictException").await;

    let keyed = |body: Value| app.post(PATH).by(&user).key("k1").json(used(&body));
    let body = json!({"charge": true, "credits_charged": 5, "request_data": {"b": 1.10, "a": "x"}});
    let first = keyed(body.clone()).expect(200).await;
    let again = keyed(body.clone()).expect(200).await;
    assert_eq!((&again.text, again.header("idempotency-replayed")), (&first.text, "true"));
    let mut other = body;
    other["credits_charged"] = json!(6);
    keyed(other).refused(422, "IdempotencyConflictException").await;
    assert_eq!(app.balance().await, 985.0);
}

#[tokio::test]
async fn a_batch_is_as_one_by_one() {
    let (app, _user) = TestApp::with_user(&[]).await;
    app.user("auth0|b").await;
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
    let send = |key: &str| app.post(BATCH).service().key(key).json(&records);
    let data = send("k").data().await;
    let told: Vec<String> = data["results"]
        .list()
        .iter()
        .map(|item| match item["status"].text() {
            "failed" => item["error_code"].text().to_owned(),
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
    data.has(json!({"recorded": 3, "replayed": 1, "failed": 5}));
    assert_eq!(send("k").data().await, data);
    assert_eq!(app.balance().await, 0.0);
}

fn item(user: &str, more: &Value) -> Value {
    let mut item = json!({"user_id": user, "event_type": "ai_chat"});
    item.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    item
}

#[tokio::test]
async fn a_batch_has_its_bounds_and_a_user_records_for_himself() {
    let (app, user) = TestApp::with_user(&[]).await;
    let _other = app.user("auth0|b").await;
    let own = app
        .post(BATCH)
        .by(&user)
        .json(json!({"records": [item("auth0|b", &json!({})), item("auth0|a", &json!({}))]}))
        .ok()
        .await;
    assert_eq!(own["data"]["results"][0]["error_code"], "PermissionDeniedException");
    assert_eq!(own["message"], "Recorded 1 of 2 usage records");
    let longest = "k".repeat(255);
    for (key, status) in [(longest.as_str(), 200), ("", 422), ("schl\u{fc}ssel", 422)] {
        let body = json!({"records": [item("auth0|a", &json!({}))]});
        let answer = app.post(BATCH).service().key(key).json(&body).expect(status).await;
        assert!(status == 422 || answer.json()["data"]["recorded"] == 1, "{}", answer.text);
    }
    let many: Vec<Value> = (0..1_001).map(|_| item("auth0|a", &json!({}))).collect();
    for records in [json!([]), json!("x"), json!(many), Value::Null] {
        app.post(BATCH).service().json(json!({"records": records})).refused(422, "ValidationException").await;
    }
    let most = app.post(BATCH).service().json(json!({"records": many[..1_000]})).await;
    assert_eq!(most.expect(200).json()["data"]["recorded"], 1_000);
}

#[tokio::test]
async fn a_keyed_correction_that_the_ledger_refuses_stays_refused() {
    let (app, user) = TestApp::with_user(&[]).await;
    let charged = record(&app, &user, json!({"charge": true, "credits_charged": 100})).await;
    let id = charged.expect(200).json()["data"]["id"].clone();
    let recharge = |amount: f64| app.post("credits/recharge").service().json(json!({ "amount": amount }));
    // So much that the charge cannot be given back.
    recharge(999_999_050.0).expect(200).await;
    let path = format!("{PATH}/{id}/correct");
    let correct = || app.post(&path).service().key("k").json(json!({"reason": "wrong model"}));
    let first = correct().refused(400, "BalanceLimitExceededException").await;
    app.post("credits/consume").service().json(json!({"amount": 1_000})).expect(200).await;
    let again = correct().expect(400).await;
    assert!(again.is_replayed());
    assert_eq!(again.json()["error_details"], first.json()["error_details"], "what was answered first");
    assert_eq!(app.balance().await, 999_998_950.0);
    app.post(&path).service().json(json!({"reason": "wrong model"})).expect(200).await;
    assert_eq!(app.balance().await, 999_999_050.0);
}

#[tokio::test]
async fn a_record_is_taken_back_with_its_charge_once() {
    let (app, user) = TestApp::with_user(&[]).await;
    put_price(&app).await;
    let charged = record(&app, &user, json!({"charge": true, "credits_charged": 100})).await;
    let id = charged.expect(200).json()["data"]["id"].clone();
    let path = format!("{PATH}/{id}/correct");
    let correct = |body: Value| app.post(&path).service().key("k").json(&body);
    let mut replacement = used(&priced());
    replacement["metadata"] = Value::Null;
    let body = json!({"reason": "wrong model", "replacement": replacement});
    let first = correct(body.clone()).expect(200).await;
    let data = first.json()["data"].clone();
    data.has(json!({
        "correction.credits_charged": -100.0, "correction.correction_of": id,
        "correction.billing_metadata.refund_transaction_id": data["refund"]["transaction_id"],
        "replacement.credits_charged": 3.225, "refund.amount": 100.0,
    }));
    assert_eq!(app.balance().await, 996.775);
    let again = correct(body.clone()).expect(200).await;
    assert_eq!((&again.text, again.header("idempotency-replayed")), (&first.text, "true"));
    let stats = app.get(&format!("{PATH}/stats")).by(&user).data().await;
    assert_eq!((&stats["total_records"], &stats["total_credits_charged"]), (&json!(1), &json!(3.225)));
    assert_eq!(stats["total_credits_deducted"], 3.225);
    app.post(&path).service().json(&body).refused(409, "AlreadyCorrectedException").await;
    let request = app.post(&format!("{PATH}/0/correct")).service().json(&body);
    request.refused(404, "UsageRecordNotFoundException").await;
    app.post(&path).by(&user).json(&body).refused(403, "PermissionDeniedException").await;
    assert_eq!(app.balance().await, 996.775);
}

/// Deducted credit differs from recorded credit, and from the rest after other refunds.
#[tokio::test]
async fn sums_show_what_was_really_deducted() {
    let (app, user) = TestApp::with_user(&[]).await;
    record(&app, &user, json!({"credits_charged": 100})).ok().await;
    let charged = record(&app, &user, json!({"charge": true, "credits_charged": 40})).ok().await;
    let wrong = record(&app, &user, json!({"charge": true, "credits_charged": 20})).ok().await;
    let path = format!("{PATH}/{}/correct", wrong["data"]["id"]);
    app.post(&path).service().json(json!({"reason": "wrong"})).ok().await;
    let refund = json!({"transaction_id": charged["data"]["transaction_id"], "amount": 15, "reason": "kind"});
    app.post("/api/v1/users/auth0%7Ca/credits/refund").service().json(refund).ok().await;
    assert_eq!(app.balance().await, 975.0);

    app.clock().advance(Duration::MINUTE);
    let stats = app.get(&format!("{PATH}/stats")).by(&user).data().await;
    stats.has(json!({"total_records": 2, "total_credits_charged": 140.0, "total_credits_deducted": 40.0}));
    for path in [format!("{PATH}/timeseries"), "/api/v1/usage/timeseries".to_owned()] {
        let series = app.get(&format!("{path}?bucket=15m&metrics=credits_deducted")).service().data().await;
        series.has(json!({"series.0.totals": {"credits_deducted": 40.0}}));
        let points = series["series"][0]["points"].list();
        assert_eq!(points[points.len() - 1]["credits_deducted"], 40.0, "{path}");
    }
    let summary = app.get("/api/v1/usage/summary").service().data().await;
    summary.has(json!({
        "totals.credits_deducted": 40.0, "feature_use.0.credits_deducted": 40.0, "cost_by_model.0.credits_deducted": 40.0,
    }));
}
