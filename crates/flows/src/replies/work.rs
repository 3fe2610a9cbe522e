//! The middle step: the model produces the reply. No transaction is open meanwhile.

use std::{sync::Arc, time::Duration};

use chat::{CompletionRequest, Finish, Part, UpstreamError};
use futures_util::{
    FutureExt as _, StreamExt as _,
    future::{Fuse, FusedFuture as _},
};
use pg::{DbError, Tx, pool::chain};
use sessions::{CONTENT_BYTES_MAX, Lease, ReplyTerms, replies};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use super::{
    end::{Ending, Produced},
    live::Live,
    shared::Shared,
};

/// Longest time in which a reply is not stored (HTTP contract 9.1).
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// Most bytes that are not stored, likewise.
const SAVE_BYTES: usize = 4 * 1024;
/// Bytes of text for each token that the model may produce; what is beyond ends the reply.
const BYTES_PER_TOKEN: usize = 16;
/// Longest time of one save.
const SAVE_TIMEOUT: Duration = Duration::from_secs(5);

/// A reply that is to be produced.
pub(super) struct Work {
    pub(super) shared: Arc<Shared>,
    pub(super) live: Arc<Live>,
    pub(super) lease: Lease,
    pub(super) terms: ReplyTerms,
    /// Taken when the work begins, so that the conversation is not kept.
    pub(super) request: Option<CompletionRequest>,
    /// True if text is kept when the upstream fails behind it.
    pub(super) keeps_parts: bool,
}

/// Removes a reply from those that run here, whatever becomes of its work.
struct Registered(Arc<Shared>, Arc<Live>);

impl Drop for Registered {
    fn drop(&mut self) {
        let mut running = self.0.running();
        // A later attempt at the same reply may stand there.
        if running.get(&self.1.name.message_id).is_some_and(|live| Arc::ptr_eq(live, &self.1)) {
            running.remove(&self.1.name.message_id);
        }
        drop(running);
        self.1.note_over();
    }
}

impl Work {
    pub(super) async fn run(mut self) {
        let _registered = Registered(Arc::clone(&self.shared), Arc::clone(&self.live));
        let name = self.live.name.clone();
        let Some(mut produced) = self.produce().await else {
            tracing::info!(message.id = %name.message_id, "a reply was given up: its session is gone, or another process has it");
            return;
        };
        while let Err(error) = self.shared.end(&name, self.lease.owner, &self.terms, &produced).await {
            tracing::error!(
                error = %chain(&error), message.id = %name.message_id, "the end of a reply cannot be stored yet"
            );
            // Figures of the upstream that nobody can count are estimated instead.
            let is_hopeless = matches!(error, DbError::Inconsistent(_)) && produced.usage.take().is_none();
            if is_hopeless || !self.may_try_again().await {
                // Its lease expires, and then any process ends it.
                return;
            }
        }
    }

    /// Waits a moment and renews the lease; false if this process ends, or must not go on.
    async fn may_try_again(&self) -> bool {
        let Shared { pool, clock, .. } = &*self.shared;
        let stopped = timeout(SAVE_EVERY, self.live.stopped()).await.is_ok();
        let (name, lease) = (&self.live.name, self.lease);
        let renewing =
            Tx::run(pool, async |tx| replies::save_progress(tx.conn(), &**clock, name, lease, None).await);
        !stopped && !matches!(timeout(SAVE_TIMEOUT, renewing).await, Ok(Ok(None)))
    }

