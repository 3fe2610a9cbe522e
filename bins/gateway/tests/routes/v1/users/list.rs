//! `GET /api/v1/users` and `GET /api/v1/users/{user_id}`

use crate::prelude::*;

const USERS: &str = "/api/v1/users";

async fn ids(app: &TestApp, query: &str) -> Vec<Value> {
    app.get(&format!("{USERS}?{query}")).service().column("user_id").await
}

#[tokio::test]
async fn users_are_listed_newest_first_with_their_credits_and_found_by_filters() {
    let app = TestApp::start_with(&[("ADMIN_USER_IDS", "auth0|root")]).await;
    for id in ["auth0|root", "auth0|a", "auth0|b"] {
        app.clock().advance(Duration::DAY);
        app.user(id).await;
    }
    app.post("credits/recharge?amount=2.5").service().expect(200).await;
    let rows = app.get(USERS).service().rows().await;
    assert_eq!(
        rows.iter().map(|row| row["user_id"].text()).collect::<Vec<_>>(),
        ["auth0|b", "auth0|a", "auth0|root"]
    );
    let made = kernel::rfc3339(testkit::instant() + Duration::days(2));
    assert_eq!(
        rows[1],
        json!({"user_id": "auth0|a", "email": "auth0a@example.com", "name": "auth0|a", "credits": 1002.5,
            "credits_total": 1002.5, "plan": "free", "is_active": true, "email_verified": false, "role": "user",
            "created_at": made,
            "last_seen_at": null})
    );
    assert_eq!(app.get("/api/v1/users/auth0%7Ca").service().data().await, rows[1]);
    assert_eq!(ids(&app, "q=AUTH0%7CR").await, ["auth0|root"]);
    assert_eq!(ids(&app, "q=auth0b@").await, ["auth0|b"]);
    assert_eq!(ids(&app, "role=admin").await, ["auth0|root"]);
    assert_eq!(ids(&app, "plan=pro").await, [""; 0]);
    assert_eq!(ids(&app, "is_active=false").await, [""; 0]);
    let day = |days: i64| (testkit::instant() + Duration::days(days)).date();
    assert_eq!(ids(&app, &format!("created_from={}&created_to={}", day(2), day(2))).await, ["auth0|a"]);
    let root = TestUser { id: testkit::user("auth0|root"), token: app.token("auth0|root") };
    let pages = app.pages(&format!("{USERS}?limit=2&q=auth0"), &root).await;
    assert_eq!(pages.concat(), rows);
    assert_eq!(pages.len(), 2);
    for (query, at) in [
        ("q=", "query.q"),
        ("role=root", "query.role"),
        ("plan=gold", "query.plan"),
        ("is_active=perhaps", "query.is_active"),
        ("created_from=2026-01-02&created_to=2026-01-01", "query.created_from"),
        ("created_to=soon", "query.created_to"),
        ("search=x", "query.search"),
    ] {
        app.get(&format!("{USERS}?{query}")).service().fault(at).await;
    }
}

#[tokio::test]
async fn the_last_request_is_shown_to_the_hour_and_refused_ones_do_not_count() {
    let (app, a) = TestApp::with_user(&[]).await;
    let seen = async || {
        while flows::last_use::run(app.db().pool(), &app.app().uses).await.unwrap() {}
        app.get("/api/v1/users/auth0%7Ca").service().data().await["last_seen_at"].clone()
    };
    assert_eq!(seen().await, kernel::rfc3339(testkit::instant()), "signing up");
    app.clock().advance(Duration::minutes(59));
    app.get("/api/v1/users/auth0%7Cb").by(&a).refused(404, "UserNotFoundException").await;
    assert_eq!(seen().await, kernel::rfc3339(testkit::instant()));
    app.clock().advance(Duration::minutes(70));
    let a = TestUser { token: app.token("auth0|a"), ..a };
    app.get("credits/balance").by(&a).expect(200).await;
    assert_eq!(seen().await, kernel::rfc3339(testkit::instant() + Duration::hours(2)));
}
