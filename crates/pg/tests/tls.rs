//! Servers behind TLS with certificates as `openssl` makes them, and as people have them.

use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

use diesel_async::SimpleAsyncConnection as _;
use pg::{DbError, PgConnection, Pool, PoolSettings, pool::chain};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::{
    server::{Folder, Server},
    support::{ask_pool, wait_until},
};

/// Modes that verify the host's name; the last one is that of a URL without `sslmode`.
const BY_NAME: [&str; 3] = ["sslmode=require&", "sslmode=verify-full&", ""];

/// Makes a self-signed certificate as the manual of PostgreSQL does: that of an authority, without alternative names.
fn self_signed(folder: &Folder, name: &str, common_name: &str) {
    let subject = format!("/CN={common_name}");
    let (certificate, key) = (format!("{name}.crt"), format!("{name}.key"));
    folder
        .openssl(&format!("req -new -x509 -days 2 -nodes -out {certificate} -keyout {key} -subj {subject}"));
}

/// Makes a certificate that `authority` signs; with an extension file it is of version 3, and else of version 1.
fn signed(folder: &Folder, authority: &str, name: &str, common_name: &str, extensions: Option<&str>) {
    let subject = format!("/CN={common_name}");
    let of = |kind: &str| format!("{name}.{kind}");
    let (certificate, key, request) = (of("crt"), of("key"), of("csr"));
    folder.openssl(&format!(
        "req -new -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -out {request} -keyout {key} -subj {subject}"
    ));
    let mut sign = format!(
        "x509 -req -days 2 -in {request} -out {certificate} -CA {authority}.crt -CAkey {authority}.key -CAcreateserial"
    );
    let path = of("ext");
    if let Some(extensions) = extensions {
        fs::write(folder.path(&path), extensions).unwrap();
        sign.push_str(&format!(" -extfile {path}"));
    }
    folder.openssl(&sign);
}

#[tokio::test]
async fn a_self_signed_certificate_is_believed_when_it_is_the_named_root() {
    let Some(folder) = Folder::with_openssl() else { return };
    self_signed(&folder, "server", "localhost");
    self_signed(&folder, "stranger", "localhost");
    let server = folder.start_with_tls("server.crt", "server.key", &[]);
    let root = server.file("sslrootcert", "server.crt");
    for mode in BY_NAME {
        encrypted(&server.url("localhost", &format!("{mode}{root}"))).await;
    }
    encrypted(&server.url("127.0.0.1", &format!("sslmode=verify-ca&{root}"))).await;
    encrypted(&server.url("localhost", "sslmode=prefer")).await;
    let oldest = "ssl_max_protocol_version=TLSv1.2";
    encrypted(&server.url("localhost", &format!("{root}&{oldest}"))).await;
    assert_eq!(encryption(&server.url("localhost", "sslmode=disable")).await, 0);

    let stranger = server.file("sslrootcert", "stranger.crt");
    for mode in ["sslmode=verify-ca&", "sslmode=prefer&"].iter().chain(&BY_NAME[..2]) {
        let url = server.url("localhost", &format!("{mode}{stranger}"));
        if *mode == "sslmode=prefer&" {
            // As libpq does it: encryption that cannot be verified is done without.
            assert_eq!(encryption(&url).await, 0);
        } else {
            refused(&url, "invalid peer certificate").await;
        }
    }
    refused(&server.url("localhost", "sslmode=require"), "invalid peer certificate").await;
    refused(&server.url("localhost", "sslrootcert=system"), "invalid peer certificate").await;
    refused(&server.url("127.0.0.1", &format!("sslmode=verify-full&{root}")), "not valid for name").await;
}

#[tokio::test]
async fn a_certificate_of_version_1_is_believed_by_its_signature_and_common_name() {
    let Some(folder) = Folder::with_openssl() else { return };
    self_signed(&folder, "authority", "authority");
    self_signed(&folder, "stranger", "authority");
    signed(&folder, "authority", "server", "localhost", None);
    let server = folder.start_with_tls("server.crt", "server.key", &[]);
    let root = server.file("sslrootcert", "authority.crt");
    for mode in BY_NAME {
        encrypted(&server.url("localhost", &format!("{mode}{root}"))).await;
        encrypted(&server.url("localhost", &format!("{mode}{root}&ssl_max_protocol_version=TLSv1.2"))).await;
    }
    encrypted(&server.url("127.0.0.1", &format!("sslmode=verify-ca&{root}"))).await;
    // It did not sign itself.
    refused(
        &server.url("localhost", &server.file("sslmode=verify-ca&sslrootcert", "server.crt")),
        "invalid peer certificate",
    )
    .await;

    // Another authority of the same name.
    let stranger = server.file("sslrootcert", "stranger.crt");
    for mode in ["verify-ca", "verify-full"] {
        let url = server.url("localhost", &format!("sslmode={mode}&{stranger}"));
        refused(&url, "invalid peer certificate").await;
    }
    refused(&server.url("127.0.0.1", &format!("sslmode=verify-full&{root}")), "not valid for name").await;
}

