//! Replies of the configured model.

use std::sync::Arc;

use chat::{OpenAi, OpenAiError};
use flows::replies::{Replies, ReplySettings};
use kernel::{Clock, Ids};
use pg::Pool;

use crate::config::Config;

/// Replies of the configured model, if there is one. Their work runs on the present tokio runtime.
///
/// # Errors
/// [`OpenAiError`].
pub fn start(
    config: &Config,
    pool: &Pool,
    clock: &Arc<dyn Clock>,
    ids: &Arc<dyn Ids>,
) -> Result<Option<Replies>, OpenAiError> {
    let Some(chat) = &config.chat else {
        return Ok(None);
    };
    let upstream = Arc::new(OpenAi::new(chat.upstream())?);
    let settings = ReplySettings {
        model: chat.model.clone(),
        system_prompt: chat.system_prompt.clone(),
        max_tokens: chat.max_tokens,
        history: chat.history,
        credits_per_token: chat.credits_per_token,
    };
    let (clock, ids) = (Arc::clone(clock), Arc::clone(ids));
    Ok(Some(Replies::start(pool.clone(), clock, ids, upstream, settings, config.credits.defaults)))
}
