//! The price book, kept in the process.

use std::sync::{Arc, PoisonError, RwLock};

use diesel_async::AsyncPgConnection;
use pg::DbError;

use crate::{
    rating::PriceBook,
    store::price_book::{self, Edition},
};

/// The price book of one database, kept in the process and never out of date.
///
/// Clones share the same book. A cache belongs to one database.
#[derive(Debug, Clone, Default)]
pub struct Prices(Arc<RwLock<Option<CachedPrices>>>);

#[derive(Debug, Clone)]
struct CachedPrices {
    edition: Edition,
    book: Arc<PriceBook>,
}

impl Prices {
    /// A cache that has not read anything yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The book as the connection sees it: with everything that was committed before this was called, and with what its own
    /// transaction changed.
    ///
    /// Asks one small question, and reads the book only when it was changed since it was last read. The statements travel on
    /// a shared connection, so that others of the same transaction may be under way.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn book(&self, conn: &AsyncPgConnection) -> Result<Arc<PriceBook>, DbError> {
        self.of_edition(conn, price_book::edition(conn).await?).await
    }

    /// The book, given its edition in the same transaction.
    pub(super) async fn of_edition(
        &self,
        conn: &AsyncPgConnection,
        edition: Edition,
    ) -> Result<Arc<PriceBook>, DbError> {
        if let Some(kept) = self.kept().filter(|kept| kept.edition == edition) {
            return Ok(kept.book);
        }
        // What is read may be newer than the question; it carries its own edition.
        let (edition, book) = price_book::load(conn).await?;
        let kept = CachedPrices { edition, book: Arc::new(book) };
        let book = Arc::clone(&kept.book);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        Ok(book)
    }

    fn kept(&self) -> Option<CachedPrices> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
