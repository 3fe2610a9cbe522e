//! Writing and reading `usage.prices` with `usage.price_rates`.

use std::collections::BTreeMap;

use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Bool, Nullable, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use kernel::Page;
use pg::DbError;
use time::OffsetDateTime;

use super::price_book::{VersionRow, price_rates, version_columns};
use crate::{NewPrice, Offer, PriceFilter, PriceVersion};

/// A version that is written: when it begins is settled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Beginning<'a> {
    pub(crate) new: &'a NewPrice,
    pub(crate) valid_from: OffsetDateTime,
}

/// The versions that hold at an instant, by key and step, and whether more follow.
pub(crate) async fn list(
    conn: &mut AsyncPgConnection,
    filter: &PriceFilter,
    page: &Page<i64>,
) -> Result<Vec<PriceVersion>, DbError> {
    let rows: Vec<PriceRow> = pg::sql(LIST)
        .bind::<Timestamptz, _>(filter.at)
        .bind::<Nullable<Text>, _>(filter.model_name.as_deref())
        .bind::<Nullable<BigInt>, _>(page.after())
        .bind::<BigInt, _>(page.rows())
        .bind::<BigInt, _>(page.offset())
        .load(conn)
        .await?;
    rows.into_iter().map(PriceVersion::try_from).collect()
}

/// Versions by their ids, in no order.
pub(crate) async fn find(conn: &mut AsyncPgConnection, ids: &[i64]) -> Result<Vec<PriceVersion>, DbError> {
    let rows: Vec<PriceRow> = pg::sql(FIND).bind::<Array<BigInt>, _>(ids).load(conn).await?;
    rows.into_iter().map(PriceVersion::try_from).collect()
}

