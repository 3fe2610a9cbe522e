//! A usage record, before and after it was stored.

use kernel::{CallerClass, Credits, FreeForm, TimePlace, Usd, UserId};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    UsageInput,
    model::input::{Former, fingerprint},
    rating::{Quantities, TokenClass},
};

/// `calculation_method` when nobody said how the charge came about.
pub const UNKNOWN: &str = "unknown";

/// `calculation_method` when a model was named, no charge was given, and the model has no price: the charge of zero
/// means "not known", never "free".
pub const UNRATED: &str = "unrated";

/// `calculation_method` of a correction.
const CORRECTION_METHOD: &str = "correction";

/// The caller's identity of an event, with a hash of what he said of it.
///
/// The same id with the same payload is the same event, and recorded once; with another payload it is a conflict.
#[derive(Debug, Clone)]
pub struct EventId {
    /// 1 to 255 characters, unique per user and class of the caller. Ids that begin with [`crate::CORRECTION`] are reserved.
    pub id: String,
    /// SHA-256 of what the caller sent, without the defaults of the service.
    pub payload: [u8; 32],
    /// Hashes that earlier versions stored for the same event, if a caller sent it.
    pub(crate) former: Option<Former>,
}

/// An event that is ready to be recorded: every default is decided. See [`crate::UsageInput`].
///
/// Token counts are 0 to [`crate::TOKENS_MAX`], `tokens_used` up to twice that where it was added up. `model_name`,
/// `provider` and `tool_name` are absent rather than empty.
#[derive(Debug, Clone)]
pub struct NewRecord {
    /// User of the event.
    pub user_id: UserId,
    /// The class of the caller whose word it is.
    pub recorded_by: CallerClass,
    /// Identity by which a repeat is known; without it nothing is deduplicated.
    pub event: Option<EventId>,
    /// When it happened; absent means at the instant of recording. Parts of a microsecond are dropped.
    pub occurred_at: Option<OffsetDateTime>,
    /// The session it belongs to, as the caller names it; not checked to exist.
    pub session_id: Option<String>,
    /// The caller's trace, free text.
    pub trace_id: Option<String>,
    /// The endpoint. Required of a single call, optional in a batch (HTTP contract 4.4).
    pub endpoint: Option<String>,
    /// Kind of event, for example `ai_chat`.
    pub event_type: String,
    /// The model that answered.
    pub model_name: Option<String>,
    /// Provider of the model.
    pub provider: Option<String>,
    /// The tool that was used.
    pub tool_name: Option<String>,
    /// Operation of the tool.
    pub operation_name: Option<String>,
    /// Price of the event. Recording it deducts nothing.
    pub credits_charged: Credits,
    /// Cost of the provider.
    pub cost_usd: Usd,
    /// Source of the charge.
    pub calculation_method: String,
    /// Its price.
    pub pricing: Pricing,
    /// All tokens.
    pub tokens_used: i64,
    /// Tokens of the question.
    pub prompt_tokens: i64,
    /// Tokens of the answer.
    pub completion_tokens: i64,
    /// Belongs to the caller.
    pub billing_metadata: FreeForm,
    /// Belongs to the caller.
    pub request_data: FreeForm,
    /// Belongs to the caller.
    pub response_data: FreeForm,
}

/// Price of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pricing {
    /// The charge is what the caller stated.
    Stated,
    /// The charge follows from a price and what was used.
    Rated {
        /// The version of the price.
        price_id: i64,
        /// Quantities by class.
        quantities: Quantities,
    },
    /// Nobody knows the charge: it is recorded as zero, and cannot be deducted.
    Unrated {
        /// The class that the price of the model says nothing about; `None` if there is no price.
        token_class: Option<TokenClass>,
    },
}

/// The charge of a record, as the ledger knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charge {
    /// The transaction that charged it.
    pub transaction_id: Uuid,
    /// Its entry, by the place in the journal of the user's account.
    pub seq: i64,
}

