//! `GET /api/v1/api-keys`: API keys, newest first (HTTP contract 3.6).

use identity::api_keys;

use super::body::{ApiKeyBody, example};
use crate::http::prelude::*;

const LIMIT: i64 = 50;

pub fn doc() -> Doc {
    Doc::new("administration", "API keys")
        .description(
            "Newest first, the revoked ones included. The keys of `USER_SERVICE_API_KEY` are not listed.",
        )
        .paged(LIMIT)
        .reply_list::<ApiKeyBody>("Retrieved 1 API keys", example())
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let scope = call.list_scope();
    let page = call.fields.read(|fields| fields.page(LIMIT, &scope))?;
    call.known()?;
    let slice = call.read(async |conn| api_keys::list(conn, &page).await).await?;
    call.list_reply(&scope, slice, ApiKeyBody::from, ("API keys", "API 密钥"))
}
