//! The whole service in this process: the real application on a real socket, over a database of its own.

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    sync::{Arc, mpsc},
    thread,
};

use gateway::{app::App, config::Config, connections::Connections, http, telemetry::Metrics};
use kernel::{Clock, ManualClock};
use reqwest::{Client, Method};
use secrecy::SecretString;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{SERVICE_KEY, TestDb, TestRequest, TestUser, clock, ids, user};

/// Secret that signs the tokens of tests.
pub const TOKEN_SECRET: &str = "the secret of tests signs nothing else";

/// A running service. Dropped, it stops, its books are audited and its database is removed.
pub struct TestApp {
    address: SocketAddr,
    clock: ManualClock,
    client: Client,
    app: Arc<App>,
    // In this order: the service stops before its database and its files go.
    running: Option<Running>,
    db: TestDb,
    data_dir: TempDir,
}

struct Running {
    runtime: tokio::runtime::Runtime,
    server: actix_web::dev::ServerHandle,
}

impl TestApp {
    /// A service in the development environment, with 1000 initial credits and the clock of [`crate::clock`].
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// A service with further or other environment variables.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn start_with(variables: &[(&str, &str)]) -> Self {
        let db = TestDb::create(gateway::app::MIGRATIONS, gateway::app::AUDITS).await;
        let data_dir = tempfile::tempdir().unwrap_or_else(|error| panic!("no folder: {error}"));
        let config = config(variables, data_dir.path());
        let clock = clock();
        let url = db.url().to_owned();
        let its_clock: Arc<dyn Clock> = Arc::new(clock.clone());
        // A thread of its own: a runtime can be neither made nor dropped inside that of the test.
        let (started, wait) = mpsc::channel();
        thread::spawn(move || {
            let sent = started.send(start(config, &url, its_clock));
            assert!(sent.is_ok(), "the test did not wait for its service");
        });
        let (running, app, address) = wait.recv().unwrap_or_else(|_| panic!("the service did not start"));
        let client = Client::builder()
            .timeout(std::time::Duration::from_secs(30))
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap_or_else(|error| panic!("no HTTP client: {error}"));
        Self { address, clock, client, app, running: Some(running), db, data_dir }
    }

    /// A service with further or other environment variables, and the user `auth0|a`.
    pub async fn with_user(variables: &[(&str, &str)]) -> (Self, TestUser) {
        let app = Self::start_with(variables).await;
        let user = app.user("auth0|a").await;
        (app, user)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The clock it goes by.
    #[must_use]
    pub fn clock(&self) -> &ManualClock {
        &self.clock
    }

    /// Its database.
    #[must_use]
    pub fn db(&self) -> &TestDb {
        &self.db
    }

    /// The folder of its data.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        self.data_dir.path()
    }

    /// Its inside.
    #[must_use]
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// A token of this user, valid for an hour of the clock.
    #[must_use]
    pub fn token(&self, user_id: &str) -> String {
        let secret = SecretString::from(TOKEN_SECRET);
        identity::dev_token(&secret, &user(user_id), "someone@example.com", self.clock.now())
    }

    /// Makes sure that this user exists; his e-mail address follows from his id.
    ///
    /// # Panics
    /// When the service refuses.
    pub async fn user(&self, user_id: &str) -> TestUser {
        let token = self.token(user_id);
        let local: String = user_id.chars().filter(char::is_ascii_alphanumeric).collect();
        let body = json!({"email": format!("{local}@example.com"), "name": user_id});
        self.post("/api/v1/users/ensure").token(&token).json(body).expect(200).await;
        TestUser { id: user(user_id), token }
    }

    /// Begins a GET request.
    pub fn get(&self, path: &str) -> TestRequest {
        self.request(Method::GET, path)
    }

    /// Begins a POST request.
    pub fn post(&self, path: &str) -> TestRequest {
        self.request(Method::POST, path)
    }

    /// Begins a PUT request.
    pub fn put(&self, path: &str) -> TestRequest {
        self.request(Method::PUT, path)
    }

    /// Begins a DELETE request.
    pub fn delete(&self, path: &str) -> TestRequest {
        self.request(Method::DELETE, path)
    }

    /// Begins a request of any method. A path that does not begin with a slash is below that of the user `auth0|a`.
    pub fn request(&self, method: Method, path: &str) -> TestRequest {
        let base = if path.starts_with('/') { "" } else { "/api/v1/users/auth0%7Ca/" };
        TestRequest::new(self.client.request(method, format!("http://{}{base}{path}", self.address)))
    }

    /// The path and query of a link to this service.
    ///
    /// # Panics
    /// When it leads elsewhere.
    #[must_use]
    pub fn path_of<'a>(&self, link: &'a str) -> &'a str {
        let (_, place) = link.split_once("://").unwrap_or_else(|| panic!("no link: {link}"));
        place.find('/').map_or("/", |at| &place[at..])
    }

    /// Credits of the user `auth0|a`.
    ///
    /// # Panics
    /// When there is no such user.
    #[track_caller]
    pub fn balance(&self) -> impl Future<Output = Value> {
        self.get("credits/balance").service().data()
    }

    /// Reads the pages of a list as this user. The path has a query, which each cursor is added to.
    ///
    /// # Panics
    /// When a page is refused.
    pub async fn pages(&self, path: &str, user: &TestUser) -> Vec<Vec<Value>> {
        let (mut pages, mut next) = (Vec::new(), path.to_owned());
        loop {
            let reply = self.get(&next).by(user).expect(200).await;
            pages.push(reply.rows());
            match reply.header("x-next-cursor") {
                "" => return pages,
                cursor => next = format!("{path}&cursor={cursor}"),
            }
        }
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        let Some(Running { runtime, server }) = self.running.take() else {
            return;
        };
        let app = Arc::clone(&self.app);
        let stopped = thread::spawn(move || {
            runtime.block_on(async move {
                server.stop(false).await;
                app.shut_down().await;
                app.disconnect();
            });
        })
        .join();
        assert!(stopped.is_ok() || thread::panicking(), "the service did not stop");
    }
}

