//! `POST /api/v1/users/{user_id}/credits/consume`: spends credits (HTTP contract 6.1).

use credits::Action;
use kernel::{Credits, FreeForm, UserId, fingerprint::v1};

use super::order::{self, Order};
use crate::http::{
    idempotency,
    prelude::*,
    routes::credits::bodies::Transaction,
    wire::{SuccessWord, Timestamp},
};

input! {
    /// Credits to spend.
    pub keyed struct ConsumeCredits {
        /// Credits, above zero, at most 6 decimals.
        amount: Credits = required(Body, parse::credits_to_move()), example(25.5);
        /// Must be the user of the path.
        user_id: Option<UserId> = optional(Body, parse::user_id()), unhashed();
        /// Reason; becomes the description if there is none.
        reason: Option<String> = optional(Body, parse::text(0, 255));
        /// Purpose.
        description: Option<String> = optional(Body, parse::text(0, 255));
        /// A usage record, as a note.
        usage_record_id: Option<i64> = optional(Body, parse::integer(0, i64::MAX));
        /// Endpoint.
        endpoint: Option<String> = optional(Body, parse::text(0, 255));
        /// Anything to keep with the transaction.
        metadata: Option<FreeForm> = optional(Body, parse::object());
    }
}

/// Credits spent, and the balance.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConsumedCredits {
    success: bool,
    #[schema(value_type = SuccessWord)]
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

/// The fingerprint as version 1 made it, for keys that it stored. Nothing of it may change.
fn as_version_1(input: &ConsumeCredits, asked: v1::Fingerprint) -> v1::Fingerprint {
    asked
        .credits(Some(input.amount))
        .maybe(input.reason.as_deref())
        .maybe(input.description.as_deref())
        .number(input.usage_record_id)
        .maybe(input.endpoint.as_deref())
        .object(input.metadata.as_ref())
}

pub fn doc() -> Doc {
    Doc::new("credits", "Spend credits")
        .idempotent()
        .description("All or nothing: with less available, nothing is deducted. Exact under any concurrency.")
        .body::<ConsumeCredits>(json!({
            "amount": 25.5, "reason": "chat completion", "endpoint": "/api/chat/completion",
        }))
        .reply::<ConsumedCredits>(json!({
            "success": true, "status": "success", "remaining_credits": 974.5, "consumed_amount": 25.5,
            "message": "Successfully consumed 25.5 credits", "timestamp": "2025-07-28T00:35:31.550198Z",
            "data": super::bodies::transaction_example(),
        }))
        .errors(&[
            &catalogue::INSUFFICIENT_CREDITS,
            &catalogue::BUDGET_EXCEEDED,
            &catalogue::USER_ID_MISMATCH,
        ])
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let input = call.input::<ConsumeCredits>().await?;
    call.agree_on_user(input.user_id.as_ref())?;
    let (input, key) = idempotency::key(&call, input, as_version_1).await?;
    let notes = [("reason", input.reason.as_deref()), ("endpoint", input.endpoint.as_deref())];
    let notes = notes.into_iter().filter_map(|(name, text)| text.map(|text| (name, text)));
    let order = Order {
        metadata: input.metadata.unwrap_or_default().with_texts(notes),
        description: Some(input.description.or(input.reason).unwrap_or_else(|| "api_call".to_owned())),
        action: Action::Consume { amount: input.amount, usage_record_id: input.usage_record_id },
        key,
    };
    let answer = order::run(&call, order).await?;
    let amount = input.amount;
    let message =
        Text::new(format!("Successfully consumed {amount} credits"), format!("成功消费 {amount} 积分"));
    let reply = Reply::json(&ConsumedCredits {
        success: true,
        status: "success",
        remaining_credits: answer.applied.balance.posted,
        consumed_amount: amount,
        message: message.in_language(call.language).to_owned(),
        timestamp: Timestamp(answer.at),
        data: answer.entry()?.into(),
    })?;
    Ok(answer.with_replay_header(reply))
}
