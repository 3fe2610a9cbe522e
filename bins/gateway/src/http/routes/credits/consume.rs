//! `POST /api/v1/users/{user_id}/credits/consume`: spends credits (HTTP contract 6.1).

use actix_web::http::Method;
use credits::{Action, Fingerprint};
use kernel::{Credits, FreeForm, UserId};
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
    wire::{Timestamp, Transaction},
};

/// Credits to spend, and what for.
#[derive(Debug, ToSchema)]
pub struct ConsumeCredits {
    /// Credits, above zero, at most 6 decimals.
    #[schema(value_type = f64, example = 25.5)]
    pub amount: Credits,
    /// Must be the user of the path.
    #[schema(value_type = Option<String>)]
    pub user_id: Option<UserId>,
    /// Why; becomes the description if there is none.
    pub reason: Option<String>,
    /// What for.
    pub description: Option<String>,
    /// A usage record, as a note.
    pub usage_record_id: Option<i64>,
    /// What was called.
    pub endpoint: Option<String>,
    /// Anything to keep with the transaction.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<FreeForm>,
}

/// What was spent and what is left.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConsumedCredits {
    success: bool,
    status: &'static str,
    /// Balance after.
    #[schema(value_type = f64)]
    remaining_credits: Credits,
    #[schema(value_type = f64)]
    consumed_amount: Credits,
    message: String,
    timestamp: Timestamp,
    data: Transaction,
}

/// The route.
#[must_use]
pub fn route() -> Route {
    Route {
        method: Method::POST,
        path: "/api/v1/users/{user_id}/credits/consume",
        access: Access::PathUser,
        body: BodyRule::Json,
        origin: Origin::Documented,
        operation: "consume_credits",
        doc,
        handler: |call| Box::pin(handle(call)),
    }
}

fn doc() -> Doc {
    Doc::new("credits", "Spend credits")
        .idempotent()
        .description("All or nothing: with less available, nothing is deducted. Exact under any concurrency.")
        .body::<ConsumeCredits>(json!({
            "amount": 25.5, "reason": "chat completion", "endpoint": "/api/chat/completion",
        }))
        .reply::<ConsumedCredits>(json!({
            "success": true, "status": "success", "remaining_credits": 974.5, "consumed_amount": 25.5,
            "message": "Successfully consumed 25.5 credits", "timestamp": "2025-07-28T00:35:31.550198Z",
            "data": super::transaction_example(),
        }))
        .errors(&[
            &catalogue::INSUFFICIENT_CREDITS,
            &catalogue::BUDGET_EXCEEDED,
            &catalogue::USER_ID_MISMATCH,
        ])
}

impl ConsumeCredits {
    fn read(fields: &mut Fields) -> Option<Self> {
        let amount = fields.required(Source::Body, "amount", parse::credits_to_move);
        Some(Self {
            user_id: fields.optional(Source::Body, "user_id", parse::user_id),
            reason: fields.optional(Source::Body, "reason", parse::text(0, 255)),
            description: fields.optional(Source::Body, "description", parse::text(0, 255)),
            usage_record_id: fields.optional(Source::Body, "usage_record_id", parse::integer(0, i64::MAX)),
            endpoint: fields.optional(Source::Body, "endpoint", parse::text(0, 255)),
            metadata: fields.optional(Source::Body, "metadata", parse::object),
            amount: amount?,
        })
    }
}

impl ConsumeCredits {
    /// What makes two requests the same.
    fn identify(&self, asked: Fingerprint) -> Fingerprint {
        let Self {
            amount,
            user_id: _,
            reason,
            description,
            usage_record_id,
            endpoint,
            metadata,
        } = self;
        asked
            .credits(Some(*amount))
            .maybe(reason.as_deref())
            .maybe(description.as_deref())
            .number(*usage_record_id)
            .maybe(endpoint.as_deref())
            .object(metadata.as_ref())
    }
}

async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let wish = call.input(ConsumeCredits::read).await?;
    call.agree_on_user(wish.user_id.as_ref())?;
    let (wish, key) = idempotency::key(&call, wish, ConsumeCredits::identify).await?;
    let notes = [
        ("reason", wish.reason.as_deref()),
        ("endpoint", wish.endpoint.as_deref()),
    ];
    let notes = notes
        .into_iter()
        .filter_map(|(name, text)| text.map(|text| (name, text)));
    let order = Order {
        metadata: wish.metadata.unwrap_or_default().with_texts(notes),
        description: Some(
            wish.description
                .or(wish.reason)
                .unwrap_or_else(|| "api_call".to_owned()),
        ),
        action: Action::Consume {
            amount: wish.amount,
            usage_record_id: wish.usage_record_id,
        },
        key,
    };
    let answer = super::run(&call, order).await?;
    let amount = wish.amount;
    let message = Text::new(
        format!("Successfully consumed {amount} credits"),
        format!("成功消费 {amount} 积分"),
    );
    let reply = Reply::json(&ConsumedCredits {
        success: true,
        status: "success",
        remaining_credits: answer.applied.balance.posted,
        consumed_amount: amount,
        message: message.in_language(call.language).to_owned(),
        timestamp: Timestamp(answer.at),
        data: answer.entry()?.into(),
    })?;
    Ok(answer.mark(reply))
}
