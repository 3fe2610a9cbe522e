//! `POST /api/v1/api-keys`: makes an API key (HTTP contract 3.6).

use std::num::NonZeroU32;

use identity::{
    api_keys::{self, KeyScopes, NewApiKey},
    audit::{self, Action},
};
use secrecy::ExposeSecret as _;
use time::OffsetDateTime;

use super::body::{ApiKeyBody, example};
use crate::http::{
    fault::{Fault, Problem},
    fields::time::instant,
    prelude::*,
};

/// Highest limit of a key. Beyond it the limit of a key means nothing.
const RATE_MAX: i64 = 1_000_000;

input! {
    /// The key to make.
    pub struct CreateApiKey {
        /// Name for people, 1 to 255 characters.
        name: String = required(Body, parse::text(1, 255)), example("billing");
        /// read: reading for any user; service: everything a user may do, for any user; admin: everything.
        scopes: KeyScopes = required(Body, parse::scopes()), example(["service"]);
        /// End of its validity, in the future; none if absent.
        expires_at: Option<OffsetDateTime> = optional(Body, instant());
        /// Its own limit of requests a second, with a burst of twice as many; none if absent.
        rate_limit_per_second: Option<u32> = optional(Body, parse::integer(1, RATE_MAX));
    }
}

/// The key, with its text.
#[derive(Serialize, ToSchema)]
pub struct CreatedApiKey {
    #[serde(flatten)]
    about: ApiKeyBody,
    /// The key itself, shown this once.
    key: String,
}

pub fn doc() -> Doc {
    let mut created = example();
    created["key"] = json!("usk_live_ab12...");
    Doc::new("administration", "Make an API key")
        .description("The key is shown in this answer only: the service stores a digest of it.")
        .body::<CreateApiKey>(json!({"name": "billing", "scopes": ["service"]}))
        .reply_envelope::<CreatedApiKey>("API key created", created)
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let input = call.input::<CreateApiKey>().await?;
    call.known()?;
    if input.expires_at.is_some_and(|expires_at| expires_at <= call.now) {
        let problem = Problem::value("expires_at does not lie ahead");
        return Err(ApiError::faults(vec![Fault::field("body", "expires_at", problem, None)]));
    }
    let new = NewApiKey {
        name: input.name,
        scopes: input.scopes,
        expires_at: input.expires_at,
        requests_per_second: input.rate_limit_per_second.and_then(NonZeroU32::new),
    };
    let event = call.audit_event(Action::ApiKeyCreated);
    let (clock, ids) = (&*call.app.clock, &*call.app.ids);
    let (key, text) = call
        .write(async |tx| {
            let (key, text) = api_keys::create(tx.conn(), clock, ids, &event.actor, &new).await?;
            let facts = json!({"key_id": key.key_id, "name": key.name, "scopes": key.scopes.names()});
            audit::record(tx.conn(), &[event.clone().with(&facts)]).await?;
            Ok((key, text))
        })
        .await?;
    let message = Text::new("API key created", "API 密钥已创建");
    call.envelope(&message, CreatedApiKey { about: key.into(), key: text.expose_secret().to_owned() })
}
