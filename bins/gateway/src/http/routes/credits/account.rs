//! `GET /api/v1/users/{user_id}/credits/account`: balance, holds and open grants of the user (HTTP contract 6.5).

use kernel::{Credits, UserId};

use crate::http::{prelude::*, routes::credits::bodies::Grant, wire::Timestamp};

/// Credits of a user.
#[derive(Debug, Serialize, ToSchema)]
pub struct Account {
    #[schema(value_type = String)]
    user_id: UserId,
    /// Posted, held credits included.
    #[schema(value_type = f64)]
    balance: Credits,
    /// Set aside by open holds.
    #[schema(value_type = f64)]
    held: Credits,
    /// Credits that can be spent now.
    #[schema(value_type = f64)]
    available: Credits,
    /// Credits ever granted and recharged.
    #[schema(value_type = f64)]
    lifetime_granted: Credits,
    /// Open grants in burn order.
    grants: Vec<Grant>,
    updated_at: Timestamp,
}

pub fn doc() -> Doc {
    Doc::new("credits", "Account").reply_envelope::<Account>("Account retrieved successfully", example())
}

/// An account, for documents.
pub fn example() -> serde_json::Value {
    json!({
        "user_id": "auth0|test123", "balance": 1000.0, "held": 70.0, "available": 930.0,
        "lifetime_granted": 1000.0, "grants": [super::bodies::grant_example()],
        "updated_at": "2025-07-28T00:35:31.550198Z",
    })
}

pub async fn handle(call: Call) -> Result<Reply, ApiError> {
    let user_id = call.user().await?;
    let clock = &*call.app.clock;
    let account = call.look_up(async |conn| credits::account(conn, clock, &user_id).await).await?;
    let account = account.ok_or_else(|| ApiError::user_not_found(&user_id))?;
    let data = Account::from(account);
    call.envelope(&Text::new("Account retrieved successfully", "积分账户查询成功"), data)
}

impl From<credits::AccountView> for Account {
    fn from(account: credits::AccountView) -> Self {
        Self {
            user_id: account.user_id,
            balance: account.balance.posted,
            held: account.balance.held,
            available: account.balance.available(),
            lifetime_granted: account.balance.lifetime_granted,
            grants: account.grants.into_iter().map(Grant::from).collect(),
            updated_at: Timestamp(account.updated_at),
        }
    }
}
