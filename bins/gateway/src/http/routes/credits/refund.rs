//! `POST /api/v1/users/{user_id}/credits/refund`: gives a charge back (HTTP contract 6.5).

use actix_web::http::Method;
use credits::{Action, Fingerprint, TransactionName};
use kernel::{Credits, Detail, FreeForm};
use serde_json::json;
use utoipa::{
    ToSchema,
    openapi::{
        ObjectBuilder, OneOfBuilder,
        schema::{Schema, SchemaType, Type},
    },
};
use uuid::Uuid;

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
    wire::{Transaction, transaction_id},
};

/// The charge to give back.
#[derive(Debug, ToSchema)]
pub struct RefundCharge {
    /// `transaction_id` or `id` of a consume transaction.
    #[schema(schema_with = transaction_name_schema)]
    pub transaction_id: TransactionName,
    /// Credits; all that is left of the charge if absent.
    #[schema(value_type = Option<f64>)]
    pub amount: Option<Credits>,
    /// Why.
    pub reason: String,
}

/// The id of no transaction.
const UNKNOWN: Uuid = Uuid::nil();

/// The route.
#[must_use]
pub fn route() -> Route {
    Route {
        method: Method::POST,
        path: "/api/v1/users/{user_id}/credits/refund",
        access: Access::StaffForPathUser,
        body: BodyRule::Json,
        origin: Origin::Extension,
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
        let transaction = fields.required(Source::Body, "transaction_id", parse::transaction_name);
        let amount = fields.optional(Source::Body, "amount", parse::credits_to_move);
        let reason = fields.required(Source::Body, "reason", parse::text(1, 255));
        Some(Self {
            transaction_id: transaction?,
            amount,
            reason: reason?,
        })
    }

    /// What makes two requests the same: the two names of a transaction are different requests.
    fn identify(&self, asked: Fingerprint) -> Fingerprint {
        let Self {
            transaction_id,
            amount,
            reason,
        } = self;
        let named = match *transaction_id {
            TransactionName::Id(id) => asked.word("id").number(Some(id)),
            TransactionName::Transaction(id) => asked.word("transaction_id").id(id),
        };
        named.credits(*amount).word(reason)
    }
}

fn transaction_name_schema() -> Schema {
    let name = |of| ObjectBuilder::new().schema_type(SchemaType::new(of)).build();
    let names = OneOfBuilder::new()
        .description(Some("`transaction_id` or `id` of a consume transaction."))
        .item(name(Type::String))
        .item(name(Type::Integer));
    Schema::OneOf(names.build())
}

/// The transaction id behind a name. Entries never change, so it is looked up outside the command; an id that is none
/// stands for [`UNKNOWN`], so that the ledger itself refuses it and remembers that with the key.
async fn resolve(call: &Call, name: TransactionName) -> Result<Uuid, ApiError> {
    if let TransactionName::Transaction(id) = name {
        return Ok(id);
    }
    let user_id = call.user().await?;
    let found = call
        .look_up(async |conn| credits::find_transaction(conn, &user_id, name).await)
        .await?;
    Ok(found.map_or(UNKNOWN, |entry| entry.transaction_id))
}

async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let wish = call.input(RefundCharge::read).await?;
    let (wish, key) = idempotency::key(&call, wish, RefundCharge::identify).await?;
    let charge = resolve(&call, wish.transaction_id).await?;
    let of = transaction_id(charge);
    let order = Order {
        description: Some(wish.reason.clone()),
        metadata: FreeForm::of_texts([("refund_of", of.as_str()), ("reason", wish.reason.as_str())]),
        action: Action::Refund {
            transaction_id: charge,
            amount: wish.amount,
            reason: wish.reason,
        },
        key,
    };
    let answer = super::run(&call, order)
        .await
        .map_err(|error| named_as_asked(error, wish.transaction_id))?;
    let entry = answer.entry()?;
    let amount = entry.amount;
    let message = Text::new(
        format!("Refunded {amount} credits successfully"),
        format!("成功退还 {amount} 积分"),
    );
    Ok(answer.mark(call.envelope_at(answer.at, &message, Transaction::from(entry))?))
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
