//! Notifications of other processes (`LISTEN`), on a connection of their own.

use std::time::Duration;

use diesel_async::SimpleAsyncConnection as _;
use tokio::{sync::mpsc, time::timeout};

use crate::{
    DbError,
    pool::{Connection, Pool},
};

/// Pause after which a silent connection is asked for a sign of life.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// A connection that listens to one channel. It is never given back to its pool: dropped, it is closed.
#[derive(Debug)]
pub struct Listener {
    /// Gone only while it is dropped.
    connection: Option<Connection>,
    notices: mpsc::UnboundedReceiver<String>,
}

impl Pool {
    /// Listens to a channel, on a connection that keeps its place in the pool meanwhile. `None` behind a pooler, whose connections
    /// are not those of this process.
    ///
    /// Notifications may be lost, when a connection breaks for example: whoever listens looks for news now and then.
    ///
    /// # Errors
    /// [`DbError`] when there is no connection.
    pub async fn listen(&self, channel: &'static str) -> Result<Option<Listener>, DbError> {
        let mut connection = self.get().await?;
        if self.session().is_pooled() {
            return Ok(None);
        }
        let notices = connection.notices();
        let mut listener = Listener { connection: None, notices };
        let listening = connection.batch_execute(&format!("LISTEN {channel}")).await;
        listener.connection = Some(connection);
        listening?;
        Ok(Some(listener))
    }
}

impl Listener {
    /// Waits for the next notification, and returns its text; `None` if there was none for a while and the server still answers.
    ///
    /// # Errors
    /// [`DbError`] when the connection is lost.
    pub async fn next(&mut self) -> Result<Option<String>, DbError> {
        match timeout(HEARTBEAT, self.notices.recv()).await {
            Ok(Some(notice)) => return Ok(Some(notice)),
            Ok(None) => return Err(DbError::Connect("the connection that listens ended".into())),
            Err(_) => {}
        }
        if let Some(connection) = &mut self.connection {
            connection.batch_execute("").await?;
        }
        Ok(None)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.discard();
        }
    }
}
