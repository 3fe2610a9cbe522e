//! A real Redis server, for tests against it.

use std::{
    fs, io,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

use crate::{
    deadline::Deadline,
    programs::{find_program, skip_without},
};

/// A running Redis server on a socket of its own, which keeps nothing on disk. It ends when it is dropped.
#[derive(Debug)]
pub struct RedisServer {
    child: Child,
    folder: TempDir,
}

impl RedisServer {
    /// Starts a server. Without the program it says that the test is skipped, and there is none.
    ///
    /// # Panics
    /// When it does not start, or in CI without the program.
    pub async fn start() -> Option<Self> {
        let Some(program) = find_program("redis-server") else {
            skip_without("redis-server");
            return None;
        };
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("no folder: {error}"));
        let child = spawn(&program, &folder);
        let mut server = Self { child, folder };
        server.wait_until_it_listens().await;
        Some(server)
    }

    /// Where it is found.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    /// Ends it by SIGKILL, and its counters with it.
    ///
    /// # Panics
    /// When it cannot be killed.
    pub fn kill(&mut self) {
        let ended = self.child.kill().and_then(|()| self.child.wait());
        assert!(ended.is_ok(), "{ended:?}");
        fs::remove_file(self.socket()).unwrap_or_else(|error| panic!("the socket stays: {error}"));
    }

    /// Starts it again after [`RedisServer::kill`], at the same place.
    ///
    /// # Panics
    /// As [`RedisServer::start`].
    pub async fn start_again(&mut self) {
        let program = find_program("redis-server").unwrap_or_default();
        self.child = spawn(&program, &self.folder);
        self.wait_until_it_listens().await;
    }

    /// Makes it silent: it answers nothing and closes nothing until [`RedisServer::resume`].
    pub fn pause(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// How often clients called a command so far.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn calls(&self, command: &str) -> u64 {
        let text = self.info().await.unwrap_or_else(|error| panic!("no statistics: {error}"));
        let calls = text.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
        calls.and_then(|calls| calls.split(',').next()?.parse().ok()).unwrap_or(0)
    }

    async fn info(&self) -> io::Result<String> {
        let mut stream = UnixStream::connect(self.socket()).await?;
        stream.write_all(b"INFO commandstats\r\nQUIT\r\n").await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        Ok(text)
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).unwrap_or_else(|error| panic!("no process id: {error}"));
        kill(Pid::from_raw(id), signal).unwrap_or_else(|error| panic!("no {signal}: {error}"));
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    async fn wait_until_it_listens(&mut self) {
        let mut deadline = Deadline::new();
        while UnixStream::connect(self.socket()).await.is_err() {
            let ended = self.child.try_wait();
            assert!(matches!(ended, Ok(None)), "redis-server ended: {ended:?}");
            assert!(deadline.allows_another(), "redis-server does not listen");
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        if self.child.kill().is_ok() {
            self.child.wait().map(drop).unwrap_or_default();
        }
    }
}

fn spawn(program: &PathBuf, folder: &TempDir) -> Child {
    Command::new(program)
        .args(["--port", "0", "--unixsocket", "redis.sock", "--save", "", "--appendonly", "no"])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("redis-server cannot be started: {error}"))
}
