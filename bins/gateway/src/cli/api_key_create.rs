//! `gateway api-key create`: makes an API key, beside a running gateway or without one, and prints it.

use identity::{
    api_keys::{self, KeyScope, KeyScopes, NewApiKey},
    audit::{self, Action, AuditActor, AuditEvent, AuditOrigin},
};
use kernel::{Clock as _, RandomIds, SystemClock};
use pg::{Access, Tx};
use secrecy::ExposeSecret as _;
use serde_json::json;
use time::OffsetDateTime;

use super::{failure::Failure, upkeep};

/// The key to make.
#[derive(Debug, Clone)]
pub(super) struct ToMake {
    pub(super) name: String,
    pub(super) scopes: Vec<KeyScope>,
    pub(super) expires_at: Option<OffsetDateTime>,
}

/// Makes it, and prints its text, which is stored nowhere.
pub(super) fn run(key: ToMake) -> Result<(), Failure> {
    upkeep::run(Access::ReadWrite, async |_config, pool, _line| {
        let missing = pg::migrate::pending(pool, &[identity::MIGRATIONS]).await.map_err(Failure::Identity)?;
        if !missing.is_empty() {
            return Err(Failure::SchemaBehind { missing });
        }
        let now = SystemClock.now();
        let new = NewApiKey {
            name: key.name,
            scopes: KeyScopes::new(key.scopes)
                .ok_or(Failure::Useless("a key without a scope opens nothing"))?,
            expires_at: key.expires_at,
            requests_per_second: None,
        };
        if new.expires_at.is_some_and(|expires_at| expires_at <= now) {
            return Err(Failure::Useless("--expires-at does not lie ahead"));
        }
        let actor = AuditActor::System;
        let event = AuditEvent::new(now, actor.clone(), Action::ApiKeyCreated, AuditOrigin::default());
        let text = Tx::run(pool, async |tx| {
            let (key, text) = api_keys::create(tx.conn(), &SystemClock, &RandomIds, &actor, &new).await?;
            let facts = json!({"key_id": key.key_id, "name": key.name, "scopes": key.scopes.names()});
            audit::record(tx.conn(), &[event.with(&facts)]).await?;
            Ok(text)
        })
        .await
        .map_err(Failure::Identity)?;
        Ok(text.expose_secret().to_owned())
    })
}
