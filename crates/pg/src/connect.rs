//! Opening one connection: the first server that fits, encrypted where it is remote, with the settings every session has.

mod certificates;
mod open;
mod options;
mod parameters;
mod socket;
mod syntax;
mod tls;
mod url;
mod watched;

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::timeout;
use tokio_postgres::error::SqlState;

pub use self::{
    open::OpenConnection,
    options::UrlFault,
    url::{DatabaseUrl, Reach, reach},
};
use self::{
    open::{Cancel, Connector, Fault},
    options::{Host, TargetSession},
    socket::{Endpoint, endpoints},
    tls::Encryption,
    watched::Silence,
};
use crate::{
    DbError,
    error::chain,
    pool::settings::{Access, PoolSettings},
    session::Session,
};

/// Time after `statement_timeout` in which an answer is awaited: the server says itself that a statement took too long, if it
/// still can.
pub const ANSWER_MARGIN: Duration = Duration::from_secs(3);

/// Address of the server, read from a connection string once.
#[derive(Clone)]
pub(crate) struct Target {
    url: Arc<DatabaseUrl>,
    connector: Connector,
    encryption: Encryption,
    /// Time that one server may take until its session is set up; zero for no limit.
    connect_timeout: Duration,
    wanted: TargetSession,
    /// The place of the server that was found last: the others need not be tried in vain each time.
    found_last: Arc<AtomicUsize>,
}

impl Target {
    /// Reads the connection string, and the certificates it names.
    pub(crate) fn parse(settings: &PoolSettings) -> Result<Self, DbError> {
        let url = DatabaseUrl::parse(&settings.url)
            .map_err(|fault| DbError::Connect(format!("the database URL {fault}").into()))?;
        let mut config = url.config.clone();
        if config.get_application_name().is_none() {
            config.application_name(&settings.application_name);
        }
        Ok(Self {
            connector: Connector {
                config,
                session: Session::new(settings),
                tcp: url.tcp.clone(),
                answer_timeout: answer_timeout(settings.statement_timeout),
                silence: Silence::new(),
            },
            encryption: Encryption::new(&url)?,
            connect_timeout: url.connect_timeout.unwrap_or(settings.connect_timeout),
            wanted: wanted(&url, settings.access),
            found_last: Arc::default(),
            url: Arc::new(url),
        })
    }

    /// The same server with the sessions of other settings.
    pub(crate) fn with(&self, settings: &PoolSettings) -> Self {
        let connector = Connector {
            session: self.session().with(settings),
            answer_timeout: answer_timeout(settings.statement_timeout),
            ..self.connector.clone()
        };
        Self { connector, ..self.clone() }
    }

    /// The settings of its sessions.
    pub(crate) fn session(&self) -> &Session {
        &self.connector.session
    }

    /// Opens a connection to the first server that answers and is of the wanted kind. The task that drives it runs on the
    /// tokio runtime this is called on.
    pub(crate) async fn connect(&self) -> Result<OpenConnection, DbError> {
        let encryption = self.encryption.renewed(&self.url)?;
        let (mut places, mut faults) = (self.order(), Vec::new());
        for wanted in rounds(self.wanted) {
            faults.retain(|(_, fault)| !is_of_another_kind(fault));
            // What cannot be reached need not be tried for another kind.
            for place in std::mem::take(&mut places) {
                let Some(host) = self.url.hosts.get(place) else {
                    continue;
                };
                match self.connect_to((place, host), *wanted, &encryption).await {
                    Ok(connection) => {
                        self.found_last.store(place, Ordering::Relaxed);
                        return Ok(connection);
                    }
                    Err(fault) => {
                        places.extend(is_of_another_kind(&fault).then_some(place));
                        faults.push((host.to_string(), fault));
                    }
                }
            }
        }
        Err(DbError::Connect(Box::new(NoServer(faults))))
    }

    /// Begins with another server than that of `connection` from now on, unless that is done already.
    pub(crate) fn turn_from(&self, connection: &OpenConnection) {
        let place = connection.place();
        let (next, order) = (place.saturating_add(1), Ordering::Relaxed);
        let _turned_before = self.found_last.compare_exchange(place, next, order, order);
    }

