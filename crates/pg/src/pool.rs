//! The connections of this process.

pub(crate) mod settings;

use std::{
    borrow::Borrow,
    ops::{Deref, DerefMut},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use deadpool::{
    Runtime,
    managed::{self, Metrics, RecycleError, RecycleResult},
};
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::timeout,
};

pub use self::settings::{Access, Patience, PoolSettings};
pub use crate::error::chain;
use crate::{
    DbError,
    connect::{OpenConnection, Target},
    session::{End, Session},
};

/// Pause before a server without a free connection is asked again.
const FULL_SERVER_PAUSE: Duration = Duration::from_millis(25);
/// Longest time an abandoned statement keeps its place in the pool while the server is asked to end it.
const ABANDON_TIMEOUT: Duration = Duration::from_secs(2);
/// Time for the other statements of a failed read to end before they are abandoned.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(1);

/// One borrowed connection. It goes back to the pool when it is dropped.
pub struct Connection {
    object: managed::Object<Opener>,
    /// The place in the share that it was borrowed from.
    permit: Option<OwnedSemaphorePermit>,
}

/// The pool. Cheap to clone; usable from any thread and any tokio runtime.
///
/// The task that drives a connection always runs on the runtime the pool was made on, never on the single-threaded
/// runtime of the actix worker that happened to need a connection first: a busy or stopped worker would stall or kill
/// connections that others use (docs/adr/0003).
#[derive(Clone)]
pub struct Pool {
    inner: managed::Pool<Opener>,
    home: Handle,
    target: Arc<Target>,
    settings: Arc<PoolSettings>,
    share: Option<Share>,
    /// Callers that wait for a place in a share, of all shares.
    waiting: Arc<AtomicUsize>,
}

/// Some of the places of a pool.
#[derive(Clone)]
struct Share {
    places: Arc<Semaphore>,
    /// No caller waits for an answer: a place is waited for without limit, and that is not counted.
    is_background: bool,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("status", &self.inner.status()).finish()
    }
}

impl Connection {
    /// Changes how long an answer is waited for until the connection is given back. Zero for no limit.
    pub(crate) fn answer_timeout(&self, limit: Duration) {
        self.object.answer_timeout(limit);
    }

    /// As [`OpenConnection::notices`].
    pub(crate) fn notices(&self) -> tokio::sync::mpsc::UnboundedReceiver<String> {
        self.object.notices()
    }

    /// Closes the connection instead of giving it back.
    pub(crate) fn discard(self) {
        let Self { object, permit } = self;
        drop(managed::Object::take(object));
        drop(permit);
    }
}

impl Deref for Connection {
    type Target = AsyncPgConnection;

    fn deref(&self) -> &AsyncPgConnection {
        &self.object
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut AsyncPgConnection {
        &mut self.object
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection")
    }
}

/// Number of open connections, and of callers who wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolStatus {
    /// Open connections that are free.
    pub idle: usize,
    /// Open connections that are borrowed.
    pub busy: usize,
    /// Callers that wait for one.
    pub waiting: usize,
}

impl Pool {
    /// Makes a pool whose connections live on the present tokio runtime. Opens none yet.
    ///
    /// # Errors
    /// [`DbError::Connect`] when the URL cannot be used, or outside a tokio runtime.
    pub fn new(settings: &PoolSettings) -> Result<Self, DbError> {
        let home = Handle::try_current().map_err(|error| DbError::Connect(Box::new(error)))?;
        Self::on(home, Arc::new(Target::parse(settings)?), settings)
    }

    /// Another pool to the same server, on the runtime `home`, of its own size and patience: what uses the one cannot exhaust
    /// the other.
    ///
    /// # Errors
    /// As [`Pool::new`].
    pub fn sibling_on(&self, home: Handle, size_max: usize, patience: Patience) -> Result<Self, DbError> {
        let settings = PoolSettings {
            size_max,
            lock_timeout: patience.lock_timeout,
            statement_timeout: patience.statement_timeout,
            ..PoolSettings::clone(&self.settings)
        };
        Self::on(home, Arc::new(self.target.with(&settings)), &settings)
    }

    /// The same connections, of which users of the share borrow at most `size_max` at a time: what uses it cannot take all.
    /// A share of a share is one of the whole pool.
    #[must_use]
    pub fn share(&self, size_max: usize) -> Self {
        self.share_with(size_max, false)
    }