    /// Produces the reply; `None` if this process must stop.
    async fn produce(&mut self) -> Option<Produced> {
        let began = Instant::now();
        let mut parts = self.shared.model.complete(self.request.take()?);
        let mut text = Text { whole: String::new(), saved: 0, bytes_max: self.bytes_max() };
        let mut save = interval_at(Instant::now() + SAVE_EVERY, SAVE_EVERY);
        save.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut tool_calls, mut finish) = (None, None);
        // The upstream is read on while the text is stored, so that no reader waits for the database.
        let mut saving = Fuse::terminated();
        let ending = loop {
            let part = tokio::select! {
                biased;
                () = self.live.cancelled() => break Ending::Cancelled,
                () = self.live.stopped() => break Ending::Cut,
                saved = &mut saving, if !saving.is_terminated() => {
                    if text.note_saved(saved)? { break Ending::Cancelled }
                    continue;
                }
                _ = save.tick(), if saving.is_terminated() => {
                    saving = self.save(&text).boxed().fuse();
                    continue;
                }
                part = parts.next() => part,
            };
            match part {
                Some(Ok(Part::Started)) => self.live.note_begun(),
                Some(Ok(Part::Text(piece))) => {
                    let (piece, is_cut) = text.push(&piece);
                    self.live.append(piece);
                    if is_cut {
                        break Ending::Cut;
                    }
                    if text.unsaved().len() >= SAVE_BYTES && saving.is_terminated() {
                        saving = self.save(&text).boxed().fuse();
                    }
                }
                Some(Ok(Part::ToolCalls(calls))) => tool_calls = Some(calls),
                Some(Ok(Part::Finished(end))) => {
                    finish = Some(end);
                    break Ending::Whole;
                }
                Some(Err(UpstreamError::TimedOut)) if !text.whole.is_empty() => break Ending::Cut,
                Some(Err(error)) => {
                    tracing::warn!(error = %error, message.id = %self.live.name.message_id, "the chat upstream failed");
                    break Ending::Broken;
                }
                None => break Ending::Broken,
            }
        };
        drop(parts);
        // What is being stored stands in the way of the end.
        if !saving.is_terminated() {
            text.note_saved(saving.await)?;
        }
        metrics::histogram!("chat_upstream_seconds").record(began.elapsed());
        if ending == Ending::Broken && !self.keeps_parts {
            text.whole.clear();
            tool_calls = None;
        }
        let Finish { reason, usage } = finish.unwrap_or(Finish { reason: None, usage: None });
        Some(Produced { text: text.whole, tool_calls, usage, reason, ending })
    }

    /// Stores the text so far and renews the lease. A database that cannot be asked is asked again later.
    fn save(&self, text: &Text) -> impl Future<Output = Saved> + Send + use<> {
        let (shared, name, lease) = (Arc::clone(&self.shared), self.live.name.clone(), self.lease);
        let (behind, piece) = (text.saved, text.unsaved().to_owned());
        async move {
            let unsaved = (!piece.is_empty()).then_some((behind, piece.as_str()));
            let saving = Tx::run(&shared.pool, async |tx| {
                replies::save_progress(tx.conn(), &*shared.clock, &name, lease, unsaved).await
            });
            match timeout(SAVE_TIMEOUT, saving).await {
                Ok(Ok(Some(is_cancelled))) => {
                    Saved::Stored { bytes: behind.saturating_add(piece.len()), is_cancelled }
                }
                Ok(Ok(None)) => Saved::Lost,
                Ok(Err(error)) => {
                    tracing::warn!(error = %chain(&error), message.id = %name.message_id, "a reply cannot be stored yet");
                    Saved::Failed
                }
                Err(_) => Saved::Failed,
            }
        }
    }

    fn bytes_max(&self) -> usize {
        let tokens = usize::try_from(self.terms.max_tokens).unwrap_or(usize::MAX);
        tokens.saturating_mul(BYTES_PER_TOKEN).min(CONTENT_BYTES_MAX)
    }
}

/// The outcome of a save.
enum Saved {
    Stored {
        /// Bytes of the text that are stored.
        bytes: usize,
        /// A caller asked for the end of the reply.
        is_cancelled: bool,
    },
    Failed,
    /// Another process has the reply, or it is gone.
    Lost,
}

/// The text of a reply, up to its greatest length.
struct Text {
    whole: String,
    /// Bytes that are stored.
    saved: usize,
    bytes_max: usize,
}

impl Text {
    /// Appends a piece as far as it fits; returns what was appended, and true if that is not all.
    fn push<'a>(&mut self, piece: &'a str) -> (&'a str, bool) {
        let room = self.bytes_max.saturating_sub(self.whole.len());
        let fits = piece.get(..piece.floor_char_boundary(room)).unwrap_or_default();
        self.whole.push_str(fits);
        (fits, fits.len() < piece.len())
    }

    fn unsaved(&self) -> &str {
        self.whole.get(self.saved..).unwrap_or_default()
    }

    /// Notes what is stored. Returns true if a caller asked for the end of the reply, and `None` if this process must stop.
    fn note_saved(&mut self, saved: Saved) -> Option<bool> {
        match saved {
            Saved::Stored { bytes, is_cancelled } => {
                self.saved = bytes;
                Some(is_cancelled)
            }
            Saved::Failed => Some(false),
            Saved::Lost => None,
        }
    }
}
