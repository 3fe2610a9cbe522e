//! The body of an export of usage. Between two pages nothing of the database is held.

use std::{sync::Arc, time::Duration};

use actix_web::http::{Method, header::CONTENT_DISPOSITION};
use kernel::{UserId, rfc3339};
use time::OffsetDateTime;
use usage::{Export, Exported, RecordFilter};

use super::export_format::{Format, Unwritable};
use crate::{
    app::App,
    http::{
        call::{AppCall as _, Call},
        error::ApiError,
        page_stream::{self, PageError, Pages},
        reply::Reply,
    },
};

/// Longest time that an event may be ahead of now: what is recorded later than this is not waited for.
const AHEAD: time::Duration = time::Duration::minutes(5);

/// Where pages come from.
struct Source {
    app: Arc<App>,
    /// Subject of reads that wait for one another.
    reader: String,
    export: Export,
    format: Format,
    page_timeout: Duration,
}

/// Answers with a file of these records. The first page is fetched before, so that what fails at once is an ordinary error.
///
/// # Errors
/// 503 when the database cannot be asked.
pub async fn reply(
    call: &Call,
    whose: Option<UserId>,
    filter: RecordFilter,
    format: Format,
) -> Result<Reply, ApiError> {
    let name = file_name(whose.as_ref(), call.now, format);
    let filter = RecordFilter { to: filter.to.or_else(|| call.now.checked_add(AHEAD)), ..filter };
    let export = call.read(async |conn| Export::begin(conn, whose, filter).await).await?;
    let mut source = Source {
        app: Arc::clone(&call.app),
        reader: call.reader(),
        export,
        format,
        page_timeout: call.app.config.limits.request_timeout,
    };
    let mut first = format.head().map_err(|error| unwritable(error).answered())?;
    let page = source.page().await.map_err(PageError::answered)?;
    first.extend(page.unwrap_or_default());
    // A body that is not asked for would be made all the same, and thrown away.
    let body = page_stream::body(first, source, call.request.method() != Method::HEAD);
    let disposition = format!("attachment; filename=\"{name}\"");
    Ok(Reply::stream(format.content_type(), body).header(CONTENT_DISPOSITION, &disposition))
}

impl Pages for Source {
    async fn page(&mut self) -> Result<Option<Vec<u8>>, PageError> {
        loop {
            let slot = self.app.read_slots.acquire(&self.reader).await;
            let export = &mut self.export;
            let reading = self.app.lists.read(async |conn| export.page(conn).await);
            let page = tokio::time::timeout(self.page_timeout, reading).await;
            drop(slot);
            let page = page.map_err(|_| PageError::TooSlow(self.page_timeout))?;
            match page?? {
                Exported::End => return Ok(None),
                // None of those that were looked at is wanted.
                Exported::Records(records) if records.is_empty() => {}
                Exported::Records(records) => {
                    let count = u64::try_from(records.len()).unwrap_or(u64::MAX);
                    metrics::counter!("usage_exported_records_total").increment(count);
                    return self.format.records(records).map(Some).map_err(unwritable);
                }
            }
        }
    }

    fn broken_off(&self) -> &'static str {
        self.format.broken_off()
    }
}

fn unwritable(error: Unwritable) -> PageError {
    PageError::Unwritable(error.into())
}

/// `usage-auth0_a-20260115T120000Z.csv`: of a user id only what every system takes in a name.
fn file_name(whose: Option<&UserId>, now: OffsetDateTime, format: Format) -> String {
    let instant: String = rfc3339(now)
        .chars()
        .take_while(|letter| *letter != '.')
        .filter(char::is_ascii_alphanumeric)
        .collect();
    let safe = |letter: char| {
        if letter.is_ascii_alphanumeric() || ".-_".contains(letter) { letter } else { '_' }
    };
    let whose: String = match whose {
        Some(user) => user.as_str().chars().take(64).map(safe).collect(),
        None => "all".to_owned(),
    };
    format!("usage-{whose}-{instant}Z.{}", format.extension())
}