    /// A share for work for which no caller waits: its users wait for one another without limit, and are not counted as
    /// waiting.
    #[must_use]
    pub fn background_share(&self, size_max: usize) -> Self {
        self.share_with(size_max, true)
    }

    fn share_with(&self, size_max: usize, is_background: bool) -> Self {
        let places = Arc::new(Semaphore::new(size_max));
        Self { share: Some(Share { places, is_background }), ..self.clone() }
    }

    fn on(home: Handle, target: Arc<Target>, settings: &PoolSettings) -> Result<Self, DbError> {
        let opener = Opener {
            target: Arc::clone(&target),
            home: home.clone(),
            full_timeout: settings.connect_timeout,
        };
        // Opening has a limit of its own for each server that is tried.
        let inner = managed::Pool::builder(opener)
            .max_size(settings.size_max)
            .wait_timeout(Some(settings.wait_timeout))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| DbError::Connect(Box::new(error)))?;
        Ok(Self {
            inner,
            home,
            target,
            settings: Arc::new(settings.clone()),
            share: None,
            waiting: Arc::default(),
        })
    }

    /// Borrows a connection, opening one if none is free.
    ///
    /// # Errors
    /// [`DbError::Connect`] when the server cannot be reached or none becomes free in time.
    pub async fn get(&self) -> Result<Connection, DbError> {
        let permit = self.permit().await?;
        let object = self.inner.get().await.map_err(|error| match error {
            managed::PoolError::Backend(error) => error,
            other => DbError::Connect(Box::new(other)),
        })?;
        Ok(Connection { object, permit })
    }

    /// Waits for a place in the share, where this is one.
    async fn permit(&self) -> Result<Option<OwnedSemaphorePermit>, DbError> {
        let Some(share) = &self.share else {
            return Ok(None);
        };
        let failed = |cause: &str| DbError::Connect(cause.into());
        let place = Arc::clone(&share.places).acquire_owned();
        if share.is_background {
            let permit = place.await;
            return permit.map(Some).map_err(|_closed| failed("the share is closed"));
        }
        let waiting = Waiting::begin(&self.waiting);
        let permit = timeout(self.settings.wait_timeout, place).await;
        drop(waiting);
        permit
            .map_err(|_elapsed| failed("every connection of the share was in use for too long"))?
            .map(Some)
            .map_err(|_closed| failed("the share is closed"))
    }

    /// Reads on a borrowed connection. Behind a pooler it is a transaction, for its settings.
    ///
    /// A caller that goes away in the middle, because the client hung up or the request took too long, leaves a statement
    /// behind that still runs. Its connection is then thrown away and the statement cancelled: no caller waits for it. The
    /// same is done when the work fails and other statements that it sent do not end at once.
    ///
    /// # Errors
    /// [`DbError::Connect`] without a connection, and whatever the work raises.
    pub async fn read<T, E: From<DbError>>(
        &self,
        work: impl AsyncFnOnce(&mut AsyncPgConnection) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut reading = Abandonable::borrow(self).await?;
        self.session().enter(&mut reading).await?;
        let outcome = work(&mut reading).await;
        if outcome.is_ok() {
            self.session().leave(&mut reading, End::Commit).await?;
        } else {
            let left = self.session().leave(&mut reading, End::Rollback);
            if !matches!(timeout(SETTLE_TIMEOUT, left).await, Ok(Ok(()))) {
                return outcome;
            }
        }
        reading.release();
        outcome
    }

    /// Asks the server to stop the statement that still runs on a connection, then closes the connection.
    ///
    /// Until then it keeps its place in the pool: one that took its place earlier would be one too many for the server.
    pub(crate) fn abandon(&self, connection: Connection) {
        let target = Arc::clone(&self.target);
        self.home.spawn(async move {
            let cancel = connection.object.cancel();
            let ended = async {
                if let Err(error) = target.cancel(&cancel).await {
                    tracing::debug!(error = %chain(&error), "an abandoned statement could not be cancelled");
                }
                // Sent after what runs, so it is answered when that has ended; how it ended does not matter.
                let mut conn = &*connection;
                drop(conn.batch_execute("").await);
            };
            if timeout(ABANDON_TIMEOUT, ended).await.is_err() {
                tracing::debug!("an abandoned statement did not end in time");
            }
            connection.discard();
        });
    }

    /// Settings of its sessions.
    pub(crate) fn session(&self) -> &Session {
        self.target.session()
    }

    /// Closes the connections that nobody uses at this moment, because `found` is to a server that only reads. The next callers
    /// get new ones, to another server first where there are several.
    pub(crate) fn drop_idle(&self, found: &Connection) {
        self.target.turn_from(&found.object);
        drop(self.inner.retain(|_, _| false));
    }

    /// Present use of the pool.
    #[must_use]
    pub fn status(&self) -> PoolStatus {
        let status = self.inner.status();
        PoolStatus {
            idle: status.available,
            busy: status.size.saturating_sub(status.available),
            waiting: status.waiting.saturating_add(AtomicUsize::load(&self.waiting, Ordering::Relaxed)),
        }
    }

    /// Most connections at a time.
    #[must_use]
    pub fn size_max(&self) -> usize {
        self.settings.size_max
    }

    /// Closes the pool: connections are dropped as they come back, and nobody gets a new one.
    pub fn close(&self) {
        self.inner.close();
    }
}

