//! A script on its way to a client.

use std::{io::ErrorKind, mem};

use kernel::{Clock as _, SystemClock};
use serde_json::{Value, json};
use tokio::{
    io::{self, AsyncWriteExt as _},
    net::tcp::OwnedWriteHalf,
    sync::Semaphore,
    time::sleep,
};

use super::script::{ChatScript, Form, Step};

const ID: &str = "chatcmpl-0123456789";
const CREATED: u32 = 1_700_000_000;

/// The facts of a request that shape its answer.
#[derive(Debug)]
pub(super) struct Wish {
    model: Value,
    is_streamed: bool,
    wants_usage: bool,
}

/// An answer on its way.
pub(super) struct Performance<'a> {
    client: &'a mut OwnedWriteHalf,
    releases: &'a Semaphore,
    wish: Wish,
    form: Form,
    has_head: bool,
    has_role: bool,
    whole: WholeReply,
}

/// The reply to a client who does not want a stream.
#[derive(Default)]
struct WholeReply {
    content: String,
    calls: Vec<Value>,
    finish_reason: Value,
    usage: Value,
    error: Option<String>,
}

impl Wish {
    pub(super) fn of(request: &Value) -> Self {
        Self {
            model: request["model"].clone(),
            is_streamed: request["stream"] == true,
            wants_usage: request["stream_options"]["include_usage"] == true,
        }
    }
}

impl<'a> Performance<'a> {
    pub(super) fn new(client: &'a mut OwnedWriteHalf, releases: &'a Semaphore, wish: Wish) -> Self {
        let (form, whole) = (Form::default(), WholeReply::default());
        Self { client, releases, wish, form, has_head: false, has_role: false, whole }
    }

    /// Plays a script. An error is a client who is gone.
    pub(super) async fn play(mut self, script: ChatScript) -> io::Result<()> {
        self.form = script.form;
        for step in script.steps {
            match step {
                Step::Pause => match self.releases.acquire().await {
                    Ok(permit) => permit.forget(),
                    Err(_) => return Ok(()),
                },
                Step::Hang => std::future::pending().await,
                Step::Whole(answer) => {
                    self.client.write_all(&answer).await?;
                    return self.client.shutdown().await;
                }
                step if self.wish.is_streamed => {
                    if self.stream(step).await?.is_break() {
                        return self.client.shutdown().await;
                    }
                }
                Step::Close | Step::CloseMidChunk => return self.send_whole(true).await,
                step => self.gather(step).await,
            }
        }
        if !self.wish.is_streamed {
            return self.send_whole(false).await;
        }
        self.send_head().await?;
        self.client.write_all(b"0\r\n\r\n").await?;
        self.client.shutdown().await
    }

    async fn stream(&mut self, step: Step) -> io::Result<std::ops::ControlFlow<()>> {
        self.send_head().await?;
        match step {
            Step::Text(text) => {
                self.keep_pace().await;
                self.send_delta(&json!({"content": text}), &Value::Null).await?;
            }
            Step::Time => {
                self.keep_pace().await;
                self.send_delta(&json!({"content": now()}), &Value::Null).await?;
            }
            Step::ToolCall { index, id, name, arguments } => {
                let mut call = json!({"index": index, "function": {"arguments": arguments}});
                if let (Some(id), Some(name)) = (id, name) {
                    call["id"] = id.into();
                    call["type"] = "function".into();
                    call["function"]["name"] = name.into();
                }
                self.send_delta(&json!({"tool_calls": [call]}), &Value::Null).await?;
            }
            Step::Finish(reason) => self.send_delta(&json!({}), &reason.into()).await?,
            Step::Usage { prompt, completion } if self.wish.wants_usage => {
                let mut chunk = self.chunk(&json!([]));
                chunk["usage"] = usage(prompt, completion);
                self.send_event(&chunk.to_string()).await?;
            }
            Step::Done => self.send_event("[DONE]").await?,
            Step::Event(data) => self.send_event(&data).await?,
            Step::Bytes(bytes) => self.send(&bytes).await?,
            Step::Endless(bytes) => loop {
                self.send(&bytes).await?;
            },
            Step::CloseMidChunk => {
                self.client.write_all(b"64\r\ndata: {\"choices\"").await?;
                return Ok(std::ops::ControlFlow::Break(()));
            }
            Step::Close => return Ok(std::ops::ControlFlow::Break(())),
            Step::Usage { .. } | Step::Head | Step::Pause | Step::Hang | Step::Whole(_) => {}
        }
        Ok(std::ops::ControlFlow::Continue(()))
    }

