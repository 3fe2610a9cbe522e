//! kill -9 of one of two gateways while models reply: the message of the user is stored, nothing is billed twice or for nothing.
//!
//! `CRASH_KILLS` and `CRASH_SEED` as in `crash`.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use testkit::{ChatScript, ChatServer};

use super::{
    crash::choices::{self, Choices},
    gateway_process::{Gateway, database},
};
use crate::prelude::*;

/// Replies that are under way at a time.
const AT_ONCE: usize = 12;

/// A reply as its client saw it.
#[derive(Debug, Default, Clone)]
struct Seen {
    session: String,
    question: String,
    /// True if the message was acknowledged.
    is_created: bool,
    text: String,
    is_complete: bool,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_gateway_leaves_no_reply_and_no_hold_and_bills_what_is_stored() {
    let (db, model) = (database().await, ChatServer::start().await);
    let (seed, kills) = (choices::seed(), choices::kills());
    println!("{kills} kills, CRASH_SEED={seed} repeats the choices");
    let choices = Choices::new(seed);
    let url = model.url();
    let variables =
        [("CHAT_BASE_URL", url.as_str()), ("CHAT_MODEL", "small"), ("INITIAL_CREDITS", "1000000")];
    let steady = Gateway::on(db.url(), &variables).await;
    steady.ensure("a").await;
    let mut seen: Vec<Seen> = Vec::new();
    for kill in 0..kills {
        let mortal = Gateway::on(db.url(), &variables).await;
        // Without a usage, so that the charge follows from the text.
        let pace = std::time::Duration::from_millis(1 + choices.below(40));
        let texts: Vec<String> = (0..40).map(|word| format!("词{kill}-{word} ")).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        model.answers([ChatScript::new().texts(&texts).every(pace).finish("stop").done()]);
        let read = Arc::new(AtomicU64::new(0));
        let mut clients = JoinSet::new();
        for nth in 0..AT_ONCE {
            let gateway = if nth % 3 == 0 { &steady } else { &mortal };
            let session = gateway.post("a/sessions", json!({})).ok().await["session_id"].text().to_owned();
            let path = format!("{}/api/sessions/{session}/messages", gateway.url);
            clients.spawn(client(path, session, format!("Question {kill}-{nth}"), Arc::clone(&read)));
        }
        let enough = choices.below(u64::try_from(AT_ONCE).unwrap() * 40);
        let mut deadline = Deadline::new();
        while read.load(Ordering::Relaxed) < enough && deadline.allows_another() {
            tokio::task::yield_now().await;
        }
        mortal.signal("-9");
        seen.extend(clients.join_all().await);
        // Another process ends what the dead one left: its reader waits for that.
        let unfinished = |id: &str| {
            format!(
                "SELECT coalesce((SELECT {id} FROM sessions.replies AS r JOIN sessions.messages AS m USING (user_id, message_id)
                     JOIN sessions.sessions AS s ON s.session_id = r.session_id
                     WHERE r.finished_at IS NULL ORDER BY m.id LIMIT 1), 0)"
            )
        };
        loop {
            let (session, message) = (db.ask(&unfinished("s.id")).await, db.ask(&unfinished("m.id")).await);
            if message == 0 {
                break;
            }
            let path = format!("/api/sessions/{session}/messages/{message}/stream");
            // It may have ended between the two questions.
            drop(steady.get(&path).header("X-User-Id", "a").await);
        }
        check(&db, &steady, &seen).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replies_are_counted() {
    let (db, model) = (database().await, ChatServer::start().await);
    let url = model.url();
    let variables = [
        ("CHAT_BASE_URL", url.as_str()),
        ("CHAT_MODEL", "small"),
        ("INITIAL_CREDITS", "12"),
        ("CHAT_CREDITS_PER_TOKEN", "0.4"),
    ];
    let gateway = Gateway::on(db.url(), &variables).await;
    gateway.ensure("a").await;
    let session = gateway.post("a/sessions", json!({})).ok().await["session_id"].text().to_owned();
    let path = format!("/api/sessions/{session}/messages");
    let send = |content: &str, key: Option<&str>| {
        gateway.post(&path, json!({"content": content})).header("X-User-Id", "a").key(key)
    };
    // 12 tokens are 4.8 credits, twice that are 9.6.
    model.answers([
        ChatScript::reply(&["a", "b"]),
        ChatScript::status(500, &[], ""),
        ChatScript::reply(&["a", "b"]),
    ]);
    send("Hi", None).expect(200).await;
    send("Hi", Some("k1")).refused(502, "UpstreamException").await;
    send("Hi", Some("k1")).expect(200).await;
    for _ in 0..2 {
        send(&"x".repeat(100), Some("k2")).refused(400, "InsufficientCreditsException").await;
    }
    let metrics = gateway.metrics().await;
    for line in [
        "chat_upstream_seconds_count 3",
        "chat_upstream_seconds_bucket{le=\"600\"} 3",
        "chat_replies_total{ending=\"whole\"} 2",
        "chat_replies_total{ending=\"broken\"} 1",
        "messages_total{role=\"user\"} 2",
        "messages_total{role=\"assistant\"} 2",
        "usage_records_total 2",
        "credits_consumed_total 9",
        "credits_refused_total{code=\"InsufficientCreditsException\"} 1",
        "credits_replays_total{by=\"key\"} 1",
    ] {
        assert!(metrics.contains(&format!("user_service_{line}\n")), "{line}: {metrics}");
    }
}

/// Sends a message and reads the reply as long as the gateway lives.
async fn client(path: String, session: String, question: String, read: Arc<AtomicU64>) -> Seen {
    let mut seen = Seen { session, question, ..Seen::default() };
    let body = json!({"content": seen.question, "stream": true});
    let request = reqwest::Client::builder()
        .timeout(PATIENCE)
        .build()
        .unwrap()
        .post(path)
        .bearer_auth(SERVICE_KEY)
        .header("X-User-Id", "a")
        .json(&body);
    let Ok(mut response) = request.send().await else {
        return seen;
    };
    let mut bytes = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        read.fetch_add(1, Ordering::Relaxed);
        bytes.extend(chunk);
    }
    let text = String::from_utf8_lossy(&bytes);
    // The rest after the last blank line is not a whole event.
    let whole = text.rfind("\n\n").map_or("", |end| &text[..end]);
    for event in whole.split("\n\n").filter(|event| !event.starts_with(':') && !event.is_empty()) {
        let data = event.lines().find_map(|line| line.strip_prefix("data: ")).unwrap_or("{}");
        let data: Value = serde_json::from_str(data).unwrap();
        match event.lines().find_map(|line| line.strip_prefix("event: ")) {
            Some("message.created") => seen.is_created = true,
            Some("message.delta") => seen.text.push_str(data["content"].text()),
            Some("message.completed") => seen.is_complete = true,
            _ => {}
        }
    }
    seen
}

