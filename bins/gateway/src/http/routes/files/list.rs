//! `GET /api/v1/users/{user_id}/files`: files, newest first (HTTP contract 7).

use files::FileFilter;
use web::fields::page::next_cursor;

use super::body::{FileBody, file_example, files_of, prefix_of, refuse_foreign};
use crate::http::prelude::*;

const LIMIT: i64 = 100;

input! {
    /// Filter of the files.
    pub struct FilesInput {
        /// Beginning of the path: a whole one, or what follows `users/{user_id}/files/`.
        prefix: Option<String> = optional(Query, parse::text(0, 1024)), example("2025/07/");
    }
}

pub fn doc() -> Doc {
    Doc::new("files", "Files of a user")
        .description("Newest first.")
        .query::<FilesInput>()
        .paged(LIMIT)
        .reply_list::<FileBody>("Files retrieved successfully", file_example())
        .errors(&[&catalogue::PROVIDER_NOT_CONFIGURED, &catalogue::PROVIDER_UNAVAILABLE])
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let scope = call.list_scope();
    let (FilesInput { prefix }, page) = call.fields.list(LIMIT, &scope)?;
    let user_id = call.user().await?;
    let files = files_of(&call)?.clone();
    let prefix = prefix.filter(|prefix| !prefix.is_empty());
    if let Some(prefix) = &prefix {
        refuse_foreign(prefix, &user_id)?;
    }
    let path_prefix =
        prefix.map(|text| if text.starts_with("users/") { text } else { prefix_of(&user_id) + &text });
    let filter = FileFilter { path_prefix };
    let slice = call.read(async |conn| files::list(conn, &user_id, &filter, &page).await).await?;
    let next = next_cursor(&scope, slice.next.as_ref());
    let mut items = Vec::new();
    for file in slice.items {
        items.push(FileBody::new(&files, file).await?);
    }
    let message = Text::new("Files retrieved successfully", "文件列表获取成功");
    Ok(call.envelope(&message, items)?.next_cursor(next))
}
