//! A small HTTP server that publishes key sets, counts who asks, and fails on demand.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::AbortHandle,
};
use url::Url;

/// Longer than anything here takes; reaching it is a failure.
const DEADLINE: Duration = Duration::from_secs(30);

pub struct KeyServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: AbortHandle,
}

struct Shared {
    answer: Mutex<Vec<u8>>,
    requests: watch::Sender<usize>,
    is_open: watch::Sender<bool>,
}

impl KeyServer {
    /// Listens on a free port of the loopback address and answers with this key set.
    pub async fn publishing(key_set: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            answer: Mutex::default(),
            requests: watch::Sender::new(0),
            is_open: watch::Sender::new(true),
        });
        let task = tokio::spawn(serve(listener, Arc::clone(&shared))).abort_handle();
        let server = Self { address, shared, task };
        server.publish(key_set);
        server
    }

    pub fn url(&self) -> Url {
        Url::parse(&format!("http://{}/jwks.json", self.address)).unwrap()
    }

    /// Answers with this key set from now on.
    pub fn publish(&self, key_set: &str) {
        self.answer("200 OK", "content-type: application/json\r\n", key_set);
    }

    /// Answers with this status line, headers and body from now on.
    pub fn answer(&self, status: &str, headers: &str, body: &str) {
        let length = body.len();
        self.answer_raw(&format!(
            "HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
        ));
    }

    /// Writes these bytes and closes, from now on.
    pub fn answer_raw(&self, bytes: &str) {
        *self.shared.answer.lock().unwrap() = bytes.as_bytes().to_vec();
    }

    /// Takes requests but does not answer them until [`KeyServer::open`].
    pub fn hold(&self) {
        self.shared.is_open.send_replace(false);
    }

    pub fn open(&self) {
        self.shared.is_open.send_replace(true);
    }

    /// How many requests came in so far.
    pub fn requests(&self) -> usize {
        *self.shared.requests.borrow()
    }

    /// Waits until that many requests came in.
    pub async fn wait_for_requests(&self, count: usize) {
        let mut requests = self.shared.requests.subscribe();
        tokio::time::timeout(DEADLINE, requests.wait_for(|seen| *seen >= count))
            .await
            .expect("the requests should come")
            .unwrap();
    }
}

impl Drop for KeyServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(respond(stream, Arc::clone(&shared)));
    }
}

/// A client that went away is no matter of the test's.
async fn respond(mut stream: TcpStream, shared: Arc<Shared>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    shared.requests.send_modify(|count| *count += 1);
    let mut is_open = shared.is_open.subscribe();
    if is_open.wait_for(|is_open| *is_open).await.is_err() {
        return;
    }
    let answer = shared.answer.lock().unwrap().clone();
    if stream.write_all(&answer).await.is_ok() {
        stream.shutdown().await.unwrap_or_default();
    }
}
