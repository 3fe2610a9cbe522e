//! The text of a reply as it is produced, for a reader in any process.

use std::time::Duration;

use pg::DbError;
use sessions::{MessageStatus, Reply, ReplyName, replies};
use tokio::{
    sync::{broadcast, watch},
    time::{Instant, sleep_until},
};
use uuid::Uuid;

use super::{
    live::State,
    shared::{Replies, find},
};

/// Pause between two looks at a reply of another process, if no news of it come.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Reads a reply from some place of its text on. What comes does not depend on who produces it.
#[derive(Debug)]
pub struct ReplyReader {
    replies: Replies,
    name: ReplyName,
    /// Bytes of the text that were read.
    offset: usize,
    /// The state of a reply that runs here.
    live: Option<watch::Receiver<State>>,
    news: broadcast::Receiver<Uuid>,
}

/// News of a reply.
#[derive(Debug)]
pub enum ReplyEvent {
    /// More text.
    Text {
        /// The piece.
        piece: String,
        /// Bytes of the text up to its end.
        end: usize,
    },
    /// It has ended, and this is what is stored.
    Ended(Box<Reply>),
    /// Its session was deleted.
    Gone,
}

impl Replies {
    /// Reads a reply from byte `offset` of its text on.
    #[must_use]
    pub fn read(&self, name: ReplyName, offset: usize) -> ReplyReader {
        let live = self.0.live(name.message_id).map(|live| live.watch());
        ReplyReader { news: self.0.news.subscribe(), replies: self.clone(), name, offset, live }
    }
}

impl ReplyReader {
    /// The name of the reply.
    #[must_use]
    pub fn name(&self) -> &ReplyName {
        &self.name
    }

    /// Bytes of the text that were read.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Waits until the answer of the upstream begins, or the reply has ended: then it may have failed.
    pub async fn begun(&mut self) {
        if let Some(live) = &mut self.live {
            let _gone = live.wait_for(|state| state.begun || state.over).await;
        }
    }

    /// The reply as it is stored.
    ///
    /// # Errors
    /// [`DbError`] when the database cannot be asked.
    pub async fn stored(&self) -> Result<Option<Reply>, DbError> {
        self.replies.0.pool.read(async |conn| find(conn, &self.name).await).await
    }

    /// The next news; it waits for them.
    ///
    /// # Errors
    /// [`DbError`] when the database cannot be asked.
    pub async fn next(&mut self) -> Result<ReplyEvent, DbError> {
        loop {
            if let Some(event) = self.of_live().await {
                return Ok(event);
            }
            if let Some(event) = self.of_database().await? {
                return Ok(event);
            }
            self.wait().await;
        }
    }

    /// More text of a reply that runs here; `None` once the database knows more.
    async fn of_live(&mut self) -> Option<ReplyEvent> {
        let live = self.live.as_mut()?;
        let offset = self.offset;
        let piece = match live.wait_for(|state| state.over || state.text.len() > offset).await {
            Ok(state) => {
                let start = state.text.ceil_char_boundary(offset);
                state
                    .text
                    .get(start..)
                    .filter(|piece| !piece.is_empty())
                    .map(|piece| (start, piece.to_owned()))
            }
            Err(_) => None,
        };
        match piece {
            Some((start, piece)) => {
                self.offset = start.saturating_add(piece.len());
                Some(ReplyEvent::Text { piece, end: self.offset })
            }
            None => {
                self.live = None;
                None
            }
        }
    }

    async fn of_database(&mut self) -> Result<Option<ReplyEvent>, DbError> {
        let Self { replies: all, name, offset, .. } = self;
        let pool = &all.0.pool;
        let place = i64::try_from(*offset).unwrap_or(i64::MAX);
        let found = pool
            .read(async |conn| replies::text_after(conn, &name.user_id, name.message_id, place).await)
            .await?;
        let Some(found) = found else {
            return Ok(Some(ReplyEvent::Gone));
        };
        // It begins behind the rest of a character that the offset was in.
        let rest = found.bytes.iter().take_while(|byte| (0x80..0xC0).contains(*byte)).count();
        let piece = String::from_utf8_lossy(found.bytes.get(rest..).unwrap_or_default()).into_owned();
        if !piece.is_empty() {
            self.offset = self.offset.saturating_add(rest).saturating_add(piece.len());
            return Ok(Some(ReplyEvent::Text { piece, end: self.offset }));
        }
        if found.status == MessageStatus::InProgress {
            return Ok(None);
        }
        let reply = self.stored().await?;
        Ok(Some(reply.map_or(ReplyEvent::Gone, |reply| ReplyEvent::Ended(Box::new(reply)))))
    }

    /// Waits for news of another process.
    async fn wait(&mut self) {
        let until = Instant::now() + LOOK_EVERY;
        loop {
            let news = tokio::select! {
                () = sleep_until(until) => return,
                news = self.news.recv() => news,
            };
            match news {
                Ok(message_id) if message_id != self.name.message_id => {}
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => return,
                Err(broadcast::error::RecvError::Closed) => return sleep_until(until).await,
            }
        }
    }
}
