//! A lean HTTP/1.1 client: the load generator shares the machine with what it measures.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// One connection that is kept open.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::with_capacity(16 * 1024) }
    }

    /// Sends a whole request and reads the whole answer. Answers the status and the body.
    pub async fn send(&mut self, request: &[u8]) -> (u16, &[u8]) {
        let (status, _, body) = self.send_for_head(request).await;
        (status, body)
    }

    /// The same, with the head of the answer.
    pub async fn send_for_head(&mut self, request: &[u8]) -> (u16, &str, &[u8]) {
        self.stream.write_all(request).await.unwrap();
        self.buffer.clear();
        let (body_at, length) = loop {
            let read = self.stream.read_buf(&mut self.buffer).await.unwrap();
            assert!(read > 0, "the server closed the connection");
            if let Some(head) = head(&self.buffer) {
                break head;
            }
        };
        while self.buffer.len() < body_at + length {
            let read = self.stream.read_buf(&mut self.buffer).await.unwrap();
            assert!(read > 0, "the server closed the connection");
        }
        let status = std::str::from_utf8(&self.buffer[9..12]).unwrap().parse().unwrap();
        let head = std::str::from_utf8(&self.buffer[..body_at]).unwrap();
        (status, head, &self.buffer[body_at..body_at + length])
    }

    /// Returns true if the last answer had a header of this name, in lower case.
    pub fn has_header(&self, name: &str) -> bool {
        let text = String::from_utf8_lossy(&self.buffer);
        text.split("\r\n")
            .take_while(|line| !line.is_empty())
            .any(|line| line.starts_with(&format!("{name}: ")))
    }
}

/// Where the body begins and how long it is, once the head is there.
fn head(buffer: &[u8]) -> Option<(usize, usize)> {
    let end = buffer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&buffer[..end]).unwrap();
    let length = head
        .split("\r\n")
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |text| text.parse().unwrap());
    Some((end + 4, length))
}

/// Stands for a number that is another one in each request, for example in event ids.
pub const NUMBER: &str = "################";

/// The bytes of a request.
pub struct Request {
    bytes: Vec<u8>,
    /// Where each [`NUMBER`] stands.
    numbers: Vec<usize>,
}

impl Request {
    fn of(text: String) -> Self {
        Self {
            numbers: text.match_indices(NUMBER).map(|(place, _)| place).collect(),
            bytes: text.into_bytes(),
        }
    }

    /// The request as a proxy passes it on for this client.
    pub fn forwarded(self, client: &str) -> Self {
        let text = String::from_utf8(self.bytes).unwrap();
        Self::of(text.replacen("\r\n", &format!("\r\nX-Forwarded-For: {client}\r\n"), 1))
    }
    /// The bytes to send next, with new numbers; `buffer` is for them.
    pub fn fresh<'a>(&'a self, buffer: &'a mut Vec<u8>) -> &'a [u8] {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        if self.numbers.is_empty() {
            return &self.bytes;
        }
        buffer.clear();
        buffer.extend_from_slice(&self.bytes);
        let first = NEXT.fetch_add(self.numbers.len() as u64, Ordering::Relaxed);
        for (number, place) in (first..).zip(&self.numbers) {
            buffer[*place..*place + NUMBER.len()].copy_from_slice(format!("{number:016}").as_bytes());
        }
        buffer
    }

    /// The bytes, for a request without numbers.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// A request, with a token unless that is empty.
pub fn request(method: &str, path: &str, token: &str, body: &str) -> Request {
    let authorization =
        if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
    let text = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\n{authorization}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    Request::of(text)
}
