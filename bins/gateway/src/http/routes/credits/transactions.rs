//! `GET /api/v1/users/{user_id}/credits/transactions`: the ledger, newest first (HTTP contract 6.4).

use actix_web::http::Method;
use credits::{TransactionFilter, TransactionKind};
use kernel::Page;
use serde_json::{Value, json};

use crate::http::{
    call::{Call, next_cursor, retrieved},
    doc::Doc,
    error::ApiError,
    fields::{
        Fields, Source,
        dates::{Days, End},
        parse,
    },
    reply::Reply,
    route::{Access, BodyRule, Origin, Route},
    wire::Transaction,
};

const LIMIT: i64 = 50;

const KINDS: &[(&str, TransactionKind)] = &[
    ("consume", TransactionKind::Consume),
    ("recharge", TransactionKind::Recharge),
    ("refund", TransactionKind::Refund),
    ("grant", TransactionKind::Grant),
    ("expire", TransactionKind::Expire),
    ("adjust", TransactionKind::Adjust),
];

/// The route.
#[must_use]
pub fn route() -> Route {
    Route {
        method: Method::GET,
        path: "/api/v1/users/{user_id}/credits/transactions",
        access: Access::PathUser,
        body: BodyRule::Ignored,
        origin: Origin::Documented,
        operation: "list_transactions",
        doc,
        handler: |call| Box::pin(handle(call)),
    }
}

fn doc() -> Doc {
    Doc::new("credits", "Transactions")
        .description(
            "Newest first. Each `credits_before` is the `credits_after` of the transaction before it.",
        )
        .query(
            "transaction_type",
            "Only transactions of this type.",
            json!({"type": "string", "enum": KINDS.iter().map(|(name, _)| *name).collect::<Vec<_>>()}),
            json!("consume"),
        )
        .query(
            "reference_id",
            "Only the one that booked this payment.",
            json!({"type": "string"}),
            Value::Null,
        )
        .query(
            "hold_id",
            "Only the charge of this hold.",
            json!({"type": "string", "format": "uuid"}),
            Value::Null,
        )
        .dated()
        .paged(LIMIT)
        .reply_list::<Transaction>("Retrieved 1 transactions", super::transaction_example())
}

fn read(fields: &mut Fields, scope: &str) -> Option<(TransactionFilter, Page<i64>)> {
    let kind = fields.optional(Source::Query, "transaction_type", parse::one_of(KINDS));
    let dates = fields.dates(&Days::default());
    let page = fields.page(LIMIT, scope);
    let filter = TransactionFilter {
        kind,
        from: dates.start,
        to: dates.end.map(End::last),
        reference_id: fields.optional(Source::Query, "reference_id", parse::text(1, 255)),
        hold_id: fields.optional(Source::Query, "hold_id", parse::uuid),
    };
    Some((filter, page?))
}

async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let scope = call.list_scope();
    let (filter, page) = call.fields.read(|fields| read(fields, &scope))?;
    let user_id = call.user().await?;
    let slice = call.read(async |conn| credits::transactions(conn, &user_id, &filter, &page).await).await?;
    let items: Vec<Transaction> = slice.items.into_iter().map(Transaction::from).collect();
    let message = retrieved(items.len(), "transactions", "交易记录");
    Ok(call.envelope(&message, items)?.next_cursor(next_cursor(&scope, slice.next.as_ref())))
}
