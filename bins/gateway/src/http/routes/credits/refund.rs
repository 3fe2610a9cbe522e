//! `POST /api/v1/users/{user_id}/credits/refund`: gives a charge back (HTTP contract 6.5).

use actix_web::http::Method;
use credits::Action;
use kernel::{Credits, FreeForm};
use serde_json::json;
use utoipa::ToSchema;
use uuid::Uuid;

use super::Order;
use crate::http::{
    call::Call,
    catalogue,
    doc::Doc,
    error::ApiError,
    fault::Problem,
    fields::{Fields, Source, Value, parse},
    idempotency,
    language::Text,
    reply::Reply,
    route::{Access, BodyRule, Route},
    wire::{Transaction, transaction_id},
};

/// The charge to give back.
#[derive(Debug, ToSchema)]
pub struct RefundCharge {
    /// `txn_<uuid>` of a consume transaction.
    #[schema(value_type = String)]
    pub transaction_id: Uuid,
    /// Credits; all that is left of the charge if absent.
    #[schema(value_type = Option<f64>)]
    pub amount: Option<Credits>,
    /// Why.
    pub reason: String,
}

/// The route.
#[must_use]
pub fn route() -> Route {
    Route {
        method: Method::POST,
        path: "/api/v1/users/{user_id}/credits/refund",
        access: Access::StaffForPathUser,
        body: BodyRule::Json,
        operation: "refund_charge",
        doc,
        handler: |call| Box::pin(handle(call)),
    }
}

fn doc() -> Doc {
    Doc::new("credits", "Refund a charge")
        .description("In whole or in parts, up to the charge. What was spent returns to the grants it came from.")
        .idempotent()
        .body::<RefundCharge>(json!({
            "transaction_id": "txn_0190a6c8-1c2b-7def-8abc-0123456789ab", "amount": 5.0, "reason": "bad answer",
        }))
        .reply_envelope::<Transaction>("Refunded 5.0 credits successfully", super::transaction_example())
        .errors(&[
            &catalogue::REFUND_EXCEEDS_CHARGE,
            &catalogue::BALANCE_LIMIT_EXCEEDED,
            &catalogue::TRANSACTION_NOT_FOUND,
        ])
}

impl RefundCharge {
    fn read(fields: &mut Fields) -> Option<Self> {
        let transaction = fields.required(Source::Body, "transaction_id", transaction);
        let amount = fields.optional(Source::Body, "amount", parse::credits_to_move);
        let reason = fields.required(Source::Body, "reason", parse::text(1, 255));
        Some(Self {
            transaction_id: transaction?,
            amount,
            reason: reason?,
        })
    }
}

fn transaction(value: Value<'_>) -> Result<Uuid, Problem> {
    let text = parse::text(1, 255)(value)?;
    text.strip_prefix("txn_")
        .and_then(|id| Uuid::try_parse(id).ok())
        .ok_or_else(|| {
            Problem::new(
                "string_pattern_mismatch",
                "String should match pattern '^txn_<uuid>$'",
            )
        })
}

async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let wish = call.fields.read(RefundCharge::read)?;
    let key = idempotency::key(&call, &format!("{wish:?}"))?;
    let of = transaction_id(wish.transaction_id);
    let order = Order {
        description: Some(wish.reason.clone()),
        metadata: FreeForm::of_texts([("refund_of", of.as_str()), ("reason", wish.reason.as_str())]),
        action: Action::Refund {
            transaction_id: wish.transaction_id,
            amount: wish.amount,
            reason: wish.reason,
        },
        key,
    };
    let answer = super::run(&call, order).await?;
    let entry = answer.entry()?;
    let amount = entry.amount;
    let message = Text::new(
        format!("Refunded {amount} credits successfully"),
        format!("成功退还 {amount} 积分"),
    );
    Ok(answer.mark(call.envelope_at(answer.at, &message, Transaction::from(entry))?))
}
