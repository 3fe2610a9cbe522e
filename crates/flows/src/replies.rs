//! Replies of a model to messages (HTTP contract 9.1), in three steps: begin (one commit: hold, message of the user, message of
//! the assistant in progress, key), work (no transaction open), end (one commit: reply, usage record, charge, counters, events).
//!
//! Guarantees that the message of the user is stored before the model is asked, that a reply is charged once, for what was
//! stored of it, and never more than its hold, and that it ends even if its process dies: the work has a lease, and any process
//! ends what is left of an expired one. The work is a task of the process: a caller who goes away does not stop it.
//!
//! Reads identity; touches credits, sessions, webhooks, idempotency and usage, in this order.

mod begin;
mod end;
mod live;
mod price;
mod prompt;
mod reader;
mod settings;
mod shared;
mod work;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chat::ChatModel;
use credits::Defaults;
use kernel::{Clock, Ids};
use pg::{DbError, Listener, Pool};
use sessions::{MessageStatus, Reply, ReplyName, SessionRefusal};
use tokio::{runtime::Handle, sync::broadcast};
use usage::Prices;
use uuid::Uuid;

use crate::{
    WholeCredits,
    jobs::{Job, Next},
};

pub use begin::{Ask, Asked};
pub use reader::{ReplyEvent, ReplyReader};
pub use settings::{ReplyRefusal, ReplySettings};
pub use shared::Replies;

use end::{Ending, Produced};
use live::Live;
use shared::{Shared, find, not_found};

/// News that a slow reader may be behind; it looks at the database then.
const NEWS_MAX: usize = 1_024;
/// The channel on which changes of replies are announced.
const CHANNEL: &str = "replies";
/// Pause before a lost connection is replaced.
const LISTEN_AGAIN: Duration = Duration::from_secs(2);
/// Pause between two looks for replies whose process has died: together with the lease less than the 60 s of the contract.
const SWEEP_EVERY: Duration = Duration::from_secs(10);
/// Most replies of one look.
const SWEEP_MAX: i64 = 100;

impl Replies {
    /// Replies of this model. Their work runs on the present tokio runtime.
    #[must_use]
    pub fn start(
        pool: Pool,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
        model: Arc<dyn ChatModel>,
        settings: ReplySettings,
        defaults: Defaults,
    ) -> Self {
        Self(Arc::new(Shared {
            pool,
            clock,
            ids,
            model,
            settings,
            defaults,
            prices: Prices::new(),
            home: Handle::current(),
            is_stopping: AtomicBool::new(false),
            consumed: WholeCredits::default(),
            running: Mutex::default(),
            news: broadcast::Sender::new(NEWS_MAX),
        }))
    }

    /// The job that hears of replies which other processes produce, on a connection of `pool` that it keeps. Without it readers look
    /// for news twice a second.
    #[must_use]
    pub fn listening_job(&self, pool: &Pool) -> Job {
        let state = (self.clone(), pool.clone(), None);
        Job::new("listen_to_replies", LISTEN_AGAIN, state, |(replies, pool, listener)| {
            Box::pin(replies.hear(pool, listener))
        })
    }

    /// Hears the next news, or none for a while. A listener that failed is gone.
    async fn hear(&self, pool: &Pool, listener: &mut Option<Listener>) -> Result<Next, DbError> {
        let mut listening = match listener.take() {
            Some(listening) => listening,
            None => match pool.listen(CHANNEL).await? {
                Some(listening) => listening,
                None => return Ok(Next::Never),
            },
        };
        let news = listening.next().await?;
        if let Some(message_id) = news.and_then(|news| news.parse().ok()) {
            let _nobody_reads = self.0.news.send(message_id);
        }
        *listener = Some(listening);
        Ok(Next::AtOnce)
    }

