//! `POST /api/sessions/{session_id}/messages`, and the routes of its replies

use testkit::{ChatScript, ChatServer};

use crate::prelude::*;

/// A model, a service that asks it, and a user with a session.
struct House {
    model: ChatServer,
    app: TestApp,
    user: TestUser,
    /// The integer id of the session.
    session: i64,
}

impl House {
    async fn build(variables: &[(&str, &str)]) -> Self {
        let model = ChatServer::start().await;
        let (url, mut all) = (model.url(), variables.to_vec());
        all.extend([("CHAT_BASE_URL", url.as_str()), ("CHAT_MODEL", "small")]);
        let (app, user) = TestApp::with_user(&all).await;
        let session = app.post("/api/v1/users/auth0|a/sessions").by(&user).ok().await;
        let session = session["data"]["id"].as_i64().unwrap();
        Self { model, app, user, session }
    }

    fn messages(&self) -> String {
        format!("/api/sessions/{}/messages", self.session)
    }

    fn send(&self, body: Value) -> TestRequest {
        self.app.post(&self.messages()).by(&self.user).json(body)
    }

    async fn stored(&self) -> Vec<Value> {
        let uuid = self.app.get("/api/v1/users/auth0|a/sessions").by(&self.user).column("session_id").await;
        let path = format!("/api/v1/sessions/{}/messages", uuid[0].as_str().unwrap());
        self.app.get(&path).by(&self.user).rows().await
    }

    async fn balance(&self) -> Value {
        self.app.get("/api/user/balance").by(&self.user).ok().await["balance"].clone()
    }

    async fn held(&self) -> Value {
        self.app.get("credits/account").by(&self.user).data().await["held"].clone()
    }
}

/// The events of an answer: ids, names and data.
fn events(text: &str) -> Vec<(u64, String, Value)> {
    let mut events = Vec::new();
    for block in text.split("\n\n").filter(|block| !block.is_empty() && !block.starts_with(": ")) {
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
        let data = serde_json::from_str(&field("data: ")).unwrap();
        events.push((field("id: ").parse().unwrap(), field("event: "), data));
    }
    events
}

fn joined(events: &[(u64, String, Value)]) -> String {
    let texts = events.iter().filter(|(_, name, _)| name == "message.delta");
    texts.map(|(_, _, data)| data["content"].as_str().unwrap()).collect()
}

fn names(events: &[(u64, String, Value)]) -> Vec<&str> {
    let mut names: Vec<&str> = events.iter().map(|(_, name, _)| name.as_str()).collect();
    names.dedup();
    names
}

#[tokio::test]
async fn a_message_gets_the_reply_of_the_model_and_both_are_stored() {
    let house = House::build(&[("CHAT_SYSTEM_PROMPT", "Be brief."), ("CHAT_API_KEY", "sk-hunter2")]).await;
    house.model.answers([ChatScript::reply(&["你好", "！"])]);
    let reply = house.send(json!({"content": "Hi", "role": "user"})).ok().await;
    reply.has(json!({
        "session_id": house.session, "content": "你好！", "role": "assistant", "tokens": 2, "credits_charged": 12,
        "balance": 988, "status": "completed",
    }));
    let call = &house.model.calls()[0];
    assert_eq!(call.header("authorization"), Some("Bearer sk-hunter2"));
    assert_eq!(call.body["model"], "small");
    let asked = json!([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]);
    assert_eq!(call.body["messages"], asked);
    let stored = house.stored().await;
    assert_eq!((&stored[0]["content"], &stored[0]["tokens_used"]), (&json!("Hi"), &json!(10)));
    assert_eq!((&stored[1]["content"], &stored[1]["tokens_used"]), (&json!("你好！"), &json!(2)));
    let usage = house.app.get("usage").by(&house.user).rows().await;
    usage[0].has(json!({"event_type": "ai_chat", "credits_charged": 12.0, "model_name": "small"}));
    assert_eq!(house.held().await, json!(0.0));
}

