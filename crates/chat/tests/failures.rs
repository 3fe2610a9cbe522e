//! Upstreams that fail, lie or leave.

use std::net::SocketAddr;

use chat::{Finish, OpenAi, Part, Transfer, UpstreamError};
use kernel::{Failure as _, Kind};
use testkit::{ChatScript, ChatServer};
use tokio::net::TcpListener;

use crate::upstream::{BOTH, answer, client, finished, play, read, request, settings, stopped, text};

const HTML: &str =
    "<!doctype html>\n<html><head><title>Sign in</title></head><body>data: x</body></html>\n\n";

#[tokio::test]
async fn statuses_are_reported_at_once() {
    let server = ChatServer::start().await;
    let model = client(&server);
    for (count, status) in [401, 403, 404, 409, 422, 429, 500, 502, 503, 504].into_iter().enumerate() {
        for transfer in BOTH {
            let headers = [("retry-after", "120"), ("content-type", "application/json")];
            server.answers([ChatScript::status(status, &headers, r#"{"error":{"message":"canary"}}"#)]);
            let outcome = read(&model, request(transfer)).await;
            assert_eq!(outcome, (vec![], Some(UpstreamError::Status(status))));
        }
        assert_eq!(server.calls().len(), 2 * (count + 1), "{status} is not tried again");
    }
    assert_eq!(UpstreamError::Status(429).code(), "UpstreamException");
    assert_eq!(UpstreamError::Status(429).kind(), Kind::Upstream);
}

#[tokio::test]
async fn pages_for_people_are_nonsense() {
    for transfer in BOTH {
        let html = answer("text/html; charset=utf-8", HTML);
        assert_eq!(play(html, transfer).await, (vec![], Some(UpstreamError::Nonsense)));
        for media_type in ["text/event-stream", "text/plain"] {
            let (parts, error) = play(answer(media_type, HTML), transfer).await;
            assert_eq!((parts, error), (vec![Part::Started], Some(UpstreamError::Nonsense)));
        }
        let html = answer("application/json", HTML);
        assert_eq!(play(html, transfer).await, (vec![], Some(UpstreamError::Nonsense)));
        let status = ChatScript::status(502, &[("content-type", "text/html")], HTML);
        assert_eq!(play(status, transfer).await, (vec![], Some(UpstreamError::Status(502))));
    }
}

#[tokio::test]
async fn empty_bodies_are_nonsense() {
    for script in [
        ChatScript::new(),
        answer("text/event-stream", ""),
        answer("application/json", ""),
        ChatScript::raw("HTTP/1.1 200 OK\r\n\r\n"),
        ChatScript::raw("HTTP/1.1 204 No Content\r\n\r\n"),
    ] {
        let name = format!("{script:?}");
        assert_eq!(play(script, Transfer::Streamed).await, (vec![], Some(UpstreamError::Nonsense)), "{name}");
    }
}

#[tokio::test]
async fn other_json_than_the_protocols_is_nonsense() {
    for json in [
        "7",
        "[]",
        "null",
        "{",
        "{}",
        r#"{"choices":[]}"#,
        r#"{"choices":7}"#,
        r#"{"choices":[{"message":{"content":7}}]}"#,
        r#"{"choices":[{"message":{"content":"\ud83d"}}]}"#,
        r#"{"choices":[{"index":1,"message":{"content":"a"}}]}"#,
    ] {
        let outcome = play(answer("application/json", json), Transfer::Whole).await;
        assert_eq!(outcome, (vec![], Some(UpstreamError::Nonsense)), "{json}");
        let events = format!("data: {json}\n\ndata: [DONE]\n\n");
        let (parts, error) = play(answer("text/event-stream", &events), Transfer::Streamed).await;
        assert_eq!((parts, error), (vec![Part::Started], Some(UpstreamError::Nonsense)), "{json}");
    }
    let not_utf8 = ChatScript::new().text("a").bytes(b"data: \xff\n\n".to_vec()).finish("stop").done();
    let (parts, error) = play(not_utf8, Transfer::Streamed).await;
    assert_eq!((text(&parts), error), ("a".to_owned(), Some(UpstreamError::Nonsense)));
    let not_http = ChatScript::raw("SSH-2.0-OpenSSH_9.6\r\n");
    assert_eq!(play(not_http, Transfer::Streamed).await, (vec![], Some(UpstreamError::Broken)));
}

#[tokio::test]
async fn errors_within_an_answer_are_reported() {
    let (parts, error) =
        play(ChatScript::new().text("a").fail("overloaded").text("b").done(), Transfer::Streamed).await;
    assert_eq!((text(&parts), error), ("a".to_owned(), Some(UpstreamError::Reported)));
    for json in [
        r#"{"error":{"message":"x","code":429}}"#,
        r#"{"error":"x"}"#,
        r#"{"object":"error","message":"x","code":400}"#,
    ] {
        let script = ChatScript::new().text("a").event(json).text("b").finish("stop").done();
        let (parts, error) = play(script, Transfer::Streamed).await;
        assert_eq!((text(&parts), error), ("a".to_owned(), Some(UpstreamError::Reported)), "{json}");
        let outcome = play(answer("application/json", json), Transfer::Whole).await;
        assert_eq!(outcome, (vec![], Some(UpstreamError::Reported)), "{json}");
    }
}

#[tokio::test]
async fn lost_connections_break_the_answer() {
    let begun = ChatScript::new().texts(&["a", "b"]);
    for script in [begun.clone().close(), begun.clone().close_mid_chunk()] {
        let (parts, error) = play(script.clone(), Transfer::Streamed).await;
        assert_eq!((text(&parts), error), ("ab".to_owned(), Some(UpstreamError::Broken)), "{script:?}");
        assert_eq!(play(script, Transfer::Whole).await, (vec![], Some(UpstreamError::Broken)));
    }
    // A reason that is empty is none.
    let unfinished = r#"{"choices":[{"delta":{"content":"c"},"finish_reason":""}]}"#;
    let (_, error) = play(begun.clone().event(unfinished), Transfer::Streamed).await;
    assert_eq!(error, Some(UpstreamError::Broken));
    // After the reason the text is whole, and the usage is known if it came.
    for (finished_by, expected) in [
        (begun.clone().finish("stop"), Finish { usage: None, ..stopped(0, 0) }),
        (begun.finish("stop").usage(10, 2), stopped(10, 2)),
    ] {
        for script in [finished_by.clone().close(), finished_by.clone().close_mid_chunk()] {
            let (parts, error) = play(script.clone(), Transfer::Streamed).await;
            assert_eq!(
                (text(&parts), finished(&parts), error),
                ("ab".to_owned(), expected, None),
                "{script:?}"
            );
            assert_eq!(play(script, Transfer::Whole).await, (vec![], Some(UpstreamError::Broken)));
        }
    }
    for script in [ChatScript::raw(""), ChatScript::raw("HTTP/1.1 200"), ChatScript::new().head().close()] {
        assert_eq!(play(script, Transfer::Streamed).await, (vec![], Some(UpstreamError::Broken)));
    }
}

#[tokio::test]
async fn absent_servers_are_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone: SocketAddr = listener.local_addr().unwrap();
    drop(listener);
    for url in [format!("http://{gone}/v1"), "http://no-such-host.invalid/v1".to_owned()] {
        let model = OpenAi::new(settings(&url)).unwrap();
        let outcome = read(&model, request(Transfer::Streamed)).await;
        assert_eq!(outcome, (vec![], Some(UpstreamError::Unreachable)), "{url}");
    }
    // A server without TLS.
    let server = ChatServer::start().await;
    let model = OpenAi::new(settings(&server.url().replace("http:", "https:"))).unwrap();
    assert_eq!(read(&model, request(Transfer::Streamed)).await.1, Some(UpstreamError::Unreachable));
}
