//! `POST /api/billing/recharge`, `GET /api/billing/transactions`

use crate::prelude::*;

#[tokio::test]
async fn recharges_and_charges_are_on_the_one_ledger() {
    let (app, user) = TestApp::with_user(&[]).await;
    let recharge = |amount: u32| app.post("/api/billing/recharge").by(&user).json(json!({"amount": amount}));
    let first = recharge(500).key("k").expect(200).await;
    assert_eq!(first.text, r#"{"message":"充值成功","balance":1500}"#);
    let again = recharge(500).key("k").expect(200).await;
    assert!(again.is_replayed());
    assert_eq!(again.text, first.text);
    recharge(501).key("k").refused(422, "IdempotencyConflictException").await;
    let referenced = json!({"amount": 1, "reference_id": "pay_1"});
    for _ in 0..2 {
        app.post("/api/billing/recharge")
            .by(&user)
            .json(&referenced)
            .ok()
            .await
            .has(json!({"balance": 1501}));
    }
    app.post("credits/consume")
        .by(&user)
        .json(json!({"amount": 25.5, "description": "call"}))
        .expect(200)
        .await;
    let changes = app.get("/api/billing/transactions").by(&user).ok().await;
    let changes = changes.as_array().unwrap();
    let shown: Vec<_> =
        changes.iter().map(|one| (one["change_amount"].clone(), one["balance_after"].clone())).collect();
    let expected = [(-25.5, 1475.5), (1.0, 1501.0), (500.0, 1500.0), (1000.0, 1000.0)];
    assert_eq!(shown.len(), 4);
    for ((change, after), (by, left)) in shown.iter().zip(expected) {
        assert_eq!((change.as_f64(), after.as_f64()), (Some(by), Some(left)), "{changes:?}");
    }
    let number = app.db().ask("SELECT id FROM identity.users").await;
    changes[0].has(json!({"user_id": number, "description": "call"}));
    let page = app.get("/api/billing/transactions?limit=3").by(&user).expect(200).await;
    let path = format!("/api/billing/transactions?limit=3&cursor={}", page.header("x-next-cursor"));
    assert_eq!(app.get(&path).by(&user).ok().await, json!([changes[3]]));
}

#[tokio::test]
async fn only_services_and_administrators_recharge_unless_users_may() {
    let (app, user) = TestApp::with_user(&[("SELF_RECHARGE", "denied")]).await;
    let recharge = || app.post("/api/billing/recharge").json(json!({"amount": 5}));
    recharge().by(&user).refused(403, "PermissionDeniedException").await;
    recharge().service().expect(422).await;
    recharge().service().header("X-User-Id", "auth0|a").ok().await.has(json!({"balance": 1005}));
    app.user("auth0|b").await;
    recharge().by(&user).header("X-User-Id", "auth0|b").refused(403, "PermissionDeniedException").await;
    recharge().refused(401, "AuthenticationException").await;
    for amount in [json!(0), json!(-1), json!("x"), json!(0.000_000_1)] {
        let body = json!({"amount": amount});
        app.post("/api/billing/recharge")
            .service()
            .header("X-User-Id", "auth0|a")
            .json(&body)
            .expect(422)
            .await;
    }
}
