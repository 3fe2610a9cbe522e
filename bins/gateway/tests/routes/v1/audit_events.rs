//! `GET /api/v1/audit-events`

use crate::prelude::*;

const EVENTS: &str = "/api/v1/audit-events";

async fn listed(app: &TestApp, query: &str) -> Vec<Value> {
    app.get(&format!("{EVENTS}?{query}")).service().rows().await
}

/// Actor, action and user of each event about the user, oldest first.
async fn told(app: &TestApp) -> Vec<(String, String, Value)> {
    let text = |value: &Value| value.text().to_owned();
    let mut events = listed(app, "user_id=auth0%7Ca").await;
    events.reverse();
    let told = |event: &Value| (text(&event["actor"]), text(&event["action"]), event["user_id"].clone());
    events.iter().map(told).collect()
}

fn event(actor: &str, action: &str) -> (String, String, Value) {
    (actor.to_owned(), action.to_owned(), json!("auth0|a"))
}

/// An administrator and the user `auth0|a`.
async fn with_admin() -> (TestApp, TestUser, TestUser) {
    let app = TestApp::start_with(&[("ADMIN_USER_IDS", "auth0|root")]).await;
    let (admin, user) = (app.user("auth0|root").await, app.user("auth0|a").await);
    (app, admin, user)
}

