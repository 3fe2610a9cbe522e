//! `SELF_METERING`: whose word usage is (HTTP contract 4.1).

use super::PATH;
use crate::prelude::*;

const BATCH: &str = "/api/v1/usage/batch";

fn item(user: &str) -> Value {
    json!({"user_id": user, "endpoint": "/x", "event_type": "t", "credits_charged": 1, "charge": true})
}

async fn recorded(app: &TestApp) -> usize {
    let list = app.get(PATH).service().ok().await;
    list["data"].list().len()
}

#[tokio::test]
async fn denied_only_services_and_administrators_record() {
    let app = TestApp::start_with(&[("SELF_METERING", "denied"), ("ADMIN_USER_IDS", "auth0|root")]).await;
    let (user, root) = (app.user("auth0|a").await, app.user("auth0|root").await);
    let own = item("auth0|a");
    for body in [&own, &json!({})] {
        // Before the shape: what a user sends here is not looked at.
        app.post(PATH).by(&user).json(body).refused(403, "PermissionDeniedException").await;
    }
    let batch = json!({"records": [own, item("auth0|root")]});
    let answer = app.post(BATCH).by(&user).json(&batch).ok().await;
    assert_eq!(answer["data"]["failed"], 2, "{answer}");
    for result in answer["data"]["results"].list() {
        assert_eq!(result["error_code"], "PermissionDeniedException");
    }
    assert_eq!(recorded(&app).await, 0);
    let balance = "/api/v1/users/auth0%7Ca/credits/balance";
    assert_eq!(app.get(balance).by(&user).data().await, 1_000.0);
    // Reading is not recording.
    app.get(PATH).by(&user).expect(200).await;

    app.post(PATH).service().json(&own).expect(200).await;
    assert_eq!(app.post(BATCH).service().json(&batch).data().await["recorded"], 2);
    app.post(PATH).by(&root).json(&own).expect(200).await;
    assert_eq!(app.post(BATCH).by(&root).json(&batch).data().await["recorded"], 2);
    assert_eq!(recorded(&app).await, 4);
}

#[tokio::test]
async fn users_record_for_themselves_unless_it_is_denied() {
    for variables in [&[][..], &[("SELF_METERING", "allowed")]] {
        let (app, user) = TestApp::with_user(variables).await;
        let own = item("auth0|a");
        app.post(PATH).by(&user).json(&own).expect(200).await;
        assert_eq!(app.post(BATCH).by(&user).json(json!({"records": [own]})).data().await["recorded"], 1);
    }
}
