//! Pages of lists (HTTP contract 1.11).

use std::str::FromStr;

use kernel::{Cursor, Page, Start};

use super::{Fields, input::Input, parse};
use crate::{error::ApiError, fault::Problem};

crate::input! {
    /// A page of a list.
    pub struct PageInput {
        /// Most items of a page; above 500 counts as 500. A page of large items ends earlier: go on by cursor, or by offset plus
        /// items received.
        limit: Option<i64> = optional(Query, parse::integer(1, i64::MAX)), example(10);
        /// Items to skip.
        offset: Option<i64> = optional(Query, parse::integer(0, i64::MAX)), default(0), example(0);
        /// `X-Next-Cursor` of the page before, with the same filters; excludes `offset`.
        cursor: Option<String> = optional(Query, parse::text(0, usize::MAX));
    }
}

impl Fields {
    /// Reads the filters of a list and its page.
    ///
    /// # Errors
    /// Like [`Fields::read`].
    pub fn list<T: Input<Context = ()>, P: FromStr>(
        &mut self,
        limit_default: i64,
        scope: &str,
    ) -> Result<(T, Page<P>), ApiError> {
        self.read(|fields| {
            let filters = T::read(fields, &());
            let page = fields.page(limit_default, scope);
            filters.zip(page)
        })
    }

    /// `limit`, `offset` and `cursor` of a list (HTTP contract 1.11).
    ///
    /// `scope` names the list and its filters; a cursor made for another is refused.
    pub fn page<P: FromStr>(&mut self, limit_default: i64, scope: &str) -> Option<Page<P>> {
        let PageInput { limit, offset, cursor } = PageInput::read(self, &())?;
        let limit = limit.unwrap_or(limit_default);
        let start = match (cursor, offset) {
            (Some(_), Some(_)) => {
                self.fault("query", "cursor", Problem::value("cursor and offset exclude each other"));
                return None;
            }
            (Some(text), None) => match Cursor::open(scope, &text) {
                Ok(place) => Start::After(place),
                Err(error) => {
                    self.fault("query", "cursor", Problem::value(&error.to_string()));
                    return None;
                }
            },
            (None, offset) => Start::Offset(offset.unwrap_or(0)),
        };
        Page::new(limit, start).ok()
    }
}

/// The next page's cursor for a slice of a list.
#[must_use]
pub fn next_cursor<P: std::fmt::Display>(scope: &str, next: Option<&P>) -> Option<String> {
    next.map(|place| Cursor::seal(scope, place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paging_takes_a_cursor_or_an_offset() {
        let sealed = Cursor::seal("list", &7_i64);
        let page = |query: &str| Fields::new(query, b"").read(|fields| fields.page::<i64>(50, "list"));
        assert_eq!(page("").unwrap(), Page::first(50));
        assert_eq!(page("limit=9999").unwrap().limit(), 500);
        assert_eq!(page(&format!("cursor={sealed}")).unwrap().after(), Some(&7));
        for wrong in ["limit=0", "limit=x", "offset=-1", "cursor=zzz", &format!("cursor={sealed}&offset=1")] {
            assert_eq!(page(wrong).unwrap_err().code(), "ValidationException", "{wrong}");
        }
    }
}
