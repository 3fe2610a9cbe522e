//! A private server on a loopback port, with settings, files and rules of access that a test chooses.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Command,
};

use diesel_async::SimpleAsyncConnection as _;
use local_postgres::{Durability, LocalPostgres, Settings};
use pg::{Pool, PoolSettings};
use tempfile::TempDir;

/// A folder for a server that is not started yet, and that its later owner can read.
pub struct Folder {
    dir: TempDir,
    settings: Settings,
    owner: (u32, u32),
}

/// A server on 127.0.0.1.
pub struct Server {
    pub postgres: LocalPostgres,
    pub dir: TempDir,
    pub port: u16,
    settings: Settings,
}

impl Folder {
    /// Makes an empty cluster.
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o755)).tempdir().unwrap();
        let settings = settings(&dir.path().join("data"));
        // The first start makes the cluster, whose owner has to own the key of a certificate.
        let postgres = LocalPostgres::start(&settings).unwrap();
        let found = fs::metadata(postgres.cluster_dir()).unwrap();
        postgres.stop().unwrap();
        Self { dir, settings, owner: (found.uid(), found.gid()) }
    }

    /// A place for a file.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// An empty cluster for a test that runs `openssl`; nothing, and the test is skipped, on a machine without it.
    pub fn with_openssl() -> Option<Self> {
        if testkit::find_program("openssl").is_none() {
            testkit::skip_without("openssl");
            return None;
        }
        Some(Self::new())
    }

    /// Runs `openssl` in the folder.
    pub fn openssl(&self, arguments: &str) {
        let run =
            Command::new("openssl").args(arguments.split(' ')).current_dir(self.dir.path()).output().unwrap();
        assert!(run.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&run.stderr));
    }

    /// Starts the server with these settings.
    pub fn start(mut self, chosen: &[(&str, &str)]) -> Server {
        let port = free_port();
        let port_text = port.to_string();
        let always = [("listen_addresses", "127.0.0.1"), ("port", port_text.as_str())];
        for (name, value) in always.iter().chain(chosen) {
            let setting = ((*name).to_owned(), (*value).to_owned());
            self.settings.server_settings.push(setting);
        }
        Server {
            postgres: LocalPostgres::start(&self.settings).unwrap(),
            dir: self.dir,
            port,
            settings: self.settings,
        }
    }

    /// Starts the server with TLS, with this certificate and key.
    pub fn start_with_tls(self, certificate: &str, key: &str, chosen: &[(&str, &str)]) -> Server {
        let (certificate, key) = (self.path(certificate), self.path(key));
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        chown(&key, Some(self.owner.0), Some(self.owner.1)).unwrap();
        fs::set_permissions(&certificate, fs::Permissions::from_mode(0o644)).unwrap();
        let tls = [
            ("ssl", "on"),
            ("ssl_cert_file", certificate.to_str().unwrap()),
            ("ssl_key_file", key.to_str().unwrap()),
        ];
        self.start(&[&tls, chosen].concat())
    }

    /// Replaces the rules of access.
    pub fn rules(&self, rules: &str) {
        let path = self.path("data/postgres/pg_hba.conf");
        assert!(path.exists(), "{}", path.display());
        fs::write(path, format!("local all all trust\n{rules}\n")).unwrap();
    }
}

impl Server {
    /// The address of the server's database for `host`, a name of this machine.
    pub fn url(&self, host: &str, parameters: &str) -> String {
        format!("postgresql://app@{host}:{}/app?{parameters}", self.port)
    }

    /// Where the superuser finds the database: by its socket, whose name has the port.
    pub fn superuser_url(&self) -> String {
        format!("{}?port={}", self.postgres.superuser_url("app"), self.port)
    }

    pub async fn run_as_superuser(&self, sql: &str) {
        let pool = Pool::new(&PoolSettings::new(self.superuser_url())).unwrap();
        pool.get().await.unwrap().batch_execute(sql).await.unwrap();
    }

    /// URL of the database for the role of the service, by the socket.
    pub fn role_url(&self) -> String {
        format!("{}?port={}", self.postgres.url(), self.port)
    }

    /// Ends it without a checkpoint or a last write, as an immediate shutdown or a crash of the process does, and starts it again.
    pub fn crash_and_restart(self) -> Self {
        let pid = self.postgres.pid().to_string();
        let ended = self.postgres.exit_watch();
        let told = Command::new("kill").args(["-QUIT", &pid]).status().unwrap();
        assert!(told.success());
        ended.wait();
        drop(self.postgres);
        Self { postgres: LocalPostgres::start(&self.settings).unwrap(), ..self }
    }

    /// The folder of the socket, percent-encoded and as it is.
    pub fn socket_folder(&self) -> (String, String) {
        let url = self.postgres.url();
        let (_, rest) = url.split_once('@').unwrap();
        let (encoded, _) = rest.split_once('/').unwrap();
        let folder = percent_encoding::percent_decode_str(encoded);
        (encoded.to_owned(), folder.decode_utf8().unwrap().into_owned())
    }

    /// A parameter whose value is a file in the folder.
    pub fn file(&self, parameter: &str, name: &str) -> String {
        format!("{parameter}={}", self.dir.path().join(name).display())
    }
}

#[expect(clippy::disallowed_methods, reason = "tests have no configuration to take the search path from")]
fn settings(data_dir: &Path) -> Settings {
    Settings {
        path: std::env::var_os("PATH"),
        bin_dir: std::env::var_os("PG_BIN_DIR").map(Into::into),
        durability: Durability::Disposable,
        max_connections: 20,
        ..Settings::new(data_dir)
    }
}

pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
