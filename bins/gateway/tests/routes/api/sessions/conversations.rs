//! `POST` and `GET /api/sessions`, `DELETE /api/sessions/{session_id}`, `GET /api/sessions/{session_id}/messages`

use std::collections::BTreeSet;

use crate::prelude::*;

async fn begin(app: &TestApp, user: &TestUser, title: &str) -> Value {
    app.post("/api/sessions").by(user).json(json!({"title": title})).ok().await
}

#[tokio::test]
async fn conversations_are_the_sessions_of_the_other_routes() {
    let (app, user) = TestApp::with_user(&[]).await;
    let number = app.db().ask("SELECT id FROM identity.users").await;
    let one = begin(&app, &user, "会话标题").await;
    one.has(json!({"user_id": number, "title": "会话标题", "created_at": "2026-01-15T12:00:00.000000Z"}));
    app.clock().advance(Duration::SECOND);
    let untitled = app.post("/api/sessions").by(&user).ok().await;
    assert_eq!(untitled["title"], Value::Null);
    assert_eq!(app.get("/api/sessions").by(&user).ok().await, json!([untitled, one]));
    let page = app.get("/api/sessions?limit=1").by(&user).expect(200).await;
    let next = format!("/api/sessions?limit=1&cursor={}", page.header("x-next-cursor"));
    assert_eq!(app.get(&next).by(&user).ok().await, json!([one]));
    let uuids = app.get("/api/v1/users/auth0|a/sessions").by(&user).column("session_id").await;
    assert_eq!(uuids, [untitled["session_id"].clone(), one["session_id"].clone()]);

    let path = format!("/api/v1/sessions/{}/messages", one["session_id"].as_str().unwrap());
    for (role, content) in [("user", "Hi"), ("assistant", "Hello")] {
        let body = json!({"role": role, "content": content, "tokens_used": 5});
        app.post(&path).by(&user).json(body).expect(200).await;
    }
    for id in [one["id"].to_string(), one["session_id"].as_str().unwrap().to_owned()] {
        let messages = app.get(&format!("/api/sessions/{id}/messages")).by(&user).ok().await;
        messages[0].has(json!({"session_id": one["id"], "content": "Hi", "role": "user", "tokens": 5, "status": "completed"}));
        messages[1].has(json!({"content": "Hello", "role": "assistant"}));
        assert!(messages[0]["id"].as_i64() < messages[1]["id"].as_i64());
    }
    let other = app.user("auth0|b").await;
    let path = format!("/api/sessions/{}", one["id"]);
    for (by, path) in [(&other, path.as_str()), (&user, "/api/sessions/0"), (&user, "/api/sessions/x")] {
        app.delete(path).by(by).refused(404, "SessionNotFoundException").await;
        app.get(&format!("{path}/messages")).by(by).refused(404, "SessionNotFoundException").await;
    }
    let deleted = app.delete(&path).by(&user).expect(200).await;
    assert_eq!(deleted.text, r#"{"message":"会话删除成功"}"#);
    assert_eq!(app.get("/api/sessions").by(&user).ok().await, json!([untitled]));
    assert_eq!(app.get("/api/sessions").service().header("X-User-Id", "auth0|b").ok().await, json!([]));
}

#[tokio::test]
async fn a_key_makes_one_session_and_one_message() {
    let (app, user) = TestApp::with_user(&[]).await;
    let parallel: JoinSet<_> = (0..16)
        .map(|_| app.post("/api/sessions").by(&user).key("k").json(json!({"title": "one"})).send())
        .collect();
    let ids: BTreeSet<String> =
        parallel.join_all().await.into_iter().map(|reply| reply.expect(200).text).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    app.post("/api/sessions")
        .by(&user)
        .key("k")
        .json(json!({"title": "two"}))
        .refused(422, "IdempotencyConflictException")
        .await;
    let create = |key: &str| {
        app.post("/api/v1/users/auth0|a/sessions").by(&user).key(key).json(json!({"title": "v1"}))
    };
    let first = create("v").expect(200).await;
    let again = create("v").expect(200).await;
    assert_eq!((first.is_replayed(), again.is_replayed()), (false, true));
    assert_eq!(first.json()["session_id"], again.json()["session_id"]);

    let path = format!("/api/v1/sessions/{}/messages", first.json()["session_id"].as_str().unwrap());
    let add =
        |content: &str| app.post(&path).by(&user).key("m").json(json!({"role": "user", "content": content}));
    let parallel: JoinSet<_> = (0..16).map(|_| add("Hi").send()).collect();
    let ids: BTreeSet<String> =
        parallel.join_all().await.into_iter().map(|reply| reply.expect(200).text).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    add("Ho").refused(422, "IdempotencyConflictException").await;
    assert_eq!(app.get(&path).by(&user).rows().await.len(), 1);
    app.get(path.trim_end_matches("/messages")).by(&user).data().await.has(json!({"message_count": 1}));
}

#[tokio::test]
async fn a_repeat_shows_the_first_answer_though_the_session_has_changed_and_is_gone() {
    let (app, user) = TestApp::with_user(&[]).await;
    let create = || {
        let body = r#"{"title": "v1", "metadata": {"bb": [1.50, "\u00e9"], "a": 1e2}, "conversation_data": {"c": {}},
            "expires_at": "2026-01-15T12:00:00.5Z"}"#;
        app.post("/api/v1/users/auth0|a/sessions").by(&user).key("v").body(body)
    };
    let begin = || app.post("/api/sessions").by(&user).key("b").json(json!({"title": "chat"}));
    let (created, begun) = (create().expect(200).await, begin().expect(200).await);
    created.json()["data"].has(json!({"metadata": {"bb": [1.50, "é"], "a": 100}, "status": "active"}));
    let session = format!("/api/v1/sessions/{}", created.json()["session_id"].text());
    let messages = format!("{session}/messages");
    let calls = json!([{"id": "c", "function": {"name": "f", "arguments": "{}"}}]);
    let add = || {
        let body = json!({"role": "assistant", "content": "Hello", "tool_calls": calls, "message_metadata": {"zz": 1, "b": 2.0},
            "tokens_used": 3, "cost_usd": "0.000000001", "importance_score": 0.1});
        app.post(&messages).by(&user).key("m").json(body)
    };
    let added = add().expect(200).await;
    let repeats = async || {
        for (first, repeat) in [(&created, create()), (&begun, begin()), (&added, add())] {
            let repeat = repeat.expect(200).await;
            assert!(repeat.is_replayed());
            assert_eq!(repeat.text, first.text);
        }
    };
    repeats().await;
    app.clock().advance(Duration::HOUR);
    let changed = json!({"title": "other", "metadata": {}, "session_summary": "x"});
    app.request("PATCH".parse().unwrap(), &session).by(&user).json(&changed).expect(200).await;
    app.put(&format!("{session}/status?status=ended")).by(&user).expect(200).await;
    repeats().await;
    let by_service = || app.post(&messages).service().key("s").json(json!({"role": "user", "content": "x"}));
    let of_service = by_service().expect(200).await;
    assert_eq!(by_service().expect(200).await.text, of_service.text);
    for session in [created.json()["session_id"].text(), begun.json()["session_id"].text()] {
        app.delete(&format!("/api/v1/sessions/{session}")).by(&user).expect(200).await;
    }
    repeats().await;
    let other = app.user("auth0|b").await;
    app.post(&messages).by(&other).key("m").json(json!({"role": "user", "content": "x"})).expect(404).await;
    by_service().refused(404, "SessionNotFoundException").await;
    // Nothing of a text is stored with a key.
    let copies: i64 =
        app.db().ask("SELECT count(*) FROM idempotency.answers WHERE answer::text LIKE '%Hello%'").await;
    assert_eq!(copies, 0);
}

