//! GET `/api/v1/users/{user_id}/export`

use crate::prelude::*;

const PATH: &str = "/api/v1/users/auth0%7Ca";

async fn fill(app: &TestApp, user: &TestUser) {
    let post = async |path: &str, body: Value| {
        app.post(&format!("{PATH}{path}")).by(user).json(body).expect(200).await.json()
    };
    for number in 0..3_usize {
        post(
            "/credits/consume",
            json!({"amount": 1, "description": "a \"quoted\" text", "metadata": {"n": number}}),
        )
        .await;
        post("/usage", json!({"endpoint": "/x", "event_type": "t", "request_data": {"n": number}})).await;
        post("/credits/holds", json!({"amount": 1})).await;
        app.post(&format!("{PATH}/credits/grants")).service().json(json!({"amount": 1})).expect(200).await;
        let session = post("/sessions", json!({"title": format!("session {number}")})).await;
        for role in ["user", "assistant"].iter().take(number) {
            let messages = format!("/api/v1/sessions/{}/messages", session["session_id"].text());
            app.post(&messages).by(user).json(json!({"role": role, "content": "c"})).expect(200).await;
        }
        app.clock().advance(Duration::seconds(1));
    }
}

#[tokio::test]
async fn an_export_shows_what_the_lists_show() {
    let (app, user) = TestApp::with_user(&[]).await;
    fill(&app, &user).await;
    let list = async |path: &str| app.get(&format!("{PATH}{path}")).by(&user).rows().await;
    let reply = app.get(&format!("{PATH}/export")).by(&user).expect(200).await;
    assert_eq!(reply.header("content-disposition"), "attachment; filename=\"export.json\"");
    assert_eq!(reply.header("content-type"), "application/json");
    let export = reply.json();
    let mut members: Vec<&str> = export.as_object().unwrap().keys().map(String::as_str).collect();
    members.sort_unstable();
    let expected = [
        "credits",
        "exported_at",
        "files",
        "identities",
        "payments",
        "sessions",
        "subscriptions",
        "usage",
        "user",
        "webhook_endpoints",
    ];
    assert_eq!(members, expected);
    assert_eq!(export["usage"], json!(list("/usage").await));
    let credits = &export["credits"];
    assert_eq!(credits["transactions"], json!(list("/credits/transactions").await));
    assert_eq!(credits["grants"], json!(list("/credits/grants?status=all").await));
    assert_eq!(credits["holds"], json!(list("/credits/holds?status=all").await));
    assert_eq!(credits["account"], app.get(&format!("{PATH}/credits/account")).by(&user).data().await);
    let sessions = list("/sessions").await;
    assert_eq!(export["sessions"].list().len(), 3);
    for (exported, mut session) in export["sessions"].list().iter().zip(sessions) {
        let messages = format!("/api/v1/sessions/{}/messages", session["session_id"].text());
        session["messages"] = json!(app.get(&messages).by(&user).rows().await);
        assert_eq!(*exported, session);
    }
    let me = app.get("/api/v1/users/me").by(&user).ok().await;
    for (name, value) in me.as_object().unwrap() {
        assert_eq!(export["user"][name], *value, "{name}");
    }
    assert_eq!(
        (&export["user"]["role"], &export["identities"][0]["id"]),
        (&json!("user"), &json!("auth0|a"))
    );
    for empty in ["files", "subscriptions", "payments", "webhook_endpoints"] {
        assert_eq!(export[empty], json!([]));
    }
    let audited = "SELECT count(*) FROM identity.audit_events
        WHERE action = 'user.exported' AND actor = 'user:auth0|a' AND user_id = 'auth0|a'";
    assert_eq!(app.db().ask(audited).await, 1);
}

#[tokio::test]
async fn an_export_is_for_the_user_and_for_administrators() {
    let app = TestApp::start_with(&[("ADMIN_USER_IDS", "auth0|root")]).await;
    let (a, b, root) = (app.user("auth0|a").await, app.user("auth0|b").await, app.user("auth0|root").await);
    app.get(&format!("{PATH}/export")).by(&b).refused(404, "UserNotFoundException").await;
    for caller in [&a, &root] {
        let export = app.get(&format!("{PATH}/export")).by(caller).ok().await;
        export.has(json!({"usage": [], "sessions": []}));
    }
    app.get("/api/v1/users/auth0%7Cnobody/export").by(&root).refused(404, "UserNotFoundException").await;
}

/// Writes that are one commit are in an export all or not at all, while they go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_is_one_snapshot() {
    let (app, user) = TestApp::with_user(&[]).await;
    let (app, token) = (Arc::new(app), user.token.clone());
    let writer = {
        let app = Arc::clone(&app);
        tokio::spawn(async move {
            for _ in 0..60 {
                let body = json!({"endpoint": "/x", "event_type": "t", "credits_charged": 1, "charge": true});
                app.post(&format!("{PATH}/usage")).token(&token).json(body).expect(200).await;
            }
        })
    };
    let mut records = 0;
    while records < 60 {
        let export = app.get(&format!("{PATH}/export")).by(&user).ok().await;
        let transactions = export["credits"]["transactions"].list();
        records = export["usage"].list().len();
        let charges = transactions.iter().filter(|charge| charge["transaction_type"] == "consume");
        assert_eq!(charges.count(), records);
        let balance = json!(1_000.0 - records as f64);
        assert_eq!(export["credits"]["account"]["balance"], balance);
        assert_eq!(export["user"]["credits"].as_f64(), balance.as_f64());
    }
    writer.await.unwrap();
}
