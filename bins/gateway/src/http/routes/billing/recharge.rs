//! `POST /api/billing/recharge`: adds purchased credits (HTTP contract 9).

use credits::{Action, ReferenceScope};
use kernel::{Credits, FreeForm, fingerprint::v1};

use crate::http::{
    idempotency,
    prelude::*,
    routes::credits::order::{self, Order},
};

input! {
    /// Credits to add.
    pub keyed struct RechargeBalance {
        /// Credits, above zero, at most 6 decimals.
        amount: Credits = required(Body, parse::credits_to_move()), example(1000);
        /// Outside identity of the payment: one recharge per user and reference.
        reference_id: Option<String> = optional(Body, parse::text(1, 255));
    }
}

/// The balance after it.
#[derive(Debug, Serialize, ToSchema)]
pub struct RechargedBalance {
    message: String,
    #[serde(serialize_with = "Credits::serialize_plain")]
    #[schema(value_type = f64)]
    balance: Credits,
}

/// The fingerprint of version 1, which knew nothing of this route.
fn as_version_1(input: &RechargeBalance, asked: v1::Fingerprint) -> v1::Fingerprint {
    asked.credits(Some(input.amount)).maybe(input.reference_id.as_deref())
}

pub fn doc() -> Doc {
    Doc::new("billing", "Recharge")
        .description("Repeating a `reference_id`, or the same `Idempotency-Key`, adds nothing.")
        .named_user()
        .idempotent()
        .body::<RechargeBalance>(json!({"amount": 1000}))
        .reply::<RechargedBalance>(json!({"message": "充值成功", "balance": 2000}))
        .errors(&[&catalogue::BALANCE_LIMIT_EXCEEDED, &catalogue::REFERENCE_CONFLICT])
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let input = call.input::<RechargeBalance>().await?;
    let (input, key) = idempotency::key(&call, input, as_version_1).await?;
    let RechargeBalance { amount, reference_id } = input;
    let order = Order {
        description: Some("充值".to_owned()),
        metadata: FreeForm::empty(),
        action: Action::Recharge { amount, reference_id, scope: ReferenceScope::User },
        key,
    };
    let answer = order::run(&call, order).await?;
    let message = Text::new("Recharged successfully", "充值成功");
    let reply = Reply::json(&RechargedBalance {
        message: message.in_language(call.language).to_owned(),
        balance: answer.applied.balance.posted,
    })?;
    Ok(answer.with_replay_header(reply))
}
