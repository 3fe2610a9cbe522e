//! `/api/v1/sessions/{session_id}/...`

use std::collections::BTreeSet;

use crate::examples::session_of;
use crate::prelude::*;

async fn session_row(app: &TestApp, user: &TestUser) -> Value {
    let path = format!("/api/v1/users/{}/sessions", user.id);
    app.get(&path).by(user).data().await[0].clone()
}

#[tokio::test]
async fn the_status_is_set_by_query_or_json() {
    let (app, user) = TestApp::with_user(&[]).await;
    let path = format!("/api/v1/sessions/{}/status", session_of(&app, &user).await);
    let by_query = app.put(&format!("{path}?status=completed")).by(&user).ok().await;
    by_query.has(json!({"message": "Session status updated to completed", "data": true}));
    assert_eq!(session_row(&app, &user).await["is_active"], true);
    app.put(&path).by(&user).json(json!({"status": "ended"})).expect(200).await;
    assert_eq!(session_row(&app, &user).await["is_active"], false);
    for (query, body) in
        [("", Value::Null), ("?status=gone", Value::Null), ("?status=ended", json!({"status": "active"}))]
    {
        let request = app.put(&format!("{path}{query}")).by(&user);
        let request = if body.is_null() { request } else { request.json(&body) };
        request.expect(422).await;
    }
    assert_eq!(session_row(&app, &user).await["status"], "ended");
}

#[tokio::test]
async fn messages_by_query_and_json_move_the_counters() {
    let (app, user) = TestApp::with_user(&[]).await;
    let path = format!("/api/v1/sessions/{}/messages", session_of(&app, &user).await);
    let query = "role=user&content=Hello&message_type=chat&tokens_used=5&cost_usd=0.001";
    let first = app.post(&format!("{path}?{query}")).by(&user).expect(200).await;
    let plain = r#""tokens_used":5,"cost_usd":0.001,"is_summary_candidate":true,"importance_score":0.5"#;
    assert!(first.text.contains(plain), "{}", first.text);
    let body = json!({
        "role": "assistant", "content": "", "tool_calls": [{"name": "f"}], "tool_call_id": "c1", "tokens_used": 12,
        "cost_usd": 0.002, "message_metadata": {"k": 1}, "is_summary_candidate": false, "importance_score": 1,
    });
    let second = app.post(&path).by(&user).json(&body).ok().await;
    second.has(json!({"data.tool_calls": [{"name": "f"}], "data.importance_score": 1.0}));
    let list = app.get(&format!("{path}?limit=10&offset=0")).by(&user).ok().await;
    list.has(json!({"message": "Retrieved 2 messages", "data": [first.json()["data"], second["data"]]}));
    session_row(&app, &user).await.has(json!({"message_count": 2, "total_tokens": 17, "total_cost": 0.003}));
}

#[tokio::test]
async fn messages_are_filtered_by_role() {
    let (app, user) = TestApp::with_user(&[]).await;
    let path = format!("/api/v1/sessions/{}/messages", session_of(&app, &user).await);
    for (content, role) in (0..6).zip(["user", "assistant"].into_iter().cycle()) {
        let body = json!({"role": role, "content": content.to_string()});
        app.post(&path).by(&user).json(&body).expect(200).await;
    }
    let get = |query: &str| app.get(&format!("{path}?{query}")).by(&user);
    let contents = |reply: &Value| -> Vec<Value> {
        let rows = reply["data"].list();
        rows.iter().map(|row| row["content"].clone()).collect()
    };
    let first = get("role=assistant&limit=2").expect(200).await;
    assert_eq!(contents(&first.json()), ["1", "3"]);
    assert_eq!(first.json()["message"], "Retrieved 2 messages");
    let cursor = first.header("x-next-cursor").to_owned();
    let second = get(&format!("role=assistant&limit=2&cursor={cursor}")).expect(200).await;
    assert_eq!(contents(&second.json()), ["5"]);
    assert_eq!(second.header("x-next-cursor"), "");
    let skipped = get("role=user&offset=1").expect(200).await;
    assert_eq!(contents(&skipped.json()), ["2", "4"]);
    assert_eq!(contents(&get("role=tool").ok().await), [""; 0]);
    // A cursor belongs to the filter it was made with.
    for query in [&format!("cursor={cursor}"), &format!("role=user&cursor={cursor}"), "role=robot", "role="] {
        get(query).expect(422).await;
    }
}

#[tokio::test]
async fn large_messages_come_in_several_pages() {
    let (app, user) = TestApp::with_user(&[]).await;
    let path = format!("/api/v1/sessions/{}/messages", session_of(&app, &user).await);
    let body = json!({"role": "user", "content": "x".repeat(1024 * 1024)});
    for _ in 0..10 {
        app.post(&path).by(&user).json(&body).expect(200).await;
    }
    let pages = app.pages(&format!("{path}?limit=500"), &user).await;
    let sizes: Vec<_> = pages.iter().map(Vec::len).collect();
    assert_eq!(sizes, [3, 3, 3, 1]);
    let ids: BTreeSet<_> = pages.concat().iter().map(|row| row["id"].to_string()).collect();
    assert_eq!(ids.len(), 10);
}

