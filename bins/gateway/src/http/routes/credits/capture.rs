//! `POST /api/v1/users/{user_id}/credits/holds/{hold_id}/capture`: turns a hold into a charge (HTTP contract 6.5).

use actix_web::http::Method;
use credits::{Action, Fingerprint};
use kernel::{Credits, FreeForm};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::Order;
use crate::http::{
    call::Call,
    catalogue,
    doc::Doc,
    error::ApiError,
    fields::{Fields, Source, parse},
    idempotency,
    language::Text,
    reply::Reply,
    route::{Access, BodyRule, Origin, Route},
    wire::{Hold, Transaction},
};

/// What of a hold to charge; everything may be left out.
#[derive(Debug, ToSchema)]
pub struct CaptureHold {
    /// Credits, zero or more; the whole hold if absent. More than the hold takes the rest from what is available.
    #[schema(value_type = Option<f64>)]
    pub amount: Option<Credits>,
    /// What for.
    pub description: Option<String>,
    /// A usage record, as a note.
    pub usage_record_id: Option<i64>,
    /// Anything to keep with the transaction.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<FreeForm>,
}

/// The ended hold, and the charge.
#[derive(Debug, Serialize, ToSchema)]
pub struct CapturedHold {
    hold: Hold,
    /// Null when nothing was captured.
    transaction: Option<Transaction>,
    /// Balance after.
    #[schema(value_type = f64)]
    remaining_credits: Credits,
    /// What was delivered and could not be taken.
    #[schema(value_type = f64)]
    uncollected: Credits,
}

/// The route.
#[must_use]
pub fn route() -> Route {
    Route {
        method: Method::POST,
        path: "/api/v1/users/{user_id}/credits/holds/{hold_id}/capture",
        access: Access::HiddenPathUser,
        body: BodyRule::Json,
        origin: Origin::Extension,
        operation: "capture_hold",
        doc,
        handler: |call| Box::pin(handle(call)),
    }
}

fn doc() -> Doc {
    Doc::new("credits", "Capture a hold")
        .description("A hold is captured once. What is not captured is released in the same commit. Users capture only holds of users.")
        .idempotent()
        .optional_body::<CaptureHold>(json!({"amount": 42.5, "description": "chat completion"}))
        .reply_envelope::<CapturedHold>(
            "Captured 42.5 credits",
            json!({
                "hold": super::hold_example(), "transaction": super::transaction_example(),
                "remaining_credits": 957.5, "uncollected": 0.0,
            }),
        )
        .errors(&[&catalogue::HOLD_NOT_FOUND, &catalogue::HOLD_NOT_OPEN])
}

impl CaptureHold {
    fn read(fields: &mut Fields) -> Self {
        Self {
            amount: fields.optional(Source::Body, "amount", parse::credits_to_note),
            description: fields.optional(Source::Body, "description", parse::text(0, 255)),
            usage_record_id: fields.optional(Source::Body, "usage_record_id", parse::integer(0, i64::MAX)),
            metadata: fields.optional(Source::Body, "metadata", parse::object),
        }
    }

    /// What makes two requests the same, on the same hold.
    fn identify(&self, asked: Fingerprint) -> Fingerprint {
        let Self {
            amount,
            description,
            usage_record_id,
            metadata,
        } = self;
        asked
            .credits(*amount)
            .maybe(description.as_deref())
            .number(*usage_record_id)
            .object(metadata.as_ref())
    }
}

async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let wish = call.input(|fields| Some(CaptureHold::read(fields))).await?;
    call.known()?;
    let hold_id = super::hold_id(&call)?;
    let identify = move |wish: &CaptureHold, asked: Fingerprint| wish.identify(asked.id(hold_id));
    let (wish, key) = idempotency::key(&call, wish, identify).await?;
    let order = Order {
        action: Action::Capture {
            hold_id,
            amount: wish.amount,
            usage_record_id: wish.usage_record_id,
        },
        description: wish.description,
        metadata: wish.metadata.unwrap_or_default(),
        key,
    };
    let answer = super::run(&call, order).await?;
    let hold = answer.hold()?;
    let captured = hold.captured;
    let data = CapturedHold {
        hold: hold.into(),
        transaction: answer.applied.entry.clone().map(Transaction::from),
        remaining_credits: answer.applied.balance.posted,
        uncollected: answer.applied.uncollected,
    };
    let message = Text::new(
        format!("Captured {captured} credits"),
        format!("已扣除 {captured} 积分"),
    );
    Ok(answer.mark(call.envelope_at(answer.at, &message, data)?))
}
