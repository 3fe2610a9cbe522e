//! A small HTTP server in place of the WeChat API: it answers login codes as the test says.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{self, AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};

/// The secret of the mini program of tests.
pub const WECHAT_SECRET: &str = "canary-wechat-secret-9f31";
/// The session key in each answer, which nothing may repeat.
pub const WECHAT_SESSION_KEY: &str = "canary-wechat-session-key-77==";

/// A WeChat API on the loopback address.
#[derive(Debug)]
pub struct WechatServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: AbortHandle,
}

#[derive(Debug, Default)]
struct Shared {
    /// The answers to a code, in turn; the last one remains. An empty one closes the connection.
    answers: Mutex<HashMap<String, Vec<String>>>,
    requests: Mutex<Vec<String>>,
}

impl WechatServer {
    /// A server that knows no code, on the present tokio runtime.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.unwrap_or_else(|error| panic!("no free port: {error}"));
        let address = listener.local_addr().unwrap_or_else(|error| panic!("no address: {error}"));
        let shared = Arc::new(Shared::default());
        let task = tokio::spawn(serve(listener, Arc::clone(&shared))).abort_handle();
        Self { address, shared, task }
    }

    /// Its URL, as in `WECHAT_API_BASE`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers a code with these members and a session key.
    pub fn knows(&self, code: &str, members: &str) {
        self.answers(code, &[&format!(r#"{{"session_key":"{WECHAT_SESSION_KEY}",{members}}}"#)]);
    }

    /// Answers a code with these bodies in turn; the last one remains. An empty one closes the connection.
    pub fn answers(&self, code: &str, bodies: &[&str]) {
        let bodies = bodies.iter().map(|body| (*body).to_owned()).collect();
        self.shared.answers.lock().unwrap_or_else(PoisonError::into_inner).insert(code.to_owned(), bodies);
    }

    /// The requested paths with their queries, in order.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.shared.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for WechatServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(answer(stream, Arc::clone(&shared)));
    }
}

async fn answer(mut stream: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head);
    let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let code = target.split("js_code=").nth(1).and_then(|rest| rest.split('&').next()).unwrap_or_default();
    let body = {
        let mut answers = shared.answers.lock().unwrap_or_else(PoisonError::into_inner);
        match answers.get_mut(code) {
            Some(bodies) if bodies.len() > 1 => bodies.remove(0),
            Some(bodies) => bodies.first().cloned().unwrap_or_default(),
            None => r#"{"errcode":40029,"errmsg":"invalid code"}"#.to_owned(),
        }
    };
    shared.requests.lock().unwrap_or_else(PoisonError::into_inner).push(target);
    if body.is_empty() {
        return Ok(());
    }
    let length = body.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}