#[tokio::test]
async fn sixty_four_writers_and_a_walk_with_a_cursor_see_each_message_once() {
    let (app, user) = TestApp::with_user(&[]).await;
    let session = begin(&app, &user, "busy").await;
    let add = format!("/api/v1/sessions/{}/messages", session["session_id"].as_str().unwrap());
    let walk = format!("/api/sessions/{}/messages?limit=7", session["id"]);
    let mut writers = JoinSet::new();
    for writer in 0..64 {
        let requests: Vec<_> = (0..5)
            .map(|turn| json!({"role": "user", "content": format!("{writer}-{turn}")}))
            .map(|body| app.post(&add).by(&user).json(body))
            .collect();
        writers.spawn(async move {
            for request in requests {
                request.expect(200).await;
            }
        });
    }
    let (mut seen, mut cursor, mut is_over) = (Vec::new(), None::<String>, false);
    loop {
        let path = cursor.as_ref().map_or_else(|| walk.clone(), |cursor| format!("{walk}&cursor={cursor}"));
        let page = app.get(&path).by(&user).expect(200).await;
        let items = page.json();
        match page.header("x-next-cursor") {
            "" if is_over => {
                seen.extend(items.as_array().unwrap().iter().map(|item| item["content"].text().to_owned()));
                break;
            }
            // The last page is read again until all is written.
            "" => {
                while writers.try_join_next().is_some_and(|writer| writer.is_ok()) {}
                is_over = writers.is_empty();
            }
            next => {
                seen.extend(items.as_array().unwrap().iter().map(|item| item["content"].text().to_owned()));
                cursor = Some(next.to_owned());
            }
        }
    }
    let all: BTreeSet<String> =
        (0..64).flat_map(|one| (0..5).map(move |turn| format!("{one}-{turn}"))).collect();
    assert_eq!(seen.len(), 320);
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), all);
}

