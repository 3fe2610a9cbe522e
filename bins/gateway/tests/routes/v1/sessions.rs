//! `/api/v1/sessions/{session_id}/...`

use std::sync::Arc;

use serde_json::{Value, json};
use testkit::{TestApp, TestUser};
use tokio::task::JoinSet;

use crate::examples::session_of;

async fn session_row(app: &TestApp, user: &TestUser) -> Value {
    let path = format!("/api/v1/users/{}/sessions", user.id);
    app.get(&path).token(&user.token).send().await.expect(200).json()["data"][0].clone()
}

#[tokio::test]
async fn the_status_is_set_by_query_or_json() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    let path = format!("/api/v1/sessions/{}/status", session_of(&app, &user).await);
    let by_query =
        app.put(&format!("{path}?status=completed")).token(&user.token).send().await.expect(200).json();
    assert_eq!(
        (&by_query["message"], &by_query["data"]),
        (&json!("Session status updated to completed"), &json!(true))
    );
    assert_eq!(session_row(&app, &user).await["is_active"], true);
    app.put(&path).token(&user.token).json(&json!({"status": "ended"})).send().await.expect(200);
    assert_eq!(session_row(&app, &user).await["is_active"], false);
    for (query, body) in
        [("", Value::Null), ("?status=gone", Value::Null), ("?status=ended", json!({"status": "active"}))]
    {
        let request = app.put(&format!("{path}{query}")).token(&user.token);
        let request = if body.is_null() { request } else { request.json(&body) };
        request.send().await.expect(422);
    }
    assert_eq!(session_row(&app, &user).await["status"], "ended");
}

#[tokio::test]
async fn messages_by_query_and_json_move_the_counters() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    let path = format!("/api/v1/sessions/{}/messages", session_of(&app, &user).await);
    let query = "role=user&content=Hello&message_type=chat&tokens_used=5&cost_usd=0.001";
    let first = app.post(&format!("{path}?{query}")).token(&user.token).send().await.expect(200);
    assert!(
        first.text.contains(
            r#""tokens_used":5,"cost_usd":0.001,"is_summary_candidate":true,"importance_score":0.5"#
        )
    );
    let body = json!({
        "role": "assistant", "content": "", "tool_calls": [{"name": "f"}], "tool_call_id": "c1", "tokens_used": 12,
        "cost_usd": 0.002, "message_metadata": {"k": 1}, "is_summary_candidate": false, "importance_score": 1,
    });
    let second = app.post(&path).token(&user.token).json(&body).send().await.expect(200).json();
    assert_eq!(second["data"]["tool_calls"], json!([{"name": "f"}]));
    assert_eq!(second["data"]["importance_score"], 1.0);
    let list =
        app.get(&format!("{path}?limit=10&offset=0")).token(&user.token).send().await.expect(200).json();
    assert_eq!(list["message"], "Retrieved 2 messages");
    assert_eq!(list["data"], json!([first.json()["data"], second["data"]]));
    let row = session_row(&app, &user).await;
    assert_eq!(
        (&row["message_count"], &row["total_tokens"], &row["total_cost"]),
        (&json!(2), &json!(17), &json!(0.003))
    );
}

#[tokio::test]
async fn messages_are_filtered_by_role() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    let path = format!("/api/v1/sessions/{}/messages", session_of(&app, &user).await);
    for (content, role) in (0..6).zip(["user", "assistant"].into_iter().cycle()) {
        let body = json!({"role": role, "content": content.to_string()});
        app.post(&path).token(&user.token).json(&body).send().await.expect(200);
    }
    let get = |query: &str| app.get(&format!("{path}?{query}")).token(&user.token).send();
    let contents = |reply: &Value| -> Vec<Value> {
        let rows = reply["data"].as_array().unwrap();
        rows.iter().map(|row| row["content"].clone()).collect()
    };
    let first = get("role=assistant&limit=2").await.expect(200);
    assert_eq!(contents(&first.json()), ["1", "3"]);
    assert_eq!(first.json()["message"], "Retrieved 2 messages");
    let cursor = first.header("x-next-cursor").to_owned();
    let second = get(&format!("role=assistant&limit=2&cursor={cursor}")).await.expect(200);
    assert_eq!(contents(&second.json()), ["5"]);
    assert_eq!(second.header("x-next-cursor"), "");
    let skipped = get("role=user&offset=1").await.expect(200);
    assert_eq!(contents(&skipped.json()), ["2", "4"]);
    assert_eq!(contents(&get("role=tool").await.expect(200).json()), [""; 0]);
    // A cursor belongs to the filter it was made with.
    for query in [&format!("cursor={cursor}"), &format!("role=user&cursor={cursor}"), "role=robot", "role="] {
        get(query).await.expect(422);
    }
}

#[tokio::test]
async fn large_messages_come_in_several_pages() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    let path = format!("/api/v1/sessions/{}/messages", session_of(&app, &user).await);
    let body = json!({"role": "user", "content": "x".repeat(1024 * 1024)});
    for _ in 0..10 {
        app.post(&path).token(&user.token).json(&body).send().await.expect(200);
    }
    let (mut ids, mut sizes, mut query) = (Vec::new(), Vec::new(), "limit=500".to_owned());
    loop {
        let reply = app.get(&format!("{path}?{query}")).token(&user.token).send().await.expect(200);
        let page = reply.json()["data"].as_array().unwrap().clone();
        sizes.push(page.len());
        ids.extend(page.iter().map(|row| row["id"].to_string()));
        match reply.header("x-next-cursor") {
            "" => break,
            cursor => query = format!("limit=500&cursor={cursor}"),
        }
    }
    assert_eq!(sizes, [3, 3, 3, 1]);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 10);
}