    /// Ends a reply that runs, here or in another process, and returns it as it was stored. What was produced is charged.
    ///
    /// Refused as [`SessionRefusal::ReplyFinished`] if it had ended, and as [`SessionRefusal::MessageNotFound`].
    ///
    /// # Errors
    /// [`DbError`] when the database cannot be asked.
    pub async fn cancel(&self, name: &ReplyName) -> Result<Result<Reply, SessionRefusal>, DbError> {
        let Shared { pool, .. } = &*self.0;
        let asked = pool.read(async |conn| sessions::replies::request_cancel(conn, name).await).await?;
        if asked && let Some(live) = self.0.live(name.message_id) {
            live.cancel();
        }
        let finished = SessionRefusal::ReplyFinished { message_id: name.message_id };
        let reply = match asked {
            true => self.ended(name).await?,
            false => pool.read(async |conn| find(conn, name).await).await?,
        };
        Ok(match reply {
            None => Err(not_found(name)),
            Some(reply) if asked && reply.message.status == MessageStatus::Cancelled => Ok(reply),
            Some(_) => Err(finished),
        })
    }

    /// Waits for the end of a reply; `None` if it is gone.
    ///
    /// # Errors
    /// [`DbError`] when the database cannot be asked.
    pub async fn ended(&self, name: &ReplyName) -> Result<Option<Reply>, DbError> {
        let mut reader = self.read(name.clone(), sessions::CONTENT_BYTES_MAX);
        loop {
            match reader.next().await? {
                ReplyEvent::Text { .. } => {}
                ReplyEvent::Ended(reply) => return Ok(Some(*reply)),
                ReplyEvent::Gone => return Ok(None),
            }
        }
    }

    /// Ends the replies that run in this process, as incomplete, and waits until they are stored. No other begins any more.
    pub async fn stop(&self) {
        self.0.is_stopping.store(true, Ordering::Release);
        let running: Vec<Arc<Live>> = self.0.running().values().cloned().collect();
        for live in &running {
            live.stop();
        }
        for live in running {
            live.ended().await;
        }
    }

    /// The job that ends replies whose process has died.
    #[must_use]
    pub fn job(&self) -> Job {
        Job::new("finish_replies", SWEEP_EVERY, self.clone(), |replies| {
            Box::pin(async {
                let finished = replies.sweep().await?;
                Ok(if finished == 0 { Next::Later } else { Next::AtOnce })
            })
        })
    }

    /// Ends replies whose process has died; returns the number of them.
    ///
    /// # Errors
    /// The first [`DbError`]; the other replies were tried too.
    pub async fn sweep(&self) -> Result<usize, DbError> {
        let Shared { pool, clock, .. } = &*self.0;
        let expired =
            pool.read(async |conn| sessions::replies::expired(conn, &**clock, SWEEP_MAX).await).await?;
        let (mut finished, mut failed) = (0_usize, None);
        for name in expired {
            // What runs here ends by itself.
            if self.0.live(name.message_id).is_some() {
                continue;
            }
            let lease = self.0.lease();
            let taken = async |conn: &mut _| sessions::replies::take_over(conn, &**clock, &name, lease).await;
            let ended = match pool.read(taken).await {
                Ok(true) => self.0.end_of_the_dead(&name, lease.owner).await,
                Ok(false) => continue,
                Err(error) => Err(error),
            };
            match ended {
                Ok(()) => finished = finished.saturating_add(1),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(finished), Err)
    }
}

impl Shared {
    /// Ends a reply whose lease was taken over, with the text that is stored.
    async fn end_of_the_dead(&self, name: &ReplyName, owner: Uuid) -> Result<(), DbError> {
        let Some(reply) = self.pool.read(async |conn| find(conn, name).await).await? else {
            return Ok(());
        };
        tracing::warn!(message.id = %name.message_id, "a reply whose process has ended is finished");
        let text = reply.message.content.clone();
        let ending = if reply.cancel_requested { Ending::Cancelled } else { Ending::Broken };
        let produced = Produced { text, tool_calls: None, usage: None, reason: None, ending };
        self.end(name, owner, &reply.terms, &produced).await?;
        Ok(())
    }
}
