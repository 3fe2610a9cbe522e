//! Names that most files of tests use.

use std::net::SocketAddr;
pub use std::sync::Arc;

use pg::{Pool, PoolSettings, pool::Connection};

pub use diesel_async::SimpleAsyncConnection as _;
pub use kernel::Clock as _;
pub use serde_json::{Value, json};
pub use testkit::{
    Deadline, Members as _, Proxy, SERVICE_KEY, TestApp, TestDb, TestReply, TestRequest, TestUser,
};
pub use time::{Duration, OffsetDateTime, macros::datetime};
pub use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

/// Longest time before a test gives up.
pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// A connection of a superuser.
pub async fn connect(url: impl AsRef<str>) -> Connection {
    Pool::new(&PoolSettings::new(url.as_ref())).unwrap().get().await.unwrap()
}

/// Opens a connection and sends bytes as they are. The server may close it before it has read all of them.
pub async fn open(address: SocketAddr, bytes: impl AsRef<[u8]>) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let _sent = stream.write_all(bytes.as_ref()).await;
    stream
}

/// Reads to the end of a connection; a reset is an end as well.
pub async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(read.is_ok(), "the server did not close the connection: {answer}");
    answer
}

/// Sends bytes and reads at the same time, until the server closes.
pub async fn exchange(address: SocketAddr, bytes: impl AsRef<[u8]>) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let (mut reader, mut writer) = stream.split();
    let mut answer = Vec::new();
    let both = async { tokio::join!(writer.write_all(bytes.as_ref()), reader.read_to_end(&mut answer)) };
    let ended = tokio::time::timeout(PATIENCE, both).await.is_ok();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(ended, "the connection stays open: {answer}");
    answer
}

/// Asserts the status of an answer as it is on the wire, and texts in it.
#[track_caller]
pub fn answered(answer: &str, status: u16, texts: &[&str]) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    assert!(texts.iter().all(|text| answer.contains(text)), "{texts:?} are not in: {answer}");
}
