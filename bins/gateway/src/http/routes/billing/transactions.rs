//! `GET /api/billing/transactions`: the ledger, newest first (HTTP contract 9).

use credits::{Entry, TransactionFilter};
use kernel::Credits;

use crate::http::{
    fields::page::next_cursor,
    prelude::*,
    routes::{
        chat::{list_sessions::LIMIT, session_body::number_of},
        credits::transactions::listed,
    },
    wire::Timestamp,
};

/// A change of the balance.
#[derive(Debug, Serialize, ToSchema)]
pub struct BalanceChanged {
    /// Integer id.
    id: i64,
    /// Integer id of the user.
    user_id: i64,
    /// Credits added; below zero if they were taken.
    #[serde(serialize_with = "Credits::serialize_plain")]
    #[schema(value_type = f64)]
    change_amount: Credits,
    #[serde(serialize_with = "Credits::serialize_plain")]
    #[schema(value_type = f64)]
    balance_after: Credits,
    description: Option<String>,
    created_at: Timestamp,
}

impl BalanceChanged {
    fn new(entry: Entry, user_number: i64) -> Self {
        let change = entry.balance_after.checked_sub(entry.balance_before);
        Self {
            id: entry.id,
            user_id: user_number,
            change_amount: change.unwrap_or_default(),
            balance_after: entry.balance_after,
            description: entry.description,
            created_at: Timestamp(entry.created_at),
        }
    }
}

/// Changes of the balance.
#[derive(Debug, Serialize, ToSchema)]
#[serde(transparent)]
pub struct BalanceChanges(Vec<BalanceChanged>);

pub fn doc() -> Doc {
    Doc::new("billing", "Transactions")
        .description("Newest first; `X-Next-Cursor` leads on.")
        .named_user()
        .paged(LIMIT)
        .reply::<BalanceChanges>(json!([{
            "id": 1, "user_id": 123, "change_amount": 1000, "balance_after": 2000, "description": "充值",
            "created_at": "2023-01-01T00:00:00.000000Z",
        }]))
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let scope = call.list_scope();
    let page = call.fields.read(|fields| fields.page(LIMIT, &scope))?;
    let user_id = call.user().await?;
    let slice = listed(&call, &user_id, &TransactionFilter::default(), &page).await?;
    let number = number_of(&call, &user_id).await?;
    let next = next_cursor(&scope, slice.next.as_ref());
    let items = slice.items.into_iter().map(|entry| BalanceChanged::new(entry, number)).collect();
    Ok(Reply::json(&BalanceChanges(items))?.next_cursor(next))
}