#[tokio::test]
async fn a_session_is_shown_and_changed_field_by_field() {
    let (app, user) = TestApp::with_user(&[]).await;
    let session = begin(&app, &user, "old").await;
    let path = format!("/api/v1/sessions/{}", session["session_id"].as_str().unwrap());
    app.clock().advance(Duration::MINUTE);
    let change = json!({"title": "new", "metadata": {"a": 1}, "session_summary": "short", "expires_at": "2026-01-15T13:00:00Z"});
    let changed = app.request("PATCH".parse().unwrap(), &path).by(&user).json(change).data().await;
    changed.has(json!({
        "title": "new", "metadata": {"a": 1}, "session_summary": "short", "expires_at": "2026-01-15T13:00:00.000000Z",
        "updated_at": "2026-01-15T12:01:00.000000Z", "status": "active",
    }));
    assert_eq!(app.get(&path).by(&user).data().await, changed);
    let kept = app
        .request("PATCH".parse().unwrap(), &path)
        .by(&user)
        .json(json!({"title": null, "unknown": 1}))
        .data()
        .await;
    kept.has(json!({"title": null, "session_summary": "short", "metadata": {"a": 1}}));
    for fault in
        [json!({"title": "x".repeat(256)}), json!({"metadata": []}), json!({"expires_at": "soon"}), json!([])]
    {
        app.request("PATCH".parse().unwrap(), &path).by(&user).json(fault).expect(422).await;
    }
    let other = app.user("auth0|b").await;
    app.get(&path).by(&other).refused(404, "SessionNotFoundException").await;
    app.request("PATCH".parse().unwrap(), &path)
        .by(&other)
        .json(json!({"title": "x"}))
        .refused(404, "SessionNotFoundException")
        .await;
    app.clock().advance(Duration::HOUR);
    app.get(&path).service().data().await.has(json!({"status": "expired", "is_active": false}));
    app.request("PATCH".parse().unwrap(), &path)
        .service()
        .json(json!({"expires_at": null}))
        .data()
        .await
        .has(json!({"status": "active", "expires_at": null}));
}
