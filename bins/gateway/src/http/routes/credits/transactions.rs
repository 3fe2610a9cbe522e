//! `GET /api/v1/users/{user_id}/credits/transactions`: the ledger, newest first (HTTP contract 6.4).

use actix_web::http::Method;
use credits::{TransactionFilter, TransactionKind};
use uuid::Uuid;

use crate::{
    http::{
        call::{Call, next_cursor, retrieved},
        doc::Doc,
        error::ApiError,
        fields::{
            dates::{Dates, Days, End},
            parse,
        },
        reply::Reply,
        route::{Access, BodyRule, Origin, Route},
        wire::Transaction,
    },
    input,
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

input! {
    /// Which transactions.
    pub struct TransactionsInput {
        /// Only transactions of this type.
        transaction_type: Option<TransactionKind> = optional(Query, parse::one_of(KINDS)), example("consume");
        /// When.
        dates: Dates = flat(Dates, &Days::default());
        /// Only the one that booked this payment.
        reference_id: Option<String> = optional(Query, parse::text(1, 255));
        /// Only the charge of this hold.
        hold_id: Option<Uuid> = optional(Query, parse::uuid());
    }
}

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
        .query::<TransactionsInput>()
        .paged(LIMIT)
        .reply_list::<Transaction>("Retrieved 1 transactions", super::transaction_example())
}

async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let scope = call.list_scope();
    let (input, page) = call.fields.list::<TransactionsInput, i64>(LIMIT, &scope)?;
    let filter = TransactionFilter {
        kind: input.transaction_type,
        from: input.dates.start,
        to: input.dates.end.map(End::last),
        reference_id: input.reference_id,
        hold_id: input.hold_id,
    };
    let user_id = call.user().await?;
    let slice = call.read(async |conn| credits::transactions(conn, &user_id, &filter, &page).await).await?;
    let items: Vec<Transaction> = slice.items.into_iter().map(Transaction::from).collect();
    let message = retrieved(items.len(), "transactions", "交易记录");
    Ok(call.envelope(&message, items)?.next_cursor(next_cursor(&scope, slice.next.as_ref())))
}