    /// Returns true if a server, a database or a role had no connection left (53300).
    pub(crate) fn is_full(error: &DbError) -> bool {
        let DbError::Connect(cause) = error else {
            return false;
        };
        let full = |(_, fault): &(String, Fault)| match fault {
            Fault::Startup(error) => error.code() == Some(&SqlState::TOO_MANY_CONNECTIONS),
            _ => false,
        };
        cause.downcast_ref().is_some_and(|NoServer(faults)| faults.iter().any(full))
    }

    /// Asks the server of a connection, on a connection of its own, to stop the statement that runs on it.
    pub(crate) async fn cancel(&self, cancel: &Cancel) -> Result<(), Fault> {
        within(self.connect_timeout, self.connector.cancel(cancel)).await
    }

    async fn connect_to(
        &self,
        host: (usize, &Host),
        wanted: TargetSession,
        encryption: &Encryption,
    ) -> Result<OpenConnection, Fault> {
        let found = within(self.connect_timeout, async { Ok(endpoints(host.1).await?) }).await?;
        let mut last = None;
        for endpoint in found {
            let mut opened = self.connect_at(host, &endpoint, wanted, encryption).await;
            if matches!(opened, Err(Fault::Tls(_)))
                && let Some(plain) = encryption.declined()
            {
                opened = self.connect_at(host, &endpoint, wanted, &plain).await;
            }
            match opened {
                Ok(connection) => return Ok(connection),
                Err(_) if last.as_ref().is_some_and(is_of_another_kind) => {}
                Err(fault) => last = Some(fault),
            }
        }
        Err(last.unwrap_or(Fault::NoAddress))
    }

    async fn connect_at(
        &self,
        host: (usize, &Host),
        endpoint: &Endpoint,
        wanted: TargetSession,
        encryption: &Encryption,
    ) -> Result<OpenConnection, Fault> {
        let opened = self.connector.open(host, endpoint, wanted, encryption);
        within(self.connect_timeout, opened).await
    }

    /// The places of the servers in the order in which they are tried.
    fn order(&self) -> Vec<usize> {
        let count = self.url.hosts.len();
        let mut order: Vec<usize> = (0..count).collect();
        if self.url.shuffle {
            let chance = RandomState::new();
            order.sort_by_cached_key(|place| chance.hash_one(place));
        } else {
            order.rotate_left(self.found_last.load(Ordering::Relaxed) % count.max(1));
        }
        order
    }
}

fn is_of_another_kind(fault: &Fault) -> bool {
    matches!(fault, Fault::OtherKind { .. })
}

/// Why no server of a connection string would do: each with its fault.
#[derive(Debug)]
struct NoServer(Vec<(String, Fault)>);

impl std::fmt::Display for NoServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, (host, fault)) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{host}: {}", chain(fault))?;
        }
        Ok(())
    }
}

impl std::error::Error for NoServer {}

/// The kind of server that is wanted. Writers would fail at the first of several servers if it is a standby.
fn wanted(url: &DatabaseUrl, access: Access) -> TargetSession {
    let of_several = match access {
        Access::ReadWrite if url.hosts.len() > 1 => TargetSession::PreferReadWrite,
        Access::ReadWrite | Access::Read => TargetSession::Any,
    };
    url.target.unwrap_or(of_several)
}

/// The kinds of server that are looked for, one after the other.
fn rounds(target: TargetSession) -> &'static [TargetSession] {
    match target {
        TargetSession::Any => &[TargetSession::Any],
        TargetSession::ReadWrite => &[TargetSession::ReadWrite],
        TargetSession::ReadOnly => &[TargetSession::ReadOnly],
        TargetSession::Primary => &[TargetSession::Primary],
        TargetSession::Standby => &[TargetSession::Standby],
        TargetSession::PreferStandby => &[TargetSession::Standby, TargetSession::Any],
        // A primary whose writes were turned off can be read. A standby may lack what was just acknowledged.
        TargetSession::PreferReadWrite => &[TargetSession::ReadWrite, TargetSession::Primary],
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    if limit.is_zero() {
        return work.await;
    }
    timeout(limit, work).await.unwrap_or(Err(Fault::TimedOut(limit)))
}

/// Time that a statement may stay without any answer. None where the server has no limit either.
pub(crate) fn answer_timeout(statement_timeout: Duration) -> Duration {
    if statement_timeout.is_zero() { Duration::ZERO } else { statement_timeout.saturating_add(ANSWER_MARGIN) }
}

#[cfg(test)]
mod tests;
