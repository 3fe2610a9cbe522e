//! The process of the attackers, as the measuring process sees it and from within.

use std::{
    io::{self, BufRead as _, Write as _},
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::{attacks, service::Target};

/// The service under attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    /// The service.
    Service,
    /// A server of their own that reads what they send. What others notice of it is the price of attackers on the same machine.
    Themselves,
}

/// A running process of attackers.
pub struct Attackers(Child);

impl Attackers {
    pub fn start(target: &Target, only: &str, victim: Victim) -> Self {
        // Attackers have a machine of their own elsewhere. Here they get the time that nobody else wants.
        let mut command = Command::new("nice");
        command.args(["-n", NICE]).arg(std::env::current_exe().unwrap());
        command.args(["--attack", "--only", only]);
        if victim == Victim::Themselves {
            command.arg("--themselves");
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let told = serde_json::to_string(target).unwrap();
        writeln!(child.stdin.as_mut().unwrap(), "{told}").unwrap();
        Self(child)
    }

    /// Stops them, and answers what became of each attack.
    pub fn stop(self) -> String {
        // This closes its standard input.
        let output = self.0.wait_with_output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// Priority of the attackers: lower than that of all others.
const NICE: &str = "10";

/// Attacks as the process that was started by [`Attackers::start`].
pub async fn attack(only: &str, victim: Victim) {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).unwrap();
    let mut target: Target = serde_json::from_str(&line).unwrap();
    if victim == Victim::Themselves {
        target.address = sink().await;
    }
    attacks::run(target, only).await;
}

/// A server that reads requests and refuses them.
async fn sink() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _peer)) = listener.accept().await {
            tokio::spawn(async move {
                let _ended = refuse_all(stream).await;
            });
        }
    });
    address
}

async fn refuse_all(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(64 * 1024);
    loop {
        let end = loop {
            if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        let head = String::from_utf8_lossy(&buffer[..end]);
        let mut missing: usize = head
            .split("\r\n")
            .find_map(|line| line.strip_prefix("Content-Length: "))
            .map_or(0, |text| text.parse().unwrap_or(0));
        buffer.drain(..end);
        while missing > 0 {
            let taken = missing.min(buffer.len());
            buffer.drain(..taken);
            missing -= taken;
            if missing > 0 && stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
        stream.write_all(b"HTTP/1.1 422 Refused\r\ncontent-length: 0\r\n\r\n").await?;
    }
}
