//! `POST /api/v1/users/{user_id}/credits/holds/{hold_id}/capture`: turns a hold into a charge (HTTP contract 6.5).

use credits::Action;
use kernel::{Credits, FreeForm, fingerprint::v1};
use uuid::Uuid;

use super::order::{self, Order};
use crate::http::{
    idempotency,
    prelude::*,
    routes::credits::bodies::{Hold, Transaction},
};

input! {
    /// Part of a hold to charge; every field is optional.
    pub keyed struct CaptureHold {
        /// Credits, zero or more; the whole hold if absent. More than the hold takes the rest from what is available.
        amount: Option<Credits> = optional(Body, parse::credits_to_note());
        /// Purpose.
        description: Option<String> = optional(Body, parse::text(0, 255));
        /// A usage record, as a note.
        usage_record_id: Option<i64> = optional(Body, parse::integer(0, i64::MAX));
        /// Anything to keep with the transaction.
        metadata: Option<FreeForm> = optional(Body, parse::object());
    }
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
    /// Credits that were used and not available.
    #[schema(value_type = f64)]
    uncollected: Credits,
}

/// The fingerprint as version 1 made it, for keys that it stored. Nothing of it may change.
fn as_version_1(hold_id: Uuid, input: &CaptureHold, asked: v1::Fingerprint) -> v1::Fingerprint {
    asked
        .id(hold_id)
        .credits(input.amount)
        .maybe(input.description.as_deref())
        .number(input.usage_record_id)
        .object(input.metadata.as_ref())
}

pub fn doc() -> Doc {
    Doc::new("credits", "Capture a hold")
        .description("A hold is captured once. What is not captured is released in the same commit. Users capture only holds of users.")
        .idempotent()
        .optional_body::<CaptureHold>(json!({"amount": 42.5, "description": "chat completion"}))
        .reply_envelope::<CapturedHold>(
            "Captured 42.5 credits",
            json!({
                "hold": super::bodies::hold_example(), "transaction": super::bodies::transaction_example(),
                "remaining_credits": 957.5, "uncollected": 0.0,
            }),
        )
        .errors(&[&catalogue::HOLD_NOT_FOUND, &catalogue::HOLD_NOT_OPEN])
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let input = call.input::<CaptureHold>().await?;
    call.known()?;
    let hold_id = call.id_of_path("hold_id", &catalogue::HOLD_NOT_FOUND)?;
    let former = move |input: &CaptureHold, asked| as_version_1(hold_id, input, asked);
    let (input, key) = idempotency::key_at(&call, Some(("hold_id", hold_id)), input, former).await?;
    let order = Order {
        action: Action::Capture { hold_id, amount: input.amount, usage_record_id: input.usage_record_id },
        description: input.description,
        metadata: input.metadata.unwrap_or_default(),
        key,
    };
    let answer = order::run(&call, order).await?;
    let hold = answer.hold()?;
    let captured = hold.captured;
    let data = CapturedHold {
        hold,
        transaction: answer.applied.entry.clone().map(Transaction::from),
        remaining_credits: answer.applied.balance.posted,
        uncollected: answer.applied.uncollected,
    };
    let message = Text::new(format!("Captured {captured} credits"), format!("已扣除 {captured} 积分"));
    Ok(answer.with_replay_header(call.envelope_at(answer.at, &message, data)?))
}
