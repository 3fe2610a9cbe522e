//! A client and its upstream.

use std::time::Duration;

use chat::{
    ChatModel as _, CompletionRequest, Finish, FinishReason, OpenAi, OpenAiSettings, Part, PromptMessage,
    TokenUsage, Transfer, UpstreamError,
};
use futures_util::StreamExt as _;
use testkit::{ChatScript, ChatServer};

/// A key that nothing may repeat.
pub const KEY: &str = "canary-chat-key-51d7";
/// A text that nothing but the request may repeat.
pub const PROMPT: &str = "canary-prompt 你好";
pub const BOTH: [Transfer; 2] = [Transfer::Streamed, Transfer::Whole];

/// The parts of a reply, and the error that ended it.
pub type Outcome = (Vec<Part>, Option<UpstreamError>);

pub fn settings(base_url: &str) -> OpenAiSettings {
    OpenAiSettings {
        base_url: base_url.parse().unwrap(),
        api_key: Some(KEY.into()),
        timeout: Duration::from_secs(30),
    }
}

pub fn client(server: &ChatServer) -> OpenAi {
    OpenAi::new(settings(&server.url())).unwrap()
}

pub fn request(transfer: Transfer) -> CompletionRequest {
    CompletionRequest {
        model: "model-1".to_owned(),
        messages: vec![PromptMessage::user(PROMPT)],
        max_tokens: 100,
        transfer,
    }
}

/// Reads a reply to its end, and checks the order of its parts.
pub async fn read(model: &OpenAi, request: CompletionRequest) -> Outcome {
    let mut reply = model.complete(request);
    let (mut parts, mut error) = (Vec::new(), None);
    while let Some(part) = reply.next().await {
        assert!(error.is_none(), "something follows an error: {part:?}");
        match part {
            Ok(part) => parts.push(part),
            Err(found) => error = Some(found),
        }
    }
    let ends = parts.iter().filter(|part| matches!(part, Part::Finished(_))).count();
    assert_eq!(ends, usize::from(error.is_none()), "{parts:?} {error:?}");
    assert!(parts.is_empty() || parts[0] == Part::Started, "{parts:?}");
    assert!(error.is_some() || matches!(parts.last(), Some(Part::Finished(_))), "{parts:?}");
    (parts, error)
}

/// The outcome of one script.
pub async fn play(script: ChatScript, transfer: Transfer) -> Outcome {
    let server = ChatServer::start().await;
    server.answers([script]);
    read(&client(&server), request(transfer)).await
}

pub fn text(parts: &[Part]) -> String {
    let texts = parts.iter().filter_map(|part| match part {
        Part::Text(text) => {
            assert!(!text.is_empty());
            Some(text.as_str())
        }
        _ => None,
    });
    texts.collect()
}

pub fn finished(parts: &[Part]) -> Finish {
    match parts.last() {
        Some(Part::Finished(finish)) => *finish,
        _ => panic!("not finished: {parts:?}"),
    }
}

pub fn stopped(prompt_tokens: u32, completion_tokens: u32) -> Finish {
    let usage = TokenUsage { prompt_tokens, cached_prompt_tokens: 0, completion_tokens };
    Finish { reason: Some(FinishReason::Stop), usage: Some(usage) }
}

/// An answer with this media type and body.
pub fn answer(content_type: &str, body: &str) -> ChatScript {
    ChatScript::status(200, &[("content-type", content_type)], body)
}