/// Asserts that what is stored agrees with what clients saw, with the usage and with the ledger.
async fn check(db: &TestDb, gateway: &Gateway, seen: &[Seen]) {
    let mut expected_charges = BTreeMap::new();
    for one in seen {
        let messages = gateway.get(&format!("/api/v1/sessions/{}/messages", one.session)).rows().await;
        if messages.is_empty() {
            assert!(!one.is_created, "an acknowledged message is lost: {one:?}");
            continue;
        }
        let [question, reply] = messages.as_slice() else { panic!("{messages:?}") };
        let (content, status) = (reply["content"].text(), reply["status"].text());
        assert_eq!(question["content"], one.question.as_str());
        if one.is_complete {
            assert_eq!((content, status), (one.text.as_str(), "completed"));
        }
        // Up to a second of the text was not stored yet; a reply that went on without its client has more.
        assert!(content.starts_with(&one.text) || one.text.starts_with(content), "{one:?} {content}");
        assert_eq!(status == "failed", content.is_empty(), "{reply}");
        if !content.is_empty() {
            let tokens = one.question.len().div_ceil(3) + content.len().div_ceil(3);
            expected_charges.insert(one.session.clone(), tokens as f64);
        }
    }
    let (mut charges, mut cursor) = (BTreeMap::new(), String::new());
    loop {
        let page = gateway.get(&format!("a/usage?limit=500{cursor}")).expect(200).await;
        for record in page.rows() {
            let before = charges
                .insert(record["session_id"].text().to_owned(), record["credits_charged"].as_f64().unwrap());
            assert_eq!(before, None, "a reply has two records: {record}");
        }
        match page.header("x-next-cursor") {
            "" => break,
            next => cursor = format!("&cursor={next}"),
        }
    }
    assert_eq!(charges, expected_charges);
    let account = gateway.get("a/credits/account").data().await;
    let spent: f64 = charges.values().sum();
    account.has(json!({"held": 0.0, "balance": 1_000_000.0 - spent}));
    assert_eq!(db.ask("SELECT count(*) FROM credits.holds WHERE state = 'open'").await, 0);
}
