//! Users in answers (HTTP contract 3.2 and 3.3).

use credits::Balance;
use identity::{Role, User};
use kernel::{Credits, UserId};

use crate::http::{
    prelude::*,
    wire::{PlanName, Timestamp, UserRoleName},
};

/// The roles by their names.
pub const ROLES: &[(&str, Role)] = &[("user", Role::User), ("admin", Role::Admin)];

/// A user with their credits.
#[derive(Debug, Serialize, ToSchema)]
pub struct Me {
    /// External id.
    #[schema(value_type = String)]
    user_id: UserId,
    email: Option<String>,
    name: Option<String>,
    /// Credits left.
    #[serde(serialize_with = "Credits::serialize_plain")]
    #[schema(value_type = f64)]
    credits: Credits,
    /// Credits ever granted and recharged.
    #[serde(serialize_with = "Credits::serialize_plain")]
    #[schema(value_type = f64)]
    credits_total: Credits,
    /// free, pro or enterprise.
    #[schema(value_type = PlanName)]
    plan: String,
    is_active: bool,
    /// True if the user holds the address; others are contacts that nobody confirmed.
    email_verified: bool,
}

/// A user with their credits and role.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChangedUser {
    #[serde(flatten)]
    user: Me,
    /// user or admin.
    #[schema(value_type = UserRoleName)]
    role: &'static str,
}

/// A user as administrators see them.
#[derive(Debug, Serialize, ToSchema)]
pub struct UserBody {
    #[serde(flatten)]
    user: Me,
    /// user or admin.
    #[schema(value_type = UserRoleName)]
    role: &'static str,
    created_at: Timestamp,
    /// The hour of the last request of the user that succeeded.
    last_seen_at: Option<Timestamp>,
}

impl Me {
    /// A user, with their balance; nobody without an account has credits.
    pub fn new(user: User, balance: Option<&Balance>) -> Self {
        Self {
            user_id: user.user_id,
            email: user.email,
            name: user.name,
            credits: balance.map_or(Credits::ZERO, |balance| balance.posted),
            credits_total: balance.map_or(Credits::ZERO, |balance| balance.lifetime_granted),
            plan: user.plan.as_str().to_owned(),
            is_active: user.is_active,
            email_verified: user.email_vouched,
        }
    }
}

impl ChangedUser {
    /// A user, with their balance.
    pub fn new(user: User, balance: Option<&Balance>) -> Self {
        Self { role: user.role.as_str(), user: Me::new(user, balance) }
    }
}

impl UserBody {
    /// A user, with their balance.
    pub fn new(user: User, balance: Option<&Balance>) -> Self {
        Self {
            role: user.role.as_str(),
            created_at: Timestamp(user.created_at),
            last_seen_at: user.last_seen_at.map(Timestamp),
            user: Me::new(user, balance),
        }
    }
}

/// The example of [`UserBody`].
pub fn example() -> serde_json::Value {
    json!({
        "user_id": "auth0|test123", "email": "test.user@example.com", "name": "Test User", "credits": 974.5,
        "credits_total": 1000, "plan": "free", "is_active": true, "email_verified": true, "role": "user",
        "created_at": "2025-07-27T00:32:57.736450Z", "last_seen_at": "2025-07-28T00:00:00.000000Z",
    })
}
