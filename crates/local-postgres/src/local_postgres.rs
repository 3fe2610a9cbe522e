//! The running server as a value: made by `start`, ended by `stop` or by being dropped.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::account::Account;
use crate::command::{OnParentDeath, Programs};
use crate::location::{self, Home};
use crate::lock::Lock;
use crate::names::Names;
use crate::server::Server;
use crate::server_log::ServerLog;
use crate::socket::SocketDir;
use crate::{Binaries, Error, ExitWatch, Settings};
use crate::{address, binaries, cluster, leftovers, server_settings};

/// Time that processes of an earlier server may keep the cluster's shared memory.
const OCCUPIED_PATIENCE: Duration = Duration::from_secs(15);
const OCCUPIED_POLL: Duration = Duration::from_millis(100);

/// A private PostgreSQL server that runs as long as this value lives, and not longer than the process.
#[derive(Debug)]
pub struct LocalPostgres {
    server: Server,
    socket: SocketDir,
    home: Home,
    version: u32,
    role: String,
    database: String,
    // Last: fields are dropped in order, and the folder is free only after the server has ended.
    _locks: Vec<Lock>,
}

impl LocalPostgres {
    /// Starts the server, making cluster, role and database if they are missing. Blocks: about a second at the
    /// first start, a tenth of it later, longer (with log lines) when the server recovers from a crash.
    ///
    /// # Errors
    /// Any [`Error`] but [`Error::StopForced`]. Nothing is left running, and a later start finds what was there.
    pub fn start(settings: &Settings) -> Result<LocalPostgres, Error> {
        let began = Instant::now();
        settings.check()?;
        let data_dir = location::prepare(&settings.data_dir)?;
        let mut locks = vec![Lock::acquire(&data_dir)?];
        let recorded = location::recorded(&data_dir)?;
        let account = Account::choose(recorded.cluster_owner()?.as_ref())?;
        let binaries = choose_binaries(settings, &recorded)?;
        let home = location::settle(recorded, &data_dir, &settings.fallback_dir, &account, &binaries)?;
        if home.folder.path() != data_dir.path() {
            // A copy of the data folder has a lock of its own but points at the same cluster.
            locks.push(Lock::acquire(&home.folder)?);
            tracing::warn!(
                postgres.account = account.name,
                "the account of PostgreSQL could not enter {} at the first start: the database is in {}, and a copy of the first \
                 folder does not have it",
                data_dir.path().display(),
                home.folder.path().display()
            );
        }
        let log = ServerLog::open(&home.folder, settings.log_bytes_max)?;
        let socket = SocketDir::choose(&home, &account)?;
        leftovers::clear(&home.cluster(), &socket.path)?;
        let names = Names { role: &settings.role, database: &settings.database };
        let programs = Programs { account: &account, binaries: &binaries, log: &log };
        cluster::ensure(&home, &programs, settings.durability, &names)?;

        let server = launch(settings, &home, &socket, &programs)?;
        tracing::info!(
            postgres.version = binaries.version(),
            postgres.pid = server.pid,
            postgres.account = account.name,
            duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            "private PostgreSQL is ready in {}",
            home.cluster().display()
        );
        let postgres = LocalPostgres {
            server,
            socket,
            home,
            version: binaries.version(),
            role: settings.role.clone(),
            database: settings.database.clone(),
            _locks: locks,
        };
        address::leave(&postgres.home, &postgres.url())?;
        Ok(postgres)
    }

    /// Where to connect as the ordinary role: `postgresql://role@%2Fsocket%2Ffolder/database`, no password.
    ///
    /// Only root and the account of the server can enter the folder of the socket.
    pub fn url(&self) -> String {
        self.socket.url(&self.role, &self.database)
    }

    /// Where to connect to `database` as the superuser: for making and dropping databases, not for a service.
    pub fn superuser_url(&self, database: &str) -> String {
        self.socket.url("postgres", database)
    }

    /// The folder of the socket that the server listens on, at port 5432.
    pub fn socket_dir(&self) -> &Path {
        &self.socket.path
    }

    /// False once the server has ended, whoever ended it.
    pub fn is_running(&self) -> bool {
        self.server.exit.status().is_none()
    }

    /// A handle with which another thread can wait for the end of the server.
    pub fn exit_watch(&self) -> ExitWatch {
        self.server.exit.clone()
    }

    /// Process id of the server; another program may have it once the server has ended.
    pub fn pid(&self) -> u32 {
        self.server.pid
    }

    /// Major version of the server.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The PostgreSQL data directory, for backups and messages.
    pub fn cluster_dir(&self) -> PathBuf {
        self.home.cluster()
    }

    /// Disconnects all clients, writes everything down and waits for the end, at most 80 s.
    ///
    /// # Errors
    /// [`Error::StopForced`] if it did not end by itself within 60 s; the next start recovers then.
    pub fn stop(self) -> Result<(), Error> {
        self.shut_down()
    }

    fn shut_down(&self) -> Result<(), Error> {
        let was_running = self.is_running();
        // Before the server ends: nobody should be sent to it any more.
        let withdrawn = address::withdraw(&self.home);
        let stopped = self.server.stop();
        if was_running {
            tracing::info!(postgres.pid = self.server.pid, "private PostgreSQL has stopped");
            self.socket.remove()?;
        }
        stopped.and(withdrawn)
    }
}

impl Drop for LocalPostgres {
    /// Stops the server as [`LocalPostgres::stop`] does; a failure is logged.
    fn drop(&mut self) {
        if let Err(error) = self.shut_down() {
            tracing::error!(%error, "the private PostgreSQL did not stop as it should");
        }
    }
}

fn choose_binaries(settings: &Settings, home: &Home) -> Result<Binaries, Error> {
    let (explicit, path) = (settings.bin_dir.as_deref(), settings.path.as_deref());
    match home.cluster_version()? {
        Some(version) => binaries::find_matching(&home.cluster(), &version, explicit, path),
        None => binaries::find_binaries(explicit, path),
    }
}

/// Starts the server, again if shared memory of an earlier one is still being given back.
fn launch(
    settings: &Settings,
    home: &Home,
    socket: &SocketDir,
    programs: &Programs<'_>,
) -> Result<Server, Error> {
    let began = Instant::now();
    let cluster = home.cluster();
    loop {
        let mut command = programs.prepared(&programs.binaries.postgres(), OnParentDeath::ShutDown)?;
        command.arg("-D").arg(&cluster).args(server_settings::arguments(settings, &socket.path));
        match Server::start(command, &cluster, programs.log) {
            Err(Error::EndedAtStart { log_tail, .. })
                if is_occupied(&log_tail) && began.elapsed() < OCCUPIED_PATIENCE =>
            {
                tracing::info!("processes of an earlier server still end, starting again shortly");
                std::thread::sleep(OCCUPIED_POLL);
            }
            outcome => return outcome,
        }
    }
}

fn is_occupied(log_tail: &str) -> bool {
    log_tail.contains("pre-existing shared memory block") || log_tail.contains("Is another postmaster")
}
