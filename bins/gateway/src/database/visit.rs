//! Opening a database to look at it: nothing is migrated, and a gateway that is at work is not disturbed.

use std::time::{Duration, Instant};

use local_postgres::Settings;
use pg::Access;
use secrecy::SecretString;

use super::{Database, embedded::Embedded, error::DatabaseError, settings};
use crate::config::{Config, DatabaseSource};

/// Time that a process that has the data folder may take until its server answers: it may be starting or ending.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);
/// A visitor does one thing at a time; a pooler is recognised only with a second connection.
const CONNECTIONS: usize = 2;

impl Database {
    /// Opens the database of the configuration as it is. The private server of a gateway that runs on the
    /// same data folder is used through the address it left there; without one, the server is started for the visit.
    ///
    /// # Errors
    /// [`DatabaseError`]; [`DatabaseError::Missing`] when there is no database yet.
    pub async fn visit(config: &Config, access: Access) -> Result<Self, DatabaseError> {
        let (bin_dir, search_path) = match &config.database.source {
            DatabaseSource::Remote { url } => {
                let database = Self::at(url.clone(), None, CONNECTIONS, access)?;
                database.answers().await?;
                return Ok(database);
            }
            DatabaseSource::Embedded { bin_dir, search_path } => (bin_dir.clone(), search_path.as_deref()),
        };
        if !local_postgres::has_cluster(&config.data_dir).map_err(DatabaseError::Start)? {
            return Err(DatabaseError::Missing { data_dir: config.data_dir.clone() });
        }
        let settings = settings(config, bin_dir, search_path);
        let began = Instant::now();
        loop {
            match Self::start_or_join(&settings, access).await {
                Err(DatabaseError::Unreachable { source, .. }) if began.elapsed() >= PATIENCE => {
                    let waited = began.elapsed();
                    return Err(DatabaseError::Unreachable { waited, source });
                }
                Err(DatabaseError::Unreachable { .. }) => tokio::time::sleep(POLL).await,
                outcome => return outcome,
            }
        }
    }

    /// The folder's lock decides: whoever gets it starts the server, so an address that a killed process left is never
    /// believed; whoever does not get it asks the holder's server.
    async fn start_or_join(settings: &Settings, access: Access) -> Result<Self, DatabaseError> {
        match Embedded::start(settings.clone()).await {
            Ok(embedded) => {
                let url: SecretString = embedded.url().into();
                let database = Self::at(url, Some(embedded), CONNECTIONS, access)?;
                match database.answers().await {
                    Ok(_server) => Ok(database),
                    Err(error) => Err(database.abort(error).await),
                }
            }
            Err(DatabaseError::Start(source @ local_postgres::Error::Locked { .. })) => {
                let unreachable = DatabaseError::Unreachable { waited: Duration::ZERO, source };
                let left = local_postgres::running_url(&settings.data_dir).map_err(DatabaseError::Start)?;
                let Some(url) = left else {
                    return Err(unreachable);
                };
                let database = Self::at(url.into(), None, CONNECTIONS, access)?;
                match database.answers().await {
                    Ok(_server) => Ok(database),
                    Err(error) => {
                        tracing::debug!("{}", pg::pool::chain(&error));
                        Err(unreachable)
                    }
                }
            }
            Err(error) => Err(error),
        }
    }
}