/// A stored event, or the correction of one. It never changes.
///
/// A correction has the figures of the record it takes back, negated, and the same instant and dimensions: whatever sums
/// over both finds nothing of them. It counts as minus one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Unique over all users. Not in order of commit: page by time and id, never by id alone.
    pub id: i64,
    /// When it happened; `created_at` on the wire.
    pub occurred_at: OffsetDateTime,
    /// See [`NewRecord::user_id`].
    pub user_id: UserId,
    /// The class of the caller whose word it is; `None` for records of versions that did not store it. A correction has that
    /// of its record.
    pub recorded_by: Option<CallerClass>,
    /// The id of the record that this one takes back, if it is a correction.
    pub correction_of: Option<i64>,
    /// The caller's identity of the event.
    pub event_id: Option<String>,
    /// See [`NewRecord::session_id`].
    pub session_id: Option<String>,
    /// See [`NewRecord::trace_id`].
    pub trace_id: Option<String>,
    /// See [`NewRecord::endpoint`].
    pub endpoint: Option<String>,
    /// See [`NewRecord::event_type`].
    pub event_type: String,
    /// See [`NewRecord::model_name`].
    pub model_name: Option<String>,
    /// See [`NewRecord::provider`].
    pub provider: Option<String>,
    /// See [`NewRecord::tool_name`].
    pub tool_name: Option<String>,
    /// See [`NewRecord::operation_name`].
    pub operation_name: Option<String>,
    /// See [`NewRecord::credits_charged`].
    pub credits_charged: Credits,
    /// See [`NewRecord::cost_usd`].
    pub cost_usd: Usd,
    /// See [`NewRecord::calculation_method`].
    pub calculation_method: String,
    /// Part of [`Record::credits_charged`] that nothing was left to pay for.
    pub credits_uncollected: Credits,
    /// The deducted amount, if a charge was requested.
    pub charge: Option<Charge>,
    /// The version of the price that it was rated by.
    pub price_id: Option<i64>,
    /// Rated quantities by class.
    pub quantities: Option<Quantities>,
    /// See [`NewRecord::tokens_used`].
    pub tokens_used: i64,
    /// See [`NewRecord::prompt_tokens`].
    pub prompt_tokens: i64,
    /// See [`NewRecord::completion_tokens`].
    pub completion_tokens: i64,
    /// See [`NewRecord::billing_metadata`].
    pub billing_metadata: FreeForm,
    /// See [`NewRecord::request_data`].
    pub request_data: FreeForm,
    /// See [`NewRecord::response_data`].
    pub response_data: FreeForm,
}

impl UsageInput {
    /// Decides everything that was left out, without a price: what was not stated was not charged.
    #[must_use]
    pub fn complete(self) -> NewRecord {
        let event = self.event_id.as_ref().map(|id| {
            let (payload, former) = fingerprint(&self);
            EventId { id: id.clone(), payload, former: Some(former) }
        });
        let model_name = present(self.model_name);
        let pricing = match self.credits_charged {
            None => Pricing::Unrated { token_class: None },
            Some(_) => Pricing::Stated,
        };
        let method = method(self.credits_charged, model_name.as_deref());
        let prompt_tokens = self.prompt_tokens.unwrap_or(0);
        let completion_tokens = self.completion_tokens.unwrap_or(0);
        NewRecord {
            user_id: self.user_id,
            recorded_by: self.recorded_by,
            event,
            occurred_at: self.occurred_at,
            session_id: self.session_id,
            trace_id: self.trace_id,
            endpoint: self.endpoint,
            event_type: self.event_type,
            model_name,
            provider: present(self.provider),
            tool_name: present(self.tool_name),
            operation_name: self.operation_name,
            credits_charged: self.credits_charged.unwrap_or(Credits::ZERO),
            cost_usd: self.cost_usd.unwrap_or(Usd::ZERO),
            calculation_method: self.calculation_method.unwrap_or_else(|| method.to_owned()),
            pricing,
            // Both are at most TOKENS_MAX, so this never saturates.
            tokens_used: self.tokens_used.unwrap_or_else(|| prompt_tokens.saturating_add(completion_tokens)),
            prompt_tokens,
            completion_tokens,
            billing_metadata: self.billing_metadata.unwrap_or_default(),
            request_data: self.request_data.unwrap_or_default(),
            response_data: self.response_data.unwrap_or_default(),
        }
    }
}

