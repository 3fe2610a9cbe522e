//! The requests that upstreams get.

use std::{net::SocketAddr, process::Command};

use chat::{
    CompletionRequest, OpenAi, OpenAiError, OpenAiSettings, PromptMessage, PromptRole, Transfer,
    UpstreamError,
};
use kernel::FreeForm;
use serde_json::json;
use testkit::{ChatScript, ChatServer};
use tokio::net::TcpListener;

use crate::upstream::{BOTH, KEY, client, read, request, settings, text};

const REFUSED: &str = r#"{"error":{"message":"Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.","type":"invalid_request_error","param":"max_tokens","code":"unsupported_parameter"}}"#;

#[tokio::test]
async fn a_conversation_is_sent_in_the_form_of_the_protocol() {
    let server = ChatServer::start().await;
    let calls = r#"[{"id":"c1","type":"function","function":{"name":"f","arguments":"{}"}}]"#;
    let calling = PromptMessage {
        tool_calls: Some(FreeForm::array(calls).unwrap()),
        ..PromptMessage::new(PromptRole::Assistant, "")
    };
    let answering =
        PromptMessage { tool_call_id: Some("c1".to_owned()), ..PromptMessage::new(PromptRole::Tool, "42") };
    let messages = vec![
        PromptMessage::system("Be brief."),
        PromptMessage::user("Hi \"你\"\n"),
        calling,
        answering,
        PromptMessage::new(PromptRole::Assistant, ""),
        PromptMessage::user("And?"),
    ];
    let sent = CompletionRequest { messages, ..request(Transfer::Streamed) };
    let (_, error) = read(&client(&server), sent.clone()).await;
    assert_eq!(error, None);
    let expected = json!([
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi \"你\"\n"},
        {"role": "assistant", "content": null, "tool_calls": serde_json::from_str::<serde_json::Value>(calls).unwrap()},
        {"role": "tool", "content": "42", "tool_call_id": "c1"},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": "And?"},
    ]);
    let call = &server.calls()[0];
    assert_eq!(
        call.body,
        json!({
            "model": "model-1", "messages": expected, "max_tokens": 100, "stream": true,
            "stream_options": {"include_usage": true},
        })
    );
    assert_eq!(call.header("Authorization"), Some(format!("Bearer {KEY}").as_str()));

    read(&client(&server), CompletionRequest { transfer: Transfer::Whole, ..sent }).await;
    let whole = &server.calls()[1].body;
    assert_eq!((&whole["stream"], whole.get("stream_options")), (&json!(false), None));
}

#[tokio::test]
async fn a_key_is_optional_and_the_address_may_end_with_a_slash() {
    let server = ChatServer::start().await;
    let model =
        OpenAi::new(OpenAiSettings { api_key: None, ..settings(&format!("{}/", server.url())) }).unwrap();
    let (parts, error) = read(&model, request(Transfer::Whole)).await;
    assert_eq!((text(&parts), error), ("Hello, world".to_owned(), None));
    assert_eq!(server.calls()[0].header("authorization"), None);
}

#[tokio::test]
async fn impossible_settings_are_refused() {
    let with_key =
        |key: &str| OpenAiSettings { api_key: Some(key.into()), ..settings("http://localhost/v1") };
    assert!(matches!(OpenAi::new(with_key("a\nb")), Err(OpenAiError::ApiKey)));
    assert!(matches!(OpenAi::new(settings("mailto:a@example.com")), Err(OpenAiError::BaseUrl)));
}

#[tokio::test]
async fn a_server_that_refuses_max_tokens_gets_the_newer_name() {
    for transfer in BOTH {
        let server = ChatServer::start().await;
        let refused = ChatScript::status(400, &[("content-type", "application/json")], REFUSED);
        server.answers([refused, ChatScript::reply(&["a"])]);
        let model = client(&server);
        let (parts, error) = read(&model, request(transfer)).await;
        assert_eq!((text(&parts), error), ("a".to_owned(), None));
        read(&model, request(transfer)).await;
        let calls = server.calls();
        assert_eq!(calls.len(), 3);
        assert_eq!(calls[0].body["max_tokens"], 100);
        for call in &calls[1..] {
            assert_eq!(
                (call.body.get("max_tokens"), &call.body["max_completion_tokens"]),
                (None, &json!(100))
            );
        }
    }
}

#[tokio::test]
async fn there_is_one_more_attempt_at_most() {
    let server = ChatServer::start().await;
    for (body, calls) in [(REFUSED, 2), (r#"{"error":{"message":"model not found"}}"#, 1), ("", 1)] {
        let before = server.calls().len();
        server.answers([ChatScript::status(400, &[], body)]);
        let model = client(&server);
        for attempts in [1, 2] {
            let (parts, error) = read(&model, request(Transfer::Streamed)).await;
            assert_eq!((parts, error), (vec![], Some(UpstreamError::Status(400))));
            assert_eq!(server.calls().len() - before, calls * attempts, "{body}");
        }
        // A refusal of both names teaches nothing.
        assert_eq!(server.calls().iter().rev().nth(calls - 1).unwrap().body["max_tokens"], 100);
    }
    // The body of the refusal may never end.
    let endless = "HTTP/1.1 400 Bad Request\r\ncontent-length: 1000000\r\n\r\nmax_tokens";
    server.answers([ChatScript::raw(format!("{endless}{}", "x".repeat(100_000)))]);
    assert_eq!(read(&client(&server), request(Transfer::Whole)).await.1, Some(UpstreamError::Status(400)));
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let (server, other) = (ChatServer::start().await, ChatServer::start().await);
    for status in [301, 302, 303, 307, 308] {
        let location = format!("{}/chat/completions", other.url());
        server.answers([ChatScript::status(status, &[("location", &location)], "")]);
        let (parts, error) = read(&client(&server), request(Transfer::Streamed)).await;
        assert_eq!((parts, error), (vec![], Some(UpstreamError::Status(status))));
    }
    assert_eq!((server.calls().len(), other.calls().len()), (5, 0));
}

/// Another test of this file, in a process whose environment names a proxy that does not exist.
#[tokio::test]
async fn proxies_of_the_environment_are_ignored() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone: SocketAddr = listener.local_addr().unwrap();
    drop(listener);
    let test = "requests::a_key_is_optional_and_the_address_may_end_with_a_slash";
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", test]).env_remove("NO_PROXY").env_remove("no_proxy");
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        child.env(name, format!("http://{gone}"));
    }
    let output = tokio::task::spawn_blocking(move || child.output()).await.unwrap().unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && report.contains("1 passed"), "{report}");
}
