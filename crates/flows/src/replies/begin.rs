//! The first step: hold, message of the user, message of the assistant in progress, and key, in one commit.

use std::{
    borrow::Cow,
    sync::{Arc, atomic::Ordering},
};

use chat::{COMPLETION_MAX, CompletionRequest, PromptMessage, Transfer};
use credits::{Action, Deciding, HoldMode, Refusal};
use idempotency::{KeyStatus, KeyedRequest, Link, Replay, StoredAnswer};
use kernel::{CallerClass, Credits, IdempotencyKey, Scope, UserId};
use pg::{Attempts, DbError, Tx};
use serde::de::IgnoredAny;
use serde_json::json;
use sessions::{Lease, MessageStatus, NewReply, Reply, ReplyName, ReplyTerms, Role, SessionRefusal, replies};
use time::Duration;
use uuid::Uuid;
use webhooks::Receivers;

use super::{
    Replies, ReplyReader, ReplyRefusal, Shared, live::Live, price::Quotes, prompt::Prompt, work::Work,
};
use crate::{
    answers::{self, Repeat, RepeatAnswer},
    caller::{CallerCheck, CallerStatuses, Noted},
    events,
};

/// A message to which the model is to reply.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The user, who owns the session.
    pub user_id: UserId,
    /// The check of the caller that is still to be done.
    pub check: CallerCheck,
    /// The class of the caller, to whom the key belongs.
    pub caller: CallerClass,
    /// The session.
    pub session_id: Uuid,
    /// The text: 1 character to [`sessions::CONTENT_BYTES_MAX`] bytes, without NUL.
    pub content: String,
    /// True if the caller reads the text as it comes: then a part of it is kept when the upstream fails. Otherwise such a reply has
    /// failed, and costs nothing.
    pub is_streamed: bool,
    /// The caller's identity of the request.
    pub key: Option<IdempotencyKey>,
}

/// The answer to an [`Ask`].
#[derive(Debug)]
pub enum Asked {
    /// The reply is being produced.
    Begun(ReplyReader),
    /// The same request was made before under the key, and its reply has ended.
    Repeat(Box<Reply>),
}

/// A reply that is stored and can be produced.
struct Begun {
    name: ReplyName,
    lease: Lease,
    terms: ReplyTerms,
    messages: Vec<PromptMessage>,
    /// False if messages that are stored get another attempt.
    is_new: bool,
}

/// The reply of an earlier request with the same key.
enum Earlier {
    None,
    /// It failed, and nothing was charged: it begins again.
    Failed(Box<Reply>),
    Ended(Box<Reply>),
}

impl Replies {
    /// Stores a message and begins the reply to it.
    ///
    /// # Errors
    /// [`DbError`] when the database cannot be asked; after [`DbError::OutcomeUnknown`] the message may be stored, with a reply that
    /// fails.
    pub async fn ask(&self, ask: &Ask) -> Result<Result<Asked, ReplyRefusal>, DbError> {
        // In a task: a caller who goes away meanwhile does not leave a reply without its work.
        let (replies, ask) = (self.clone(), ask.clone());
        let asked = self.0.home.spawn(async move { replies.begin(&ask).await });
        asked.await.unwrap_or_else(|_| Err(DbError::Inconsistent("a reply could not begin".to_owned())))
    }

    async fn begin(&self, ask: &Ask) -> Result<Result<Asked, ReplyRefusal>, DbError> {
        let shared = &self.0;
        if shared.is_stopping.load(Ordering::Acquire) {
            return Ok(Err(ReplyRefusal::Stopping));
        }
        let mut attempts = Attempts::up_to(3);
        let begun = loop {
            match Tx::decide(&shared.pool, async |tx| shared.begin_in(tx, ask).await).await {
                Err(error) if attempts.again(&error).await => {}
                result => break result?,
            }
        };
        Ok(match begun {
            Err(refusal) | Ok(Decided::Refused(refusal)) => Err(refusal),
            Ok(Decided::Repeat(reply)) => Ok(Asked::Repeat(reply)),
            Ok(Decided::Begun(begun)) => {
                if begun.is_new {
                    for role in [Role::User, Role::Assistant] {
                        metrics::counter!("messages_total", "role" => role.as_str()).increment(1);
                    }
                }
                Ok(Asked::Begun(self.work_on(begun, ask.is_streamed)))
            }
        })
    }

    fn work_on(&self, begun: Begun, keeps_parts: bool) -> ReplyReader {
        let Begun { name, lease, terms, messages, is_new: _ } = begun;
        let live = Live::new(name.clone());
        self.0.running().insert(name.message_id, Arc::clone(&live));
        let request = CompletionRequest {
            model: terms.model.clone(),
            messages,
            max_tokens: u32::try_from(terms.max_tokens).unwrap_or(u32::MAX),
            // Also for callers who wait for the whole: it is stored as it comes, and only a pause is too long.
            transfer: Transfer::Streamed,
        };
        let reader = self.read(name, 0);
        let work =
            Work { shared: Arc::clone(&self.0), live, lease, terms, request: Some(request), keeps_parts };
        self.0.home.spawn(work.run());
        reader
    }
}

