//! One connection to one server: opened, looked at, set up, and driven by a task of its own.

use std::{
    error::Error as _,
    future::poll_fn,
    ops::{Deref, DerefMut},
    sync::{Arc, OnceLock},
    time::Duration,
};

use diesel_async::{AsyncPgConnection, pooled_connection::PoolableConnection as _};
use futures_util::future::{Ready, ready};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::AbortHandle,
};
use tokio_postgres::{
    AsyncMessage, CancelToken, Client, Config, Connection, SimpleQueryMessage,
    tls::{ChannelBinding, TlsConnect, TlsStream},
};
use tokio_util::either::Either;

use super::{
    options::{Host, TargetSession, Tcp},
    socket::{self, Endpoint},
    tls::{Encryption, TlsFault, Transport},
    watched::{Silence, Watch, Watched},
};
use crate::{error::chain, session::Session};

/// Common settings of the connections of a pool.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) config: Config,
    pub(super) session: Session,
    pub(super) tcp: Tcp,
    pub(super) answer_timeout: Duration,
    pub(super) silence: Arc<Silence>,
}

/// A connection with the task that drives it. Dropped, its socket is closed at once.
pub struct OpenConnection {
    connection: AsyncPgConnection,
    watch: Arc<Watch>,
    answer_timeout: Duration,
    cancel: Cancel,
    notices: Notices,
    /// The place of its server in the connection string.
    place: usize,
    _driver: Driver,
}

/// Data needed to stop the statement of a connection.
#[derive(Clone)]
pub(crate) struct Cancel {
    token: CancelToken,
    endpoint: Endpoint,
    name: String,
    /// That of the connection: what worked for it works again, and the server's secret travels no less protected.
    encryption: Encryption,
}

