//! The database of this process: one that runs already, or a private one in the data folder.
//!
//! [`Database::open`] ends with a pool to a database whose schema is the one this version needs. [`Database::visit`] is for
//! commands that look at a database, and may find a gateway at work there.

mod embedded;
mod error;
mod visit;

use std::path::PathBuf;

use local_postgres::Settings;
use pg::{
    Access, Pool, PoolSettings,
    probe::{self, ServerMode},
    server::Server,
};
use secrecy::{ExposeSecret as _, SecretString};

use crate::{
    app::MIGRATIONS,
    config::{Config, DatabaseSource},
    connections::Connections,
};
use embedded::Embedded;

pub use error::DatabaseError;

/// Role and database of the private server.
const NAME: &str = "user_service";
/// Connections beyond those of the pool that the private server accepts: the superuser's, a `psql`, a second pool, an audit.
const SPARE_CONNECTIONS: usize = 20;

/// An open database with the schema of this version.
#[derive(Debug)]
pub struct Database {
    /// The connections.
    pub pool: Pool,
    /// Where the server is; may hold a password.
    pub url: SecretString,
    /// Migrations that were applied while opening, in order.
    pub migrated: Vec<String>,
    embedded: Option<Embedded>,
}

impl Database {
    /// Opens the database of the configuration: starts the private server if it is one, connects, migrates.
    ///
    /// Needs the long-lived multi-threaded runtime: the connections stay on it.
    ///
    /// # Errors
    /// [`DatabaseError`]; a private server that was started is stopped again.
    pub async fn open(config: &Config) -> Result<Self, DatabaseError> {
        let (url, embedded) = match &config.database.source {
            DatabaseSource::Remote { url } => (url.clone(), None),
            DatabaseSource::Embedded { bin_dir, search_path } => {
                let embedded =
                    Embedded::start(settings(config, bin_dir.clone(), search_path.as_deref())).await?;
                (embedded.url().into(), Some(embedded))
            }
        };
        let size_max = Connections::new(config.database.pool_size).general;
        let mut database = Self::at(url, embedded, size_max, Access::ReadWrite)?;
        match database.prepare().await {
            Ok(migrated) => {
                database.migrated = migrated;
                Ok(database)
            }
            Err(error) => Err(database.abort(error).await),
        }
    }

    /// Waits for an end of the private server that nobody asked for and that could not be mended by starting it again, and
    /// says how it ended.
    ///
    /// Never ends for a server that is not ours: losing it is a matter of the health probe.
    pub async fn ended(&self) -> String {
        match &self.embedded {
            Some(embedded) => embedded.ended().await,
            None => std::future::pending().await,
        }
    }

    /// Closes the connections and stops the private server, if it is one.
    ///
    /// # Errors
    /// [`DatabaseError::Stop`] when the server had to be forced; its data is recovered at the next start.
    pub async fn close(self) -> Result<(), DatabaseError> {
        self.pool.close();
        match self.embedded {
            Some(embedded) => embedded.stop().await,
            None => Ok(()),
        }
    }

    /// A pool of this size; nothing is asked of the server yet.
    fn at(
        url: SecretString,
        embedded: Option<Embedded>,
        size_max: usize,
        access: Access,
    ) -> Result<Self, DatabaseError> {
        let settings = PoolSettings { size_max, access, ..PoolSettings::new(url.expose_secret()) };
        let pool =
            Pool::new(&settings).map_err(|source| DatabaseError::Use { place: place(&url), source })?;
        Ok(Self { pool, url, migrated: Vec::new(), embedded })
    }

    /// Closes what cannot be used, and hands on why.
    async fn abort(self, why: DatabaseError) -> DatabaseError {
        if let Err(error) = self.close().await {
            tracing::error!("{}", pg::pool::chain(&error));
        }
        why
    }

    /// Sees that a connection can be had.
    async fn answers(&self) -> Result<Server, DatabaseError> {
        let unusable = |source| DatabaseError::Use { place: place(&self.url), source };
        let server = pg::server::examine(&self.pool).await.map_err(unusable)?;
        let language = self.pool.read(pg::foreign_language).await.map_err(unusable)?;
        if let Some(language) = language {
            tracing::warn!(
                "the server words its errors in {language}: run GRANT SET ON PARAMETER lc_messages TO the role of this \
                 service, or else some errors that could be tried again are answered with 500"
            );
        }
        Ok(server)
    }

    /// Sees that the server is one that can be written to.
    async fn writes(&self) -> Result<(), DatabaseError> {
        let place = || place(&self.url);
        let unusable = |source| DatabaseError::Use { place: place(), source };
        let mut connection = self.pool.get().await.map_err(unusable)?;
        match probe::server_mode(&mut connection).await.map_err(unusable)? {
            ServerMode::ReadWrite => Ok(()),
            ServerMode::HotStandby => Err(DatabaseError::HotStandby { place: place() }),
            ServerMode::ReadOnly => Err(DatabaseError::ReadOnly { place: place() }),
        }
    }

    /// Sees that a connection can be had, then migrates: the two fail for different reasons.
    async fn prepare(&self) -> Result<Vec<String>, DatabaseError> {
        log_server(&self.answers().await?);
        self.writes().await?;
        let report = pg::migrate::run(&self.pool, MIGRATIONS).await.map_err(DatabaseError::Migrate)?;
        if !report.applied.is_empty() {
            tracing::info!(migrations.applied = report.applied.len(), "the database schema was changed");
        }
        if !report.unknown.is_empty() {
            tracing::warn!(
                migrations.unknown = report.unknown.join(", "),
                "the database schema was changed by a newer version of this service"
            );
        }
        Ok(report.applied)
    }
}

/// Logs what an operator should know of the server.
fn log_server(server: &Server) {
    for hazard in &server.hazards {
        tracing::warn!(
            "the database server runs with {hazard}: a crash may lose or damage what was acknowledged"
        );
    }
    if server.is_pooled {
        tracing::info!("the database is reached through a transaction pooler");
    }
    for lack in &server.role_lacks {
        tracing::warn!(
            "a transaction pooler hides settings: run ALTER ROLE ... SET {lack} for the role of this service"
        );
    }
}

fn settings(config: &Config, bin_dir: Option<PathBuf>, search_path: Option<&str>) -> Settings {
    let mut settings = Settings::new(&config.data_dir);
    settings.bin_dir = bin_dir;
    settings.path = search_path.map(Into::into);
    settings.database = NAME.to_owned();
    settings.role = NAME.to_owned();
    let connections = config.database.pool_size.saturating_add(SPARE_CONNECTIONS);
    let connections = u16::try_from(connections).unwrap_or(u16::MAX);
    settings.max_connections = settings.max_connections.max(connections);
    settings
}

/// Hosts, ports and database of a URL, for messages.
fn place(url: &SecretString) -> String {
    pg::DatabaseUrl::parse(url.expose_secret())
        .map_or_else(|_| "an address that cannot be read".to_owned(), |url| url.place())
}
