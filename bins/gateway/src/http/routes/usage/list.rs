//! `GET /api/v1/users/{user_id}/usage`: usage records, newest first (HTTP contract 4.2).

use super::filter::FilterInput;
use crate::http::{prelude::*, routes::usage::record_body::UsageBody};

const LIMIT: i64 = 50;

pub fn doc() -> Doc {
    Doc::new("usage", "Usage history")
        .description("Newest first.")
        .query::<FilterInput>()
        .paged(LIMIT)
        .reply_list::<UsageBody>("Retrieved 1 usage records", super::record_body::record_example())
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let scope = call.list_scope();
    let (filter, page) = call.fields.list::<FilterInput, _>(LIMIT, &scope)?;
    let filter = filter.into();
    let user_id = call.user().await?;
    let slice = call.read(async |conn| usage::list(conn, &user_id, &filter, &page).await).await?;
    call.list_reply(&scope, slice, UsageBody::from, ("usage records", "使用记录"))
}
