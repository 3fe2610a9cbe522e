//! The database of this process: one that runs already, or a private one in the data folder.
//!
//! [`Database::open`] ends with a pool to a database whose schema is the one this version needs.

use std::path::PathBuf;

use local_postgres::{LocalPostgres, Settings};
use pg::{DbError, Pool, PoolSettings};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::watch;

use crate::{
    app::MIGRATIONS,
    config::{Config, DatabaseSource},
};

/// Role and database of the private server.
const NAME: &str = "user_service";
/// Connections beyond those of the pool that the private server accepts: the superuser's, a `psql`, a second pool.
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

/// Why there is no database.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The private server did not start.
    #[error("the private PostgreSQL could not be started")]
    Start(#[source] local_postgres::Error),
    /// The private server did not stop as it should.
    #[error("the private PostgreSQL did not stop as it should")]
    Stop(#[source] local_postgres::Error),
    /// The task that starts or stops the private server broke off.
    #[error("the work on the private PostgreSQL broke off")]
    BrokeOff(#[source] tokio::task::JoinError),
    /// The server cannot be used.
    #[error("the database at {place} cannot be used")]
    Use {
        /// Where it is, without a password.
        place: String,
        /// What the driver said.
        #[source]
        source: DbError,
    },
    /// The schema cannot be brought to this version.
    #[error("the schema could not be brought to this version")]
    Migrate(#[source] DbError),
}

#[derive(Debug)]
struct Embedded {
    server: LocalPostgres,
    /// How the server ended; nothing while it runs.
    ended: watch::Receiver<Option<String>>,
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
                let embedded = start(settings(config, bin_dir.clone(), search_path.as_deref())).await?;
                (embedded.server.url().into(), Some(embedded))
            }
        };
        let unusable = |source| DatabaseError::Use {
            place: place(&url),
            source,
        };
        let mut pool_settings = PoolSettings::new(url.expose_secret());
        pool_settings.size_max = config.database.pool_size;
        let pool = Pool::new(&pool_settings).map_err(unusable)?;
        let mut database = Self {
            pool,
            url: url.clone(),
            migrated: Vec::new(),
            embedded,
        };
        match database.prepare().await {
            Ok(migrated) => {
                database.migrated = migrated;
                Ok(database)
            }
            Err(error) => {
                if let Err(error) = database.close().await {
                    tracing::error!("{}", pg::pool::chain(&error));
                }
                Err(error)
            }
        }
    }

    /// Waits for an end of the private server that nobody asked for, and says how it ended.
    ///
    /// Never ends for a server that is not ours: losing it is a matter of the health probe.
    pub async fn ended(&self) -> String {
        let Some(embedded) = &self.embedded else {
            return std::future::pending().await;
        };
        let mut ended = embedded.ended.clone();
        match ended.wait_for(Option::is_some).await {
            Ok(status) => status.clone().unwrap_or_default(),
            Err(_) => "nobody watches it any more".to_owned(),
        }
    }

    /// Closes the connections and stops the private server, if it is one.
    ///
    /// # Errors
    /// [`DatabaseError::Stop`] when the server had to be forced; its data is recovered at the next start.
    pub async fn close(self) -> Result<(), DatabaseError> {
        self.pool.close();
        let Some(Embedded { server, .. }) = self.embedded else {
            return Ok(());
        };
        tokio::task::spawn_blocking(move || server.stop())
            .await
            .map_err(DatabaseError::BrokeOff)?
            .map_err(DatabaseError::Stop)
    }

    /// Sees that a connection can be had, then migrates: the two fail for different reasons.
    async fn prepare(&self) -> Result<Vec<String>, DatabaseError> {
        let unusable = |source| DatabaseError::Use {
            place: place(&self.url),
            source,
        };
        let mut connection = self.pool.get().await.map_err(unusable)?;
        let language = pg::foreign_language(&mut connection).await.map_err(unusable)?;
        drop(connection);
        if let Some(language) = language {
            tracing::warn!(
                "the server words its errors in {language}: run GRANT SET ON PARAMETER lc_messages TO the role of this \
                 service, or else some errors that could be tried again are answered with 500"
            );
        }
        let report = pg::migrate::run(&self.pool, MIGRATIONS)
            .await
            .map_err(DatabaseError::Migrate)?;
        if !report.applied.is_empty() {
            tracing::info!(
                migrations.applied = report.applied.len(),
                "the database schema was changed"
            );
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

async fn start(settings: Settings) -> Result<Embedded, DatabaseError> {
    let server = tokio::task::spawn_blocking(move || LocalPostgres::start(&settings))
        .await
        .map_err(DatabaseError::BrokeOff)?
        .map_err(DatabaseError::Start)?;
    let (teller, ended) = watch::channel(None);
    let exit = server.exit_watch();
    // A thread of its own: a blocking task would keep the runtime from ending while the server lives.
    let spawned = std::thread::Builder::new()
        .name("database-watch".to_owned())
        .spawn(move || teller.send_replace(Some(exit.wait().to_string())));
    if let Err(error) = spawned {
        tracing::warn!(%error, "the private PostgreSQL is not watched");
    }
    Ok(Embedded { server, ended })
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

/// Host, port and database of a URL, for messages.
fn place(url: &SecretString) -> String {
    let parsed = url::Url::parse(url.expose_secret()).ok();
    let parts = parsed
        .as_ref()
        .and_then(|url| Some((url.host_str()?, url.port(), url.path())));
    match parts {
        Some((host, Some(port), path)) => format!("{host}:{port}{path}"),
        Some((host, None, path)) => format!("{host}{path}"),
        None => "DATABASE_URL".to_owned(),
    }
}
