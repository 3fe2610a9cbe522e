//! Transactions, grants and holds in answers.

use kernel::{Credits, FreeForm, UserId};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;
use web::words;

use crate::http::wire::{CallerClassName, Timestamp};

words! {
    /// Type of a transaction.
    TransactionType = credits::TransactionKind::ALL.map(credits::TransactionKind::as_str);
    /// Direction of a transaction: adds to the balance, or takes from it.
    Direction = ["credit", "debit"];
    /// Kind of a grant.
    GrantKindName = credits::GrantKind::ALL.map(credits::GrantKind::as_str);
    /// Status of a grant.
    GrantStatusName = credits::GrantStatus::ALL.map(credits::GrantStatus::as_str);
    /// Status of a hold.
    HoldStatusName = credits::HoldStatus::ALL.map(credits::HoldStatus::as_str);
}

/// A ledger entry as the documents show it, in both vocabularies.
#[derive(Debug, Serialize, ToSchema)]
pub struct Transaction {
    /// Integer id.
    pub id: i64,
    /// `txn_<uuid>`.
    #[schema(example = "txn_0190a6c8-1c2b-7def-8abc-0123456789ab")]
    pub transaction_id: String,
    /// Owner of the account.
    #[schema(value_type = String, example = "auth0|test123")]
    pub user_id: UserId,
    /// consume, recharge, refund, grant, expire or adjust.
    #[schema(value_type = TransactionType, example = "consume")]
    pub transaction_type: &'static str,
    /// `credit` adds to the balance, `debit` takes from it.
    #[schema(value_type = Direction, example = "debit")]
    pub direction: &'static str,
    /// Credits moved, above zero.
    #[schema(value_type = f64, example = 25.5)]
    pub amount: Credits,
    /// The same as `amount`.
    #[schema(value_type = f64, example = 25.5)]
    pub credits_amount: Credits,
    /// Balance before.
    #[schema(value_type = f64, example = 1000.0)]
    pub balance_before: Credits,
    /// The same as `balance_before`.
    #[schema(value_type = f64, example = 1000.0)]
    pub credits_before: Credits,
    /// Balance after.
    #[schema(value_type = f64, example = 974.5)]
    pub balance_after: Credits,
    /// The same as `balance_after`.
    #[schema(value_type = f64, example = 974.5)]
    pub credits_after: Credits,
    /// Usage record the caller named.
    pub usage_record_id: Option<i64>,
    /// Reference the caller named; one recharge per reference.
    pub reference_id: Option<String>,
    /// Hold that was captured.
    pub hold_id: Option<Uuid>,
    /// Purpose.
    #[schema(example = "api_call")]
    pub description: Option<String>,
    /// Metadata of the caller.
    #[schema(value_type = Object)]
    pub metadata: FreeForm,
    /// Time of effect.
    pub created_at: Timestamp,
    /// The same as `created_at`: entries never change.
    pub updated_at: Timestamp,
}

impl From<credits::Entry> for Transaction {
    fn from(entry: credits::Entry) -> Self {
        let direction = if entry.balance_after >= entry.balance_before { "credit" } else { "debit" };
        // Holds and releases are not listed and no route answers them; the journal's own word stands in.
        let kind =
            entry.kind.transaction_kind().map_or(entry.kind.as_str(), credits::TransactionKind::as_str);
        Self {
            id: entry.id,
            transaction_id: transaction_id(entry.transaction_id),
            user_id: entry.user_id,
            transaction_type: kind,
            direction,
            amount: entry.amount,
            credits_amount: entry.amount,
            balance_before: entry.balance_before,
            credits_before: entry.balance_before,
            balance_after: entry.balance_after,
            credits_after: entry.balance_after,
            usage_record_id: entry.usage_record_id,
            reference_id: entry.reference_id.filter(|reference| reference != credits::INITIAL_REFERENCE),
            hold_id: entry.hold_id,
            description: entry.description,
            metadata: entry.metadata,
            created_at: Timestamp(entry.created_at),
            updated_at: Timestamp(entry.created_at),
        }
    }
}

/// The documented form of a transaction id.
#[must_use]
pub fn transaction_id(id: Uuid) -> String {
    credits::TransactionName::Transaction(id).to_string()
}

/// A grant of credits.
#[derive(Debug, Serialize, ToSchema)]
pub struct Grant {
    /// Id within the account.
    pub grant_id: i64,
    /// initial, purchase, plan, promo, refund or adjustment.
    #[schema(value_type = GrantKindName, example = "initial")]
    pub kind: &'static str,
    /// Credits granted.
    #[schema(value_type = f64, example = 1000.0)]
    pub amount: Credits,
    /// Credits left.
    #[schema(value_type = f64, example = 974.5)]
    pub remaining: Credits,
    /// Credits of it that are held.
    #[schema(value_type = f64, example = 0.0)]
    pub held: Credits,
    /// Low burns first.
    pub priority: u8,
    /// Beginning of its validity.
    pub effective_at: Timestamp,
    /// Time of its expiry.
    pub expires_at: Option<Timestamp>,
    /// scheduled, open, used or expired.
    #[schema(value_type = GrantStatusName, example = "open")]
    pub status: &'static str,
    /// Purpose.
    pub description: Option<String>,
    /// The transaction that booked it.
    pub transaction_id: Option<String>,
    /// Time of creation.
    pub created_at: Timestamp,
}

