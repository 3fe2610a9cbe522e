//! All SQL of this domain. Columns become types of the model at this edge.

pub(crate) mod aliases;
pub(crate) mod anomalies;
mod audits;
pub(crate) mod dedupe;
pub(crate) mod export;
pub(crate) mod partitions;
mod personal;
pub(crate) mod presence;
pub(crate) mod price_book;
pub(crate) mod prices;
pub(crate) mod records;
pub(crate) mod rollups;
mod rows;
pub(crate) mod saving;
pub(crate) mod series;
mod sources;
mod statements;
pub(crate) mod stats;
pub(crate) mod summary;
pub(crate) mod top_series;
pub(crate) mod verify;
pub(crate) mod zones;

use diesel::{
    deserialize::{self, QueryableByName},
    pg::Pg,
    row::{Field, NamedRow, Row},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use pg::{
    DbError, Sql,
    columns::{self, FromColumn},
};

pub use audits::AUDITS;
pub use personal::PERSONAL_DATA;
pub use statements::statements;

/// A connection whose statements may be under way at the same time.
pub(crate) type Shared<'a> = &'a AsyncPgConnection;

/// The value of a statement that answers one row of one column.
async fn value<T: FromColumn + Send + 'static>(
    conn: &mut AsyncPgConnection,
    sql: Sql<'_>,
) -> Result<T, DbError> {
    let Value(value) = sql.get_result(conn).await?;
    Ok(value)
}

/// The values of a statement that answers one column.
async fn values<T: FromColumn + Send + 'static>(
    conn: &mut AsyncPgConnection,
    sql: Sql<'_>,
) -> Result<Vec<T>, DbError> {
    let rows: Vec<Value<T>> = sql.load(conn).await?;
    Ok(rows.into_iter().map(|Value(value)| value).collect())
}

/// The values as places in a list.
async fn places(conn: &mut AsyncPgConnection, sql: Sql<'_>) -> Result<Vec<usize>, DbError> {
    let places: Vec<i64> = values(conn, sql).await?;
    Ok(places.into_iter().filter_map(|place| usize::try_from(place).ok()).collect())
}

/// The first column of a row, whatever its name.
struct Value<T>(T);

impl<T: FromColumn> QueryableByName<Pg> for Value<T> {
    fn build<'a>(row: &impl NamedRow<'a, Pg>) -> deserialize::Result<Self> {
        let column = Row::get(row, 0);
        let name = column.as_ref().and_then(|column| column.field_name()).unwrap_or_default();
        columns::get(row, name).map(Self)
    }
}
