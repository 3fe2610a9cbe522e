//! A gateway process under test.

use std::{
    fs,
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use reqwest::Client;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A running gateway; killed when dropped.
pub struct Gateway {
    child: Child,
    log: std::path::PathBuf,
    pub url: String,
    pub client: Client,
}

/// A folder that the account of the private server may enter, also when tests run as root.
pub fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
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

    /// Like [`Gateway::start`], with at most so many file descriptors.
    pub async fn start_with_files(folder: &Path, variables: &[(&str, &str)], files_max: u32) -> Self {
        Self::start_limited(folder, variables, &format!("-n {files_max}")).await
    }

    /// Like [`Gateway::start`], with a limit of the shell's `ulimit`.
    pub async fn start_limited(folder: &Path, variables: &[(&str, &str)], limit: &str) -> Self {
        let gateway = command(folder, variables);
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &format!("ulimit {limit} && exec \"$0\"")])
            .arg(gateway.get_program())
            .current_dir(folder)
            .env_clear()
            .envs(gateway.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Self::spawn(folder, shell).await
    }

    async fn spawn(folder: &Path, mut command: Command) -> Self {
        let (file, log) = tempfile::NamedTempFile::new_in(folder).unwrap().keep().unwrap();
        let child =
            command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
        let client = Client::builder().timeout(Duration::from_secs(60)).build().unwrap();
        let mut gateway = Self { child, log, url: String::new(), client };
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

    /// Sends a request as a service.
    pub async fn send(&self, method: &str, path: &str, body: Value) -> Result<(u16, Value), reqwest::Error> {
        let (status, text) = self.send_text(method, path, body).await?;
        let reply = serde_json::from_str(&text).unwrap_or_else(|error| panic!("not JSON ({error}): {text}"));
        Ok((status, reply))
    }

    /// Sends a request as a service, whose answer need not be JSON.
    pub async fn send_text(
        &self,
        method: &str,
        path: &str,
        body: Value,
    ) -> Result<(u16, String), reqwest::Error> {
        let request = self.client.request(method.parse().unwrap(), format!("{}{path}", self.url));
        let request = request.header("X-API-Key", testkit::SERVICE_KEY);
        let request = if body.is_null() { request } else { request.json(&body) };
        let response = request.send().await?;
        let status = response.status().as_u16();
        Ok((status, response.text().await?))
    }

    /// Makes sure that a user exists.
    pub async fn ensure(&self, user: &str) {
        let local: String = user.chars().filter(char::is_ascii_alphanumeric).collect();
        let body = json!({"auth0_id": user, "email": format!("{local}@example.com"), "name": user});
        let (status, reply) = self.send("POST", "/api/v1/users/ensure", body).await.unwrap();
        assert_eq!(status, 200, "{reply}");
    }

    /// Spends credits.
    pub async fn consume(&self, user: &str, amount: u32) -> Result<(u16, Value), reqwest::Error> {
        self.send("POST", &format!("/api/v1/users/{user}/credits/consume"), json!({"amount": amount})).await
    }

    /// The balance of a user.
    pub async fn balance(&self, user: &str) -> f64 {
        let path = format!("/api/v1/users/{user}/credits/balance");
        self.send("GET", &path, Value::Null).await.unwrap().1["data"].as_f64().unwrap()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if self.child.kill().is_ok() {
            self.child.wait().unwrap();
        }
    }
}