/// Opens connections and looks at those that come back.
struct Opener {
    target: Arc<Target>,
    home: Handle,
    /// Time that a server without a free connection is asked again.
    full_timeout: Duration,
}

impl managed::Manager for Opener {
    type Type = OpenConnection;
    type Error = DbError;

    async fn create(&self) -> Result<OpenConnection, DbError> {
        let opening = open(Arc::clone(&self.target), self.full_timeout);
        // The set ends the task when this future is dropped: a connection opened for nobody would be one too many.
        let mut task = JoinSet::new();
        task.spawn_on(opening, &self.home);
        match task.join_next().await {
            Some(Ok(opened)) => opened,
            Some(Err(error)) => Err(DbError::Connect(Box::new(error))),
            None => Err(DbError::Connect("nothing was opened".into())),
        }
    }

    async fn recycle(&self, connection: &mut OpenConnection, _metrics: &Metrics) -> RecycleResult<DbError> {
        if std::thread::panicking() || connection.is_unusable() {
            return Err(RecycleError::message("the connection is broken"));
        }
        connection.reset();
        Ok(())
    }
}

/// A caller that waits, as long as this lives.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Opens a connection. A server without a free one is asked again until the time is over: it still counts connections of
/// this pool that were closed a moment ago.
async fn open(target: Arc<Target>, full_timeout: Duration) -> Result<OpenConnection, DbError> {
    let until = Instant::now() + full_timeout;
    loop {
        match target.connect().await {
            Err(error) if Target::is_full(&error) && Instant::now() + 2 * FULL_SERVER_PAUSE < until => {
                tokio::time::sleep(FULL_SERVER_PAUSE).await;
            }
            outcome => return outcome,
        }
    }
}

/// A connection that is abandoned when this is dropped with it.
#[derive(Debug)]
pub(crate) struct Abandonable<P: Borrow<Pool>> {
    connection: Option<Connection>,
    pub(crate) pool: P,
}

impl<P: Borrow<Pool>> Abandonable<P> {
    pub(crate) async fn borrow(pool: P) -> Result<Self, DbError> {
        Ok(Self { connection: Some(pool.borrow().get().await?), pool })
    }

    /// Gives the connection back to the pool.
    pub(crate) fn release(mut self) {
        drop(self.connection.take());
    }
}

impl<P: Borrow<Pool>> Deref for Abandonable<P> {
    type Target = Connection;

    #[expect(clippy::expect_used, reason = "the connection leaves only together with this, by value")]
    fn deref(&self) -> &Connection {
        self.connection.as_ref().expect("a guard has its connection")
    }
}

impl<P: Borrow<Pool>> DerefMut for Abandonable<P> {
    #[expect(clippy::expect_used, reason = "the connection leaves only together with this, by value")]
    fn deref_mut(&mut self) -> &mut Connection {
        self.connection.as_mut().expect("a guard has its connection")
    }
}

impl<P: Borrow<Pool>> Drop for Abandonable<P> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            // The server rolls back when the socket closes, and is asked to stop a statement that still runs and holds locks.
            self.pool.borrow().abandon(connection);
        }
    }
}