#[tokio::test]
async fn a_stream_has_its_events_in_order_and_is_read_again_from_any_of_them() {
    let house = House::build(&[]).await;
    house.model.answers([ChatScript::reply(&["Grüße", " aus\n", "杭州"])]);
    let answer = house.send(json!({"content": "Hi", "stream": true})).expect(200).await;
    assert_eq!(answer.header("content-type"), "text/event-stream");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("x-accel-buffering"), "no");
    let all = events(&answer.text);
    assert_eq!(names(&all), ["message.created", "message.delta", "message.completed", "done"]);
    assert_eq!(joined(&all), "Grüße aus\n杭州");
    assert!(all.is_sorted_by(|one, next| one.0 < next.0) && all[0].0 == 1, "{all:?}");
    let completed = &all[all.len() - 2].2;
    completed.has(json!({"content": "Grüße aus\n杭州", "status": "completed", "credits_charged": 13}));
    assert_eq!(all[0].2, json!({"id": completed["id"], "user_message_id": completed["user_message_id"]}));

    let path = format!("{}/{}/stream", house.messages(), completed["id"]);
    for behind in 0..=all.last().unwrap().0 + 1 {
        let by_header = behind % 2 == 0;
        let request = house.app.get(&path).by(&house.user);
        let request = match by_header {
            true => request.header("Last-Event-ID", &behind.to_string()),
            false => request.query("starting_after", &behind.to_string()),
        };
        let rest = events(&request.expect(200).await.text);
        let read = usize::try_from(behind.saturating_sub(1)).unwrap();
        let text = "Grüße aus\n杭州";
        let expected = text.get(text.ceil_char_boundary(read)..).unwrap_or_default();
        assert_eq!(joined(&rest), expected, "behind {behind}");
        assert_eq!(rest.iter().any(|(id, _, _)| *id == 1), behind == 0);
        let last = all.last().unwrap().0;
        assert_eq!(rest.last().map(|(id, _, _)| *id), (behind != last).then_some(last), "behind {behind}");
    }
}

#[tokio::test]
async fn an_upstream_that_fails_is_a_502_or_the_last_event_and_the_hold_is_free() {
    let house = House::build(&[("CHAT_TIMEOUT_SECONDS", "1")]).await;
    for (script, stream) in [
        (ChatScript::status(500, &[], "no"), false),
        (ChatScript::status(401, &[], "no"), true),
        (ChatScript::raw("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"), false),
        (ChatScript::new().head().close(), true),
        (ChatScript::raw("<html>"), false),
        (ChatScript::silent(), true),
    ] {
        house.model.answers([script.clone()]);
        house.send(json!({"content": "Hi", "stream": stream})).refused(502, "UpstreamException").await;
        assert_eq!(house.held().await, json!(0.0), "{script:?}");
    }
    assert_eq!(house.balance().await, json!(1000));
    assert!(house.stored().await.iter().all(|message| message["status"] == "failed"));

    house.model.answers([ChatScript::new().texts(&["Hel", "lo"]).fail("out of memory")]);
    let all = events(&house.send(json!({"content": "Hi!", "stream": true})).expect(200).await.text);
    assert_eq!(names(&all), ["message.created", "message.delta", "message.failed", "done"]);
    assert_eq!(all[all.len() - 2].2["error_code"], "UpstreamException");
    let stored = house.stored().await;
    let [.., question, reply] = stored.as_slice() else { panic!("{stored:?}") };
    assert_eq!((&question["status"], &reply["status"]), (&json!("completed"), &json!("incomplete")));
    assert_eq!(reply["content"], "Hello");
    // 1 token for the 3 bytes of the prompt, 2 for those of the reply.
    assert_eq!(house.balance().await, json!(997));
    // A pause behind text is no failure.
    house.model.answers([ChatScript::new().text("Hello").hang()]);
    let all = events(&house.send(json!({"content": "Hi!", "stream": true})).expect(200).await.text);
    assert_eq!(names(&all), ["message.created", "message.delta", "message.completed", "done"]);
    assert_eq!(all[all.len() - 2].2["status"], "incomplete");
}

