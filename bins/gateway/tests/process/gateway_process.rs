//! A gateway process under test.

use std::{
    borrow::Borrow,
    fs,
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use reqwest::Client;
use tempfile::TempDir;

use crate::prelude::*;

/// A running gateway; killed when dropped.
pub struct Gateway {
    child: Child,
    log: std::path::PathBuf,
    pub url: String,
    client: Client,
    /// Its folder, unless that is of the test.
    folder: Option<TempDir>,
}

/// A folder that the account of the private server may enter, also when tests run as root.
pub fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// A database with the tables of the service.
pub async fn database() -> TestDb {
    TestDb::create(gateway::app::MIGRATIONS, gateway::app::AUDITS).await
}

/// The binary with nothing but what the test says in its environment.
pub fn command(folder: &Path, variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
    command.current_dir(folder).env_clear().env("PATH", testkit::search_path());
    command.envs([("PORT", "0"), ("LOG_FORMAT", "json"), ("USER_SERVICE_API_KEY", testkit::SERVICE_KEY)]);
    command.envs(variables.iter().copied());
    command
}

/// Runs the binary to its end and answers status, standard output and standard error.
pub fn run(command: &mut Command) -> (ExitStatus, String, String) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status, text(output.stdout), text(output.stderr))
}

/// Runs the binary and asserts its exit code and texts of standard error. Returns that.
#[track_caller]
pub fn refused(command: &mut Command, code: i32, texts: &[&str]) -> String {
    let (status, _out, error) = run(command);
    assert_eq!(status.code(), Some(code), "{error}");
    assert!(texts.iter().all(|text| error.contains(text)), "{texts:?} are not in: {error}");
    error
}

/// Process id of the private database of a gateway in `folder`, as its pid file says.
pub fn private_server(folder: &Path) -> Option<String> {
    let text = fs::read_to_string(folder.join("data/postgres/postmaster.pid")).ok()?;
    text.lines().next().map(str::to_owned)
}

impl Gateway {
    /// Starts a gateway in `folder` and waits until it is ready.
    pub async fn start(folder: &Path, variables: &[(&str, &str)]) -> Self {
        Self::spawn(folder, command(folder, variables)).await
    }

    /// Starts a gateway on this database, in a folder of its own.
    pub async fn on(url: &str, variables: &[(&str, &str)]) -> Self {
        let folder = folder();
        let variables = [&[("DATABASE_URL", url)], variables].concat();
        let mut gateway = Self::start(folder.path(), &variables).await;
        gateway.folder = Some(folder);
        gateway
    }

    /// Like [`Gateway::on`], with a limit of the shell's `ulimit`.
    pub async fn limited(url: &str, variables: &[(&str, &str)], limit: &str) -> Self {
        let home = folder();
        let folder = home.path();
        let variables = [&[("DATABASE_URL", url)], variables].concat();
        let gateway = command(folder, &variables);
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &format!("ulimit {limit} && exec \"$0\"")])
            .arg(gateway.get_program())
            .current_dir(folder)
            .env_clear()
            .envs(gateway.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let mut gateway = Self::spawn(folder, shell).await;
        gateway.folder = Some(home);
        gateway
    }

    async fn spawn(folder: &Path, mut command: Command) -> Self {
        let (file, log) = tempfile::NamedTempFile::new_in(folder).unwrap().keep().unwrap();
        let child =
            command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
        let client = Client::builder().timeout(Duration::from_secs(60)).build().unwrap();
        let mut gateway = Self { child, log, url: String::new(), client, folder: None };
        let mut deadline = testkit::Deadline::new();
        while gateway.url.is_empty() {
            let text = gateway.log();
            assert!(deadline.allows_another(), "not ready in time: {text}");
            assert!(gateway.child.try_wait().unwrap().is_none(), "ended instead of serving: {text}");
            if let Some(url) = testkit::listening_url(&text) {
                gateway.url = url.to_owned();
            }
            tokio::task::yield_now().await;
        }
        gateway
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        let mut text = String::new();
        fs::File::open(&self.log).unwrap().read_to_string(&mut text).unwrap();
        text
    }

    /// The last lines of it, without those of ordinary answers.
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let is_odd = |line: &&str| !line.contains("request answered");
        let lines: Vec<&str> = log.lines().filter(is_odd).collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// Sends a signal.
    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for the end.
    pub fn wait(&mut self) -> ExitStatus {
        let mut deadline = testkit::Deadline::new();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(deadline.allows_another(), "did not end: {}", self.log());
            std::thread::yield_now();
        }
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Stops it, which must succeed.
    #[track_caller]
    pub fn stop(&mut self) {
        self.signal("-TERM");
        assert!(self.wait().success(), "{}", self.log());
    }

    /// Begins a request without a credential. A path that does not begin with a slash is below `/api/v1/users/`.
    pub fn request(&self, method: &str, path: &str) -> TestRequest {
        let base = if path.starts_with('/') { "" } else { "/api/v1/users/" };
        TestRequest::new(self.client.request(method.parse().unwrap(), format!("{}{base}{path}", self.url)))
    }

    /// Begins a GET request of a service.
    pub fn get(&self, path: &str) -> TestRequest {
        self.request("GET", path).service()
    }

    /// Begins a POST request of a service.
    pub fn post(&self, path: &str, body: impl Borrow<Value>) -> TestRequest {
        self.request("POST", path).service().json(body)
    }

    /// Makes sure that a user exists.
    pub async fn ensure(&self, user: &str) {
        let local: String = user.chars().filter(char::is_ascii_alphanumeric).collect();
        let body = json!({"auth0_id": user, "email": format!("{local}@example.com"), "name": user});
        self.post("ensure", body).expect(200).await;
    }

    /// Begins to spend credits.
    pub fn consume(&self, user: &str, amount: u32) -> TestRequest {
        self.post(&format!("{user}/credits/consume"), json!({"amount": amount}))
    }

    /// The balance of a user.
    pub async fn balance(&self, user: &str) -> f64 {
        self.get(&format!("{user}/credits/balance")).data().await.as_f64().unwrap()
    }

    /// Its metrics.
    pub async fn metrics(&self) -> String {
        self.get("/metrics").expect(200).await.text
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if self.child.kill().is_ok() {
            self.child.wait().unwrap();
        }
    }
}
