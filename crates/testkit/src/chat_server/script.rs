//! Answers of the chat server, step by step.

use std::time::Duration;

use serde_json::json;

/// An answer of a [`ChatServer`](crate::ChatServer): steps, played to the client in order. The head is sent before the first step
/// that sends something. Requests without `"stream": true` get the same reply as one object.
#[derive(Debug, Clone, Default)]
pub struct ChatScript {
    pub(super) steps: Vec<Step>,
    pub(super) form: Form,
}

/// The form of the events.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Form {
    pub(super) is_crlf: bool,
    pub(super) has_comments: bool,
    /// Bytes that are sent at once.
    pub(super) piece_bytes: Option<usize>,
    /// Time before each text.
    pub(super) pace: Option<Duration>,
}

#[derive(Debug, Clone)]
pub(super) enum Step {
    Text(String),
    Time,
    ToolCall { index: u32, id: Option<String>, name: Option<String>, arguments: String },
    Finish(String),
    Usage { prompt: u64, completion: u64 },
    Done,
    Head,
    Event(String),
    Bytes(Vec<u8>),
    Whole(Vec<u8>),
    Pause,
    Endless(Vec<u8>),
    Hang,
    Close,
    CloseMidChunk,
}

impl ChatScript {
    /// No step yet: the body is empty.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A complete reply of these texts, with a usage of 10 tokens of the prompt and one a text.
    #[must_use]
    pub fn reply(texts: &[&str]) -> Self {
        let completion = u64::try_from(texts.len()).unwrap_or(u64::MAX);
        Self::new().texts(texts).finish("stop").usage(10, completion).done()
    }

    /// A status with headers and a body, such as an error object.
    #[must_use]
    pub fn status(status: u16, headers: &[(&str, &str)], body: &str) -> Self {
        let mut head = format!("HTTP/1.1 {status} Status\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        Self::raw(format!("{head}connection: close\r\n\r\n{body}"))
    }

    /// All bytes of an answer, from the status line on; then the connection is closed.
    #[must_use]
    pub fn raw(answer: impl Into<Vec<u8>>) -> Self {
        Self::new().with(Step::Whole(answer.into()))
    }

    /// No answer, on a connection that stays open.
    #[must_use]
    pub fn silent() -> Self {
        Self::new().hang()
    }

    /// A piece of the text.
    #[must_use]
    pub fn text(self, text: &str) -> Self {
        self.with(Step::Text(text.to_owned()))
    }

    /// Pieces of the text.
    #[must_use]
    pub fn texts(self, texts: &[&str]) -> Self {
        texts.iter().fold(self, |script, text| script.text(text))
    }

    /// Pieces of the text, each the time at which it is sent: microseconds of the Unix epoch in 16 digits, and a space.
    #[must_use]
    pub fn times(self, count: usize) -> Self {
        (0..count).fold(self, |script, _| script.with(Step::Time))
    }

    /// A call of a tool, its arguments in pieces.
    #[must_use]
    pub fn tool_call(mut self, index: u32, id: &str, name: &str, arguments: &[&str]) -> Self {
        let (id, name) = (Some(id.to_owned()), Some(name.to_owned()));
        self = self.with(Step::ToolCall { index, id, name, arguments: String::new() });
        arguments.iter().fold(self, |script, piece| script.tool_arguments(index, piece))
    }

    /// A further piece of the arguments of a call.
    #[must_use]
    pub fn tool_arguments(self, index: u32, piece: &str) -> Self {
        self.with(Step::ToolCall { index, id: None, name: None, arguments: piece.to_owned() })
    }

    /// The reason of the end, such as `stop`.
    #[must_use]
    pub fn finish(self, reason: &str) -> Self {
        self.with(Step::Finish(reason.to_owned()))
    }

    /// The usage, for clients who ask for it.
    #[must_use]
    pub fn usage(self, prompt: u64, completion: u64) -> Self {
        self.with(Step::Usage { prompt, completion })
    }

    /// The last event of a stream, `[DONE]`.
    #[must_use]
    pub fn done(self) -> Self {
        self.with(Step::Done)
    }

    /// The head at once, before there is a body.
    #[must_use]
    pub fn head(self) -> Self {
        self.with(Step::Head)
    }

    /// An event with this data.
    #[must_use]
    pub fn event(self, data: &str) -> Self {
        self.with(Step::Event(data.to_owned()))
    }

    /// An error object as an event.
    #[must_use]
    pub fn fail(self, message: &str) -> Self {
        self.event(&json!({"error": {"message": message, "type": "server_error", "code": null}}).to_string())
    }

    /// These bytes of the body, as they are.
    #[must_use]
    pub fn bytes(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.with(Step::Bytes(bytes.into()))
    }

    /// Waits for a [`ChatServer::release`](crate::ChatServer::release).
    #[must_use]
    pub fn pause(self) -> Self {
        self.with(Step::Pause)
    }

    /// These bytes of the body again and again, until the client is gone.
    #[must_use]
    pub fn endless(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.with(Step::Endless(bytes.into()))
    }

    /// Nothing more, on a connection that stays open until the client is gone.
    #[must_use]
    pub fn hang(self) -> Self {
        self.with(Step::Hang)
    }

    /// Closes the connection between two chunks of the transfer.
    #[must_use]
    pub fn close(self) -> Self {
        self.with(Step::Close)
    }

    /// Closes the connection within a chunk of the transfer.
    #[must_use]
    pub fn close_mid_chunk(self) -> Self {
        self.with(Step::CloseMidChunk)
    }

    /// Lines end with CRLF.
    #[must_use]
    pub fn crlf(mut self) -> Self {
        self.form.is_crlf = true;
        self
    }

    /// A comment precedes each event.
    #[must_use]
    pub fn comments(mut self) -> Self {
        self.form.has_comments = true;
        self
    }

    /// Events are sent in pieces of so many bytes, each a packet and a chunk of the transfer.
    #[must_use]
    pub fn in_pieces(mut self, bytes: usize) -> Self {
        self.form.piece_bytes = Some(bytes);
        self
    }

    /// Each text takes so long.
    #[must_use]
    pub fn every(mut self, pace: Duration) -> Self {
        self.form.pace = Some(pace);
        self
    }

    fn with(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }
}