fn method(charged: Option<Credits>, model: Option<&str>) -> &'static str {
    match (charged, model) {
        (None, Some(_)) => UNRATED,
        _ => UNKNOWN,
    }
}

fn present(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

impl NewRecord {
    /// The record this becomes once it has an id and a time.
    #[must_use]
    pub fn stored(self, id: i64, occurred_at: OffsetDateTime) -> Record {
        let (price_id, quantities) = match self.pricing {
            Pricing::Rated { price_id, quantities } => (Some(price_id), Some(quantities)),
            Pricing::Stated | Pricing::Unrated { .. } => (None, None),
        };
        Record {
            id,
            occurred_at,
            user_id: self.user_id,
            recorded_by: Some(self.recorded_by),
            correction_of: None,
            event_id: self.event.map(|event| event.id),
            session_id: self.session_id,
            trace_id: self.trace_id,
            endpoint: self.endpoint,
            event_type: self.event_type,
            model_name: self.model_name,
            provider: self.provider,
            tool_name: self.tool_name,
            operation_name: self.operation_name,
            credits_charged: self.credits_charged,
            cost_usd: self.cost_usd,
            calculation_method: self.calculation_method,
            credits_uncollected: Credits::ZERO,
            charge: None,
            price_id,
            quantities,
            tokens_used: self.tokens_used,
            prompt_tokens: self.prompt_tokens,
            completion_tokens: self.completion_tokens,
            billing_metadata: self.billing_metadata,
            request_data: self.request_data,
            response_data: self.response_data,
        }
    }
}

impl Record {
    /// Its sign: 1, or -1 for a correction.
    #[must_use]
    pub fn sign(&self) -> i64 {
        if self.correction_of.is_some() { -1 } else { 1 }
    }

    /// The part of [`Record::credits_charged`] that its charge took from the balance; zero for a record without a charge, and for a
    /// correction.
    #[must_use]
    pub fn credits_deducted(&self) -> Credits {
        let collected = self.credits_charged.micro().saturating_sub(self.credits_uncollected.micro());
        self.charge.map_or(Credits::ZERO, |_| Credits::from_micro(collected))
    }

    /// The record that takes this one back.
    #[must_use]
    pub fn corrected(&self, id: i64, reason: &str) -> Self {
        Self {
            id,
            correction_of: Some(self.id),
            event_id: None,
            credits_charged: Credits::from_micro(self.credits_charged.micro().saturating_neg()),
            cost_usd: Usd::from_nano(self.cost_usd.nano().saturating_neg()),
            credits_uncollected: Credits::from_micro(self.credits_uncollected.micro().saturating_neg()),
            charge: None,
            price_id: None,
            quantities: None,
            calculation_method: CORRECTION_METHOD.to_owned(),
            tokens_used: self.tokens_used.saturating_neg(),
            prompt_tokens: self.prompt_tokens.saturating_neg(),
            completion_tokens: self.completion_tokens.saturating_neg(),
            billing_metadata: FreeForm::of_texts([("reason", reason)]),
            request_data: FreeForm::empty(),
            response_data: FreeForm::empty(),
            ..self.clone()
        }
    }

    /// The record without its free-form objects.
    #[must_use]
    pub fn without_texts(self) -> Self {
        let empty = FreeForm::empty;
        Self { billing_metadata: empty(), request_data: empty(), response_data: empty(), ..self }
    }

    /// Where it stands in the list of its user.
    #[must_use]
    pub fn place(&self) -> TimePlace {
        TimePlace { at: self.occurred_at, id: self.id }
    }
}