/// Which of these begin at the same instant as a version of their key and step that exists; places in the list.
pub(crate) async fn known(
    conn: &mut AsyncPgConnection,
    new: &[Beginning<'_>],
) -> Result<Vec<usize>, DbError> {
    let rows: Vec<PlaceRow> = pg::sql(KNOWN)
        .bind::<Array<Text>, _>(column(new, |one| one.new.key.provider.as_str()))
        .bind::<Array<Text>, _>(column(new, |one| one.new.key.model.as_str()))
        .bind::<Array<Text>, _>(column(new, |one| one.new.key.service_tier.as_str()))
        .bind::<Array<BigInt>, _>(column(new, |one| one.new.min_context))
        .bind::<Array<Timestamptz>, _>(column(new, |one| one.valid_from))
        .load(conn)
        .await?;
    let place = |row: PlaceRow| usize::try_from(row.place).ok();
    Ok(rows.into_iter().filter_map(place).collect())
}

/// Which of these have no version of their step, while nobody but `actor` put any price of the model, for the provider or
/// for all; places in the list.
pub(crate) async fn unpriced(
    conn: &mut AsyncPgConnection,
    actor: &str,
    new: &[NewPrice],
) -> Result<Vec<usize>, DbError> {
    let rows: Vec<PlaceRow> = pg::sql(UNPRICED)
        .bind::<Text, _>(actor)
        .bind::<Array<Text>, _>(column(new, |one| one.key.provider.as_str()))
        .bind::<Array<Text>, _>(column(new, |one| one.key.model.as_str()))
        .bind::<Array<Text>, _>(column(new, |one| one.key.service_tier.as_str()))
        .bind::<Array<BigInt>, _>(column(new, |one| one.min_context))
        .load(conn)
        .await?;
    let place = |row: PlaceRow| usize::try_from(row.place).ok();
    Ok(rows.into_iter().filter_map(place).collect())
}

/// Inserts versions with their rates; their ids, in the order of `new`.
pub(crate) async fn insert(
    conn: &mut AsyncPgConnection,
    now: OffsetDateTime,
    actor: &str,
    new: &[Beginning<'_>],
) -> Result<Vec<i64>, DbError> {
    let drawn: Vec<IdRow> =
        pg::sql(DRAW).bind::<BigInt, _>(i64::try_from(new.len()).unwrap_or(i64::MAX)).load(conn).await?;
    DbError::expect_rows("draw ids of prices", new.len(), drawn.len())?;
    let ids: Vec<i64> = drawn.into_iter().map(|row| row.id).collect();
    let inserted = pg::sql(INSERT)
        .bind::<Timestamptz, _>(now)
        .bind::<Text, _>(actor)
        .bind::<Array<BigInt>, _>(&ids)
        .bind::<Array<Text>, _>(column(new, |one| one.new.key.provider.as_str()))
        .bind::<Array<Text>, _>(column(new, |one| one.new.key.model.as_str()))
        .bind::<Array<Text>, _>(column(new, |one| one.new.key.service_tier.as_str()))
        .bind::<Array<BigInt>, _>(column(new, |one| one.new.min_context))
        .bind::<Array<Timestamptz>, _>(column(new, |one| one.valid_from))
        .bind::<Array<Bool>, _>(column(new, |one| one.new.offer == Offer::Retired))
        .bind::<Array<Text>, _>(column(new, |one| one.new.source.as_str()))
        .execute(conn)
        .await?;
    DbError::expect_rows("insert prices", new.len(), inserted)?;
    insert_rates(conn, &ids, new).await?;
    Ok(ids)
}

async fn insert_rates(
    conn: &mut AsyncPgConnection,
    ids: &[i64],
    new: &[Beginning<'_>],
) -> Result<(), DbError> {
    let none = BTreeMap::new();
    let rates: Vec<_> = ids
        .iter()
        .zip(new)
        .flat_map(|(id, one)| {
            let rates = match &one.new.offer {
                Offer::Rates(rates) => rates,
                Offer::Retired => &none,
            };
            rates.iter().map(move |(class, rate)| (*id, *class, *rate))
        })
        .collect();
    let inserted = pg::sql(INSERT_RATES)
        .bind::<Array<BigInt>, _>(column(&rates, |(id, ..)| *id))
        .bind::<Array<Text>, _>(column(&rates, |(_, class, _)| class.as_str()))
        .bind::<Array<BigInt>, _>(column(&rates, |(.., rate)| rate.charge_pico))
        .bind::<Array<BigInt>, _>(column(&rates, |(.., rate)| rate.cost_pico))
        .execute(conn)
        .await?;
    DbError::expect_rows("insert rates of prices", rates.len(), inserted)
}

/// Columns of [`PriceRow`], for statements that name a price `price` and join its rates.
macro_rules! price_columns {
    () => {
        concat!(
            "price.provider, price.model, price.source, price.actor, price.created_at,
             (SELECT min(next.valid_from) FROM usage.prices AS next
              WHERE next.provider = price.provider AND next.model = price.model AND next.service_tier = price.service_tier
                AND next.min_context = price.min_context AND next.valid_from > price.valid_from) AS valid_until, ",
            version_columns!()
        )
    };
}
/// A version's end is the beginning of its successor. The inner part walks the index of versions; a place in the list is a
/// key with its step, named by the id of any of its versions: those that came meanwhile stand at the same place.
const LIST: &str = concat!(
    "SELECT ",
    price_columns!(),
    " FROM (
    SELECT DISTINCT ON (provider, model, service_tier, min_context) * FROM usage.prices
    WHERE valid_from <= $1 AND ($2 IS NULL OR model = $2)
      AND ($3 IS NULL OR (provider, model, service_tier, min_context) > (
          SELECT provider, model, service_tier, min_context FROM usage.prices WHERE id = $3))
    ORDER BY provider, model, service_tier, min_context, valid_from DESC LIMIT $4 OFFSET $5
) AS price ",
    price_rates!(),
    " ORDER BY price.provider, price.model, price.service_tier, price.min_context"
);

const FIND: &str = concat!(
    "SELECT ",
    price_columns!(),
    " FROM usage.prices AS price ",
    price_rates!(),
    " WHERE price.id = ANY ($1)"
);

const KNOWN: &str = "
SELECT given.place - 1 AS place
FROM unnest($1, $2, $3, $4, $5) WITH ORDINALITY AS given (provider, model, service_tier, min_context, valid_from, place)
JOIN usage.prices USING (provider, model, service_tier, min_context, valid_from) ORDER BY place";

const UNPRICED: &str = "
SELECT given.place - 1 AS place
FROM unnest($2, $3, $4, $5) WITH ORDINALITY AS given (provider, model, service_tier, min_context, place)
WHERE NOT EXISTS (
    SELECT FROM usage.prices AS price
    WHERE price.provider IN (given.provider, '') AND price.model = given.model
      AND (price.actor <> $1 OR (price.provider, price.service_tier, price.min_context)
                              = (given.provider, given.service_tier, given.min_context)))
ORDER BY place";

const DRAW: &str =
    "SELECT nextval(pg_get_serial_sequence('usage.prices', 'id')) AS id FROM generate_series(1, $1)";

const INSERT: &str = "
INSERT INTO usage.prices
      (created_at, actor, id, provider, model, service_tier, min_context, valid_from, retired, source)
OVERRIDING SYSTEM VALUE
SELECT $1, $2, given.* FROM unnest($3, $4, $5, $6, $7, $8, $9, $10) AS given";

const INSERT_RATES: &str = "
INSERT INTO usage.price_rates (price_id, token_class, charge_pico, cost_pico) SELECT * FROM unnest($1, $2, $3, $4)";

#[derive(QueryableByName)]
struct PriceRow {
    #[diesel(sql_type = Text)]
    provider: String,
    #[diesel(sql_type = Text)]
    model: String,
    #[diesel(sql_type = Text)]
    source: String,
    #[diesel(sql_type = Text)]
    actor: String,
    #[diesel(sql_type = Timestamptz)]
    created_at: OffsetDateTime,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    valid_until: Option<OffsetDateTime>,
    #[diesel(embed)]
    version: VersionRow,
}

#[derive(QueryableByName)]
struct PlaceRow {
    #[diesel(sql_type = BigInt)]
    place: i64,
}

#[derive(QueryableByName)]
struct IdRow {
    #[diesel(sql_type = BigInt)]
    id: i64,
}

impl TryFrom<PriceRow> for PriceVersion {
    type Error = DbError;

    fn try_from(row: PriceRow) -> Result<Self, DbError> {
        Ok(Self {
            price: row.version.priced(row.provider, row.model)?,
            valid_until: row.valid_until,
            source: row.source,
            actor: row.actor,
            created_at: row.created_at,
        })
    }
}

fn column<'a, S, T>(rows: &'a [S], value: impl FnMut(&'a S) -> T) -> Vec<T> {
    rows.iter().map(value).collect()
}
