//! Users are erased and exported by real processes: killed, two at a time, and with much data.

use std::{fs, net::SocketAddr};

use tokio::net::{TcpSocket, TcpStream};

use super::{
    gateway_process::{Gateway, database, folder},
    ledger_verify::verify,
};
use crate::{prelude::*, routes::v1::users::erase::canaries};

const USER: &str = "auth0%7Ca";

/// Something in each table that an erase empties, with a canary in each text.
async fn fill(gateway: &Gateway, db: &TestDb) {
    let body = json!({"auth0_id": "auth0|a", "email": "canary_address@example.com", "name": "canary_name"});
    gateway.post("ensure", body).expect(200).await;
    let free = json!({"c": "canary_free"});
    let grant = json!({"amount": 100, "description": "canary_text", "metadata": free});
    gateway.post(&format!("{USER}/credits/grants"), grant).expect(200).await;
    for number in 0..5 {
        let text = json!({"amount": 2, "description": "canary_text", "metadata": free});
        gateway
            .post(&format!("{USER}/credits/consume"), &text)
            .key(&*format!("canary_key{number}"))
            .expect(200)
            .await;
        gateway.post(&format!("{USER}/credits/holds"), &text).expect(200).await;
        let record = json!({"endpoint": "/x", "event_type": "t", "event_id": format!("canary_event{number}"),
            "trace_id": "canary_trace", "request_data": free, "credits_charged": 1, "charge": true});
        gateway.post(&format!("{USER}/usage"), record).expect(200).await;
    }
    let session = json!({"title": "canary_title", "metadata": free});
    gateway.post(&format!("{USER}/sessions"), session).expect(200).await;
    // Enough for several commits.
    db.run(
        "INSERT INTO sessions.messages (user_id, session_id, seq, message_id, role, content, created_at, updated_at)
         SELECT user_id, session_id, n, gen_random_uuid(), 'user', 'canary_content', now(), now()
         FROM sessions.sessions, generate_series(1, 9000) AS n WHERE user_id = 'auth0|a';
         UPDATE sessions.sessions SET message_count = 9000 WHERE user_id = 'auth0|a';
         INSERT INTO idempotency.answers (user_id, key, fingerprint, created_at, answer, caller)
         SELECT 'auth0|a', 'canary_bulk' || n, sha256('x'), now(), '{\"c\": \"canary_answer\"}', 'user'
         FROM generate_series(1, 9000) AS n",
    )
    .await;
}

/// No text of the user is left, the books are right, and the user comes back to an empty account.
async fn assert_erased(gateway: &Gateway, db: &TestDb) {
    let left: Vec<_> = canaries(db).await.into_iter().collect();
    assert_eq!(left, Vec::<String>::new());
    let folder = folder();
    let (code, report, error) = verify(folder.path(), &[("DATABASE_URL", db.url())]);
    assert_eq!(code, Some(0), "{report} {error}");
    let body = json!({"auth0_id": "auth0|a", "email": "a@example.com", "name": "A"});
    let back = gateway.post("ensure", body).ok().await;
    back.has(json!({"created": true, "credits": 0}));
}

/// A process that is killed in the middle of an erase; another one ends it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erase_that_was_killed_is_ended_by_another_process() {
    let db = database().await;
    let second = Gateway::on(db.url(), &[]).await;
    // In different places: each query is the first time true there.
    for reached in [
        "SELECT count(*) FROM identity.erased_users WHERE finished_at IS NULL",
        "SELECT (max(posted) = 0)::int::bigint FROM credits.accounts",
        "SELECT (count(description) = 0)::int::bigint FROM credits.entries WHERE type = 'consume'",
        "SELECT (count(*) < 9000)::int::bigint FROM sessions.messages",
        "SELECT (count(*) < 5000)::int::bigint FROM sessions.messages",
        "SELECT (count(*) = 0)::int::bigint FROM sessions.sessions",
        "SELECT (count(*) < 9000)::int::bigint FROM idempotency.answers",
        "SELECT (count(trace_id) = 0)::int::bigint FROM usage.records",
    ] {
        let mut first = Gateway::on(db.url(), &[]).await;
        fill(&first, &db).await;
        let erase = tokio::spawn(first.request("DELETE", USER).service().try_send());
        let mut deadline = testkit::Deadline::new();
        while db.ask(reached).await == 0 {
            assert!(deadline.allows_another(), "{reached}");
        }
        first.signal("-KILL");
        first.wait();
        drop(erase.await.unwrap());
        let ended = second.request("DELETE", USER).service().send().await;
        // The first one may have ended it before it was killed.
        assert!([200, 404].contains(&ended.status), "{}", ended.text);
        assert_erased(&second, &db).await;
        second.request("DELETE", USER).service().expect(200).await;
    }
}

