//! `GET /api/auth/verify`, `GET` and `PUT /api/user/profile`, `GET /api/user/balance`

use crate::accounts::audited;
use crate::prelude::*;

#[tokio::test]
async fn every_accepted_token_shows_its_user_with_integer_ids_and_whole_numbers() {
    let (app, user) = TestApp::with_user(&[]).await;
    let id = app.db().ask("SELECT id FROM identity.users").await;
    let verified = app.get("/api/auth/verify").by(&user).expect(200).await;
    let expected = format!(
        r#"{{"user":{{"id":{id},"email":"auth0a@example.com","nickname":"auth0|a","tokens":1000,"email_verified":false}}}}"#
    );
    assert_eq!(verified.text, expected);
    let balance = app.get("/api/user/balance").by(&user).expect(200).await;
    assert_eq!(balance.text, r#"{"balance":1000}"#);
    app.post("credits/consume").by(&user).json(json!({"amount": 25.5})).expect(200).await;
    assert_eq!(app.get("/api/user/balance").by(&user).await.text, r#"{"balance":974.5}"#);
    let profile = app.get("/api/user/profile").by(&user).ok().await;
    profile.has(
        json!({"id": id, "avatar_url": null, "tokens": 974.5, "created_at": "2026-01-15T12:00:00.000000Z"}),
    );
    assert_eq!(profile.get("updated_at"), None);
}

#[tokio::test]
async fn services_name_the_user_and_users_cannot_name_another() {
    let (app, user) = TestApp::with_user(&[]).await;
    app.user("auth0|b").await;
    for path in ["/api/auth/verify", "/api/user/profile", "/api/user/balance"] {
        app.get(path).service().expect(422).await;
        app.get(path).service().header("X-User-Id", "auth0|a").expect(200).await;
        app.get(path)
            .service()
            .header("X-User-Id", "auth0|nobody")
            .refused(404, "UserNotFoundException")
            .await;
        app.get(path)
            .by(&user)
            .header("X-User-Id", "auth0|b")
            .refused(403, "PermissionDeniedException")
            .await;
        let anonymous = app.get(path).refused(401, "AuthenticationException").await;
        assert_eq!(anonymous.json()["message"], "未提供认证信息");
    }
}

#[tokio::test]
async fn a_profile_is_changed_field_by_field() {
    let (app, user) = TestApp::with_user(&[]).await;
    let put = |body: Value| app.put("/api/user/profile").by(&user).json(body);
    app.clock().advance(Duration::minutes(1));
    let picture = "https://example.com/a.png";
    let changed = put(json!({"nickname": "新昵称", "avatar_url": picture})).ok().await;
    changed.has(
        json!({"nickname": "新昵称", "avatar_url": picture, "updated_at": "2026-01-15T12:01:00.000000Z"}),
    );
    put(json!({"nickname": "B"})).ok().await.has(json!({"nickname": "B", "avatar_url": picture}));
    put(json!({"avatar_url": null})).ok().await.has(json!({"nickname": "B", "avatar_url": null}));
    put(json!({})).ok().await.has(json!({"nickname": "B", "avatar_url": null}));
    assert_eq!(audited(&app, "user.updated").await, 3);
    let profile = app.get("/api/user/profile").by(&user).ok().await;
    profile.has(json!({"nickname": "B", "avatar_url": null, "email": "auth0a@example.com"}));
    for (body, place) in [
        (json!({"nickname": ""}), "body.nickname"),
        (json!({"nickname": "x".repeat(65)}), "body.nickname"),
        (json!({"avatar_url": "javascript:alert(1)"}), "body.avatar_url"),
        (json!({"avatar_url": 5}), "body.avatar_url"),
    ] {
        put(body).fault(place).await;
    }
}
