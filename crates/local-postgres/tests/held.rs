//! A server held by another process, which a test can kill: this test binary, run again for one ignored test.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support::{enterable_dir, start};

const READY: &str = "held server: ";

/// Not a test of its own: reads a data folder from standard input, starts a server, holds it until the input ends.
#[test]
#[ignore = "run by other tests, as a process of its own"]
fn held_server() {
    let mut data_dir = String::new();
    std::io::stdin().read_line(&mut data_dir).unwrap();
    if data_dir.is_empty() {
        return;
    }
    let postgres = start(Path::new(data_dir.trim()));
    println!("\n{READY}{} {}", postgres.pid(), postgres.url());
    let mut rest = String::new();
    std::io::stdin().read_to_string(&mut rest).unwrap();
    postgres.stop().unwrap();
}

/// The process; killed when dropped.
pub struct Holder {
    pub process: Child,
    _copy: tempfile::TempDir,
}

/// Begins holding a server; it may not be ready yet.
pub fn spawn(data_dir: &Path) -> Holder {
    spawn_prepared(data_dir, |_| {})
}

/// The same, as another account, keeping what it writes to standard error. The caller must be root.
pub fn spawn_as(uid: u32, gid: u32, data_dir: &Path) -> Holder {
    spawn_prepared(data_dir, |command| {
        command.uid(uid).gid(gid).stderr(Stdio::piped());
    })
}

fn spawn_prepared(data_dir: &Path, prepare: impl FnOnce(&mut Command)) -> Holder {
    // Another account may not be able to reach the folder this binary was built in.
    let copy = enterable_dir();
    let program: PathBuf = copy.path().join("held");
    std::fs::hard_link(std::env::current_exe().unwrap(), &program)
        .or_else(|_| std::fs::copy(std::env::current_exe().unwrap(), &program).map(drop))
        .unwrap();
    assert!(std::fs::metadata(&program).unwrap().permissions().mode() & 0o001 != 0);
    let mut command = Command::new(&program);
    command.args(["--exact", "held::held_server", "--ignored", "--nocapture"]).current_dir("/");
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    prepare(&mut command);
    let mut process = command.spawn().unwrap();
    let stdin = process.stdin.as_mut().unwrap();
    writeln!(stdin, "{}", data_dir.display()).unwrap();
    Holder { process, _copy: copy }
}

impl Holder {
    /// Process id and URL of the server, once it is ready.
    pub fn ready(&mut self) -> (u32, String) {
        let stdout = BufReader::new(self.process.stdout.as_mut().unwrap());
        let line = stdout.lines().map(Result::unwrap).find(|line| line.starts_with(READY));
        let line = line.expect("the held server did not become ready");
        let (pid, url) = line[READY.len()..].split_once(' ').unwrap();
        (pid.parse().unwrap(), url.to_owned())
    }

    /// The words with which it failed instead of becoming ready.
    pub fn failure(mut self) -> String {
        let mut text = String::new();
        let mut errors = self.process.stderr.take().unwrap();
        errors.read_to_string(&mut text).unwrap();
        assert!(!self.process.wait().unwrap().success());
        text
    }

    pub fn kill_hard(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Lets it stop its server and end.
    pub fn release(&mut self) {
        drop(self.process.stdin.take());
        assert!(self.process.wait().unwrap().success());
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // Both fail if it has ended already, which is fine.
        if self.process.kill().is_ok() {
            self.process.wait().unwrap();
        }
    }
}
