//! A database of its own for a test.

use std::sync::atomic::{AtomicU64, Ordering};

use diesel_async::SimpleAsyncConnection as _;
use pg::{Audit, Migration, Pool, PoolSettings, Violation, pool::Connection};

use crate::{
    Deadline, PgBouncer, Pooling, TestPooler, ask,
    seed::{Failed, ROLE},
    server::{Server, chain},
    template::{self, wait_until_unused},
};

/// A migrated, empty PostgreSQL database that no other test sees.
///
/// When it is dropped the audits run, the database is removed, and the test fails if an audit found something. A test that
/// fails anyway is not audited.
#[derive(Debug)]
pub struct TestDb {
    server: &'static Server,
    name: String,
    url: String,
    pool: Pool,
    audits: Vec<Audit>,
}

const WAITING: &str = "
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'";

impl TestDb {
    /// A fresh database with the schema that `migrations` make, owned by an ordinary role. `audits` are its rules.
    ///
    /// The first call of a process starts the server, the first one with these migrations runs them; each further one
    /// takes about 40 ms. The pool's connections live on the present tokio runtime.
    ///
    /// # Panics
    /// When no server can be started or a migration fails; the message says why.
    pub async fn create(migrations: &[&[Migration]], audits: &[&[Audit]]) -> Self {
        let server = Server::of_this_process();
        let migrations = pg::migrate::merge(migrations);
        let name = must("make a test database", server.run(clone(server, migrations)).await);
        let url = server.url(&name);
        let pool = pool(&url, 8);
        Self { server, name, url, pool, audits: audits.concat() }
    }

    /// Connections of the ordinary role, at most 8.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Another pool on the present runtime, as a second process of the service has it.
    #[must_use]
    pub fn second_pool(&self) -> Pool {
        self.pool_of(8)
    }

    /// Another pool on the present runtime with at most `size_max` connections.
    #[must_use]
    pub fn pool_of(&self, size_max: usize) -> Pool {
        pool(&self.url, size_max)
    }

    /// A connection outside the pool.
    ///
    /// # Panics
    /// When the server refuses it.
    pub async fn connect(&self) -> Connection {
        must("connect to a test database", self.pool_of(1).get().await.map_err(Failed::from))
    }

    /// A connection of the superuser: for looking into catalogues and for damage, never for the code under test.
    ///
    /// # Panics
    /// When the server refuses it.
    pub async fn connect_as_superuser(&self) -> Connection {
        let superuser = pool(&self.superuser_url(), 1);
        must("connect as superuser", superuser.get().await.map_err(Failed::from))
    }

    /// Runs statements on a connection of its own.
    ///
    /// # Panics
    /// When one of them fails.
    pub async fn run(&self, sql: &str) {
        must("run statements", self.connect().await.batch_execute(sql).await.map_err(Failed::from));
    }

    /// Runs statements as the superuser, on a connection of its own.
    ///
    /// # Panics
    /// When one of them fails.
    pub async fn run_as_superuser(&self, sql: &str) {
        let mut conn = self.connect_as_superuser().await;
        must("run statements as superuser", conn.batch_execute(sql).await.map_err(Failed::from));
    }

    /// The number that an expression or a query of SQL is.
    ///
    /// # Panics
    /// When it is none.
    pub async fn ask(&self, sql: &str) -> i64 {
        must("ask a test database", ask(&mut *self.connect().await, sql).await.map_err(Failed::from))
    }

    /// Waits until at least `statements` statements in this database wait for a lock.
    ///
    /// # Panics
    /// When that has not come about after 30 seconds.
    pub async fn wait_for_waiting(&self, statements: i64) {
        let mut conn = self.connect().await;
        let mut deadline = Deadline::new();
        loop {
            let waiting =
                must("look for statements that wait", ask(&mut conn, WAITING).await.map_err(Failed::from));
            if waiting >= statements {
                return;
            }
            assert!(deadline.allows_another(), "{waiting} of {statements} statements wait");
            tokio::task::yield_now().await;
        }
    }