fn config(variables: &[(&str, &str)], data_dir: &Path) -> Config {
    let data_dir = data_dir.to_string_lossy();
    let ours = [
        ("SUPABASE_JWT_SECRET", TOKEN_SECRET),
        ("USER_SERVICE_API_KEY", SERVICE_KEY),
        ("WORKERS", "2"),
        ("DATA_DIR", &*data_dir),
        // A test that is about prices puts its own, or asks for these.
        ("SEED_PRICES", "false"),
        ("REQUEST_TIMEOUT_SECONDS", "20"),
        // The clock stands still, so no bucket fills up: tests of limits switch them on.
        ("RATE_LIMIT_ENABLED", "false"),
    ];
    let lookup = |name: &str| {
        let find = |list: &[(&str, &str)]| {
            list.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        find(variables).or_else(|| find(&ours))
    };
    Config::from_lookup(lookup).unwrap_or_else(|problems| panic!("the configuration is refused:\n{problems}"))
}

fn start(config: Config, url: &str, clock: Arc<dyn Clock>) -> (Running, Arc<App>, SocketAddr) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap_or_else(|error| panic!("no runtime: {error}"));
    let (app, server, address) = runtime.block_on(async {
        let mut settings = pg::PoolSettings::new(url);
        settings.size_max = Connections::new(config.database.pool_size).general;
        let pool = pg::Pool::new(&settings).unwrap_or_else(|error| panic!("no pool: {error}"));
        let metrics = Metrics::install().unwrap_or_else(|error| panic!("no metrics: {error}"));
        let app = App::start(Arc::new(config), pool, clock, Arc::new(ids()), metrics)
            .await
            .unwrap_or_else(|error| panic!("the service cannot be wired: {error}"));
        let app = Arc::new(app);
        let listener =
            TcpListener::bind("127.0.0.1:0").unwrap_or_else(|error| panic!("no free port: {error}"));
        let address = listener.local_addr().unwrap_or_else(|error| panic!("no address: {error}"));
        let server = http::server(Arc::clone(&app), listener)
            .unwrap_or_else(|error| panic!("the server cannot listen: {error}"));
        let handle = server.handle();
        tokio::spawn(server);
        (app, handle, address)
    });
    (Running { runtime, server }, app, address)
}

/// The search path of the test process, for processes that tests start.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "a harness may hand on the environment it was started in")]
pub fn search_path() -> String {
    std::env::var("PATH").unwrap_or_default()
}
