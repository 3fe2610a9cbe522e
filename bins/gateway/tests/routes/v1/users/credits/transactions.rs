//! `GET /api/v1/users/{user_id}/credits/transactions`

use crate::prelude::*;

const PATH: &str = "credits/transactions";

/// An initial grant, then 1 to 5 credits spent, a minute apart, and a recharge.
async fn spender(app: &TestApp) -> TestUser {
    let user = app.user("auth0|a").await;
    for amount in 1..=5 {
        app.clock().advance(Duration::minutes(1));
        app.post("credits/consume").by(&user).json(json!({"amount": amount})).expect(200).await;
    }
    app.post("credits/recharge?amount=7").service().expect(200).await;
    user
}

async fn list(app: &TestApp, user: &TestUser, query: &str) -> Vec<Value> {
    app.get(&format!("{PATH}?{query}")).by(user).rows().await
}

#[tokio::test]
async fn shows_a_chain_from_the_grant_to_the_balance() {
    let app = TestApp::start().await;
    let user = spender(&app).await;
    let all = list(&app, &user, "").await;
    let types: Vec<_> = all.iter().map(|row| row["transaction_type"].text()).collect();
    assert_eq!(types, ["recharge", "consume", "consume", "consume", "consume", "consume", "grant"]);
    for pair in all.windows(2) {
        assert_eq!(pair[0]["credits_before"], pair[1]["credits_after"]);
    }
    json!(all)
        .has(json!({"0.credits_after": 992.0, "6.credits_before": 0.0, "6.description": "Initial credits"}));
}

#[tokio::test]
async fn what_has_just_become_due_is_listed_and_makes_the_balance() {
    let (app, user) = TestApp::with_user(&[]).await;
    let grants = "/api/v1/users/auth0%7Ca/credits/grants";
    for grant in [
        json!({"amount": 7, "expires_at": "2026-01-15T12:10:00Z"}),
        json!({"amount": 5, "effective_at": "2026-01-15T12:10:00Z"}),
    ] {
        app.post(grants).service().json(&grant).expect(200).await;
    }
    assert_eq!(list(&app, &user, "").await[0]["balance_after"], 1_007.0);
    app.clock().advance(Duration::minutes(10));
    let rows = list(&app, &user, "").await;
    let newest: Vec<_> =
        rows[..2].iter().map(|row| (row["transaction_type"].clone(), row["balance_after"].clone())).collect();
    assert_eq!(newest, [(json!("grant"), json!(1_005.0)), (json!("expire"), json!(1_000.0))]);
    assert_eq!(app.balance().await, 1_005.0);
    assert_eq!(list(&app, &user, "transaction_type=expire").await.len(), 1);
}

#[tokio::test]
async fn filters_by_type_and_by_inclusive_dates() {
    let app = TestApp::start().await;
    let user = spender(&app).await;
    assert_eq!(list(&app, &user, "transaction_type=consume").await.len(), 5);
    assert_eq!(list(&app, &user, "transaction_type=refund").await.len(), 0);
    let third = "2026-01-15T12:03:00Z";
    assert_eq!(list(&app, &user, &format!("start_date={third}")).await.len(), 4);
    assert_eq!(list(&app, &user, &format!("end_date={third}")).await.len(), 4);
    assert_eq!(list(&app, &user, &format!("start_date={third}&end_date={third}")).await.len(), 1);
    assert_eq!(list(&app, &user, "start_date=2026-01-15T20:04:00%2B08:00").await.len(), 3);
    for wrong in [
        "transaction_type=gift",
        "start_date=yesterday",
        "start_date=2026-02-01&end_date=2026-01-01",
        "limit=0",
    ] {
        app.get(&format!("{PATH}?{wrong}")).by(&user).expect(422).await;
    }
}

#[tokio::test]
async fn pages_by_offset_and_by_cursor_without_gap_or_repeat() {
    let app = TestApp::start().await;
    let user = spender(&app).await;
    let all = list(&app, &user, "").await;
    assert_eq!(list(&app, &user, "limit=2&offset=3").await, all[3..5]);
    assert_eq!(list(&app, &user, "limit=5&offset=100").await, [] as [Value; 0]);
    let mut seen = Vec::new();
    let mut query = "limit=3".to_owned();
    loop {
        let reply = app.get(&format!("{PATH}?{query}")).by(&user).expect(200).await;
        seen.extend(reply.json()["data"].list().to_vec());
        app.post("credits/consume").by(&user).json(json!({"amount": 1})).expect(200).await;
        match reply.header("x-next-cursor") {
            "" => break,
            cursor => query = format!("limit=3&cursor={cursor}"),
        }
    }
    assert_eq!(seen, all, "what was added while paging does not disturb the pages");
    let cursor = app.get(&format!("{PATH}?limit=3")).by(&user).await.header("x-next-cursor").to_owned();
    for wrong in [
        format!("cursor={cursor}&transaction_type=consume"),
        format!("cursor={cursor}&offset=1"),
        "cursor=nonsense".to_owned(),
    ] {
        app.get(&format!("{PATH}?{wrong}")).by(&user).expect(422).await;
    }
    let other = app.user("auth0|b").await;
    let foreign = app.get(&format!("/api/v1/users/auth0%7Cb/credits/transactions?cursor={cursor}"));
    foreign.by(&other).expect(422).await;
}

#[tokio::test]
async fn a_payment_and_the_charge_of_a_hold_are_found() {
    let app = TestApp::start().await;
    let user = spender(&app).await;
    let recharge = "/api/v1/users/auth0%7Ca/credits/recharge?amount=3&reference_id=pi_1";
    app.post(recharge).service().expect(200).await;
    let holds = "/api/v1/users/auth0%7Ca/credits/holds";
    let hold = app.post(holds).by(&user).json(json!({"amount": 2})).ok().await;
    let hold = hold["data"]["hold_id"].text().to_owned();
    app.post(&format!("{holds}/{hold}/capture")).by(&user).expect(200).await;
    let paid = list(&app, &user, "reference_id=pi_1").await;
    assert_eq!((paid.len(), &paid[0]["amount"]), (1, &json!(3.0)));
    assert!(list(&app, &user, "reference_id=nosuch").await.is_empty());
    let charged = list(&app, &user, &format!("hold_id={hold}")).await;
    assert_eq!((charged.len(), &charged[0]["transaction_type"]), (1, &json!("consume")));
    app.get(&format!("{PATH}?hold_id=x")).by(&user).expect(422).await;
}
