//! A hot standby: it can be audited, and not served from.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use local_postgres::{Durability, LocalPostgres, Settings};
use tempfile::TempDir;

use super::gateway_process::{Gateway, command, folder, refused, run};

/// A server that follows another one; ended when dropped.
struct Standby {
    server: Child,
    url: String,
}

/// A primary server with room for a follower, and the programs it was made with.
fn primary(folder: &Path) -> (LocalPostgres, PathBuf) {
    let path = testkit::search_path();
    let binaries = local_postgres::find_binaries(None, Some(path.as_ref())).unwrap();
    let mut settings = Settings::new(folder.join("primary"));
    settings.path = Some(path.into());
    settings.durability = Durability::Disposable;
    for (name, value) in [("wal_level", "replica"), ("max_wal_senders", "4")] {
        settings.server_settings.push((name.to_owned(), value.to_owned()));
    }
    (LocalPostgres::start(&settings).unwrap(), binaries.dir().to_owned())
}

/// A program of the server, under the account that owns the cluster: it does not run as root.
fn as_owner(cluster: &Path, program: &Path) -> Command {
    use std::os::unix::{fs::MetadataExt as _, process::CommandExt as _};
    let owner = fs::metadata(cluster).unwrap();
    let mut command = Command::new(program);
    command.uid(owner.uid()).gid(owner.gid()).current_dir("/").stdin(Stdio::null());
    command
}

impl Standby {
    /// Copies the primary and follows it.
    fn of(primary: &LocalPostgres, programs: &Path, folder: &TempDir) -> Self {
        let cluster = primary.cluster_dir();
        let home = folder.path().join("standby");
        fs::create_dir(&home).unwrap();
        fs::set_permissions(&home, fs::Permissions::from_mode(0o777)).unwrap();
        let data = home.join("data");
        let copied = as_owner(&cluster, &programs.join("pg_basebackup"))
            .args(["--write-recovery-conf", "--checkpoint=fast", "--pgdata"])
            .arg(&data)
            .args(["--dbname", &primary.superuser_url("postgres")])
            .output()
            .unwrap();
        assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
        let server = as_owner(&cluster, &programs.join("postgres"))
            .arg("-D")
            .arg(&data)
            .args(["-c", "listen_addresses=", "-c", "hot_standby=on", "-c", "fsync=off", "-c"])
            .arg(format!("unix_socket_directories={}", home.display()))
            .stdout(Stdio::null())
            .stderr(fs::File::create(home.join("log")).unwrap())
            .spawn()
            .unwrap();
        let socket =
            url::form_urlencoded::byte_serialize(home.to_str().unwrap().as_bytes()).collect::<String>();
        let url = primary.url();
        let (user, database) =
            (url.split("://").nth(1).unwrap().split('@').next().unwrap(), url.rsplit('/').next().unwrap());
        let standby = Self { server, url: format!("postgresql://{user}@{socket}/{database}") };
        let mut deadline = testkit::Deadline::new();
        while !fs::read_to_string(data.join("postmaster.pid")).is_ok_and(|text| text.contains("ready")) {
            assert!(deadline.allows_another(), "{}", fs::read_to_string(home.join("log")).unwrap());
            std::thread::yield_now();
        }
        standby
    }
}

impl Drop for Standby {
    fn drop(&mut self) {
        if self.server.kill().is_ok() {
            self.server.wait().unwrap();
        }
    }
}

#[tokio::test]
async fn a_hot_standby_can_be_audited_and_not_be_served_from() {
    let folder = folder();
    let (primary, programs) = primary(folder.path());
    let url = primary.url();
    {
        let mut gateway = Gateway::start(folder.path(), &[("DATABASE_URL", &url)]).await;
        gateway.ensure("auth0|a").await;
        gateway.consume("auth0|a", 1).expect(200).await;
        gateway.stop();
    }
    let standby = Standby::of(&primary, &programs, &folder);
    let on_standby = [("DATABASE_URL", standby.url.as_str())];
    let (status, out, error) = run(command(folder.path(), &on_standby).args(["ledger", "verify", "--json"]));
    assert_eq!(status.code(), Some(0), "{out}{error}");
    assert!(out.contains("\"accounts\":1"), "it read what was replicated: {out}");
    for arguments in [&[][..], &["serve"], &["migrate"]] {
        let texts = ["is a hot standby (read-only)", "DATABASE_URL"];
        refused(command(folder.path(), &on_standby).args(arguments), 1, &texts);
    }

    // With both servers named, the audit reads the first one and the service writes to the other.
    let host = |url: &str| url.split(['@', '/']).nth(3).unwrap().to_owned();
    let hosts = format!("{},{}", host(&standby.url), host(&url));
    let both = url.replace(&host(&url), &hosts);
    let on_both = [("DATABASE_URL", both.as_str())];
    {
        let gateway = Gateway::start(folder.path(), &on_both).await;
        gateway.consume("auth0|a", 1).expect(200).await;
    }
    primary.stop().unwrap();
    let (status, out, error) = run(command(folder.path(), &on_both).args(["ledger", "verify", "--json"]));
    assert_eq!(status.code(), Some(0), "{out}{error}");
    drop(standby);
}
