//! Folders, SQL, waiting and killing for the tests.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use local_postgres::{Durability, LocalPostgres, Settings};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// A folder that other accounts can enter, as the one of a checkout usually is.
pub fn enterable_dir() -> TempDir {
    dir_with_mode(0o755)
}

pub fn dir_with_mode(mode: u32) -> TempDir {
    tempfile::Builder::new().permissions(std::fs::Permissions::from_mode(mode)).tempdir().unwrap()
}

/// Settings for a small server in `data_dir`; what cannot be there goes to `fallback` beside it.
#[expect(clippy::disallowed_methods, reason = "tests have no configuration to take the search path from")]
pub fn settings(data_dir: &Path) -> Settings {
    Settings {
        path: std::env::var_os("PATH"),
        fallback_dir: data_dir.with_extension("fallback"),
        durability: Durability::Disposable,
        max_connections: 10,
        ..Settings::new(data_dir)
    }
}

pub fn start(data_dir: &Path) -> LocalPostgres {
    LocalPostgres::start(&settings(data_dir)).unwrap()
}

/// The first column of the answer.
pub fn sql(url: &str, statements: &str) -> Result<Vec<String>, tokio_postgres::Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
        let serving = tokio::spawn(connection);
        let answer = client.simple_query(statements).await?;
        drop(client);
        serving.await.unwrap()?;
        let rows = answer.iter().filter_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
            _ => None,
        });
        Ok(rows.collect())
    })
}

pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(30), "waited 30 s until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether the process is there and not just waiting to be collected.
pub fn is_alive(pid: u32) -> bool {
    let state =
        std::process::Command::new("ps").args(["-o", "stat=", "-p", &pid.to_string()]).output().unwrap();
    let state = String::from_utf8(state.stdout).unwrap();
    !state.trim().is_empty() && !state.trim().starts_with('Z')
}

pub fn kill_hard(pid: u32) {
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGKILL).unwrap();
}

pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}
