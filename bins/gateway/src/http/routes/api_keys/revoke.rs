//! `DELETE /api/v1/api-keys/{key_id}`: revokes an API key (HTTP contract 3.6).

use identity::{
    api_keys::{self, Revocation},
    audit::{self, Action},
};
use kernel::Detail;
use uuid::Uuid;

use crate::http::prelude::*;

/// Revoked key.
#[derive(Debug, Serialize, ToSchema)]
pub struct RevokedApiKey {
    key_id: Uuid,
    revoked: bool,
}

pub fn doc() -> Doc {
    Doc::new("administration", "Revoke an API key")
        .description(
            "Every process refuses it from the next request on. A repeat succeeds and changes nothing.",
        )
        .reply_envelope::<RevokedApiKey>(
            "API key revoked",
            json!({"key_id": "0190a6c8-1c2b-4def-8abc-0123456789ab", "revoked": true}),
        )
        .errors(&[&catalogue::API_KEY_NOT_FOUND])
}

pub async fn handle(call: Call) -> Result<Reply, ApiError> {
    call.known()?;
    let key_id: Uuid = call.id_of_path("key_id", &catalogue::API_KEY_NOT_FOUND)?;
    let event = call.audit_event(Action::ApiKeyRevoked);
    let clock = &*call.app.clock;
    let revocation = call
        .write(async |tx| {
            let revocation = api_keys::revoke(tx.conn(), clock, key_id).await?;
            if let Revocation::Now(key) = &revocation {
                let facts = json!({"key_id": key.key_id, "name": key.name});
                audit::record(tx.conn(), &[event.clone().with(&facts)]).await?;
            }
            Ok(revocation)
        })
        .await?;
    if revocation == Revocation::Unknown {
        let named = Detail::Text(key_id.to_string());
        return Err(ApiError::new(&catalogue::API_KEY_NOT_FOUND).detail("key_id", named));
    }
    let message = Text::new("API key revoked", "API 密钥已吊销");
    call.envelope(&message, RevokedApiKey { key_id, revoked: true })
}