#[tokio::test]
async fn forged_cursors_are_refused() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    let path = format!("/api/v1/users/{}/sessions", user.id.to_string().replace('|', "%7C"));
    for (place, status) in [
        ("-377705116800000000000:1", 422),
        ("1:1", 422),
        ("0:1", 200),
        ("-62135596800000000000:-9223372036854775808", 200),
    ] {
        let cursor = kernel::Cursor::seal(r#"list_sessions ["auth0|a", ""] []"#, &place);
        app.get(&format!("{path}?cursor={cursor}")).token(&user.token).send().await.expect(status);
    }
}

#[tokio::test]
async fn unusable_messages_are_refused_and_count_nothing() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    let path = format!("/api/v1/sessions/{}/messages", session_of(&app, &user).await);
    for body in [
        json!({"role": "user"}),
        json!({"content": "x"}),
        json!({"role": "robot", "content": "x"}),
        json!({"role": "user", "content": ""}),
        json!({"role": "user", "content": "x", "tokens_used": -1}),
        json!({"role": "user", "content": "x", "cost_usd": -0.1}),
        json!({"role": "user", "content": "x", "message_type": "x".repeat(21)}),
        json!({"role": "user", "content": "x", "importance_score": 1.1}),
        json!({"role": "user", "content": "x", "message_metadata": []}),
        json!({"role": "user", "content": "x\u{0}"}),
    ] {
        app.post(&path).token(&user.token).json(&body).send().await.expect(422);
    }
    let long = json!({"role": "user", "content": "x".repeat(1024 * 1024)});
    app.post(&path).token(&user.token).json(&long).send().await.expect(200);
    let longer = json!({"role": "user", "content": "x".repeat(1024 * 1024 + 1)});
    app.post(&path).token(&user.token).json(&longer).send().await.expect(422);
    assert_eq!(session_row(&app, &user).await["message_count"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_messages_at_once_count_sixty() {
    let app = Arc::new(TestApp::start().await);
    let user = app.user("auth0|a").await;
    let path = format!("/api/v1/sessions/{}/messages", session_of(&app, &user).await);
    let mut requests = JoinSet::new();
    for turn in 0..60 {
        let body =
            json!({"role": "user", "content": turn.to_string(), "tokens_used": 3, "cost_usd": "0.000000001"});
        requests.spawn(app.post(&path).token(&user.token).json(&body).send());
    }
    assert!(requests.join_all().await.iter().all(|reply| reply.status == 200));
    let row = session_row(&app, &user).await;
    assert_eq!((&row["message_count"], &row["total_tokens"]), (&json!(60), &json!(180)));
    assert_eq!(row["total_cost"], 0.000_000_06);
    let (mut seen, mut query) = (Vec::new(), "limit=25".to_owned());
    loop {
        let reply = app.get(&format!("{path}?{query}")).token(&user.token).send().await.expect(200);
        seen.extend(reply.json()["data"].as_array().unwrap().iter().map(|row| row["content"].to_string()));
        match reply.header("x-next-cursor") {
            "" => break,
            cursor => query = format!("limit=25&cursor={cursor}"),
        }
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 60);
}

#[tokio::test]
async fn a_deleted_session_is_gone_with_its_messages() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    let session = session_of(&app, &user).await;
    let path = format!("/api/v1/sessions/{session}");
    app.post(&format!("{path}/messages?role=user&content=x")).token(&user.token).send().await.expect(200);
    let deleted = app.delete(&path).token(&user.token).send().await.expect(200).json();
    assert_eq!(deleted["message"], format!("Session {session} deleted successfully"));
    assert_eq!(deleted["data"], json!({"session_id": session, "deleted": true}));
    for reply in [
        app.delete(&path).token(&user.token).send().await,
        app.get(&format!("{path}/messages")).token(&user.token).send().await,
        app.post(&format!("{path}/messages?role=user&content=x")).token(&user.token).send().await,
        app.put(&format!("{path}/status?status=ended")).token(&user.token).send().await,
        app.delete("/api/v1/sessions/sess_no_uuid").token(&user.token).send().await,
    ] {
        let reply = reply.expect(404);
        assert_eq!(reply.error_code(), "SessionNotFoundException");
        assert!(reply.json()["message"].as_str().unwrap().starts_with("Session not found: "));
    }
}

#[tokio::test]
async fn null_content_with_tool_calls_is_stored_as_empty() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    let path = format!("/api/v1/sessions/{}/messages", session_of(&app, &user).await);
    let send = |body: Value| app.post(&path).token(&user.token).json(&body).send();
    let calls = json!([{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]);
    let added = send(json!({"role": "assistant", "content": null, "tool_calls": calls}));
    let added = added.await.expect(200).json();
    assert_eq!((&added["data"]["content"], &added["data"]["tool_calls"]), (&json!(""), &calls));
    for (body, kind) in [
        (json!({"role": "assistant", "content": null}), "string_type"),
        (json!({"role": "assistant", "content": null, "tool_calls": null}), "string_type"),
        (json!({"role": "assistant", "content": ""}), "string_too_short"),
        (json!({"role": "assistant", "tool_calls": calls}), "missing"),
    ] {
        let refused = send(body).await.expect(422).json();
        let fault = &refused["detail"][0];
        assert_eq!((&fault["type"], &fault["loc"]), (&json!(kind), &json!(["body", "content"])));
    }
    let listed = app.get(&path).token(&user.token).send().await.expect(200).json();
    assert_eq!(listed["data"].as_array().unwrap().len(), 1);
}