#[tokio::test]
async fn roots_are_authorities_in_their_time() {
    let Some(folder) = Folder::with_openssl() else { return };
    self_signed(&folder, "authority", "authority");
    signed(&folder, "authority", "server", "localhost", Some("subjectAltName = DNS:localhost"));
    // Other certificates of the authority, with its name and key.
    folder.openssl("x509 -x509toreq -in authority.crt -signkey authority.key -out authority.csr");
    for (name, days, extensions) in
        [("old", "-1", "basicConstraints = CA:TRUE"), ("leaf", "2", "basicConstraints = CA:FALSE")]
    {
        fs::write(folder.path("extensions"), extensions).unwrap();
        let sign =
            format!("x509 -req -in authority.csr -signkey authority.key -days {days} -extfile extensions");
        folder.openssl(&format!("{sign} -out {name}.crt"));
    }
    let server = folder.start_with_tls("server.crt", "server.key", &[]);
    encrypted(&server.url("localhost", &server.file("sslrootcert", "authority.crt"))).await;
    for (name, reason) in [("old.crt", "Expired"), ("leaf.crt", "UnknownIssuer")] {
        let root = server.file("sslrootcert", name);
        for mode in ["verify-ca", "verify-full"] {
            refused(&server.url("localhost", &format!("sslmode={mode}&{root}")), reason).await;
        }
    }

    // What was renewed is used without a new start.
    let pool = pool(&server.url("localhost", &server.file("sslrootcert", "old.crt")));
    assert!(pool.get().await.is_err());
    fs::copy(server.dir.path().join("authority.crt"), server.dir.path().join("old.crt")).unwrap();
    assert_eq!(ask_pool(&pool, "1").await, 1);
}

#[tokio::test]
async fn a_statement_is_cancelled_the_way_its_connection_was_made() {
    let Some(folder) = Folder::with_openssl() else { return };
    self_signed(&folder, "server", "localhost");
    self_signed(&folder, "stranger", "localhost");
    let server = folder.start_with_tls("server.crt", "server.key", &[]);
    let superuser = pool(&server.superuser_url());
    for (root, expected) in [("server.crt", 1), ("stranger.crt", 0)] {
        for mode in ["prefer", "allow"] {
            let root = server.file("sslrootcert", root);
            let url = server.url("localhost", &format!("sslmode={mode}&{root}"));
            assert_eq!(encryption(&url).await, expected);
            // Without a limit that would end the statement too.
            let pool =
                Pool::new(&PoolSettings { statement_timeout: Duration::ZERO, ..PoolSettings::new(&url) })
                    .unwrap();
            let reading = tokio::spawn(async move {
                let sleep = async |conn: &mut PgConnection| {
                    Ok::<_, DbError>(conn.batch_execute("SELECT pg_sleep(600)").await?)
                };
                pool.read(sleep).await
            });
            let sleeps = "EXISTS (SELECT FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)' AND state = 'active')";
            wait_until(&superuser, sleeps).await;
            reading.abort();
            wait_until(&superuser, &format!("NOT {sleeps}")).await;
        }
    }
}

#[tokio::test]
async fn alternative_names_count_instead_of_the_common_name() {
    let Some(folder) = Folder::with_openssl() else { return };
    folder.rules("host all all 127.0.0.1/32 scram-sha-256");
    self_signed(&folder, "authority", "authority");
    let names = "subjectAltName = DNS:db.example.com, DNS:*.pool.example.com";
    signed(&folder, "authority", "server", "localhost", Some(names));
    let server = folder.start_with_tls("server.crt", "server.key", &[]);
    server.run_as_superuser("ALTER ROLE app PASSWORD 'app'").await;
    let root = server.file("password=app&sslrootcert", "authority.crt");

    for name in ["db.example.com", "DB.example.com", "a.pool.example.com"] {
        encrypted(&server.url(name, &format!("{root}&hostaddr=127.0.0.1"))).await;
    }
    encrypted(&server.url("localhost", &format!("sslmode=verify-ca&{root}&channel_binding=require"))).await;
    for (host, parameters) in [
        ("localhost", "sslmode=verify-full"),
        ("localhost", "sslmode=require"),
        ("pool.example.com", "hostaddr=127.0.0.1"),
        ("a.b.pool.example.com", "hostaddr=127.0.0.1"),
        ("127.0.0.1", "sslmode=verify-full"),
    ] {
        refused(&server.url(host, &format!("{root}&{parameters}")), "not valid for name").await;
    }
}

