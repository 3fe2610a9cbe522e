//! A usage record as a caller describes it, alone or in a batch (HTTP contract 4.1).

use credits::{Fingerprint, IdempotencyKey, Payer};
use flows::{MeterRefusal, Meterage, Metered};
use kernel::{Detail, Failure, Principal, UserId};
use time::OffsetDateTime;
use usage::UsageInput;
use uuid::Uuid;

use crate::http::{
    catalogue,
    error::ApiError,
    fault::Problem,
    fields::{Fields, Source, parse, time::instant},
};

/// What was read of a record.
#[derive(Debug)]
pub struct Item {
    /// Whom the body names.
    pub named: Option<UserId>,
    /// Whether the charge is deducted.
    pub charge: bool,
    /// The hold that pays for it.
    pub hold_id: Option<String>,
    /// All else. Its owner is put in by [`Item::metered`].
    pub input: UsageInput,
}

/// Where a record is described.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Alone: it must say what was called.
    Single,
    /// In place of another one, of the same user.
    Replacement,
    /// In a batch: it must name its user.
    BatchItem,
}

impl Item {
    /// Reads a record; `None` leaves a fault behind.
    pub fn read(fields: &mut Fields, form: Form) -> Option<Self> {
        let named = match form {
            Form::BatchItem => fields.required(Source::Body, "user_id", parse::user_id),
            Form::Single | Form::Replacement => fields.optional(Source::Body, "user_id", parse::user_id),
        };
        let endpoint = match form {
            Form::Single => fields
                .required(Source::Body, "endpoint", parse::text(1, 255))
                .map(Some),
            Form::Replacement | Form::BatchItem => {
                Some(fields.optional(Source::Body, "endpoint", parse::text(1, 255)))
            }
        };
        let event_type = fields.required(Source::Body, "event_type", parse::text(1, 255));
        let (charge, hold_id) = read_charge(fields);
        // Whose it is becomes known later.
        let owner = "unnamed".parse().ok()?;
        let mut input = UsageInput {
            endpoint: None,
            event_id: fields.optional(Source::Body, "event_id", parse::text(1, 255)),
            occurred_at: fields.optional(Source::Body, "occurred_at", instant),
            ..UsageInput::new(owner, String::new())
        };
        read_texts(fields, &mut input);
        read_tokens(fields, &mut input);
        let mut object = |name| fields.optional(Source::Body, name, parse::object);
        input.billing_metadata = object("billing_metadata");
        input.request_data = object("request_data");
        input.response_data = object("response_data");
        input.credits_charged = fields.optional(Source::Body, "credits_charged", parse::credits_to_note);
        input.cost_usd = fields.optional(Source::Body, "cost_usd", parse::usd_to_note);
        input.endpoint = endpoint?;
        input.event_type = event_type?;
        Some(Self {
            named,
            charge,
            hold_id,
            input,
        })
    }

    /// What makes two requests the same, but for whose record it is.
    pub fn identify(&self, asked: Fingerprint) -> Fingerprint {
        let input = &self.input;
        let asked = asked
            .word(if self.charge { "charge" } else { "record" })
            .maybe(self.hold_id.as_deref())
            .maybe(input.event_id.as_deref())
            .instant(input.occurred_at)
            .maybe(input.endpoint.as_deref())
            .word(&input.event_type)
            .maybe(input.session_id.as_deref())
            .maybe(input.trace_id.as_deref())
            .maybe(input.model_name.as_deref())
            .maybe(input.provider.as_deref())
            .maybe(input.tool_name.as_deref())
            .maybe(input.operation_name.as_deref())
            .maybe(input.calculation_method.as_deref());
        asked
            .credits(input.credits_charged)
            .number(input.cost_usd.map(kernel::Usd::nano))
            .number(input.tokens_used)
            .number(input.prompt_tokens)
            .number(input.completion_tokens)
            .number(input.cached_prompt_tokens)
            .object(input.billing_metadata.as_ref())
            .object(input.request_data.as_ref())
            .object(input.response_data.as_ref())
    }

    /// The record as it is wanted for a user. What is not a UUID is an unknown hold.
    ///
    /// # Errors
    /// 404 `HoldNotFoundException`.
    pub fn metered(
        self,
        user_id: UserId,
        principal: &Principal,
        transaction_id: Uuid,
        idempotency: Option<IdempotencyKey>,
    ) -> Result<Metered, ApiError> {
        let from = match (self.charge, self.hold_id) {
            (false, _) => None,
            (true, None) => Some(Payer::Available),
            (true, Some(text)) => Some(Payer::Hold(Uuid::try_parse(&text).map_err(|_| {
                ApiError::new(&catalogue::HOLD_NOT_FOUND).detail("hold_id", Detail::Text(text))
            })?)),
        };
        Ok(Metered {
            input: UsageInput {
                recorded_by: principal.class_for(&user_id),
                user_id,
                ..self.input
            },
            from,
            actor: principal.actor(),
            transaction_id,
            idempotency,
        })
    }
}

/// The error of a refusal that was decided at an instant.
pub fn refused(refusal: &MeterRefusal, at: OffsetDateTime) -> ApiError {
    let failure: &dyn Failure = match refusal {
        MeterRefusal::Usage(refusal) => refusal,
        MeterRefusal::Ledger(refusal) => refusal,
    };
    ApiError::from_failure(failure).at(at)
}

/// What became of a record, for its caller. Counts it.
///
/// # Errors
/// The refusal, with the instant it was decided at.
pub fn recorded(
    app: &crate::app::App,
    meterage: Meterage,
) -> Result<(flows::metering::Recorded, OffsetDateTime), ApiError> {
    app.moved.count_metered(&meterage);
    match meterage.result {
        Ok(recorded) => Ok((recorded, meterage.at)),
        Err(refusal) => Err(refused(&refusal, meterage.at)),
    }
}

fn read_charge(fields: &mut Fields) -> (bool, Option<String>) {
    let charge = fields.optional(Source::Body, "charge", parse::boolean);
    let hold_id = fields.optional(Source::Body, "hold_id", parse::text(1, 255));
    // A hold that is named and not settled would be held for nothing.
    if hold_id.is_some() && charge != Some(true) {
        fields.fault(
            "body",
            "hold_id",
            Problem::value("a hold pays only with charge true"),
        );
    }
    (charge.unwrap_or(false), hold_id)
}

fn read_texts(fields: &mut Fields, input: &mut UsageInput) {
    let mut text = |name| fields.optional(Source::Body, name, parse::text(0, 255));
    input.session_id = text("session_id");
    input.trace_id = text("trace_id");
    input.model_name = text("model_name");
    input.provider = text("provider");
    input.tool_name = text("tool_name");
    input.operation_name = text("operation_name");
    input.calculation_method = text("calculation_method");
}

fn read_tokens(fields: &mut Fields, input: &mut UsageInput) {
    let mut tokens = |name| fields.optional(Source::Body, name, parse::tokens);
    input.tokens_used = tokens("tokens_used");
    input.prompt_tokens = tokens("prompt_tokens");
    input.completion_tokens = tokens("completion_tokens");
    input.cached_prompt_tokens = tokens("cached_prompt_tokens");
    if input.cached_prompt_tokens.unwrap_or(0) > input.prompt_tokens.unwrap_or(0) {
        let problem = Problem::value("cached_prompt_tokens are a part of prompt_tokens");
        fields.fault("body", "cached_prompt_tokens", problem);
    }
}