#[tokio::test]
async fn forged_cursors_are_refused() {
    let (app, user) = TestApp::with_user(&[]).await;
    let path = format!("/api/v1/users/{}/sessions", user.id.to_string().replace('|', "%7C"));
    for (place, status) in [
        ("-377705116800000000000:1", 422),
        ("1:1", 422),
        ("0:1", 200),
        ("-62135596800000000000:-9223372036854775808", 200),
    ] {
        let cursor = kernel::Cursor::seal(r#"list_sessions ["auth0|a", ""] []"#, &place);
        app.get(&format!("{path}?cursor={cursor}")).by(&user).expect(status).await;
    }
}

#[tokio::test]
async fn unusable_messages_are_refused_and_count_nothing() {
    let (app, user) = TestApp::with_user(&[]).await;
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
        app.post(&path).by(&user).json(&body).expect(422).await;
    }
    let long = json!({"role": "user", "content": "x".repeat(1024 * 1024)});
    app.post(&path).by(&user).json(&long).expect(200).await;
    let longer = json!({"role": "user", "content": "x".repeat(1024 * 1024 + 1)});
    app.post(&path).by(&user).json(&longer).expect(422).await;
    assert_eq!(session_row(&app, &user).await["message_count"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_messages_at_once_count_sixty() {
    let (app, user) = TestApp::with_user(&[]).await;
    let path = format!("/api/v1/sessions/{}/messages", session_of(&app, &user).await);
    let mut requests = JoinSet::new();
    for turn in 0..60 {
        let body =
            json!({"role": "user", "content": turn.to_string(), "tokens_used": 3, "cost_usd": "0.000000001"});
        requests.spawn(app.post(&path).by(&user).json(&body).send());
    }
    assert!(requests.join_all().await.iter().all(|reply| reply.status == 200));
    let row = session_row(&app, &user).await;
    row.has(json!({"message_count": 60, "total_tokens": 180, "total_cost": 0.000_000_06}));
    let pages = app.pages(&format!("{path}?limit=25"), &user).await.concat();
    let seen: BTreeSet<_> = pages.iter().map(|row| row["content"].text()).collect();
    assert_eq!(seen.len(), 60);
}

#[tokio::test]
async fn a_deleted_session_is_gone_with_its_messages() {
    let (app, user) = TestApp::with_user(&[]).await;
    let session = session_of(&app, &user).await;
    let path = format!("/api/v1/sessions/{session}");
    app.post(&format!("{path}/messages?role=user&content=x")).by(&user).expect(200).await;
    let deleted = app.delete(&path).by(&user).ok().await;
    assert_eq!(deleted["message"], format!("Session {session} deleted successfully"));
    assert_eq!(deleted["data"], json!({"session_id": session, "deleted": true}));
    for reply in [
        app.delete(&path).by(&user).await,
        app.get(&format!("{path}/messages")).by(&user).await,
        app.post(&format!("{path}/messages?role=user&content=x")).by(&user).await,
        app.put(&format!("{path}/status?status=ended")).by(&user).await,
        app.delete("/api/v1/sessions/sess_no_uuid").by(&user).await,
    ] {
        let reply = reply.expect(404);
        assert_eq!(reply.error_code(), "SessionNotFoundException");
        assert!(reply.json()["message"].text().starts_with("Session not found: "));
    }
}

#[tokio::test]
async fn null_content_with_tool_calls_is_stored_as_empty() {
    let (app, user) = TestApp::with_user(&[]).await;
    let path = format!("/api/v1/sessions/{}/messages", session_of(&app, &user).await);
    let send = |body: Value| app.post(&path).by(&user).json(&body);
    let calls = json!([{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]);
    let added = send(json!({"role": "assistant", "content": null, "tool_calls": calls}));
    let added = added.ok().await;
    assert_eq!((&added["data"]["content"], &added["data"]["tool_calls"]), (&json!(""), &calls));
    for (body, kind) in [
        (json!({"role": "assistant", "content": null}), "string_type"),
        (json!({"role": "assistant", "content": null, "tool_calls": null}), "string_type"),
        (json!({"role": "assistant", "content": ""}), "string_too_short"),
        (json!({"role": "assistant", "tool_calls": calls}), "missing"),
    ] {
        assert_eq!(send(body).fault("body.content").await["type"], kind);
    }
    let listed = app.get(&path).by(&user).ok().await;
    assert_eq!(listed["data"].list().len(), 1);
}
