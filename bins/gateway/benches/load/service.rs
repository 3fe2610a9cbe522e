//! The server, the gateway process and its users.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    process::{Child, Command, Stdio},
};

use kernel::{Clock as _, SystemClock};
use local_postgres::{LocalPostgres, Settings};
use secrecy::SecretString;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    Options,
    client::{Connection, request},
    cpu::Cpu,
    scenario::{MILLION_ENTRIES, THOUSAND_GRANTS},
};

const SECRET: &str = "the secret of benchmarks signs nothing else";
/// Token of services.
pub const KEY: &str = "usk_bench_b70c4e19d2f85a6371ce08f4a95db263";

/// A running service with users that have credits and a session each.
pub struct Service {
    pub address: SocketAddr,
    pub users: Vec<User>,
    pub server: LocalPostgres,
    pub bin_dir: std::path::PathBuf,
    gateway: Child,
    postmaster: u32,
    folder: TempDir,
}

/// One user of the load.
pub struct User {
    /// Its place among the users, and how many there are.
    pub number: usize,
    pub of: usize,
    pub path: String,
    pub token: String,
    pub session: String,
}

impl Service {
    /// Starts everything; the database is durable, as in production.
    pub async fn start(options: &Options) -> Self {
        Self::start_with(options, &[]).await
    }

    /// The same with further environment variables.
    pub async fn start_with(options: &Options, variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let mut settings = Settings::new(folder.path().join("data"));
        settings.path = Some(testkit::search_path().into());
        let bin_dir = local_postgres::find_binaries(None, settings.path.as_deref()).unwrap().dir().to_owned();
        if options.statements {
            let preload = ("shared_preload_libraries".to_owned(), "pg_stat_statements".to_owned());
            settings.server_settings.push(preload);
        }
        let server = LocalPostgres::start(&settings).unwrap();
        let log = fs::File::create(folder.path().join("gateway.log")).unwrap();
        let gateway = Command::new(env!("CARGO_BIN_EXE_gateway"))
            .current_dir(folder.path())
            .env_clear()
            .envs([("DATABASE_URL", server.url().as_str()), ("PORT", "0"), ("LOG_FORMAT", "json")])
            .envs([("SUPABASE_JWT_SECRET", SECRET), ("USER_SERVICE_API_KEY", KEY)])
            .env("INITIAL_CREDITS", "100000000")
            // Requests are counted, and none is refused.
            .envs([("RATE_LIMIT_USER", "1000000"), ("RATE_LIMIT_USER_BURST", "1000000")])
            .envs([("RATE_LIMIT_ANONYMOUS", "1000000"), ("RATE_LIMIT_ANONYMOUS_BURST", "1000000")])
            .env("RATE_LIMIT_LOGIN", "1000000")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let address = ready(&folder.path().join("gateway.log"));
        let mut service =
            Self { address, users: Vec::new(), server, bin_dir, gateway, postmaster: 0, folder };
        let pid = service.query("SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)");
        service.postmaster = pid.trim().parse().unwrap();
        service.sign_up(options.accounts).await;
        if options.statements {
            service.sql("CREATE EXTENSION pg_stat_statements; SELECT pg_stat_statements_reset()");
        }
        service
    }

    async fn sign_up(&mut self, accounts: usize) {
        let secret = SecretString::from(SECRET);
        let mut connection = Connection::open(self.address).await;
        for number in 0..accounts {
            let id = format!("load|{number}");
            let email = format!("load{number}@example.com");
            let token = identity::dev_token(&secret, &id.parse().unwrap(), &email, SystemClock.now());
            let body = json!({"email": email, "name": id}).to_string();
            let (status, _) =
                connection.send(request("POST", "/api/v1/users/ensure", &token, &body).bytes()).await;
            assert_eq!(status, 200);
            let path = format!("/api/v1/users/load%7C{number}");
            let create = request("POST", &format!("{path}/sessions"), &token, "");
            let (_, created) = connection.send(create.bytes()).await;
            let created: Value = serde_json::from_slice(created).unwrap();
            let session = created["session_id"].as_str().unwrap().to_owned();
            self.users.push(User { number, of: accounts, path, token, session });
        }
    }

