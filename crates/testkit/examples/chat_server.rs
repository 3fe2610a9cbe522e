//! A language model for clients in other languages: prints its URL and answers until its input ends.
//!
//! Each line of the input is the name of the script for the requests that follow, at first `reply`; the answer is `ready`.

use std::{
    error::Error,
    io::{Write as _, stdin, stdout},
};

use testkit::{ChatScript, ChatServer};
use tokio::runtime::Runtime;

/// The text of every reply, and its usage: 12 tokens of the prompt and one a piece.
const TEXTS: [&str; 6] = ["Hé", "llo, ", "世界", " 👩‍👩‍👧", "\r\n\n", "data: [DONE]"];

fn main() -> Result<(), Box<dyn Error>> {
    let runtime = Runtime::new()?;
    let server = runtime.block_on(ChatServer::start());
    server.answers([script("reply")?]);
    writeln!(stdout(), "{}", server.url())?;
    for name in stdin().lines() {
        server.answers([script(&name?)?]);
        writeln!(stdout(), "ready")?;
    }
    Ok(())
}

fn script(name: &str) -> Result<ChatScript, String> {
    let texts = ChatScript::new().texts(&TEXTS);
    let reply = texts.clone().finish("stop").usage(12, 6).done();
    Ok(match name {
        "reply" => reply,
        "crlf" => reply.crlf().comments(),
        "bytes" => reply.comments().in_pieces(1),
        "no usage" => texts.finish("stop").done(),
        "length" => texts.finish("length").usage(12, 6).done(),
        "tools" => ChatScript::new()
            .tool_call(0, "call_1", "weather", &["{\"city\":", "\"北京\"}"])
            .tool_call(1, "call_2", "time", &["{}"])
            .finish("tool_calls")
            .usage(12, 6)
            .done(),
        "failure" => texts.fail("overloaded"),
        "cut" => texts.close_mid_chunk(),
        "busy" => ChatScript::status(
            429,
            &[("content-type", "application/json"), ("retry-after", "7")],
            r#"{"error":{"message":"too many","type":"rate_limit_error","code":"rate_limit_exceeded"}}"#,
        ),
        _ => return Err(format!("there is no script {name:?}")),
    })
}