#[tokio::test]
async fn what_staff_does_to_an_account_is_told_once() {
    let (app, admin, user) = with_admin().await;
    let before = listed(&app, "").await;
    let [role] = before.as_slice() else { panic!("{before:?}") };
    role.has(json!({"actor": "system", "action": "role.changed", "user_id": "auth0|root",
        "details": {"from": "user", "to": "admin", "source": "configuration"}}));
    app.post("credits/consume").by(&user).json(json!({"amount": 25})).expect(200).await;
    let charge = app.post("credits/consume").service().json(json!({"amount": 30})).data().await;
    app.post("credits/holds").service().json(json!({"amount": 1})).expect(200).await;
    assert_eq!(told(&app).await, [], "charges and holds are in the journal");

    let recharge = json!({"amount": 12.345678, "reference_id": "pi_1"});
    for _ in 0..2 {
        let request = app.post("credits/recharge").by(&admin).header("X-Request-Id", "req-1");
        request.json(&recharge).expect(200).await;
    }
    let grant = json!({"amount": 7, "kind": "promo"});
    for _ in 0..2 {
        app.post("credits/grants").service().key("k").json(&grant).expect(200).await;
    }
    let refund = json!({"transaction_id": charge["transaction_id"], "reason": "bad"});
    let refunded = app.post("credits/refund").by(&admin).json(&refund).data().await;
    app.post("credits/refund").by(&admin).json(&refund).refused(400, "RefundExceedsChargeException").await;
    let budgets = json!({"budgets": [{"period": "day", "tz": "Asia/Shanghai", "limit": 100}]});
    app.put("credits/budgets").by(&admin).json(&budgets).expect(200).await;
    let nowhere = json!({"budgets": [{"period": "day", "tz": "Nowhere", "limit": 100}]});
    app.put("credits/budgets").by(&admin).json(nowhere).expect(422).await;
    app.post("credits/recharge").by(&user).json(json!({"amount": 1})).expect(200).await;
    assert_eq!(
        told(&app).await,
        [
            event("admin:auth0|root", "credits.recharged"),
            event("bootstrap", "credits.granted"),
            event("admin:auth0|root", "credits.refunded"),
            event("admin:auth0|root", "budgets.set"),
            event("user:auth0|a", "credits.recharged"),
        ]
    );
    let reply = app.get(&format!("{EVENTS}?actor=admin:auth0%7Croot")).service().expect(200).await;
    let events = reply.rows();
    let [set, given_back, bought] = events.as_slice() else { panic!("{events:?}") };
    bought.has(
        json!({"at": kernel::rfc3339(testkit::instant()), "address": "127.0.0.1", "request_id": "req-1",
        "details.reference_id": "pi_1"}),
    );
    assert!(reply.text.contains(r#""amount": 12.345678"#), "{}", reply.text);
    given_back.has(json!({"details": {"amount": 30.0, "transaction_id": refunded["transaction_id"]}}));
    set.has(json!({"details": {"budgets": [{"period": "day", "tz": "Asia/Shanghai", "limit": "100.0"}]}}));
}

#[tokio::test]
async fn prices_and_corrections_are_told() {
    let (app, admin, user) = with_admin().await;
    let price = json!({"prices": [{"model_name": "m", "rates": {"request": {"credits": 2, "per": 1}}}]});
    app.put("/api/v1/prices").by(&admin).json(&price).expect(200).await;
    app.put("/api/v1/prices").by(&admin).json(&price).expect(422).await;
    let used = json!({"endpoint": "/x", "event_type": "ai_chat", "credits_charged": 5.5, "charge": true});
    let record = app.post("usage").by(&user).json(&used).data().await;
    let path = format!("usage/{}/correct", record["id"]);
    let corrected = app.post(&path).service().json(json!({"reason": "wrong"})).data().await;
    app.post(&path)
        .service()
        .json(json!({"reason": "wrong"}))
        .refused(409, "AlreadyCorrectedException")
        .await;
    let uncharged = json!({"endpoint": "/x", "event_type": "ai_chat"});
    let record = app.post("usage").by(&user).json(&uncharged).data().await;
    let path = format!("usage/{}/correct", record["id"]);
    app.post(&path).service().json(json!({"reason": "moves no credit"})).expect(200).await;

    let events = listed(&app, "").await;
    let [refund, prices, _role] = events.as_slice() else { panic!("{events:?}") };
    prices.has(json!({"actor": "admin:auth0|root", "action": "prices.set", "user_id": null,
        "details": {"count": 1, "models": ["m"]}}));
    refund.has(json!({"actor": "bootstrap", "action": "credits.refunded", "user_id": "auth0|a",
        "details": {"amount": 5.5, "transaction_id": corrected["refund"]["transaction_id"]}}));
}

#[tokio::test]
async fn filters_and_cursors_lead_through_all_events() {
    let (app, admin, _) = with_admin().await;
    let b = app.user("auth0|b").await;
    for nth in 0..5 {
        app.clock().advance(Duration::DAY);
        let path = format!(
            "/api/v1/users/{}/credits/recharge?amount=1",
            if nth % 2 == 0 { &b.id } else { &admin.id }
        );
        app.post(&path).service().expect(200).await;
    }
    // The first token has expired.
    let admin = TestUser { token: app.token("auth0|root"), ..admin };
    app.post("credits/grants").by(&admin).json(json!({"amount": 1})).expect(200).await;
    let count = async |query: &str| listed(&app, query).await.len();
    assert_eq!(count("").await, 7, "with the role of the administrator");
    assert_eq!(count("user_id=auth0%7Cb").await, 3);
    assert_eq!(count("action=credits.granted").await, 1);
    assert_eq!(count("actor=bootstrap&user_id=auth0%7Croot").await, 2);
    assert_eq!(count("actor=nobody").await, 0);
    let day = |days: i64| (testkit::instant() + Duration::days(days)).date();
    assert_eq!(count(&format!("start_date={}&end_date={}", day(2), day(3))).await, 2, "whole days");
    let pages = app.pages(&format!("{EVENTS}?limit=4"), &admin).await;
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [4, 3]);
    assert_eq!(pages.concat(), listed(&app, "").await);

    let reply = app.get(&format!("{EVENTS}?limit=1")).service().expect(200).await;
    assert_eq!(reply.json()["message"], "Retrieved 1 audit events");
    let cursor = reply.header("x-next-cursor");
    let other = format!("{EVENTS}?cursor={cursor}&action=logout");
    app.get(&other).service().fault("query.cursor").await;
    app.get(&format!("{EVENTS}?action=made.up")).service().fault("query.action").await;
    app.get(&format!("{EVENTS}?userid=x")).service().fault("query.userid").await;
}