    /// Where the ordinary role finds the database, for a process that connects itself.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where the superuser finds it: for looking into catalogues, never for the code under test.
    #[must_use]
    pub fn superuser_url(&self) -> String {
        self.server.superuser_url(&self.name)
    }

    /// Gives the ordinary role other defaults in this database, as an operator may with `ALTER ROLE`: pairs of name and SQL.
    /// Connections that are opened afterwards have them.
    ///
    /// # Panics
    /// When the server refuses one.
    pub async fn set_defaults(&self, settings: &[(&str, &str)]) {
        for (setting, value) in settings {
            let sql = format!("ALTER ROLE {ROLE} IN DATABASE {} SET {setting} = {value}", self.name);
            must("set a default of the role", self.server.administer(&sql).await);
        }
    }

    /// A small transaction pooler before this database, on the present runtime.
    ///
    /// # Panics
    /// When it cannot listen.
    pub async fn pooler(&self, pooling: Pooling) -> TestPooler {
        let started = TestPooler::start(self.server.socket(), pooling, &self.name).await;
        must("start a pooler", started.map_err(Failed::from))
    }

    /// PgBouncer before this database, in transaction mode, with further settings; none where it is not installed.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn pgbouncer(&self, settings: &[(&str, &str)]) -> Option<PgBouncer> {
        let started = PgBouncer::start(self.server, &self.name, settings).await;
        must("start PgBouncer", started)
    }

    /// Stops auditing, for a test that breaks the rules on purpose.
    pub fn forgo_audits(&mut self) {
        self.audits.clear();
    }

    fn audit(&self) -> Result<Vec<Violation>, Failed> {
        let (url, audits) = (self.superuser_url(), self.audits.clone());
        if audits.is_empty() {
            return Ok(Vec::new());
        }
        self.server.run_blocking(async move {
            let pool = Pool::new(&PoolSettings::new(url))?;
            let mut conn = pool.get().await?;
            Ok(pg::audit::run(&mut conn, &audits).await?)
        })
    }

    fn remove(&self) -> Result<(), Failed> {
        let (server, name) = (self.server, self.name.clone());
        self.server.run_blocking(async move {
            wait_until_unused(server, &name).await?;
            server.administer(&format!("DROP DATABASE {name} WITH (FORCE)")).await
        })
    }
}

impl Drop for TestDb {
    fn drop(&mut self) {
        self.pool.close();
        if std::thread::panicking() {
            // The test has failed already; a second panic would abort the process and hide why.
            self.remove().unwrap_or_default();
            return;
        }
        let audited = self.audit();
        must("remove a test database", self.remove());
        report(&must("run the audits", audited));
    }
}

/// Runs the audits in the middle of a test.
///
/// # Panics
/// With everything they found.
pub fn audit_now(db: &TestDb) {
    report(&must("run the audits", db.audit()));
}

async fn clone(server: &'static Server, migrations: Vec<Migration>) -> Result<String, Failed> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let template = template::ensure(server, &migrations).await?;
    let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    // Measured: half the time of `file_copy`, which waits for two checkpoints.
    server
        .administer(&format!("CREATE DATABASE {name} TEMPLATE {template} OWNER {ROLE} STRATEGY wal_log"))
        .await?;
    Ok(name)
}

fn pool(url: &str, size_max: usize) -> Pool {
    let mut settings = PoolSettings::new(url);
    settings.size_max = size_max;
    must("make a pool", Pool::new(&settings).map_err(Failed::from))
}

fn must<T>(doing: &str, result: Result<T, Failed>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("could not {doing}: {}", chain(error.as_ref())),
    }
}

fn report(violations: &[Violation]) {
    let lines: String = violations
        .iter()
        .map(|found| format!("\n  {}: {}: {}", found.rule, found.subject, found.detail))
        .collect();
    assert!(violations.is_empty(), "the books do not balance, {} violations:{lines}", violations.len());
}