    /// Gives one account a history of a million charges, and another a thousand grants that burn before its first.
    pub async fn age_accounts(&mut self) {
        eprintln!("a million entries, a thousand grants");
        let user = format!("load|{MILLION_ENTRIES}");
        for sql in [
            "INSERT INTO credits.entries (user_id, seq, transaction_id, type, amount, balance_before, balance_after, \
               held_after, grant_id, description, metadata, actor, created_at, booked_at) \
             SELECT a.user_id, a.entry_seq + n, gen_random_uuid(), 'consume', 1, a.posted - n + 1, a.posted - n, 0, 1, 'load', \
               '{\"reason\": \"load\"}', 'user', a.as_of, a.as_of \
             FROM credits.accounts a, generate_series(1, 1000000) n WHERE a.user_id = $user",
            "UPDATE credits.accounts SET posted = posted - 1000000, head_remaining = head_remaining - 1000000, entry_seq = entry_seq + 1000000 WHERE user_id = $user",
        ] {
            self.sql(&sql.replace("$user", &format!("'{user}'")));
        }
        let mut connection = Connection::open(self.address).await;
        let path = format!("{}/credits/grants", self.users[THOUSAND_GRANTS].path);
        for _ in 0..1_000 {
            let grant = request("POST", &path, KEY, r#"{"amount":1000,"kind":"promo","priority":50}"#);
            let (status, body) = connection.send(grant.bytes()).await;
            assert_eq!(status, 200, "{}", String::from_utf8_lossy(body));
        }
        self.settle();
    }

    /// The folder of this measurement.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Memory of the gateway process in RAM.
    pub fn resident_kib(&self) -> u64 {
        self.status_kib("VmRSS:")
    }

    /// The most it was since the start, or since it was last forgotten.
    pub fn highest_resident_kib(&self) -> u64 {
        self.status_kib("VmHWM:")
    }

    /// Begins to look for the highest again.
    pub fn forget_highest_resident(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.gateway.id()), "5").unwrap();
    }

    fn status_kib(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.gateway.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or("0 kB");
        line.trim().trim_end_matches(" kB").trim().parse().unwrap_or(0)
    }

    /// Lets the server tidy up between rounds, so that no round pays for the one before.
    pub fn settle(&mut self) {
        self.sql("VACUUM ANALYZE");
        self.sql("CHECKPOINT");
    }

    /// Runs SQL as the superuser.
    pub fn sql(&self, sql: &str) {
        let status = self.psql(&["-c", sql]).status().unwrap();
        assert!(status.success(), "{sql}");
    }

    /// What a query answers, as plain text.
    pub fn query(&self, sql: &str) -> String {
        let output = self.psql(&["-A", "-t", "-c", sql]).output().unwrap();
        assert!(output.status.success(), "{sql}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// `psql` as the superuser.
    pub fn psql(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.bin_dir.join("psql"));
        command.args(["-q", "-X", &self.server.superuser_url("app")]).args(arguments);
        command
    }

    /// Costs of the statements that took most of the server's time.
    pub fn print_statements(&self) {
        self.sql(
            "SELECT calls, round(total_exec_time) AS total_ms, round(mean_exec_time::numeric * 1000) AS mean_us, \
             round(rows::numeric / calls, 1) AS rows, left(regexp_replace(query, '\\s+', ' ', 'g'), 90) AS query \
             FROM pg_stat_statements WHERE calls > 10 ORDER BY total_exec_time DESC LIMIT 25",
        );
    }

    /// Processor time used so far by the gateway, by the database server with all its processes, and by this process.
    pub fn cpu(&self) -> Cpu {
        Cpu::new(self.gateway.id(), self.postmaster)
    }

    pub fn stop(mut self) {
        self.gateway.kill().unwrap();
        self.gateway.wait().unwrap();
        self.server.stop().unwrap();
    }
}

fn ready(log: &std::path::Path) -> SocketAddr {
    let mut deadline = testkit::Deadline::new();
    loop {
        let text = fs::read_to_string(log).unwrap_or_default();
        if let Some(url) = testkit::listening_url(&text) {
            return url.trim_start_matches("http://").parse().unwrap();
        }
        assert!(deadline.allows_another(), "{text}");
        std::thread::yield_now();
    }
}
