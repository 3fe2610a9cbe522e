//! A server behind TLS with a certificate of its own authority, as hosted databases have it.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
};

use local_postgres::{Durability, LocalPostgres, Settings};
use pg::{DbError, Pool, PoolSettings, pool::chain};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

use crate::support::ask_pool;

/// A private server that listens on the loopback address and offers TLS.
struct TlsServer {
    _postgres: LocalPostgres,
    _dir: TempDir,
    port: u16,
    authority: PathBuf,
    stranger: PathBuf,
}

impl TlsServer {
    /// The server's certificate is for the name `localhost` only.
    fn start() -> Self {
        let dir = tempfile::Builder::new()
            .permissions(fs::Permissions::from_mode(0o755))
            .tempdir()
            .unwrap();
        let mut settings = settings(&dir.path().join("data"));
        // The first start makes the cluster, whose owner has to own the key.
        let owner = {
            let postgres = LocalPostgres::start(&settings).unwrap();
            let found = fs::metadata(postgres.cluster_dir()).unwrap();
            postgres.stop().unwrap();
            (found.uid(), found.gid())
        };
        let authority = authority("authority");
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["localhost".to_owned()])
            .unwrap()
            .signed_by(&key, &authority)
            .unwrap();
        let place = |name: &str, content: &str| {
            let path = dir.path().join(name);
            fs::write(&path, content).unwrap();
            path
        };
        let (certificate, key) = (
            place("server.crt", &certificate.pem()),
            place("server.key", &key.serialize_pem()),
        );
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        chown(&key, Some(owner.0), Some(owner.1)).unwrap();
        let port = free_port();
        for (name, value) in [
            ("listen_addresses", "127.0.0.1"),
            ("port", &port.to_string()),
            ("ssl", "on"),
            ("ssl_cert_file", certificate.to_str().unwrap()),
            ("ssl_key_file", key.to_str().unwrap()),
        ] {
            settings.server_settings.push((name.to_owned(), value.to_owned()));
        }
        Self {
            _postgres: LocalPostgres::start(&settings).unwrap(),
            port,
            authority: place("authority.crt", &authority.pem()),
            stranger: place("stranger.crt", &self::authority("stranger").pem()),
            _dir: dir,
        }
    }

    fn url(&self, host: &str, options: &str) -> String {
        format!("postgresql://app@{host}:{}/app?{options}", self.port)
    }
}

#[tokio::test]
async fn server_is_verified_against_the_given_authority_and_its_name() {
    let server = TlsServer::start();
    let authority = format!("sslrootcert={}", server.authority.display());
    let stranger = format!("sslrootcert={}", server.stranger.display());

    for mode in ["require", "verify-ca", "verify-full"] {
        let url = server.url("localhost", &format!("sslmode={mode}&{authority}"));
        assert_eq!(encrypted(&url).await, 1, "{mode}");
    }
    assert_eq!(encrypted(&server.url("localhost", "sslmode=disable")).await, 0);

    let unknown_to_the_system = server.url("localhost", "sslmode=require");
    refused(&unknown_to_the_system, "UnknownIssuer").await;
    let another_authority = server.url("localhost", &format!("sslmode=verify-full&{stranger}"));
    refused(&another_authority, "UnknownIssuer").await;
    let another_name = server.url("127.0.0.1", &format!("sslmode=require&{authority}"));
    refused(&another_name, "not valid for name").await;
}

#[tokio::test]
async fn root_certificate_that_cannot_be_read_is_refused_before_connecting() {
    let dir = tempfile::tempdir().unwrap();
    let not_a_certificate = dir.path().join("empty.crt");
    fs::write(&not_a_certificate, "nothing").unwrap();
    for path in [dir.path().join("missing.crt"), not_a_certificate] {
        let url = format!(
            "postgresql://app@db.example.com/app?sslrootcert={}",
            path.display()
        );
        let error = Pool::new(&PoolSettings::new(url)).unwrap_err();
        assert!(chain(&error).contains("sslrootcert"), "{}", chain(&error));
    }
}

/// Whether the server says that the session is encrypted: 1 or 0.
async fn encrypted(url: &str) -> i64 {
    let pool = Pool::new(&PoolSettings::new(url)).unwrap();
    ask_pool(
        &pool,
        "SELECT ssl::int FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
    )
    .await
}

async fn refused(url: &str, reason: &str) {
    let pool = Pool::new(&PoolSettings::new(url)).unwrap();
    let error = pool.get().await.err().unwrap();
    assert!(matches!(error, DbError::Connect(_)), "{error:?}");
    assert!(chain(&error).contains(reason), "{}", chain(&error));
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests have no configuration to take the search path from"
)]
fn settings(data_dir: &Path) -> Settings {
    Settings {
        path: std::env::var_os("PATH"),
        bin_dir: std::env::var_os("PG_BIN_DIR").map(Into::into),
        durability: Durability::Disposable,
        max_connections: 20,
        ..Settings::new(data_dir)
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