/// Both processes erase the user, who comes back again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_erase_a_user_who_comes_back_meanwhile() {
    let db = database().await;
    let (one, two) = tokio::join!(Gateway::on(db.url(), &[]), Gateway::on(db.url(), &[]));
    let gateways = [Arc::new(one), Arc::new(two)];
    fill(&gateways[0], &db).await;
    let mut tasks = JoinSet::new();
    for (place, gateway) in gateways.iter().enumerate() {
        for kind in 0..3 {
            let gateway = Arc::clone(gateway);
            tasks.spawn(async move {
                let mut done = 0;
                for turn in 0..15 {
                    let request = match kind {
                        0 => gateway.request("DELETE", USER).service(),
                        1 => gateway.post("ensure", json!({"auth0_id": "auth0|a", "email": "canary_a@example.com", "name": "canary_name"})),
                        _ => gateway.post(&format!("{USER}/usage"), json!({
                            "endpoint": "/x", "event_type": "t", "event_id": format!("canary_event{place}_{turn}"), "trace_id": "canary_trace",
                        })),
                    };
                    let reply = request.send().await;
                    assert!([200, 404, 503].contains(&reply.status), "{kind}: {} {}", reply.status, reply.text);
                    done += u32::from(reply.status == 200);
                }
                (kind, done)
            });
        }
    }
    let done = tasks.join_all().await;
    for kind in 0..2 {
        assert!(done.iter().any(|(of, done)| *of == kind && *done > 0), "{done:?}");
    }
    let mut deadline = testkit::Deadline::new();
    while gateways[1].request("DELETE", USER).service().send().await.status != 404 {
        assert!(deadline.allows_another());
    }
    assert_erased(&gateways[0], &db).await;
}

/// A big account, written past the service.
async fn big_account(db: &mut TestDb) {
    db.forgo_audits();
    db.run(
        "INSERT INTO sessions.sessions (user_id, session_id, title, message_count, created_at, updated_at, last_activity)
         VALUES ('auth0|a', gen_random_uuid(), 'canary_title', 100000, now(), now(), now());
         INSERT INTO sessions.messages (user_id, session_id, seq, message_id, role, content, created_at, updated_at)
         SELECT user_id, session_id, n, gen_random_uuid(), 'user', 'canary_content ' || repeat('x', 200), now(), now()
         FROM sessions.sessions, generate_series(1, 100000) AS n;
         INSERT INTO usage.records (id, user_id, occurred_at, recorded_at, event_type, tokens_used, prompt_tokens, completion_tokens,
             credits_charged, cost_usd, calculation_method, trace_id, request_data, size_bytes)
         SELECT nextval('usage.record_ids'), 'auth0|a', now() - n * interval '10 s', now(), 't', 3, 2, 1, 0, 0, 'none', 'canary_trace',
             '{\"c\": \"canary_data\"}', 40 FROM generate_series(1, 100000) AS n;
         ANALYZE",
    )
    .await;
}

/// Resident memory of the process, in KiB.
fn memory(gateway: &Gateway) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", gateway.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}

/// Asks for an export on a connection whose client takes little at a time.
async fn ask(gateway: &Gateway) -> TcpStream {
    let address: SocketAddr = gateway.url.strip_prefix("http://").unwrap().parse().unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    let request = format!(
        "GET /api/v1/users/{USER}/export HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {}\r\nConnection: close\r\n\r\n",
        testkit::SERVICE_KEY
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// A body without the frames of its chunks (RFC 9112, 7.1).
fn without_chunks(mut framed: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = framed.windows(2).position(|bytes| bytes == b"\r\n").unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&framed[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&framed[end + 2..end + 2 + size]);
        framed = &framed[end + 2 + size + 2..];
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_big_account_is_exported_with_flat_memory_and_erased_in_parts() {
    let mut db = database().await;
    let gateway = Gateway::on(db.url(), &[]).await;
    gateway.ensure("auth0|a").await;
    big_account(&mut db).await;
    let mut stream = ask(&gateway).await;
    let (mut body, mut piece) = (Vec::new(), vec![0; 16 * 1024]);
    let (mut least, mut most) = (usize::MAX, 0);
    loop {
        let count = stream.read(&mut piece).await.unwrap();
        if count == 0 {
            break;
        }
        body.extend_from_slice(&piece[..count]);
        if body.len() > 1_000_000 {
            let present = memory(&gateway);
            (least, most) = (least.min(present), most.max(present));
        }
    }
    let start = body.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
    let export: Value = serde_json::from_slice(&without_chunks(&body[start..])).unwrap();
    assert_eq!(export["sessions"][0]["messages"].list().len(), 100_000);
    assert_eq!(export["usage"].list().len(), 100_000);
    assert!(most - least < 24 * 1024, "memory between {least} and {most} KiB, {} bytes", body.len());

    gateway.request("DELETE", USER).service().expect(200).await;
    assert_eq!(canaries(&db).await.into_iter().collect::<Vec<_>>(), Vec::<String>::new());
}
