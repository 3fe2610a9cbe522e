//! An API key in answers (HTTP contract 3.6).

use identity::api_keys::ApiKey;
use uuid::Uuid;

use crate::http::{prelude::*, wire::Timestamp};

/// An API key, without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub struct ApiKeyBody {
    key_id: Uuid,
    name: String,
    /// Beginning of the key.
    prefix: String,
    /// `read`, `service`, `admin`; the highest decides.
    scopes: Vec<&'static str>,
    created_at: Timestamp,
    expires_at: Option<Timestamp>,
    /// To the hour.
    last_used_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
}

impl From<ApiKey> for ApiKeyBody {
    fn from(key: ApiKey) -> Self {
        Self {
            key_id: key.key_id,
            name: key.name,
            prefix: key.prefix,
            scopes: key.scopes.names(),
            created_at: Timestamp(key.created_at),
            expires_at: key.expires_at.map(Timestamp),
            last_used_at: key.last_used_at.map(Timestamp),
            revoked_at: key.revoked_at.map(Timestamp),
        }
    }
}

pub fn example() -> serde_json::Value {
    json!({
        "key_id": "0190a6c8-1c2b-4def-8abc-0123456789ab", "name": "billing", "prefix": "usk_live_ab12",
        "scopes": ["service"], "created_at": "2025-07-28T00:35:31.550198Z", "expires_at": null,
        "last_used_at": null, "revoked_at": null,
    })
}
