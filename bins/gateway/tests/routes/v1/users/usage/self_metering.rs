//! `SELF_METERING`: whose word usage is (HTTP contract 4.1).

use serde_json::{Value, json};
use testkit::TestApp;

use super::PATH;

const BATCH: &str = "/api/v1/usage/batch";

fn item(user: &str) -> Value {
    json!({"user_id": user, "endpoint": "/x", "event_type": "t", "credits_charged": 1, "charge": true})
}

async fn recorded(app: &TestApp) -> usize {
    let list = app.get(PATH).service().send().await.expect(200).json();
    list["data"].as_array().unwrap().len()
}

#[tokio::test]
async fn denied_only_services_and_administrators_record() {
    let app = TestApp::start_with(&[("SELF_METERING", "denied"), ("ADMIN_USER_IDS", "auth0|root")]).await;
    let (user, root) = (app.user("auth0|a").await, app.user("auth0|root").await);
    let own = item("auth0|a");
    for body in [&own, &json!({})] {
        // Before the shape: what a user sends here is not looked at.
        let refused = app.post(PATH).token(&user.token).json(body).send().await.expect(403);
        assert_eq!(refused.error_code(), "PermissionDeniedException");
    }
    let batch = json!({"records": [own, item("auth0|root")]});
    let answer = app.post(BATCH).token(&user.token).json(&batch).send().await.expect(200).json();
    assert_eq!(answer["data"]["failed"], 2, "{answer}");
    for result in answer["data"]["results"].as_array().unwrap() {
        assert_eq!(result["error_code"], "PermissionDeniedException");
    }
    assert_eq!(recorded(&app).await, 0);
    let balance = "/api/v1/users/auth0%7Ca/credits/balance";
    assert_eq!(app.get(balance).token(&user.token).send().await.expect(200).json()["data"], 1_000.0);
    // Reading is not recording.
    app.get(PATH).token(&user.token).send().await.expect(200);

    app.post(PATH).service().json(&own).send().await.expect(200);
    let by_service = app.post(BATCH).service().json(&batch).send().await.expect(200);
    assert_eq!(by_service.json()["data"]["recorded"], 2);
    app.post(PATH).token(&root.token).json(&own).send().await.expect(200);
    let by_admin = app.post(BATCH).token(&root.token).json(&batch).send().await.expect(200);
    assert_eq!(by_admin.json()["data"]["recorded"], 2);
    assert_eq!(recorded(&app).await, 4);
}

#[tokio::test]
async fn users_record_for_themselves_unless_it_is_denied() {
    for variables in [&[][..], &[("SELF_METERING", "allowed")]] {
        let app = TestApp::start_with(variables).await;
        let user = app.user("auth0|a").await;
        let own = item("auth0|a");
        app.post(PATH).token(&user.token).json(&own).send().await.expect(200);
        let batch = app.post(BATCH).token(&user.token).json(&json!({"records": [own]}));
        assert_eq!(batch.send().await.expect(200).json()["data"]["recorded"], 1);
    }
}
