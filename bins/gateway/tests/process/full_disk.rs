//! The disk of the database is really full: not ready, no wrong answer, and nothing lost.

use std::{
    fs,
    io::{ErrorKind, Write as _},
    path::PathBuf,
    process::Command,
};

use local_postgres::{LocalPostgres, Settings};
use pg::pool::Connection;
use tempfile::TempDir;

use super::gateway_process::{Gateway, command, folder, run};
use crate::prelude::*;

/// A small file system of its own; unmounted when dropped.
struct Disk(PathBuf);

impl Disk {
    /// Mounts one in `folder`, or says why the test is skipped.
    #[expect(clippy::print_stderr, reason = "a skipped test must not look like one that ran")]
    fn mount(folder: &TempDir) -> Option<Self> {
        let place = folder.path().join("disk");
        fs::create_dir(&place).unwrap();
        let options = "size=200m,mode=755";
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&place).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(place)),
            refused => {
                eprintln!("skipped: a file system can only be mounted by root: {refused:?}");
                None
            }
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.0).status();
        assert!(unmounted.unwrap().success(), "still mounted: {}", self.0.display());
    }
}

/// A file that fills the disk; removed when dropped, so that the server can stop.
struct Rubbish(PathBuf);

impl Rubbish {
    fn on(disk: &Disk) -> Self {
        let rubbish = Self(disk.0.join("rubbish"));
        rubbish.fill();
        rubbish
    }

    /// Takes all room there is.
    fn fill(&self) {
        let mut file = fs::File::options().create(true).append(true).open(&self.0).unwrap();
        for piece in [vec![0; 1 << 20], vec![0; 1 << 12]] {
            let error = loop {
                if let Err(error) = file.write_all(&piece) {
                    break error;
                }
            };
            assert_eq!(error.kind(), ErrorKind::StorageFull);
        }
    }
}

impl Drop for Rubbish {
    fn drop(&mut self) {
        fs::remove_file(&self.0).unwrap();
    }
}

fn start_server(disk: &Disk) -> LocalPostgres {
    let mut settings = Settings::new(disk.0.join("data"));
    settings.path = Some(testkit::search_path().into());
    LocalPostgres::start(&settings).unwrap()
}

/// Waits until `/readyz` answers with this status, while `between` goes on; `/livez` always answers.
async fn wait_for_status(gateway: &Gateway, status: u16, between: impl Fn()) -> Value {
    let mut deadline = testkit::Deadline::new();
    loop {
        between();
        let ready = gateway.get("/readyz").await;
        gateway.get("/livez").expect(200).await;
        if ready.status == status {
            return ready.json();
        }
        assert!(deadline.allows_another(), "not {status}: {} {}", ready.text, gateway.log_tail());
        tokio::task::yield_now().await;
    }
}

/// Bounds of the credits that the charges sent so far took.
#[derive(Default)]
struct Charges {
    certain: u32,
    unknown: u32,
}

impl Charges {
    /// Sends one charge of 1, which is done or answered with 503.
    async fn send(&mut self, gateway: &Gateway) -> u16 {
        let reply = gateway.consume("a", 1).await;
        match (reply.status, reply.error_code().as_str()) {
            (200, _) => self.certain += 1,
            (503, "OutcomeUnknownException") => self.unknown += 1,
            (503, "ServiceUnavailableException") => {}
            _ => panic!("{reply:?} {}", gateway.log_tail()),
        }
        reply.status
    }
}

/// Lets the server need further files of its write-ahead log, until it has no room for one.
async fn use_up_log(superuser: &mut Connection) {
    let mut deadline = testkit::Deadline::new();
    let switch = "SELECT pg_logical_emit_message(false, 'test', 'x'), pg_switch_wal()";
    while superuser.batch_execute(switch).await.is_ok() {
        assert!(deadline.allows_another(), "there is always room");
    }
}

async fn fill_and_free(with_log: bool) {
    let folder = folder();
    let Some(disk) = Disk::mount(&folder) else { return };
    let mut server = start_server(&disk);
    let url = server.url();
    let gateway = Gateway::start(folder.path(), &[("DATABASE_URL", &url)]).await;
    gateway.ensure("a").await;
    let mut charges = Charges::default();
    assert_eq!(charges.send(&gateway).await, 200);
    wait_for_status(&gateway, 200, || {}).await;

    // Connected before: on a full disk a first session of this database is refused.
    let mut superuser = connect(server.superuser_url("postgres")).await;
    let rubbish = Rubbish::on(&disk);
    if with_log {
        use_up_log(&mut superuser).await;
    }
    // Nobody writes, so that the probe alone has to find out.
    let ready = wait_for_status(&gateway, 503, || rubbish.fill()).await;
    assert_eq!((&ready["status"], &ready["checks"]["database"]), (&json!("not_ready"), &json!("failed")));
    // Until the pages that the tables have are used up, charges can still succeed.
    let mut deadline = testkit::Deadline::new();
    while charges.send(&gateway).await == 200 {
        rubbish.fill();
        assert!(deadline.allows_another(), "every charge finds room");
    }
    for _ in 0..10 {
        charges.send(&gateway).await;
    }

    drop(rubbish);
    // A server without room for its write-ahead log ends, and its operator starts it again.
    if !server.is_running() {
        drop(server);
        server = start_server(&disk);
        assert_eq!(server.url(), url);
    }
    wait_for_status(&gateway, 200, || {}).await;
    assert_eq!(charges.send(&gateway).await, 200);
    let taken = 1000.0 - gateway.balance("a").await;
    let Charges { certain, unknown } = charges;
    assert!(
        (f64::from(certain)..=f64::from(certain + unknown)).contains(&taken),
        "{taken} taken, {certain} charges acknowledged, {unknown} unknown"
    );
    let on_server = [("DATABASE_URL", url.as_str())];
    let (status, out, error) = run(command(folder.path(), &on_server).args(["ledger", "verify"]));
    assert_eq!(status.code(), Some(0), "{out}{error}");
    drop(gateway);
    server.stop().unwrap();
}

#[tokio::test]
async fn a_full_disk_is_not_ready_until_there_is_room() {
    fill_and_free(false).await;
}

#[tokio::test]
async fn a_disk_without_room_for_the_write_ahead_log_is_not_ready_until_there_is_room() {
    fill_and_free(true).await;
}
