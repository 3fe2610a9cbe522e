//! The attacked service: a database, a gateway process, some users; and a lean client.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Mutex,
    time::Duration,
};

use kernel::{Clock as _, SystemClock};
use local_postgres::{LocalPostgres, Settings};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

const SECRET: &str = "the secret of attacks signs nothing else";
/// The key that services send.
pub const KEY: &str = "usk_abuse_e3915c7af06d82b41b8f5ed07a42c963";
/// Open files of the service.
const FILES_MAX: &str = "256";
/// Address of the attackers; ordinary users have another one.
const ATTACKERS: &str = "127.0.0.2:0";
/// Users of the ordinary load.
const USERS: usize = 8;

/// A running service.
pub struct Service {
    pub address: SocketAddr,
    /// Users of the ordinary load.
    pub users: Vec<User>,
    /// The target of the attackers.
    pub target: Target,
    /// Their URL of the database.
    url: String,
    pid: u32,
    running: Mutex<Option<(Child, LocalPostgres)>>,
    folder: TempDir,
}

/// The service and its users, as attackers know them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Target {
    pub address: SocketAddr,
    /// The user that attacks.
    pub attacker: User,
    /// Another user, whom a service names.
    pub other: User,
}

/// One user.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct User {
    pub id: String,
    pub path: String,
    pub token: String,
}

impl Service {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let mut settings = Settings::new(folder.path().join("data"));
        settings.path = Some(testkit::search_path().into());
        let server = LocalPostgres::start(&settings).unwrap();
        let url = server.url().to_string();
        let log = fs::File::create(folder.path().join("gateway.log")).unwrap();
        let gateway = command_with_few_files(folder.path(), &url)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let address = ready(&folder.path().join("gateway.log"));
        let mut users = Vec::new();
        for name in (0..USERS).map(|number| format!("user|{number}")).chain(["attacker".to_owned()]) {
            users.push(sign_up(address, &name).await);
        }
        let target = Target { address, attacker: users.pop().unwrap(), other: users[0].clone() };
        Self {
            address,
            users,
            target,
            url,
            pid: gateway.id(),
            running: Mutex::new(Some((gateway, server))),
            folder,
        }
    }

    /// Memory of the gateway process in RAM.
    pub fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let line = line.unwrap_or("0 kB").trim().trim_end_matches(" kB").trim();
        line.parse().unwrap_or(0)
    }

    /// Runs the audit of the books: its verdict and its output.
    pub fn verify(&self) -> (bool, String) {
        let output = command(self.folder.path(), &self.url).args(["ledger", "verify"]).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        (output.status.success(), said)
    }

    pub fn stop(&self) {
        if let Some((mut gateway, server)) = self.running.lock().unwrap().take() {
            gateway.kill().unwrap();
            gateway.wait().unwrap();
            server.stop().unwrap();
        }
    }
}

fn command(folder: &Path, url: &str) -> Command {
    with_settings(Command::new(env!("CARGO_BIN_EXE_gateway")), folder, url)
}

/// The service under a low limit of open files, so that attacks with sockets reach it.
fn command_with_few_files(folder: &Path, url: &str) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "ulimit -n \"$1\" && exec \"$0\"", env!("CARGO_BIN_EXE_gateway"), FILES_MAX]);
    with_settings(shell, folder, url)
}

fn with_settings(mut command: Command, folder: &Path, url: &str) -> Command {
    command
        .current_dir(folder)
        .env_clear()
        .envs([("DATABASE_URL", url), ("PORT", "0"), ("LOG_FORMAT", "json")])
        .envs([("SUPABASE_JWT_SECRET", SECRET), ("USER_SERVICE_API_KEY", KEY)])
        // The attacks are about what a single request does: the number of requests is not limited.
        .envs([("RATE_LIMIT_USER", "1000000"), ("RATE_LIMIT_USER_BURST", "1000000")])
        .envs([("RATE_LIMIT_ANONYMOUS", "1000000"), ("RATE_LIMIT_ANONYMOUS_BURST", "1000000")]);
    command
}

async fn sign_up(address: SocketAddr, id: &str) -> User {
    let local: String = id.chars().filter(char::is_ascii_alphanumeric).collect();
    let email = format!("{local}@example.com");
    let secret = SecretString::from(SECRET);
    let token = identity::dev_token(&secret, &id.parse().unwrap(), &email, SystemClock.now());
    let body = json!({"email": email, "name": id}).to_string();
    let mut client = Client::open(address).await.unwrap();
    let ensured = client.send(&request("POST", "/api/v1/users/ensure", &token, &body)).await;
    assert_eq!(ensured.unwrap(), 200);
    User { path: format!("/api/v1/users/{}", id.replace('|', "%7C")), id: id.to_owned(), token }
}

fn ready(log: &Path) -> SocketAddr {
    let mut deadline = testkit::Deadline::new();
    loop {
        let text = fs::read_to_string(log).unwrap_or_default();
        if let Some(url) = testkit::listening_url(&text) {
            return url.trim_start_matches("http://").parse().unwrap();
        }
        assert!(deadline.allows_another(), "{text}");
        std::thread::yield_now();
    }
}

/// A whole request.
pub fn request(method: &str, path: &str, token: &str, body: &str) -> Vec<u8> {
    request_with(method, path, token, "", body)
}

/// The same with further headers, each with its line end.
pub fn request_with(method: &str, path: &str, token: &str, headers: &str, body: &str) -> Vec<u8> {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A connection of an attacker, with a receive buffer of its own size if one is given.
pub async fn attack(address: SocketAddr, receive_buffer: Option<u32>) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(ATTACKERS.parse().map_err(io::Error::other)?)?;
    if let Some(bytes) = receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.connect(address).await
}

/// One connection.
pub struct Client {
    pub stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        Self::new(TcpStream::connect(address).await?)
    }

    pub fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// Sends a request and reads the whole answer; answers its status.
    pub async fn send(&mut self, request: &[u8]) -> io::Result<u16> {
        // The service may answer before it has read everything.
        let (mut reader, mut writer) = self.stream.split();
        let buffer = &mut self.buffer;
        buffer.clear();
        let answer = async {
            loop {
                if let Some(status) = complete(buffer) {
                    return Ok(status);
                }
                if reader.read_buf(buffer).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
        };
        let sending = async {
            match writer.write_all(request).await {
                Ok(()) => std::future::pending().await,
                Err(error) => error,
            }
        };
        tokio::pin!(answer);
        tokio::select! {
            biased;
            status = &mut answer => status,
            error = sending => match tokio::time::timeout(Duration::from_secs(1), answer).await {
                Ok(Ok(status)) => Ok(status),
                _ => Err(error),
            },
        }
    }
}

/// The status of an answer that is there whole.
fn complete(buffer: &[u8]) -> Option<u16> {
    let end = buffer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&buffer[..end]);
    let length: usize = head
        .split("\r\n")
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |text| text.parse().unwrap_or(0));
    let status = head.get(9..12)?.parse().ok()?;
    (buffer.len() >= end + 4 + length).then_some(status)
}
