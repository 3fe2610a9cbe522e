//! `GET /api/v1/users/{user_id}/credits/transactions`: the ledger, newest first (HTTP contract 6.4).

use credits::{Action, Command, Entry, TransactionFilter, TransactionKind};
use flows::CallerCheck;
use kernel::{Actor, CallerClass, FreeForm, Page, Slice, UserId};
use uuid::Uuid;

use crate::http::{
    fields::dates::{Dates, Days, End},
    prelude::*,
    routes::credits::bodies::Transaction,
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
    /// Filter of the transactions.
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

pub fn doc() -> Doc {
    Doc::new("credits", "Transactions")
        .description(
            "Newest first. Each `credits_before` is the `credits_after` of the transaction before it, and the newest \
             `credits_after` is the balance.",
        )
        .query::<TransactionsInput>()
        .paged(LIMIT)
        .reply_list::<Transaction>("Retrieved 1 transactions", super::bodies::transaction_example())
}

/// Books what is due, as the next change of the account would: the newest transaction leaves the balance. Where it cannot be
/// booked, because the database takes no writes for now, the list ends with what is booked.
async fn book_due(call: &Call, user_id: &UserId) {
    let command = Command {
        user_id: user_id.clone(),
        actor: Actor::System,
        caller: CallerClass::Service,
        // Due items bring transaction ids of their own.
        nonce: Uuid::nil(),
        description: None,
        metadata: FreeForm::empty(),
        action: Action::ApplyDue,
    };
    if let Err(rejected) = call.app.writes.ledger(command, None, CallerCheck::Done).await {
        tracing::debug!(error = %rejected, "what is due could not be booked for a list");
    }
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
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
    let slice = listed(&call, &user_id, &filter, &page).await?;
    call.list_reply(&scope, slice, Transaction::from, ("transactions", "交易记录"))
}

/// A page of the transactions of a user, after what is due was booked.
///
/// # Errors
/// 503 when the database cannot be asked.
pub async fn listed(
    call: &Call,
    user_id: &UserId,
    filter: &TransactionFilter,
    page: &Page<i64>,
) -> Result<Slice<Entry, i64>, ApiError> {
    let clock = &*call.app.clock;
    let listed = call
        .read(async |conn| match credits::is_due(conn, clock, user_id).await? {
            true => Ok(None),
            false => credits::transactions(conn, user_id, filter, page).await.map(Some),
        })
        .await?;
    match listed {
        Some(slice) => Ok(slice),
        None => {
            book_due(call, user_id).await;
            call.read(async |conn| credits::transactions(conn, user_id, filter, page).await).await
        }
    }
}