/// Why there is no connection to a server.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("no connection within {} s", .0.as_secs_f32())]
    TimedOut(Duration),
    #[error("the name has no address")]
    NoAddress,
    #[error("the server cannot be reached")]
    Socket(#[from] std::io::Error),
    #[error(transparent)]
    Tls(#[from] TlsFault),
    #[error("the server refused the connection")]
    Startup(#[from] tokio_postgres::Error),
    #[error("the server asks for a password, and the database URL has none")]
    NoPassword,
    #[error(
        "the database has the encoding {0} and this service needs UTF8: \
         CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0 makes one"
    )]
    Encoding(String),
    #[error("the server is not {wanted} (target_session_attrs)")]
    OtherKind { wanted: &'static str },
    #[error("the session cannot be set up")]
    SetUp(#[source] Box<dyn std::error::Error + Send + Sync>),
}

type Stream = Watched<Transport>;

impl Connector {
    /// Opens a connection to a server, if it is of the wanted kind.
    pub(super) async fn open(
        &self,
        (place, host): (usize, &Host),
        endpoint: &Endpoint,
        wanted: TargetSession,
        encryption: &Encryption,
    ) -> Result<OpenConnection, Fault> {
        let socket = socket::open(endpoint, &self.tcp).await?;
        let transport = encryption.apply(socket, &host.name).await?;
        let encryption = encryption.settled(&transport);
        let watch = Watch::new(&self.silence, self.answer_timeout);
        let stream = Watched::new(transport, Arc::clone(&watch));
        let (client, driver) = self.config.connect_raw(stream, Encrypted).await.map_err(not_begun)?;
        let encoding = driver.parameter("server_encoding").unwrap_or("UTF8");
        if encoding != "UTF8" {
            return Err(Fault::Encoding(encoding.to_owned()));
        }
        self.session.note_version(driver.parameter("server_version"));
        let reported = Reported {
            standby: driver.parameter("in_hot_standby").map(|value| value == "on"),
            read_only: driver.parameter("default_transaction_read_only").map(|value| value == "on"),
        };
        let cancel = Cancel {
            token: client.cancel_token(),
            endpoint: endpoint.clone(),
            name: host.name.clone(),
            encryption,
        };
        let notices = Notices::default();
        let driver = drive(driver, Arc::clone(&watch), host.to_string(), Arc::clone(&notices));
        check_kind(&client, wanted, reported).await?;
        let mut connection =
            AsyncPgConnection::try_from(client).await.map_err(|error| Fault::SetUp(Box::new(error)))?;
        self.session.begin_on(&mut connection).await.map_err(|error| Fault::SetUp(Box::new(error)))?;
        Ok(OpenConnection {
            connection,
            watch,
            answer_timeout: self.answer_timeout,
            cancel,
            notices,
            place,
            _driver: driver,
        })
    }

    /// Asks the server to stop a statement, on a connection of its own.
    pub(super) async fn cancel(&self, cancel: &Cancel) -> Result<(), Fault> {
        let socket = socket::open(&cancel.endpoint, &self.tcp).await?;
        let transport = cancel.encryption.apply(socket, &cancel.name).await?;
        let stream = Watched::new(transport, Watch::new(&self.silence, Duration::ZERO));
        Ok(cancel.token.cancel_query_raw(stream, Encrypted).await?)
    }
}

impl OpenConnection {
    /// Data needed to stop the statement that runs on it.
    pub(crate) fn cancel(&self) -> Cancel {
        self.cancel.clone()
    }

    /// The texts of the notifications that come from now on. There is one receiver for each connection.
    pub(crate) fn notices(&self) -> UnboundedReceiver<String> {
        let (sender, receiver) = unbounded_channel();
        let _has_one = self.notices.set(sender);
        receiver
    }

    /// The place of its server in the connection string.
    pub(super) fn place(&self) -> usize {
        self.place
    }

    /// Changes how long an answer is waited for, until [`OpenConnection::reset`]. Zero for no limit.
    pub(crate) fn answer_timeout(&self, limit: Duration) {
        self.watch.limit(limit);
    }

    /// Gives the limits back that the connection began with.
    pub(crate) fn reset(&self) {
        self.watch.limit(self.answer_timeout);
    }

    /// Returns true if it is of no use to anybody: broken, or to a server that was found silent since it was heard last.
    pub(crate) fn is_unusable(&mut self) -> bool {
        self.connection.is_broken() || self.watch.is_suspect()
    }
}

impl Deref for OpenConnection {
    type Target = AsyncPgConnection;

    fn deref(&self) -> &AsyncPgConnection {
        &self.connection
    }
}

impl DerefMut for OpenConnection {
    fn deref_mut(&mut self) -> &mut AsyncPgConnection {
        &mut self.connection
    }
}

/// The task that drives a connection. It ends with this: left alone, it would wait for the answers to what was sent.
struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The receiver of notifications, once there is one.
type Notices = Arc<OnceLock<UnboundedSender<String>>>;

fn drive(
    mut connection: Connection<Stream, Stream>,
    watch: Arc<Watch>,
    host: String,
    notices: Notices,
) -> Driver {
    let driving = tokio::spawn(async move {
        loop {
            match poll_fn(|context| connection.poll_message(context)).await {
                None => return,
                Some(Ok(AsyncMessage::Notification(notification))) => {
                    if let Some(receiver) = notices.get() {
                        let _nobody_listens = receiver.send(notification.payload().to_owned());
                    }
                }
                Some(Ok(_notice)) => {}
                Some(Err(error)) if watch.timed_out() => {
                    tracing::warn!(database.host = host, error = %chain(&error), "database connection timed out");
                    return;
                }
                Some(Err(error)) => {
                    tracing::debug!(database.host = host, error = %chain(&error), "database connection ended");
                    return;
                }
            }
        }
    });
    Driver(driving.abort_handle())
}

/// Names the refusals of the driver that are none of the server's.
fn not_begun(error: tokio_postgres::Error) -> Fault {
    let cause = error.source().map(ToString::to_string);
    if cause.as_deref() == Some("password missing") { Fault::NoPassword } else { Fault::Startup(error) }
}

/// Parameters that a server reports at the beginning of a session; a pooler may say less.
struct Reported {
    standby: Option<bool>,
    read_only: Option<bool>,
}

/// Refuses a server that is not of the wanted kind, by libpq's rules.
async fn check_kind(client: &Client, wanted: TargetSession, reported: Reported) -> Result<(), Fault> {
    if wanted == TargetSession::Any {
        return Ok(());
    }
    let standby = match reported.standby {
        Some(standby) => standby,
        None => ask(client, "SELECT pg_is_in_recovery()").await?,
    };
    let read_only = match reported.read_only {
        Some(read_only) => read_only || standby,
        None => ask(client, "SHOW transaction_read_only").await?,
    };
    let (fits, wanted) = match wanted {
        TargetSession::Any | TargetSession::PreferStandby | TargetSession::PreferReadWrite => (true, "any"),
        TargetSession::ReadWrite => (!read_only, "read-write"),
        TargetSession::ReadOnly => (read_only, "read-only"),
        TargetSession::Primary => (!standby, "primary"),
        TargetSession::Standby => (standby, "standby"),
    };
    if fits { Ok(()) } else { Err(Fault::OtherKind { wanted }) }
}

async fn ask(client: &Client, question: &str) -> Result<bool, Fault> {
    let answer = client.simple_query(question).await?;
    Ok(answer.iter().any(|message| match message {
        SimpleQueryMessage::Row(row) => matches!(row.get(0), Some("on" | "t")),
        _ => false,
    }))
}

/// Hands a stream over as encrypted, whatever it is.
struct Encrypted;

impl TlsConnect<Stream> for Encrypted {
    type Stream = Stream;
    type Error = std::convert::Infallible;
    type Future = Ready<Result<Stream, Self::Error>>;

    fn connect(self, stream: Stream) -> Self::Future {
        ready(Ok(stream))
    }
}

impl TlsStream for Stream {
    fn channel_binding(&self) -> ChannelBinding {
        match &self.inner {
            Either::Left(_) => ChannelBinding::none(),
            Either::Right(encrypted) => encrypted.channel_binding(),
        }
    }
}
