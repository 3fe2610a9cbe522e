//! `/api/v1/users/{user_id}/sessions`

use serde_json::json;
use testkit::TestApp;
use time::Duration;

const PATH: &str = "/api/v1/users/auth0%7Ca/sessions";

#[tokio::test]
async fn creating_answers_flat_and_whole() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    let body = json!({"user_id": "auth0|a", "title": "T", "conversation_data": {"topic": "test"}, "metadata": {"n": 1.50}});
    let answer = app.post(PATH).token(&user.token).json(&body).send().await.expect(200).json();
    assert_eq!(answer["message"], "Session created successfully");
    assert_eq!((&answer["status"], &answer["message_count"]), (&json!("active"), &json!(0)));
    assert_eq!(answer["session_id"], answer["data"]["session_id"]);
    assert_eq!(answer["data"]["conversation_data"], json!({"topic": "test"}));
    assert_eq!(answer["created_at"], "2026-01-15T12:00:00.000000Z");
    app.post(PATH).token(&user.token).send().await.expect(200);
    let other =
        app.post(PATH).token(&user.token).json(&json!({"user_id": "auth0|b"})).send().await.expect(400);
    assert_eq!(other.error_code(), "UserIdMismatchException");
}

#[tokio::test]
async fn the_list_is_newest_first_and_filters() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    for title in ["one", "two", "three"] {
        app.clock().advance(Duration::minutes(1));
        app.post(PATH).token(&user.token).json(&json!({"title": title})).send().await.expect(200);
    }
    let titles = async |query: &str| {
        let reply = app.get(&format!("{PATH}?{query}")).token(&user.token).send().await.expect(200).json();
        let rows = reply["data"].as_array().unwrap().clone();
        rows.iter().map(|row| row["title"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(titles("active_only=false&limit=10&offset=0").await, ["three", "two", "one"]);
    let newest = app.get(PATH).token(&user.token).send().await.json()["data"][0]["session_id"].clone();
    let path = format!("/api/v1/sessions/{}/status?status=completed", newest.as_str().unwrap());
    app.put(&path).token(&user.token).send().await.expect(200);
    assert_eq!(titles("active_only=true").await, ["two", "one"]);
    assert_eq!(titles("status=completed").await, ["three"]);
    assert_eq!(titles("limit=1&offset=1").await, ["two"]);
    for wrong in ["active_only=maybe", "status=gone", "active_only=true&status=ended", "cursor=x"] {
        app.get(&format!("{PATH}?{wrong}")).token(&user.token).send().await.expect(422);
    }
}
