//! Reading the whole price book, and whether it changed.

use std::{collections::BTreeMap, sync::LazyLock};

use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Bool, Nullable, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use pg::DbError;
use time::OffsetDateTime;

use super::Shared;
use crate::rating::{Key, Price, PriceBook, Rate, TokenClass};

/// Identity of a book: two books of the same edition are the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edition {
    version: i64,
    stamp: String,
}
pg::read_columns! { Edition: { version, stamp } }

/// The present edition.
pub(crate) async fn edition(mut conn: Shared<'_>) -> Result<Edition, DbError> {
    Ok(pg::sql(EDITION).get_result(&mut conn).await?)
}

/// The book with its edition: one statement, hence one snapshot, whatever is committed meanwhile.
pub(crate) async fn load(mut conn: Shared<'_>) -> Result<(Edition, PriceBook), DbError> {
    let rows: Vec<BookRow> = pg::sql(&BOOK).load(&mut conn).await?;
    let edition = rows.as_slice().first().map(|row| row.edition.clone());
    let edition = edition.ok_or_else(|| DbError::Inconsistent("there is no price book".to_owned()))?;
    let (mut prices, mut aliases) = (Vec::new(), Vec::new());
    for row in rows {
        let Some((provider, model)) = row.provider.zip(row.model) else {
            continue;
        };
        match (row.price, row.to_provider.zip(row.to_model)) {
            (Some(price), None) => prices.push(price.priced(provider, model)?),
            (None, Some(meant)) => aliases.push(((provider, model), meant)),
            _ => return Err(DbError::Inconsistent(format!("model {model} of the price book"))),
        }
    }
    Ok((edition, PriceBook::new(prices, aliases)))
}

/// Lets one transaction at a time change prices, until its end.
pub(crate) async fn lock(conn: &mut AsyncPgConnection) -> Result<(), DbError> {
    let rows: Vec<Edition> = pg::sql(LOCK).load(conn).await?;
    DbError::expect_rows("lock the price book", 1, rows.len())
}

const EDITION: &str = "SELECT version, stamp::text AS stamp FROM usage.price_book";

const LOCK: &str = "SELECT version, stamp::text AS stamp FROM usage.price_book FOR UPDATE";

/// The rates of a price as three columns, for statements that name it `price`. Their order is the same.
pub(super) const PRICE_RATES: &str = "LEFT JOIN LATERAL (
             SELECT array_agg(token_class) AS classes, array_agg(charge_pico) AS charges, array_agg(cost_pico) AS costs
             FROM usage.price_rates WHERE price_id = price.id) AS rates ON true";

/// Columns of [`VersionRow`], for statements that name a price `price` and join its [`PRICE_RATES`].
pub(super) const VERSION_COLUMNS: &str =
    "price.id, price.service_tier, price.min_context, price.valid_from, price.retired, rates.classes, rates.charges,
         rates.costs";

static BOOK: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT book.version, book.stamp::text AS stamp, entry.*
FROM usage.price_book AS book
LEFT JOIN (
    SELECT price.provider, price.model, NULL::text AS to_provider, NULL::text AS to_model, {VERSION_COLUMNS} FROM usage.prices AS price {PRICE_RATES}
    UNION ALL
    SELECT provider, model, to_provider, to_model, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
    FROM usage.model_aliases
) AS entry ON true"
    )
});

/// A price, or an alias, or for an empty book neither.
#[derive(QueryableByName)]
struct BookRow {
    #[diesel(embed)]
    edition: Edition,
    #[diesel(sql_type = Nullable<Text>)]
    provider: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    model: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    to_provider: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    to_model: Option<String>,
    #[diesel(embed)]
    price: Option<VersionRow>,
}

/// Content of a version of a price, without the names.
#[derive(QueryableByName)]
pub(super) struct VersionRow {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Text)]
    service_tier: String,
    #[diesel(sql_type = BigInt)]
    min_context: i64,
    #[diesel(sql_type = Timestamptz)]
    valid_from: OffsetDateTime,
    #[diesel(sql_type = Bool)]
    retired: bool,
    #[diesel(sql_type = Nullable<Array<Text>>)]
    classes: Option<Vec<String>>,
    #[diesel(sql_type = Nullable<Array<BigInt>>)]
    charges: Option<Vec<i64>>,
    #[diesel(sql_type = Nullable<Array<BigInt>>)]
    costs: Option<Vec<i64>>,
}

impl VersionRow {
    /// The price of this model of this provider.
    pub(super) fn priced(self, provider: String, model: String) -> Result<Price, DbError> {
        let classes = self.classes.unwrap_or_default().into_iter();
        let charges = self.charges.unwrap_or_default().into_iter();
        let costs = self.costs.unwrap_or_default();
        let rate = |((class, charge_pico), cost_pico): ((String, i64), i64)| {
            let class: TokenClass = class.parse().map_err(|error| {
                DbError::Inconsistent(format!("rate {class} of price {}: {error}", self.id))
            })?;
            let rate = Rate { charge_pico, cost_pico };
            Ok((class, rate))
        };
        let rates: Result<BTreeMap<TokenClass, Rate>, DbError> =
            classes.zip(charges).zip(costs).map(rate).collect();
        Ok(Price {
            id: self.id,
            key: Key { provider, model, service_tier: self.service_tier },
            min_context: self.min_context,
            valid_from: self.valid_from,
            is_retired: self.retired,
            rates: rates?,
        })
    }
}
