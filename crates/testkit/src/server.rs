//! The PostgreSQL server of this test process: started by the first test that asks, ended by the end of the process.

use std::{
    error::Error,
    fmt::Write as _,
    path::{Path, PathBuf},
    sync::{OnceLock, mpsc},
    time::Duration,
};

use diesel_async::SimpleAsyncConnection;
use local_postgres::{LocalPostgres, find_binaries};
use pg::{Pool, PoolSettings};
use tokio::runtime::{Builder, Runtime};

use crate::{
    seed::{Failed, Seed, settings},
    work_folder::{RunFolder, WorkFolder},
};

/// The server, and a runtime of its own for making and dropping databases.
///
/// A test's runtime may be single-threaded and busy, or already shutting down; this one is neither.
#[derive(Debug)]
pub(crate) struct Server {
    postgres: LocalPostgres,
    runtime: Runtime,
    admin: Pool,
    // The kernel frees its lock when the process ends; statics are never dropped.
    _run: RunFolder,
}

impl Server {
    /// The server of this process, started if it does not run yet. Blocks.
    ///
    /// # Panics
    /// When it cannot be started; the message says why.
    pub(crate) fn of_this_process() -> &'static Self {
        static SERVER: OnceLock<Result<Server, String>> = OnceLock::new();
        match SERVER.get_or_init(|| Self::start().map_err(|error| chain(error.as_ref()))) {
            Ok(server) => server,
            Err(error) => panic!("the tests' PostgreSQL did not start: {error}"),
        }
    }

    /// Where the ordinary role finds `database`.
    pub(crate) fn url(&self, database: &str) -> String {
        let own = self.postgres.url();
        let server = own.rsplit_once('/').map_or(own.as_str(), |(server, _)| server);
        format!("{server}/{database}")
    }

    /// Where the superuser finds `database`.
    pub(crate) fn superuser_url(&self, database: &str) -> String {
        self.postgres.superuser_url(database)
    }

    /// The socket it listens on.
    pub(crate) fn socket(&self) -> PathBuf {
        self.postgres.socket_dir().join(".s.PGSQL.5432")
    }

    /// The server itself.
    pub(crate) fn postgres(&self) -> &LocalPostgres {
        &self.postgres
    }

    /// Runs statements as superuser in the database `postgres`.
    pub(crate) async fn administer(&self, statements: &str) -> Result<(), Failed> {
        self.admin.get().await?.batch_execute(statements).await?;
        Ok(())
    }

    /// The superuser's connections to the database `postgres`.
    pub(crate) fn admin(&self) -> &Pool {
        &self.admin
    }

    /// Runs `work` on the server's own runtime; it goes on when the caller stops waiting.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Failed>> + Send + 'static,
    ) -> Result<T, Failed> {
        self.runtime.spawn(work).await?
    }

    /// As [`Server::run`], blocking; allowed on any thread, also one that drives a runtime.
    pub(crate) fn run_blocking<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Failed>> + Send + 'static,
    ) -> Result<T, Failed> {
        let (answer, outcome) = mpsc::channel();
        self.runtime.spawn(async move {
            // The other side waits for it below.
            answer.send(work.await).unwrap_or_default();
        });
        outcome.recv()?
    }

    fn start() -> Result<Self, Failed> {
        let (run, seed) = {
            let folder = WorkFolder::open()?;
            let wanted = settings(Path::new(""));
            let binaries = find_binaries(wanted.bin_dir.as_deref(), wanted.path.as_deref())?;
            (folder.run()?, Seed::ensure(&folder, &binaries)?)
        };
        seed.copy_to(&run)?;
        let postgres = LocalPostgres::start(&settings(&run.path))?;
        let runtime =
            Builder::new_multi_thread().worker_threads(1).thread_name("testkit").enable_all().build()?;
        let admin = {
            let _inside = runtime.enter();
            let mut settings = PoolSettings::new(postgres.superuser_url("postgres"));
            settings.wait_timeout = Duration::from_secs(120);
            Pool::new(&settings)?
        };
        Ok(Self { postgres, runtime, admin, _run: run })
    }
}

/// An error and its causes on one line.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Writing into a String cannot fail.
        write!(text, ": {cause}").unwrap_or_default();
        source = cause.source();
    }
    text
}
