//! The last step: the reply, its usage record, its charge, the counters and the events in one commit.

use std::borrow::Cow;

use chat::{FinishReason, TokenUsage};
use credits::{Action, Deciding, Payer, Refusal, UsageCharge};
use futures_util::try_join;
use kernel::{CallerClass, Credits, FreeForm, Usd, UserId};
use pg::{Attempts, DbError, Tx};
use serde_json::json;
use sessions::{MessageStatus, ReplyEnd, ReplyName, ReplyTerms, replies};
use usage::{Draft, Next, Recording, UsageInput};
use uuid::Uuid;
use webhooks::Receivers;

use super::{
    price::{Tokens, priced},
    prompt::estimated,
    settings::EVENT_TYPE,
    shared::Shared,
};
use crate::{events, operations::metering};

/// The code of a failure of the upstream.
const UPSTREAM: &str = "UpstreamException";

/// A reply as far as it was produced.
#[derive(Debug)]
pub(super) struct Produced {
    pub(super) text: String,
    pub(super) tool_calls: Option<FreeForm>,
    /// The count of the upstream.
    pub(super) usage: Option<TokenUsage>,
    pub(super) reason: Option<FinishReason>,
    pub(super) ending: Ending,
}

/// Why no more is produced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// The upstream has finished.
    Whole,
    /// The upstream failed, or the process that produced it ended.
    Broken,
    /// It is too long, a pause was, or this process ends.
    Cut,
    /// A caller asked for it.
    Cancelled,
}

impl Ending {
    /// The word of the metric.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Broken => "broken",
            Self::Cut => "cut",
            Self::Cancelled => "cancelled",
        }
    }
}

impl Produced {
    fn is_empty(&self) -> bool {
        self.text.is_empty() && self.tool_calls.is_none()
    }

    fn status(&self) -> MessageStatus {
        match self.ending {
            Ending::Cancelled => MessageStatus::Cancelled,
            _ if self.is_empty() => MessageStatus::Failed,
            Ending::Whole => MessageStatus::Completed,
            Ending::Broken | Ending::Cut => MessageStatus::Incomplete,
        }
    }

    fn error_code(&self) -> Option<&'static str> {
        let failed = self.status() == MessageStatus::Failed;
        (failed || self.ending == Ending::Broken).then_some(UPSTREAM)
    }

    /// The count of the upstream, if it can be true.
    fn counted(&self) -> Option<TokenUsage> {
        self.usage.filter(|usage| usage.prompt_tokens > 0 || usage.completion_tokens > 0)
    }

    /// Tokens that are charged; nothing produced costs nothing.
    fn tokens(&self, terms: &ReplyTerms) -> Tokens {
        if self.is_empty() {
            return Tokens { prompt: 0, cached: 0, completion: 0 };
        }
        match self.counted() {
            Some(usage) => Tokens {
                prompt: usage.prompt_tokens.into(),
                cached: usage.cached_prompt_tokens.into(),
                completion: usage.completion_tokens.into(),
            },
            None => Tokens { prompt: terms.prompt_tokens, cached: 0, completion: estimated(self.text.len()) },
        }
    }
}

/// The charge of a reply.
struct Charged {
    amount: Credits,
    cost: Usd,
    balance: Credits,
}

impl Shared {
    /// Ends a reply whose lease this process has. Returns false if it must not: then another process ends it, or it is gone.
    pub(super) async fn end(
        &self,
        name: &ReplyName,
        owner: Uuid,
        terms: &ReplyTerms,
        produced: &Produced,
    ) -> Result<bool, DbError> {
        let mut attempts = Attempts::up_to(3);
        loop {
            match Tx::decide(&self.pool, async |tx| self.end_in(tx, name, owner, terms, produced).await).await
            {
                Err(error) if attempts.again(&error).await => {}
                result => {
                    let ended = result?;
                    if let Ok(charged) = &ended {
                        self.count(produced, charged);
                    }
                    return Ok(ended.is_ok());
                }
            }
        }
    }

    fn count(&self, produced: &Produced, charged: &Charged) {
        metrics::counter!("chat_replies_total", "ending" => produced.ending.as_str()).increment(1);
        if !produced.is_empty() {
            metrics::counter!("usage_records_total").increment(1);
            metrics::counter!("credits_consumed_total").increment(self.consumed.add(charged.amount));
        }
    }