#[tokio::test]
async fn a_reply_goes_on_without_its_reader_and_can_be_cancelled() {
    let house = House::build(&[]).await;
    house.model.answers([ChatScript::new()
        .text("Hel")
        .pause()
        .text("lo")
        .finish("stop")
        .usage(10, 2)
        .done()]);
    let mut gone = {
        let request = house.send(json!({"content": "Hi", "stream": true}));
        tokio::spawn(async move { request.try_send().await.is_ok() })
    };
    house.model.called(1).await;
    assert!(tokio::time::timeout(std::time::Duration::from_millis(200), &mut gone).await.is_err());
    gone.abort();
    let refused = house.send(json!({"content": "Hi"})).refused(409, "ReplyInProgressException").await;
    let message_id = refused.json()["error_details"]["message_id"].as_str().unwrap().to_owned();
    house.model.release();
    let path = format!("{}/{message_id}", house.messages());
    let all = events(&house.app.get(&format!("{path}/stream")).by(&house.user).expect(200).await.text);
    assert_eq!((joined(&all).as_str(), &all[all.len() - 2].2["credits_charged"]), ("Hello", &json!(12)));
    house.app.post(&format!("{path}/cancel")).by(&house.user).refused(409, "ReplyFinishedException").await;

    house.model.answers([ChatScript::new().text("Hello").hang()]);
    let running = tokio::spawn(house.send(json!({"content": "Hi", "stream": true})).send());
    house.model.called(2).await;
    let stored = house.stored().await;
    let path = format!("{}/{}/cancel", house.messages(), stored.last().unwrap()["id"].as_str().unwrap());
    let cancelled = house.app.post(&path).by(&house.user).ok().await;
    assert_eq!(cancelled["status"], "cancelled");
    let all = events(&running.await.unwrap().text);
    assert_eq!(all[all.len() - 2].2["status"], "cancelled");
    house.model.hung_up(1).await;
}

#[tokio::test]
async fn the_same_key_is_one_message_and_one_charge() {
    let house = House::build(&[]).await;
    house.model.answers([ChatScript::status(500, &[], ""), ChatScript::reply(&["Hello"])]);
    let send = |stream: bool| house.send(json!({"content": "Hi", "stream": stream})).key("k1");
    send(false).refused(502, "UpstreamException").await;
    let first = send(false).expect(200).await;
    assert!(!first.is_replayed());
    let again = send(false).expect(200).await;
    assert!(again.is_replayed());
    assert_eq!(again.text, first.text);
    assert_eq!(joined(&events(&send(true).expect(200).await.text)), "Hello");
    house.send(json!({"content": "Ho"})).key("k1").refused(422, "IdempotencyConflictException").await;
    assert_eq!((house.stored().await.len(), house.model.calls().len()), (2, 2));
    let other = house.app.post("/api/sessions").by(&house.user).ok().await;
    let path = format!("/api/sessions/{}/messages", other["id"]);
    let elsewhere = house.app.post(&path).by(&house.user).json(json!({"content": "Hi"})).key("k1");
    elsewhere.refused(422, "IdempotencyConflictException").await;
}

