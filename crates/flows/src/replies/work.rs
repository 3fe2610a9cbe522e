//! The middle step: the model produces the reply. No transaction is open meanwhile.

use std::{sync::Arc, time::Duration};

use chat::{CompletionRequest, Finish, Part, UpstreamError};
use futures_util::StreamExt as _;
use pg::{DbError, Tx, pool::chain};
use sessions::{CONTENT_BYTES_MAX, ReplyTerms, replies};
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
    pub(super) terms: ReplyTerms,
    pub(super) request: CompletionRequest,
    /// True if text is kept when the upstream fails behind it.
    pub(super) keeps_parts: bool,
}

/// Removes a reply from those that run here, whatever becomes of its work.
struct Registered(Arc<Shared>, Arc<Live>);

impl Drop for Registered {
    fn drop(&mut self) {
        self.0.running().remove(&self.1.name.message_id);
        self.1.note_over();
    }
}

impl Work {
    pub(super) async fn run(self) {
        let _registered = Registered(Arc::clone(&self.shared), Arc::clone(&self.live));
        let name = self.live.name.clone();
        let Some(produced) = self.produce().await else {
            tracing::info!(message.id = %name.message_id, "a reply was given up: its session is gone, or another process has it");
            return;
        };
        metrics::counter!("chat_replies_total", "ending" => produced.ending.as_str()).increment(1);
        match self.shared.end(&name, &self.terms, &produced).await {
            Ok(_) => {}
            // Its lease expires, and then any process ends it.
            Err(error) => tracing::error!(
                error = %chain(&error), message.id = %name.message_id, "the end of a reply cannot be stored yet"
            ),
        }
    }

    /// Produces the reply; `None` if this process must stop.
    async fn produce(&self) -> Option<Produced> {
        let mut parts = self.shared.model.complete(self.request.clone());
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
        let Shared { pool, clock, lease, .. } = &*self.shared;
        let (name, unsaved) = (&self.live.name, text.whole.get(text.saved..).unwrap_or_default());
        let saving = Tx::run(pool, async |tx| {
            replies::save_progress(tx.conn(), &**clock, name, *lease, unsaved).await
        });
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
