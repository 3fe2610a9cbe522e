//! Answers without end.

use chat::{ChatModel as _, CompletionRequest, EVENT_BYTES_MAX, Part, Transfer, UpstreamError};
use futures_util::StreamExt as _;
use testkit::{ChatScript, ChatServer};

use crate::upstream::{client, finished, play, read, request, stopped, text};

fn one_token(transfer: Transfer) -> CompletionRequest {
    CompletionRequest { max_tokens: 1, ..request(transfer) }
}

#[tokio::test]
async fn endless_lines_events_and_streams_end_as_too_large() {
    let server = ChatServer::start().await;
    let model = client(&server);
    let empty = r#"{"choices":[{"delta":{"reasoning_content":"hm"}}]}"#;
    for (count, (script, max_tokens)) in [
        // A line, an event and a comment without end, whatever the reply may have of tokens.
        (ChatScript::new().text("a").bytes("data: ").endless("x".repeat(5_000)), u32::MAX),
        (ChatScript::new().text("a").endless("data: x\n".repeat(500)), u32::MAX),
        (ChatScript::new().text("a").endless("data: x\r\n".repeat(500)), u32::MAX),
        (ChatScript::new().text("a").endless(": x\n".repeat(500)), u32::MAX),
        // Many of them.
        (ChatScript::new().text("a").endless(": ping\n\n".repeat(500)), 1),
        (ChatScript::new().text("a").endless(format!("data: {empty}\n\n").repeat(100)), 1),
        (ChatScript::new().text("a").endless("\n\n".repeat(1_000)), 1),
    ]
    .into_iter()
    .enumerate()
    {
        server.answers([script]);
        let asked = CompletionRequest { max_tokens, ..request(Transfer::Streamed) };
        let (parts, error) = read(&model, asked).await;
        assert_eq!((text(&parts), error), ("a".to_owned(), Some(UpstreamError::TooLarge)), "{count}");
        server.hung_up(count + 1).await;
    }
}

#[tokio::test]
async fn whole_answers_are_bounded_by_what_the_reply_may_have() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n";
    let body = |bytes: usize| {
        let start = r#"{"choices":[{"message":{"content":""#;
        let end = r#""},"finish_reason":"stop"}]}"#;
        ChatScript::raw(format!("{head}{start}{}{end}", "x".repeat(bytes - start.len() - end.len())))
    };
    let server = ChatServer::start().await;
    let model = client(&server);
    let bytes_max = EVENT_BYTES_MAX + 96;
    server.answers([body(bytes_max), body(bytes_max + 1)]);
    assert_eq!(read(&model, one_token(Transfer::Whole)).await.1, None);
    assert_eq!(read(&model, one_token(Transfer::Whole)).await, (vec![], Some(UpstreamError::TooLarge)));
}

#[tokio::test]
async fn one_event_has_a_bound_of_its_own() {
    let event = |text: &str| {
        ChatScript::new()
            .event(&format!(r#"{{"choices":[{{"delta":{{"content":"{text}"}}}}]}}"#))
            .finish("stop")
            .done()
    };
    let around = "data: ".len() + r#"{"choices":[{"delta":{"content":""}}]}"#.len();
    let longest = "x".repeat(EVENT_BYTES_MAX - around);
    for script in [event(&longest), event(&longest).in_pieces(1_000)] {
        let (parts, error) = play(script, Transfer::Streamed).await;
        assert_eq!((text(&parts) == longest, error), (true, None));
    }
    let (parts, error) = play(event(&format!("{longest}x")), Transfer::Streamed).await;
    assert_eq!((parts, error), (vec![Part::Started], Some(UpstreamError::TooLarge)));
}

/// Text without end is a matter of the caller, who stops reading.
#[tokio::test]
async fn endless_text_goes_on_until_the_reader_leaves() {
    let server = ChatServer::start().await;
    let event = "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n";
    server.answers([ChatScript::new().endless(event)]);
    let mut reply = client(&server).complete(request(Transfer::Streamed));
    let mut bytes = 0;
    while bytes < 1_600 {
        match reply.next().await {
            Some(Ok(Part::Text(text))) => bytes += text.len(),
            Some(Ok(Part::Started)) => {}
            other => panic!("{other:?}"),
        }
    }
    drop(reply);
    server.hung_up(1).await;
}

#[tokio::test]
async fn long_streams_of_small_events_are_no_problem() {
    let server = ChatServer::start().await;
    let texts = vec!["词"; 5_000];
    server.answers([ChatScript::reply(&texts)]);
    let asked = CompletionRequest { max_tokens: 5_000, ..request(Transfer::Streamed) };
    let (parts, error) = read(&client(&server), asked).await;
    assert_eq!((text(&parts), finished(&parts), error), (texts.concat(), stopped(10, 5_000), None));
}