/// The content of the commit.
enum Decided {
    /// The new reply.
    Begun(Begun),
    /// Nothing: there is an earlier reply.
    Repeat(Box<Reply>),
    /// A refusal that is remembered under the key.
    Refused(ReplyRefusal),
}

impl Shared {
    async fn begin_in(&self, tx: &mut Tx, ask: &Ask) -> Result<Result<Decided, ReplyRefusal>, DbError> {
        let Ask { user_id, check, session_id, content, .. } = ask;
        let statuses =
            CallerStatuses::load_to_write(tx.shared(), Noted::Not, [(user_id, *check)].into_iter()).await?;
        if let Err(rejected) = statuses.admit(user_id, *check) {
            return Ok(Err(ReplyRefusal::Caller(rejected)));
        }
        let wanted = Receivers::default().wanted(tx.shared()).await?;
        let locking = self.command(user_id, Action::ApplyDue);
        let locked = credits::lock(tx.shared(), &*self.clock, [&locking]).await?;
        let keyed = ask.key.as_ref().map(|key| KeyedRequest { user_id, key, caller: ask.caller });
        let mut keys = idempotency::look_up(tx.shared(), keyed).await?;
        let earlier = match keyed.map(|request| keys.status(request)) {
            None | Some(KeyStatus::New | KeyStatus::InBatch(_)) => Earlier::None,
            Some(KeyStatus::Conflict(conflict)) => return Ok(Err(conflict.into())),
            Some(KeyStatus::Answered(stored)) => match earlier(tx, ask, stored).await? {
                Ok(earlier) => earlier,
                Err(refusal) => return Ok(Err(refusal)),
            },
        };
        let scope = Scope::Own(user_id.clone());
        let failed = match earlier {
            Earlier::Ended(reply) => return Ok(Ok(Decided::Repeat(reply))),
            Earlier::Failed(reply) => Some(reply),
            Earlier::None => None,
        };
        // Before the credit, which the hold of a running reply may have taken.
        if let Err(refusal) = replies::lock_idle(tx, *session_id, &scope).await? {
            return Ok(Err(refusal.into()));
        }
        let mut deciding: Deciding<'_> = credits::prepare(tx.shared(), self.defaults, locked).await?;
        let before = failed.as_ref().map(|reply| reply.question_seq);
        let limit = i64::from(self.settings.history);
        let history = replies::history(tx.conn(), user_id, *session_id, before, limit).await?;
        let mut prompt = Prompt::new(&self.settings, history, content.clone());
        let terms = self.terms(tx, &mut deciding, user_id, &mut prompt).await?;
        let at = deciding.at(user_id);
        // The key of a reply that begins again is stored.
        let new_key = keyed.filter(|_| failed.is_none());
        let (decision, answer) = match terms {
            Ok(terms) => {
                let lease = self.lease();
                let name = match self.store(tx, ask, failed.as_deref(), &terms, lease).await? {
                    Ok(name) => name,
                    Err(refusal) => return Ok(Err(refusal.into())),
                };
                let link = Link { transaction_id: name.message_id, usage_record_id: None };
                let messages = prompt.into_messages();
                (
                    Decided::Begun(Begun { name, lease, terms, messages, is_new: failed.is_none() }),
                    answers::applied(at, None, link, &json!({}))?,
                )
            }
            Err(refusal) => {
                let refused = ReplyRefusal::Ledger { refusal: refusal.clone(), at, replay: Replay::First };
                if new_key.is_none() || !refusal.is_remembered() {
                    return Ok(Err(refused));
                }
                (Decided::Refused(refused), answers::refused(at, &refusal)?)
            }
        };
        if let Some(request) = new_key {
            keys.add(request, 0, answer);
        }
        let decided = deciding.finish();
        let news = events::of_entries(&wanted, decided.entries(), decided.low());
        decided.save(tx).await?;
        webhooks::enqueue(tx, &wanted, news).await?;
        keys.save(tx).await?;
        Ok(Ok(decision))
    }

