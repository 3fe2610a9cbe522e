//! All records that a filter matches, page by page: for whoever takes them away, not for whoever looks at them.

use diesel_async::AsyncPgConnection;
use kernel::UserId;
use pg::DbError;
use time::OffsetDateTime;

use crate::{
    Record, RecordFilter,
    core::window::Window,
    store::{self, export::ExportCursor},
};

/// Records in the order of user, time and id, which no record that is made meanwhile can upset: each is answered once, however
/// long it takes. A record made while it runs is in it or not.
///
/// Between two pages it holds nothing of the database. A page reads a bounded number of rows, whatever the filter, and holds
/// about a megabyte.
#[derive(Debug, Clone)]
pub struct Export {
    filter: RecordFilter,
    /// `None` when no instant lies in the window.
    window: Option<Window>,
    whose: Option<UserId>,
    after: Option<ExportCursor>,
    dropped_before: Option<OffsetDateTime>,
}

/// Months of the window were dropped since the export began: what is left would look like all there was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("records of the window were dropped while they were exported")]
pub struct RecordsDropped;

/// Result of one step of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exported {
    /// The next records; none if there were only others among those that were looked at.
    Records(Vec<Record>),
    /// There are no more.
    End,
}

impl Export {
    /// Begins an export of one user's records, or of everybody's. Without an end of the window it goes on as long as records
    /// are made faster than they are read.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn begin(
        conn: &mut AsyncPgConnection,
        whose: Option<UserId>,
        filter: RecordFilter,
    ) -> Result<Self, DbError> {
        Ok(Self {
            window: Window::from_filter(&filter),
            filter,
            whose,
            after: None,
            dropped_before: store::export::dropped_before(conn).await?,
        })
    }

    /// Reads the next page. After an error it may be asked again.
    ///
    /// # Errors
    /// [`DbError`]; [`RecordsDropped`] for good.
    pub async fn page(
        &mut self,
        conn: &mut AsyncPgConnection,
    ) -> Result<Result<Exported, RecordsDropped>, DbError> {
        let Some(window) = self.window else {
            return Ok(Ok(Exported::End));
        };
        let whose = self.whose.as_ref();
        let page = store::export::page(conn, whose, window, &self.filter, self.after.as_ref()).await?;
        // Looked at behind the page, so that nothing can be dropped unnoticed before it.
        let dropped = store::export::dropped_before(conn).await?;
        if dropped > self.dropped_before && (window.start < dropped) {
            return Ok(Err(RecordsDropped));
        }
        match page.next {
            None => Ok(Ok(Exported::End)),
            Some(next) => {
                self.after = Some(next);
                Ok(Ok(Exported::Records(page.records)))
            }
        }
    }
}