/// A server that wants a certificate of the role from everyone, and keys that may and may not be used.
fn server_for_certificates() -> Option<Server> {
    let folder = Folder::with_openssl()?;
    folder.rules("hostssl all all 127.0.0.1/32 cert");
    self_signed(&folder, "authority", "authority");
    let name = "subjectAltName = DNS:localhost";
    signed(&folder, "authority", "server", "localhost", Some(name));
    signed(&folder, "authority", "client", "app", None);
    signed(&folder, "authority", "other", "other", Some("basicConstraints = CA:FALSE"));
    folder.openssl("pkey -in client.key -aes256 -passout pass:x -out locked.key");
    fs::copy(folder.path("client.key"), folder.path("open.key")).unwrap();
    // The authority's certificate has to be readable by the server's account.
    for (name, mode) in
        [("client.key", 0o600), ("locked.key", 0o600), ("open.key", 0o644), ("authority.crt", 0o644)]
    {
        fs::set_permissions(folder.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    let authority = folder.path("authority.crt");
    let authority = [("ssl_ca_file", authority.to_str().unwrap())];
    Some(folder.start_with_tls("server.crt", "server.key", &authority))
}

#[tokio::test]
async fn a_client_shows_its_certificate() {
    let Some(server) = server_for_certificates() else { return };
    let root = server.file("sslrootcert", "authority.crt");
    let with = |certificate: &str, key: &str| {
        let own = [server.file("sslcert", certificate), server.file("sslkey", key)];
        server.url("localhost", &format!("{root}&{}", own.join("&")))
    };

    encrypted(&with("client.crt", "client.key")).await;
    refused(&server.url("localhost", &root), "client certificate").await;
    refused(&with("other.crt", "other.key"), "certificate authentication failed").await;
    for (certificate, key, reason) in [
        ("client.crt", "open.key", "open.key cannot be used: others may read it"),
        ("client.crt", "locked.key", "locked.key cannot be used: it holds no private key without a password"),
        ("client.crt", "missing.key", "missing.key cannot be used"),
        ("client.crt", "other.key", "client.crt cannot be used"),
        ("missing.crt", "client.key", "missing.crt cannot be used"),
    ] {
        unusable(&with(certificate, key), reason);
    }
}

#[tokio::test]
async fn a_server_without_tls_is_told_apart() {
    let server = Folder::new().start(&[]);
    assert_eq!(encryption(&server.url("localhost", "sslmode=prefer")).await, 0);
    refused(&server.url("localhost", "sslmode=require"), "the server does not offer TLS").await;
    // A unix socket is never encrypted, whatever is asked for.
    let (encoded, _) = server.socket_folder();
    let url = format!("postgresql://app@{encoded}:{}/app?sslmode=verify-full", server.port);
    assert_eq!(ask_pool(&pool(&url), "1").await, 1);
}

#[tokio::test]
async fn a_server_that_does_not_know_tls_is_asked_anew_in_plain_text() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let pool = pool(&format!("postgresql://app@{address}/app?sslmode=prefer"));
    let serve = async {
        let (mut asked, _) = listener.accept().await.unwrap();
        let mut request = [0; 8];
        asked.read_exact(&mut request).await.unwrap();
        asked.write_all(b"E").await.unwrap();
        let (mut plain, _) = listener.accept().await.unwrap();
        let mut startup = [0; 8];
        plain.read_exact(&mut startup).await.unwrap();
        (request, startup)
    };
    let both = async { tokio::join!(pool.get(), serve) };
    let patience = Duration::from_secs(60);
    let (_, (request, startup)) = tokio::time::timeout(patience, both).await.unwrap();
    assert_eq!(request, [0, 0, 0, 8, 4, 210, 22, 47]);
    assert_eq!(startup[4..], [0, 3, 0, 0]);
}

#[tokio::test]
async fn root_certificate_that_cannot_be_read_is_refused_before_connecting() {
    let dir = tempfile::tempdir().unwrap();
    let not_a_certificate = dir.path().join("empty.crt");
    fs::write(&not_a_certificate, "nothing").unwrap();
    for path in [dir.path().join("missing.crt"), not_a_certificate] {
        let url = format!("postgresql://app@db.example.com/app?sslrootcert={}", path.display());
        unusable(&url, "sslrootcert");
    }
}

fn pool(url: &str) -> Pool {
    Pool::new(&PoolSettings::new(url)).unwrap_or_else(|error| panic!("{url}: {}", chain(&error)))
}

/// Whether the server says that the session is encrypted: 1 or 0.
async fn encryption(url: &str) -> i64 {
    let pool = pool(url);
    if let Err(error) = pool.get().await {
        panic!("{url}: {}", chain(&error));
    }
    ask_pool(&pool, "SELECT ssl::int FROM pg_stat_ssl WHERE pid = pg_backend_pid()").await
}

async fn encrypted(url: &str) {
    assert_eq!(encryption(url).await, 1, "{url}");
}

async fn refused(url: &str, reason: &str) {
    let error = pool(url).get().await.err().unwrap_or_else(|| panic!("{url} is accepted"));
    assert!(matches!(error, DbError::Connect(_)), "{error:?}");
    assert!(chain(&error).contains(reason), "{url}: {}", chain(&error));
}

fn unusable(url: &str, reason: &str) {
    let error = Pool::new(&PoolSettings::new(url)).unwrap_err();
    assert!(chain(&error).contains(reason), "{url}: {}", chain(&error));
}
