//! The middle step: the model produces the reply. No transaction is open meanwhile.

use std::{sync::Arc, time::Duration};

use chat::{CompletionRequest, Finish, Part, UpstreamError};
use futures_util::StreamExt as _;
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
/// Longest time of one save: the upstream is not read meanwhile.
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
        let ending = loop {
            let part = tokio::select! {
                biased;
                () = self.live.cancelled() => break Ending::Cancelled,
                () = self.live.stopped() => break Ending::Cut,
                _ = save.tick() => {
                    if self.save(&mut text).await? { break Ending::Cancelled }
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
                    if text.unsaved() >= SAVE_BYTES && self.save(&mut text).await? {
                        break Ending::Cancelled;
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
        metrics::histogram!("chat_upstream_seconds").record(began.elapsed());
        if ending == Ending::Broken && !self.keeps_parts {
            text.whole.clear();
            tool_calls = None;
        }
        let Finish { reason, usage } = finish.unwrap_or(Finish { reason: None, usage: None });
        Some(Produced { text: text.whole, tool_calls, usage, reason, ending })
    }

    /// Stores the text so far and renews the lease. Returns true if a caller asked for the end, and `None` if this process must stop. A
    /// database that cannot be asked is asked again later.
    async fn save(&self, text: &mut Text) -> Option<bool> {
        let Shared { pool, clock, .. } = &*self.shared;
        let (name, lease) = (&self.live.name, self.lease);
        let unsaved = text.whole.get(text.saved..).unwrap_or_default();
        let piece = (!unsaved.is_empty()).then_some((text.saved, unsaved));
        let saving =
            Tx::run(pool, async |tx| replies::save_progress(tx.conn(), &**clock, name, lease, piece).await);
        let saved: Result<Option<bool>, DbError> = match timeout(SAVE_TIMEOUT, saving).await {
            Ok(saved) => saved,
            Err(_) => return Some(false),
        };
        match saved {
            Ok(progress) => {
                text.saved = text.whole.len();
                progress
            }
            Err(error) => {
                tracing::warn!(error = %chain(&error), message.id = %name.message_id, "a reply cannot be stored yet");
                Some(false)
            }
        }
    }

    fn bytes_max(&self) -> usize {
        let tokens = usize::try_from(self.terms.max_tokens).unwrap_or(usize::MAX);
        tokens.saturating_mul(BYTES_PER_TOKEN).min(CONTENT_BYTES_MAX)
    }
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

    fn unsaved(&self) -> usize {
        self.whole.len().saturating_sub(self.saved)
    }
}