    /// Sets the credit for a reply aside, and leaves earlier messages out of the prompt as long as there is not enough for it and one
    /// token.
    async fn terms<'a>(
        &self,
        tx: &mut Tx,
        deciding: &mut Deciding<'a>,
        user_id: &UserId,
        prompt: &mut Prompt,
    ) -> Result<Result<ReplyTerms, Refusal>, DbError> {
        let Some(balance) = deciding.balance(user_id)? else {
            return Ok(Err(Refusal::UserNotFound { user_id: user_id.clone() }));
        };
        let book = self.prices.book(tx.shared()).await?;
        let quotes = Quotes { settings: &self.settings, book: &book, at: deciding.at(user_id), user_id };
        let least = loop {
            let least = quotes.charge(prompt.tokens(), 1)?;
            if least <= balance.available() || !prompt.forget_oldest() {
                break least;
            }
        };
        let (prompt_tokens, max) = (prompt.tokens(), i64::from(self.settings.max_tokens));
        let terms = |hold_id, held, max_tokens| ReplyTerms {
            model: self.settings.model.clone(),
            hold_id,
            held,
            prompt_tokens,
            max_tokens,
        };
        let whole = quotes.charge(prompt_tokens, max)?;
        if whole.is_zero() {
            return Ok(Ok(terms(None, Credits::ZERO, max)));
        }
        let hold_id = self.ids.uuid();
        let hold = |amount, mode| {
            let ttl = COMPLETION_MAX.saturating_add(HOLD_MARGIN);
            let ttl = Duration::try_from(ttl).unwrap_or(credits::HOLD_TTL_MAX);
            self.command(user_id, Action::Hold { hold_id, amount, mode, ttl })
        };
        // Nothing at all to hold for less than this: it may be free.
        let least = if least.is_zero() { whole.min(SMALLEST) } else { least };
        let before = deciding.savepoint(user_id);
        if least <= balance.available() {
            let effect = deciding.apply(Cow::Owned(hold(whole, HoldMode::Clamp)))?.result.clone();
            let held = match effect {
                Ok(effect) => effect.hold.map_or(Credits::ZERO, |hold| hold.amount),
                Err(refusal) => return Ok(Err(refusal)),
            };
            if held >= least {
                let affordable = quotes.affordable(prompt_tokens, max, held)?;
                return Ok(Ok(terms(Some(hold_id), held, affordable)));
            }
            deciding.roll_back(before);
        }
        // Not enough for one token: the ledger or a budget says why.
        let refused = deciding.apply(Cow::Owned(hold(least, HoldMode::Exact)))?.result.clone();
        Ok(match refused {
            Err(refusal) => Err(refusal),
            Ok(_) => {
                return Err(DbError::Inconsistent("a hold was clamped below what is available".to_owned()));
            }
        })
    }

    async fn store(
        &self,
        tx: &mut Tx,
        ask: &Ask,
        failed: Option<&Reply>,
        terms: &ReplyTerms,
        lease: Lease,
    ) -> Result<Result<ReplyName, SessionRefusal>, DbError> {
        let clock = &*self.clock;
        if let Some(reply) = failed {
            let name = reply.name();
            let begun = replies::begin_again(tx, clock, &name, terms, lease).await?;
            return Ok(begun.map(|()| name));
        }
        let new = NewReply {
            scope: Scope::Own(ask.user_id.clone()),
            session_id: ask.session_id,
            question_id: self.ids.uuid(),
            content: ask.content.clone(),
            message_id: self.ids.uuid(),
            terms: terms.clone(),
            lease,
        };
        let begun = replies::begin(tx, clock, &new).await?;
        let NewReply { session_id, message_id, .. } = new;
        Ok(begun.map(|_| ReplyName { user_id: ask.user_id.clone(), session_id, message_id }))
    }
}

/// The smallest amount that can be held.
const SMALLEST: Credits = Credits::from_micro(1);
/// Time that the end of a reply may take, beyond the longest time of its work: the hold must live until then.
const HOLD_MARGIN: std::time::Duration = std::time::Duration::from_mins(5);

/// The reply of an earlier request with this key, or its refusal.
async fn earlier(
    tx: &mut Tx,
    ask: &Ask,
    stored: &StoredAnswer,
) -> Result<Result<Earlier, ReplyRefusal>, DbError> {
    let Repeat { at, answer } = Repeat::<IgnoredAny, Refusal>::read(stored)?;
    let link = match answer {
        RepeatAnswer::Applied { link, .. } | RepeatAnswer::Pruned(link) => link,
        RepeatAnswer::Refused(refusal) => {
            return Ok(Err(ReplyRefusal::Ledger { refusal, at, replay: Replay::ByKey }));
        }
    };
    let found = replies::find(tx.conn(), &ask.user_id, link.transaction_id).await?;
    Ok(match found.filter(|reply| reply.message.session_id == ask.session_id) {
        None => Err(SessionRefusal::NotFound { session_id: ask.session_id.to_string() }.into()),
        Some(reply) if reply.finished_at.is_none() => {
            Err(SessionRefusal::ReplyInProgress { message_id: reply.message.message_id }.into())
        }
        Some(reply) if reply.message.status == MessageStatus::Failed => Ok(Earlier::Failed(Box::new(reply))),
        Some(reply) => Ok(Earlier::Ended(Box::new(reply))),
    })
}