    async fn gather(&mut self, step: Step) {
        match step {
            Step::Text(text) => {
                self.keep_pace().await;
                self.whole.content.push_str(&text);
            }
            Step::Time => {
                self.keep_pace().await;
                self.whole.content.push_str(&now());
            }
            Step::ToolCall { id: Some(id), name, .. } => {
                let function = json!({"name": name, "arguments": ""});
                self.whole.calls.push(json!({"id": id, "type": "function", "function": function}));
            }
            Step::ToolCall { index, arguments, .. } => {
                let call = usize::try_from(index).ok().and_then(|index| self.whole.calls.get_mut(index));
                if let Some(Value::String(all)) = call.map(|call| &mut call["function"]["arguments"]) {
                    all.push_str(&arguments);
                }
            }
            Step::Finish(reason) => self.whole.finish_reason = reason.into(),
            Step::Usage { prompt, completion } => self.whole.usage = usage(prompt, completion),
            Step::Event(data) => self.whole.error = Some(data),
            _ => {}
        }
    }

    async fn send_whole(&mut self, is_cut: bool) -> io::Result<()> {
        let whole = mem::take(&mut self.whole);
        let message = if whole.calls.is_empty() {
            json!({"role": "assistant", "content": whole.content, "refusal": null})
        } else {
            json!({"role": "assistant", "content": null, "tool_calls": whole.calls})
        };
        let choice =
            json!({"index": 0, "message": message, "logprobs": null, "finish_reason": whole.finish_reason});
        let mut body = json!({
            "id": ID, "object": "chat.completion", "created": CREATED, "model": self.wish.model, "choices": [choice],
        });
        if !whole.usage.is_null() {
            body["usage"] = whole.usage;
        }
        let (status, body) = match whole.error {
            Some(error) => ("500 Internal Server Error", error),
            None => ("200 OK", body.to_string()),
        };
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        self.client.write_all(head.as_bytes()).await?;
        let sent = if is_cut { body.len() / 2 } else { body.len() };
        self.client.write_all(body.as_bytes().get(..sent).unwrap_or_default()).await?;
        self.client.shutdown().await
    }

    async fn keep_pace(&self) {
        if let Some(pace) = self.form.pace {
            sleep(pace).await;
        }
    }

    async fn send_head(&mut self) -> io::Result<()> {
        if mem::replace(&mut self.has_head, true) {
            return Ok(());
        }
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n\
            transfer-encoding: chunked\r\nconnection: close\r\n\r\n";
        self.client.write_all(head.as_bytes()).await
    }

    async fn send_delta(&mut self, delta: &Value, finish_reason: &Value) -> io::Result<()> {
        if !mem::replace(&mut self.has_role, true) {
            let role = json!({"role": "assistant", "content": "", "refusal": null});
            self.send_choice(&role, &Value::Null).await?;
        }
        self.send_choice(delta, finish_reason).await
    }

    async fn send_choice(&mut self, delta: &Value, finish_reason: &Value) -> io::Result<()> {
        let choice = json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason});
        let chunk = self.chunk(&json!([choice]));
        self.send_event(&chunk.to_string()).await
    }

    fn chunk(&self, choices: &Value) -> Value {
        let mut chunk = json!({
            "id": ID, "object": "chat.completion.chunk", "created": CREATED, "model": self.wish.model,
            "choices": choices,
        });
        if self.wish.wants_usage {
            chunk["usage"] = Value::Null;
        }
        chunk
    }

    async fn send_event(&mut self, data: &str) -> io::Result<()> {
        let end = if self.form.is_crlf { "\r\n" } else { "\n" };
        let comment = if self.form.has_comments { format!(": keep-alive{end}{end}") } else { String::new() };
        self.send(format!("{comment}data: {data}{end}{end}").as_bytes()).await
    }

    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        for piece in bytes.chunks(self.form.piece_bytes.unwrap_or(bytes.len()).max(1)) {
            let mut chunk = format!("{:x}\r\n", piece.len()).into_bytes();
            chunk.extend_from_slice(piece);
            chunk.extend_from_slice(b"\r\n");
            self.client.write_all(&chunk).await?;
            self.client.flush().await?;
        }
        Ok(())
    }
}

/// Returns true if an error means that the client is gone.
pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::BrokenPipe
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::NotConnected
    )
}

/// The time as [`ChatScript::times`] writes it.
fn now() -> String {
    format!("{:016} ", SystemClock.now().unix_timestamp_nanos() / 1_000)
}

fn usage(prompt: u64, completion: u64) -> Value {
    json!({
        "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt.saturating_add(completion),
    })
}
