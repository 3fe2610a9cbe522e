//! The real PgBouncer, for tests against it.

use std::{
    fmt::Write as _,
    fs,
    net::TcpListener,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use nix::unistd::{Uid, User, geteuid};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::{
    deadline::Deadline,
    programs::find_program,
    seed::{Failed, ROLE},
    server::Server,
};

/// The first version that keeps the prepared statements of its clients.
const KEEPS_STATEMENTS_SINCE: (u32, u32) = (1, 21);

/// A running PgBouncer on a loopback address. It ends when it is dropped.
#[derive(Debug)]
pub struct PgBouncer {
    url: String,
    version: (u32, u32),
    child: Child,
    _folder: TempDir,
}

impl PgBouncer {
    /// Where the ordinary role finds the database through it.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns true if this version keeps the prepared statements of its clients, if `max_prepared_statements` is above 0.
    #[must_use]
    pub fn can_keep_statements(&self) -> bool {
        self.version >= KEEPS_STATEMENTS_SINCE
    }

    pub(crate) async fn start(
        server: &Server,
        database: &str,
        settings: &[(&str, &str)],
    ) -> Result<Option<Self>, Failed> {
        let Some((binary, version)) = find() else {
            return Ok(None);
        };
        let folder = tempfile::tempdir()?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let users = folder.path().join("users.txt");
        fs::write(&users, format!("\"{ROLE}\" \"\"\n"))?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut configuration = format!(
            "[databases]\n{database} = host={} port=5432\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = {}\npool_mode = transaction\n",
            server.postgres().socket_dir().display(),
            users.display(),
        );
        if geteuid().is_root() {
            // It refuses to run as root, and must be able to enter the folder of the socket.
            let owner = Uid::from_raw(fs::metadata(server.postgres().cluster_dir())?.uid());
            let owner = User::from_uid(owner)?.ok_or("the owner of the server has no name")?;
            writeln!(configuration, "user = {}", owner.name)?;
        }
        for (name, value) in settings {
            writeln!(configuration, "{name} = {value}")?;
        }
        let file = folder.path().join("pgbouncer.ini");
        fs::write(&file, configuration)?;
        let child =
            Command::new(binary).arg("--quiet").arg(&file).current_dir("/").stdin(Stdio::null()).spawn()?;
        let mut pgbouncer = Self {
            url: format!("postgresql://{ROLE}@127.0.0.1:{port}/{database}"),
            version,
            child,
            _folder: folder,
        };
        let mut deadline = Deadline::new();
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            if let Some(status) = pgbouncer.child.try_wait()? {
                return Err(format!("PgBouncer ended: {status}").into());
            }
            if !deadline.allows_another() {
                return Err("PgBouncer does not listen".into());
            }
            tokio::task::yield_now().await;
        }
        Ok(Some(pgbouncer))
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        if self.child.kill().is_ok() {
            self.child.wait().map(drop).unwrap_or_default();
        }
    }
}

/// The binary that `PGBOUNCER` names, else the one of the system; with its version.
#[expect(
    clippy::disallowed_methods,
    reason = "a test harness has no configuration to take the place of binaries from"
)]
fn find() -> Option<(PathBuf, (u32, u32))> {
    let named = std::env::var_os("PGBOUNCER").map(PathBuf::from);
    let installed = || {
        let in_debian = PathBuf::from("/usr/sbin/pgbouncer");
        find_program("pgbouncer").or_else(|| in_debian.exists().then_some(in_debian))
    };
    let binary = named.or_else(installed)?;
    let version = version(&binary)?;
    Some((binary, version))
}

/// The first line is `PgBouncer 1.24.1`.
fn version(binary: &Path) -> Option<(u32, u32)> {
    let output = Command::new(binary).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut numbers = text.lines().next()?.strip_prefix("PgBouncer ")?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}
