//! A language model behind OpenAI's protocol, whose answers a test writes.

mod performance;
mod script;

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde_json::{Value, json};
use tokio::{
    io::{self, AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf},
    sync::{Semaphore, watch},
    task::AbortHandle,
    time::timeout,
};

use crate::deadline::ALLOWED;

use self::performance::{Performance, Wish, is_gone};
pub use self::script::ChatScript;

/// Most bytes of a request.
const REQUEST_BYTES_MAX: usize = 128 << 20;

/// A server for `POST /v1/chat/completions` on the loopback address. It speaks the protocol as OpenAI does, which the official client
/// for Python confirms (`just interop`), except where a [`ChatScript`] deviates.
#[derive(Debug)]
pub struct ChatServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: AbortHandle,
}

/// A request that the server got.
#[derive(Debug, Clone)]
pub struct ChatCall {
    /// Lines of the head.
    head: Vec<String>,
    /// The body.
    pub body: Value,
}

#[derive(Debug)]
struct Shared {
    scripts: Mutex<VecDeque<ChatScript>>,
    calls: Mutex<Vec<ChatCall>>,
    /// Requests so far, and clients who left before the end of the answer.
    counts: watch::Sender<Counts>,
    releases: Semaphore,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    calls: usize,
    hung_up: usize,
}

impl ChatServer {
    /// A server on the present tokio runtime. Without scripts it replies `Hello, world`.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.unwrap_or_else(|error| panic!("no free port: {error}"));
        let address = listener.local_addr().unwrap_or_else(|error| panic!("no address: {error}"));
        let shared = Arc::new(Shared {
            scripts: Mutex::new(VecDeque::from([ChatScript::reply(&["Hello", ", ", "world"])])),
            calls: Mutex::default(),
            counts: watch::channel(Counts::default()).0,
            releases: Semaphore::new(0),
        });
        let task = tokio::spawn(serve(listener, Arc::clone(&shared))).abort_handle();
        Self { address, shared, task }
    }

    /// Its URL, as in `CHAT_BASE_URL`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Answers the next requests with these scripts in turn; the last one remains.
    ///
    /// # Panics
    /// Without a script.
    pub fn answers(&self, scripts: impl IntoIterator<Item = ChatScript>) {
        let scripts: VecDeque<ChatScript> = scripts.into_iter().collect();
        assert!(!scripts.is_empty(), "there must be a script");
        *lock(&self.shared.scripts) = scripts;
    }

    /// Lets one pause of a script go on: one that waits, or the next one.
    pub fn release(&self) {
        self.shared.releases.add_permits(1);
    }

    /// The requests, in order.
    #[must_use]
    pub fn calls(&self) -> Vec<ChatCall> {
        lock(&self.shared.calls).clone()
    }

    /// Waits until there were so many requests.
    ///
    /// # Panics
    /// When that takes a minute.
    pub async fn called(&self, times: usize) {
        self.until(|counts| counts.calls >= times).await;
    }

    /// Waits until so many clients left before the end of their answer.
    ///
    /// # Panics
    /// When that takes a minute.
    pub async fn hung_up(&self, times: usize) {
        self.until(|counts| counts.hung_up >= times).await;
    }

    async fn until(&self, is_so: impl Fn(&Counts) -> bool) {
        let mut counts = self.shared.counts.subscribe();
        let waited = timeout(ALLOWED, counts.wait_for(|counts| is_so(counts))).await;
        assert!(matches!(waited, Ok(Ok(_))), "the chat server waited in vain: {:?}", self.shared.counts);
    }
}

impl Drop for ChatServer {
    fn drop(&mut self) {
        self.task.abort();
        // Answers that pause end, and their connections with them.
        self.shared.releases.close();
    }
}

impl ChatCall {
    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let headers = self.head.iter().skip(1).filter_map(|line| line.split_once(':'));
        headers.into_iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    fn is_of_protocol(&self) -> Result<(), &'static str> {
        if self.head.first().is_none_or(|line| line != "POST /v1/chat/completions HTTP/1.1") {
            return Err("unknown route");
        }
        if self.header("content-type") != Some("application/json") || !self.body["model"].is_string() {
            return Err("a JSON body with a model is needed");
        }
        match self.body["messages"].as_array() {
            Some(messages) if !messages.is_empty() && messages.iter().all(is_message) => Ok(()),
            _ => Err("messages with role and content are needed"),
        }
    }
}

fn is_message(message: &Value) -> bool {
    match message["role"].as_str() {
        Some("system" | "user") => message["content"].is_string(),
        Some("assistant") => message["content"].is_string() || message["tool_calls"].is_array(),
        Some("tool") => message["content"].is_string() && message["tool_call_id"].is_string(),
        _ => false,
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(answer(stream, Arc::clone(&shared)));
    }
}

async fn answer(stream: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let call = read_call(&mut reader).await?;
    let script = match call.is_of_protocol() {
        Ok(()) => next_script(&shared),
        Err(fault) => {
            let error = json!({"error": {"message": fault, "type": "invalid_request_error"}});
            ChatScript::status(400, &[("content-type", "application/json")], &error.to_string())
        }
    };
    let wish = Wish::of(&call.body);
    lock(&shared.calls).push(call);
    shared.counts.send_modify(|counts| counts.calls += 1);
    let is_hung_up = tokio::select! {
        played = Performance::new(&mut writer, &shared.releases, wish).play(script) => {
            played.as_ref().is_err_and(is_gone)
        }
        () = gone(&mut reader) => true,
    };
    if is_hung_up {
        shared.counts.send_modify(|counts| counts.hung_up += 1);
    }
    Ok(())
}

/// The last script remains.
fn next_script(shared: &Shared) -> ChatScript {
    let mut scripts = lock(&shared.scripts);
    let next = if scripts.len() > 1 { scripts.pop_front() } else { scripts.front().cloned() };
    next.unwrap_or_default()
}

async fn read_call(reader: &mut BufReader<OwnedReadHalf>) -> io::Result<ChatCall> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match line.trim_end() {
            "" => break,
            line => head.push(line.to_owned()),
        }
    }
    let call = ChatCall { head, body: Value::Null };
    let length = call.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length.min(REQUEST_BYTES_MAX)];
    reader.read_exact(&mut body).await?;
    Ok(ChatCall { body: serde_json::from_slice(&body).unwrap_or_default(), ..call })
}

/// Waits until the client closes the connection.
async fn gone(reader: &mut BufReader<OwnedReadHalf>) {
    let mut byte = [0];
    while matches!(reader.read(&mut byte).await, Ok(1..)) {}
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