impl From<credits::GrantView> for Grant {
    fn from(grant: credits::GrantView) -> Self {
        Self {
            grant_id: grant.grant_id,
            kind: grant.kind.as_str(),
            amount: grant.amount,
            remaining: grant.remaining,
            held: grant.held,
            priority: grant.priority,
            effective_at: Timestamp(grant.effective_at),
            expires_at: grant.expires_at.map(Timestamp),
            status: grant.status.as_str(),
            description: grant.description,
            transaction_id: grant.transaction_id.map(transaction_id),
            created_at: Timestamp(grant.created_at),
        }
    }
}

/// Reserved credits.
#[derive(Debug, Serialize, ToSchema)]
pub struct Hold {
    /// Id used in paths.
    pub hold_id: Uuid,
    /// Owner of the account.
    #[schema(value_type = String, example = "auth0|test123")]
    pub user_id: UserId,
    /// user or service: who made it. Users end only holds of users.
    #[schema(value_type = CallerClassName, example = "service")]
    pub made_by: &'static str,
    /// Credits held.
    #[schema(value_type = f64, example = 70.0)]
    pub amount: Credits,
    /// Credits charged.
    #[schema(value_type = f64, example = 0.0)]
    pub captured: Credits,
    /// Credits freed.
    #[schema(value_type = f64, example = 0.0)]
    pub released: Credits,
    /// Credits that were delivered and not covered.
    #[schema(value_type = f64, example = 0.0)]
    pub uncollected: Credits,
    /// open, captured, released or expired.
    #[schema(value_type = HoldStatusName, example = "open")]
    pub status: &'static str,
    /// Time of its expiry.
    pub expires_at: Timestamp,
    /// Purpose.
    pub description: Option<String>,
    /// Metadata of the caller.
    #[schema(value_type = Object)]
    pub metadata: FreeForm,
    /// Time of creation.
    pub created_at: Timestamp,
    /// Time of its end.
    pub resolved_at: Option<Timestamp>,
}

impl Hold {
    /// A hold of this user.
    #[must_use]
    pub fn new(user_id: UserId, hold: credits::HoldView) -> Self {
        Self {
            hold_id: hold.hold_id,
            user_id,
            made_by: hold.made_by.as_str(),
            amount: hold.amount,
            captured: hold.captured,
            released: hold.released,
            uncollected: hold.uncollected,
            status: hold.status.as_str(),
            expires_at: Timestamp(hold.expires_at),
            description: hold.description,
            metadata: hold.metadata,
            created_at: Timestamp(hold.created_at),
            resolved_at: hold.resolved_at.map(Timestamp),
        }
    }
}

/// A transaction in the documents.
pub fn transaction_example() -> Value {
    json!({
        "id": 456, "transaction_id": "txn_0190a6c8-1c2b-7def-8abc-0123456789ab", "user_id": "auth0|test123",
        "transaction_type": "consume", "direction": "debit", "amount": 25.5, "credits_amount": 25.5,
        "balance_before": 1000.0, "credits_before": 1000.0, "balance_after": 974.5, "credits_after": 974.5,
        "usage_record_id": null, "reference_id": null, "hold_id": null, "description": "chat completion",
        "metadata": {}, "created_at": "2025-07-28T00:35:31.550198Z", "updated_at": "2025-07-28T00:35:31.550198Z",
    })
}

/// A grant in the documents.
pub fn grant_example() -> Value {
    json!({
        "grant_id": 1, "kind": "initial", "amount": 1000.0, "remaining": 974.5, "held": 0.0, "priority": 100,
        "effective_at": "2025-07-27T00:11:26.479685Z", "expires_at": null, "status": "open",
        "description": "Initial credits", "transaction_id": "txn_0190a6c8-1c2b-7def-8abc-0123456789ab",
        "created_at": "2025-07-27T00:11:26.479685Z",
    })
}

/// A hold in the documents.
pub fn hold_example() -> Value {
    json!({
        "hold_id": "0b6f2a9e-5a3e-4f57-9f0e-6a4c1f8f6f10", "user_id": "auth0|test123", "made_by": "service",
        "amount": 70.0, "captured": 0.0, "released": 0.0, "uncollected": 0.0, "status": "open",
        "expires_at": "2025-07-28T00:50:31.550198Z", "description": null, "metadata": {},
        "created_at": "2025-07-28T00:35:31.550198Z", "resolved_at": null,
    })
}
