//! `POST /api/v1/users/{user_id}/credits/recharge`: adds purchased credits (HTTP contract 6.2).

use credits::{Action, ReferenceScope};
use kernel::{Credits, FreeForm, fingerprint::v1};

use super::order::{self, Order, SCOPES, is_global};
use crate::http::{
    fields::input::word_of,
    idempotency,
    prelude::*,
    routes::credits::bodies::{Transaction, transaction_id},
    wire::{SuccessWord, Timestamp},
};

input! {
    /// Credits to add.
    pub keyed struct RechargeCredits {
        /// Credits, above zero, at most 6 decimals.
        amount: Credits = required(Either, parse::credits_to_move()), example(1000.0);
        /// user or global (services only, with a reference): among whom the reference is unique. A global one is refused if a
        /// service or administrator credited another user with it before, in whichever scope.
        reference_scope: Option<ReferenceScope> = optional(Either, parse::one_of(SCOPES)), default("user"), hashed(reference_scope.map(word_of(SCOPES)));
        /// Outside identity of the payment: one recharge per user and reference.
        reference_id: Option<String> = required_if(is_global(reference_scope), Either, parse::text(1, 255));
        /// Purpose.
        description: Option<String> = optional(Either, parse::text(0, 255));
        /// Anything to keep with the transaction; JSON body only.
        metadata: Option<FreeForm> = optional(Body, parse::object());
    }
}

/// Credits added, and the balance.
#[derive(Debug, Serialize, ToSchema)]
pub struct RechargedCredits {
    success: bool,
    #[schema(value_type = SuccessWord)]
    status: &'static str,
    message: String,
    timestamp: Timestamp,
    data: Transaction,
    #[schema(value_type = f64)]
    recharged_amount: Credits,
    #[schema(value_type = f64)]
    new_balance: Credits,
    #[schema(value_type = f64)]
    remaining_credits: Credits,
    transaction_id: String,
    /// True if this reference had been recharged before; then nothing was added now.
    replayed: bool,
}

/// The fingerprint as version 1 made it, for keys that it stored. Nothing of it may change.
fn as_version_1(input: &RechargeCredits, asked: v1::Fingerprint) -> v1::Fingerprint {
    order::scoped(asked, input.reference_scope)
        .credits(Some(input.amount))
        .maybe(input.description.as_deref())
        .maybe(input.reference_id.as_deref())
        .object(input.metadata.as_ref())
}

pub fn doc() -> Doc {
    Doc::new("credits", "Add purchased credits")
        .idempotent()
        .description("Every field but `metadata` may be given in the query instead. Repeating a `reference_id` adds nothing.")
        .optional_body::<RechargeCredits>(json!({
            "amount": 1000.0, "description": "Monthly recharge", "reference_id": "stripe_pi_abc123def456",
            "metadata": {"payment_method": "stripe"},
        }))
        .reply::<RechargedCredits>(json!({
            "success": true, "status": "success", "message": "Recharged 1000.0 credits successfully",
            "timestamp": "2025-07-28T00:35:31.550198Z", "data": super::bodies::transaction_example(),
            "recharged_amount": 1000.0, "new_balance": 1974.5, "remaining_credits": 1974.5,
            "transaction_id": "txn_0190a6c8-1c2b-7def-8abc-0123456789ab", "replayed": false,
        }))
        .errors(&[&catalogue::BALANCE_LIMIT_EXCEEDED, &catalogue::REFERENCE_CONFLICT])
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let input = call.input::<RechargeCredits>().await?;
    let scope = order::permitted(&call, input.reference_scope)?;
    let (input, key) = idempotency::key(&call, input, as_version_1).await?;
    let order = Order {
        description: Some(input.description.unwrap_or_else(|| "Credits recharged".to_owned())),
        metadata: input.metadata.unwrap_or_default(),
        action: Action::Recharge { amount: input.amount, reference_id: input.reference_id, scope },
        key,
    };
    let answer = order::run(&call, order).await?;
    let entry = answer.entry()?;
    let balance = answer.applied.balance.posted;
    let message = Text::new(
        format!("Recharged {} credits successfully", input.amount),
        format!("成功充值 {} 积分", input.amount),
    );
    let reply = Reply::json(&RechargedCredits {
        success: true,
        status: "success",
        message: message.in_language(call.language).to_owned(),
        timestamp: Timestamp(answer.at),
        recharged_amount: input.amount,
        new_balance: balance,
        remaining_credits: balance,
        transaction_id: transaction_id(entry.transaction_id),
        replayed: answer.applied.replayed,
        data: entry.into(),
    })?;
    Ok(answer.with_replay_header(reply))
}