    async fn end_in(
        &self,
        tx: &mut Tx,
        name: &ReplyName,
        owner: Uuid,
        terms: &ReplyTerms,
        produced: &Produced,
    ) -> Result<Result<Charged, ()>, DbError> {
        let (user_id, clock) = (&name.user_id, &*self.clock);
        let wanted = Receivers::default().wanted(tx.shared()).await?;
        let reserved = match terms.hold_id {
            Some(hold_id) => Action::Release { hold_id },
            None => Action::ApplyDue,
        };
        let locking = self.command(user_id, reserved);
        let locked = credits::lock(tx.shared(), clock, [&locking]).await?;
        if !replies::lock(tx, name, owner).await? {
            return Ok(Err(()));
        }
        let (mut recording, book) =
            usage::look_up(tx.shared(), clock, &self.prices, std::iter::empty(), 1).await?;
        let mut deciding = credits::prepare(tx.shared(), self.defaults, locked).await?;
        let tokens = produced.tokens(terms);
        let charged = if produced.is_empty() {
            let command = match terms.hold_id {
                Some(hold_id) => self.command(user_id, Action::Release { hold_id }),
                None => self.command(user_id, Action::ApplyDue),
            };
            match &deciding.apply(Cow::Owned(command))?.result {
                // It has expired: what it held is free again.
                Ok(_) | Err(Refusal::HoldNotOpen { .. }) => {}
                Err(refusal) => return Err(refused(refusal)),
            }
            Charged { amount: Credits::ZERO, cost: Usd::ZERO, balance: balance_of(&deciding, user_id)? }
        } else {
            let usage = self.usage(name, produced);
            let record = priced(&self.settings, &book, recording.now(), usage.clone(), tokens)?;
            let record = if record.credits_charged <= terms.held {
                record
            } else {
                let usage = UsageInput { credits_charged: Some(terms.held), ..usage };
                priced(&self.settings, &book, recording.now(), usage, tokens)?
            };
            let (asked, cost) = (record.credits_charged, record.cost_usd);
            let Ok(Next::New(draft)) = recording.next(record)? else {
                return Err(DbError::Inconsistent("the usage of a reply is no new event".to_owned()));
            };
            let (uncollected, balance) =
                self.charge(user_id, terms, *draft, &mut deciding, &mut recording)?;
            let amount = asked.checked_sub(uncollected).unwrap_or_default();
            Charged { amount, cost, balance }
        };
        let end = ReplyEnd {
            status: produced.status(),
            content: Some(produced.text.clone()),
            tool_calls: produced.tool_calls.clone(),
            prompt_tokens: tokens.prompt,
            completion_tokens: tokens.completion,
            cost_usd: charged.cost,
            error_code: produced.error_code(),
            credits_charged: charged.amount,
            balance_after: charged.balance,
        };
        replies::end(tx, clock, name, end).await?;
        let decided = deciding.finish();
        let news = events::of_entries(&wanted, decided.entries(), decided.low());
        try_join!(decided.save(tx), webhooks::enqueue(tx, &wanted, news), recording.save(tx))?;
        Ok(Ok(charged))
    }

    /// Charges the hold, or what is available if it has expired, and adds the record. Returns what could not be charged, and the
    /// balance.
    fn charge(
        &self,
        user_id: &UserId,
        terms: &ReplyTerms,
        draft: Draft,
        deciding: &mut Deciding<'_>,
        recording: &mut Recording,
    ) -> Result<(Credits, Credits), DbError> {
        let command = |action| self.command(user_id, action);
        if let Some(hold_id) = terms.hold_id {
            let record = draft.record();
            let charge = UsageCharge {
                amount: record.credits_charged,
                from: Payer::Hold(hold_id),
                usage_record_id: record.id,
            };
            let before = deciding.savepoint(user_id);
            let is_open = !matches!(
                deciding.apply(Cow::Owned(command(Action::Meter(charge))))?.result,
                Err(Refusal::HoldNotOpen { .. })
            );
            deciding.roll_back(before);
            if is_open {
                return Self::add(draft, Payer::Hold(hold_id), command, deciding, recording);
            }
        }
        Self::add(draft, Payer::AsFarAsItGoes, command, deciding, recording)
    }

    fn add(
        draft: Draft,
        from: Payer,
        command: impl FnOnce(Action) -> credits::Command,
        deciding: &mut Deciding<'_>,
        recording: &mut Recording,
    ) -> Result<(Credits, Credits), DbError> {
        let (charged, _) = metering::charge(draft, from, command, deciding)?;
        let charged = charged.map_err(|refusal| refused(&refusal))?;
        let uncollected = charged.draft.record().credits_uncollected;
        recording.add(charged.draft);
        Ok((uncollected, charged.balance.posted))
    }

    /// The usage of a reply, without its figures.
    fn usage(&self, name: &ReplyName, produced: &Produced) -> UsageInput {
        let object = |value: serde_json::Value| FreeForm::object(&value.to_string()).ok();
        UsageInput {
            recorded_by: CallerClass::Service,
            endpoint: Some("/api/sessions/{session_id}/messages".to_owned()),
            session_id: Some(name.session_id.to_string()),
            billing_metadata: object(json!({"estimated": produced.counted().is_none()})),
            response_data: object(json!({
                "message_id": name.message_id,
                "finish_reason": produced.reason.map(word),
            })),
            ..UsageInput::new(name.user_id.clone(), EVENT_TYPE)
        }
    }
}

/// The word of the protocol.
fn word(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
        FinishReason::ToolCalls => "tool_calls",
        FinishReason::ContentFilter => "content_filter",
        FinishReason::Other => "other",
    }
}

fn balance_of(deciding: &Deciding<'_>, user_id: &UserId) -> Result<Credits, DbError> {
    let balance = deciding.balance(user_id)?;
    Ok(balance.map(|balance| balance.posted).unwrap_or_default())
}

fn refused(refusal: &Refusal) -> DbError {
    DbError::Inconsistent(format!("the end of a reply was refused: {refusal}"))
}
