//! `/api/v1/users/{user_id}/sessions`

use crate::prelude::*;

const PATH: &str = "/api/v1/users/auth0%7Ca/sessions";

#[tokio::test]
async fn creating_answers_flat_and_whole() {
    let (app, user) = TestApp::with_user(&[]).await;
    let body = json!({"user_id": "auth0|a", "title": "T", "conversation_data": {"topic": "test"}, "metadata": {"n": 1.50}});
    let answer = app.post(PATH).by(&user).json(&body).ok().await;
    assert_eq!(answer["message"], "Session created successfully");
    assert_eq!((&answer["status"], &answer["message_count"]), (&json!("active"), &json!(0)));
    assert_eq!(answer["session_id"], answer["data"]["session_id"]);
    assert_eq!(answer["data"]["conversation_data"], json!({"topic": "test"}));
    assert_eq!(answer["created_at"], "2026-01-15T12:00:00.000000Z");
    app.post(PATH).by(&user).expect(200).await;
    let request = app.post(PATH).by(&user).json(json!({"user_id": "auth0|b"}));
    request.refused(400, "UserIdMismatchException").await;
}

#[tokio::test]
async fn the_list_is_newest_first_and_filters() {
    let (app, user) = TestApp::with_user(&[]).await;
    for title in ["one", "two", "three"] {
        app.clock().advance(Duration::minutes(1));
        app.post(PATH).by(&user).json(json!({"title": title})).expect(200).await;
    }
    let titles = async |query: &str| {
        let reply = app.get(&format!("{PATH}?{query}")).by(&user).ok().await;
        let rows = reply["data"].list().to_vec();
        rows.iter().map(|row| row["title"].text().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(titles("active_only=false&limit=10&offset=0").await, ["three", "two", "one"]);
    let newest = app.get(PATH).by(&user).await.json()["data"][0]["session_id"].clone();
    let path = format!("/api/v1/sessions/{}/status?status=completed", newest.text());
    app.put(&path).by(&user).expect(200).await;
    assert_eq!(titles("active_only=true").await, ["two", "one"]);
    assert_eq!(titles("status=completed").await, ["three"]);
    assert_eq!(titles("limit=1&offset=1").await, ["two"]);
    for wrong in ["active_only=maybe", "status=gone", "active_only=true&status=ended", "cursor=x"] {
        app.get(&format!("{PATH}?{wrong}")).by(&user).expect(422).await;
    }
}
