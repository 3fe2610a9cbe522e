//! `POST /api/v1/users/{user_id}/credits/refund`: gives a charge back (HTTP contract 6.5).

use credits::{Action, TransactionName};
use kernel::{Credits, Detail, FreeForm, fingerprint::v1};
use uuid::Uuid;

use super::order::{self, Order};
use crate::http::{
    idempotency,
    prelude::*,
    routes::credits::bodies::{Transaction, transaction_id},
};

input! {
    /// The charge to give back.
    pub keyed struct RefundCharge {
        /// `transaction_id` or `id` of a consume transaction.
        transaction_id: TransactionName = required(Body, parse::transaction_name()), hashed(transaction_id.to_string());
        /// Credits; all that is left of the charge if absent.
        amount: Option<Credits> = optional(Body, parse::credits_to_move());
        /// Reason.
        reason: String = required(Body, parse::text(1, 255));
    }
}

/// The id of no transaction.
const UNKNOWN: Uuid = Uuid::nil();

/// The fingerprint as version 1 made it, for keys that it stored. Nothing of it may change.
fn as_version_1(input: &RefundCharge, asked: v1::Fingerprint) -> v1::Fingerprint {
    let named = match input.transaction_id {
        TransactionName::Id(id) => asked.word("id").number(Some(id)),
        TransactionName::Transaction(id) => asked.word("transaction_id").id(id),
    };
    named.credits(input.amount).word(&input.reason)
}

pub fn doc() -> Doc {
    Doc::new("credits", "Refund a charge")
        .description("In whole or in parts, up to the charge. What was spent returns to the grants it came from.")
        .idempotent()
        .body::<RefundCharge>(json!({
            "transaction_id": "txn_0190a6c8-1c2b-7def-8abc-0123456789ab", "amount": 5.0, "reason": "bad answer",
        }))
        .reply_envelope::<Transaction>("Refunded 5.0 credits successfully", super::bodies::transaction_example())
        .errors(&[
            &catalogue::REFUND_EXCEEDS_CHARGE,
            &catalogue::BALANCE_LIMIT_EXCEEDED,
            &catalogue::TRANSACTION_NOT_FOUND,
        ])
}

/// The transaction id behind a name. Entries never change, so it is looked up outside the command; an id that is none
/// stands for [`UNKNOWN`], so that the ledger itself refuses it and remembers that with the key.
async fn resolve(call: &Call, name: TransactionName) -> Result<Uuid, ApiError> {
    if let TransactionName::Transaction(id) = name {
        return Ok(id);
    }
    let user_id = call.user().await?;
    let found = call.look_up(async |conn| credits::find_transaction(conn, &user_id, name).await).await?;
    Ok(found.map_or(UNKNOWN, |entry| entry.transaction_id))
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let input = call.input::<RefundCharge>().await?;
    let (input, key) = idempotency::key(&call, input, as_version_1).await?;
    let charge = resolve(&call, input.transaction_id).await?;
    let of = transaction_id(charge);
    let order = Order {
        description: Some(input.reason.clone()),
        metadata: FreeForm::of_texts([("refund_of", of.as_str()), ("reason", input.reason.as_str())]),
        action: Action::Refund { transaction_id: charge, amount: input.amount, reason: input.reason },
        key,
    };
    let answer =
        order::run(&call, order).await.map_err(|error| named_as_asked(error, input.transaction_id))?;
    let entry = answer.entry()?;
    let amount = entry.amount;
    let message =
        Text::new(format!("Refunded {amount} credits successfully"), format!("成功退还 {amount} 积分"));
    Ok(answer.with_replay_header(call.envelope_at(answer.at, &message, Transaction::from(entry))?))
}

/// The refusal tells the caller the name he gave, also for an id that is none.
fn named_as_asked(error: ApiError, name: TransactionName) -> ApiError {
    match name {
        TransactionName::Id(id) if error.code() == catalogue::TRANSACTION_NOT_FOUND.code => {
            error.replace("transaction_id", Detail::Integer(id))
        }
        _ => error,
    }
}
