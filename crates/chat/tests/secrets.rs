//! Keys and conversations, which no log, error or `Debug` may repeat.

use std::{
    io,
    sync::{Arc, Mutex},
};

use chat::{ChatModel as _, OpenAi, OpenAiSettings, PromptMessage, Transfer};
use futures_util::StreamExt as _;
use testkit::{ChatScript, ChatServer};
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

use crate::upstream::{BOTH, KEY, PROMPT, client, read, request, settings};

const REPLY: &str = "canary-reply";

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn is_clean(text: &str) -> bool {
    !["canary", KEY, PROMPT, REPLY].iter().any(|secret| text.contains(secret))
}

/// The log of all libraries at the lowest level, on the only thread of this test.
#[tokio::test]
async fn logs_and_errors_repeat_nothing() {
    let log = Log::default();
    let subscriber =
        tracing_subscriber::fmt().with_writer(log.clone()).with_env_filter(EnvFilter::new("trace"));
    let _guard = tracing::subscriber::set_default(subscriber.finish());

    let server = ChatServer::start().await;
    let model = client(&server);
    let echo = format!(r#"{{"error":{{"message":"max_tokens: {KEY} {PROMPT}"}}}}"#);
    for script in [
        ChatScript::reply(&[REPLY]),
        ChatScript::new().text(REPLY).fail(&echo),
        ChatScript::new().text(REPLY).bytes(format!("data: {KEY} {PROMPT}\n\n")),
        ChatScript::new().text(REPLY).close_mid_chunk(),
        ChatScript::status(401, &[("www-authenticate", KEY)], &echo),
        ChatScript::status(400, &[], &echo),
        ChatScript::raw(format!("HTTP/1.1 {KEY}\r\n\r\n")),
    ] {
        for transfer in BOTH {
            server.answers([script.clone()]);
            if let Some(error) = read(&model, request(transfer)).await.1 {
                assert!(is_clean(&format!("{error} {error:?}")), "{error:?}");
            }
        }
    }
    server.answers([ChatScript::status(400, &[], &echo), ChatScript::reply(&[REPLY])]);
    assert_eq!(read(&model, request(Transfer::Streamed)).await.1, None);
    let gone = OpenAi::new(settings("http://127.0.0.1:1/v1")).unwrap();
    let error = gone.complete(request(Transfer::Streamed)).next().await.unwrap().unwrap_err();
    assert!(is_clean(&format!("{error} {error:?}")), "{error:?}");

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("max_completion_tokens") && log.contains("hyper"), "the log is not read: {log}");
    let leaks: Vec<&str> = log.lines().filter(|line| !is_clean(line)).collect();
    assert_eq!(leaks, [""; 0]);
}

#[test]
fn debug_hides_keys_and_texts() {
    let settings = settings("http://localhost:1/v1");
    let message = PromptMessage { tool_call_id: Some("canary".to_owned()), ..PromptMessage::user(PROMPT) };
    let refused =
        OpenAi::new(OpenAiSettings { api_key: Some(format!("{KEY}\n").into()), ..settings.clone() });
    let refused = refused.unwrap_err();
    let model = OpenAi::new(settings.clone()).unwrap();
    let mut asked = request(Transfer::Streamed);
    asked.messages.push(message);
    let shown = format!("{settings:?} {model:?} {asked:?} {refused} {refused:?}");
    assert!(is_clean(&shown), "{shown}");
    assert!(shown.contains("model-1"));
}