#[tokio::test]
async fn a_refusal_under_a_key_stays_one_when_there_is_credit() {
    let house = House::build(&[("INITIAL_CREDITS", "1")]).await;
    let send = |key: &str| house.send(json!({"content": "Hi"})).key(key);
    let first = send("k1").refused(400, "InsufficientCreditsException").await;
    assert!(!first.is_replayed());
    house.app.post("credits/recharge").by(&house.user).json(json!({"amount": 1000})).expect(200).await;
    house.app.clock().advance(Duration::HOUR);
    let again = send("k1").refused(400, "InsufficientCreditsException").await;
    assert!(again.is_replayed());
    let body = |reply: &TestReply| {
        let mut body = reply.json();
        body.as_object_mut().unwrap().remove("request_id");
        body
    };
    assert_eq!(body(&again), body(&first));
    house.send(json!({"content": "Ho"})).key("k1").refused(422, "IdempotencyConflictException").await;
    assert_eq!((house.stored().await.len(), house.model.calls().len()), (0, 0));

    house.model.answers([ChatScript::reply(&["Hello"])]);
    send("k2").expect(200).await;
    let budgets = json!({"budgets": [{"period": "lifetime", "limit": 12}]});
    let path = "/api/v1/users/auth0|a/credits/budgets";
    house.app.put(path).service().json(budgets).expect(200).await;
    send("k3").refused(400, "BudgetExceededException").await;
    house.app.put(path).service().json(json!({"budgets": []})).expect(200).await;
    assert!(send("k3").refused(400, "BudgetExceededException").await.is_replayed());
    assert_eq!(house.stored().await.len(), 2);
}

#[tokio::test]
async fn only_messages_of_the_owner_in_a_configured_chat_are_taken() {
    let house = House::build(&[]).await;
    let other = house.app.user("auth0|b").await;
    let path = house.messages();
    let body = json!({"content": "Hi"});
    house.app.post(&path).by(&other).json(&body).refused(404, "SessionNotFoundException").await;
    house
        .app
        .post("/api/sessions/x/messages")
        .by(&house.user)
        .json(&body)
        .refused(404, "SessionNotFoundException")
        .await;
    house.app.post(&path).json(&body).refused(401, "AuthenticationException").await;
    for fault in [json!({"content": ""}), json!({"content": "Hi", "role": "assistant"}), json!({})] {
        house.send(fault).refused(422, "ValidationException").await;
    }
    assert_eq!(house.stored().await, Vec::<Value>::new());
    let poor = House::build(&[("INITIAL_CREDITS", "1")]).await;
    poor.send(body.clone()).refused(400, "InsufficientCreditsException").await;
    assert_eq!((poor.stored().await.len(), poor.model.calls().len()), (0, 0));
    let (app, user) = TestApp::with_user(&[]).await;
    let refused = app.post("/api/sessions/1/messages").by(&user).json(&body);
    refused.refused(503, "ProviderNotConfiguredException").await;
}

#[tokio::test]
async fn a_client_that_is_cut_at_any_event_changes_nothing() {
    let house = House::build(&[]).await;
    let pace = std::time::Duration::from_millis(3);
    let script =
        ChatScript::new().texts(&["a", "b", "c", "d"]).every(pace).finish("stop").usage(10, 4).done();
    house.model.answers([script]);
    let url = format!("http://{}{}", house.app.address(), house.messages());
    for events_read in 0..=7 {
        let request = reqwest::Client::builder()
            .timeout(PATIENCE)
            .build()
            .unwrap()
            .post(&url)
            .bearer_auth(&house.user.token);
        let mut response = request.json(&json!({"content": "Hi", "stream": true})).send().await.unwrap();
        let mut read = String::new();
        while read.matches("\n\n").count() < events_read {
            let Some(chunk) = response.chunk().await.unwrap() else { break };
            read.push_str(std::str::from_utf8(&chunk).unwrap());
        }
        drop(response);
        let newest = house.stored().await.last().unwrap()["id"].text().to_owned();
        let path = format!("{}/{newest}/stream", house.messages());
        let all = events(&house.app.get(&path).by(&house.user).expect(200).await.text);
        assert_eq!((joined(&all).as_str(), &all[all.len() - 2].2["status"]), ("abcd", &json!("completed")));
        assert_eq!(house.balance().await, json!(1000 - 14 * (events_read + 1)), "cut behind {events_read}");
    }
    assert_eq!(house.held().await, json!(0.0));
    assert_eq!(house.app.get("usage").by(&house.user).rows().await.len(), 8);
}
