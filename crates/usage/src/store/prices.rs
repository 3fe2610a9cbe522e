//! Writing and reading `usage.prices` with `usage.price_rates`.

use std::{collections::BTreeMap, sync::LazyLock};

use diesel::sql_types::{Array, BigInt, Bool, Nullable, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use kernel::Page;
use pg::{
    DbError,
    columns::{self, Placeholders, Written},
};
use time::OffsetDateTime;

use super::{
    places,
    price_book::{PRICE_RATES, VERSION_COLUMNS, VersionRow},
    values,
};
use crate::{
    NewPrice, Offer, PriceFilter, PriceVersion,
    rating::{Rate, TokenClass},
};

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
    let rows: Vec<PriceRow> = pg::sql(&LIST)
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
    let rows: Vec<PriceRow> = pg::sql(&FIND).bind::<Array<BigInt>, _>(ids).load(conn).await?;
    rows.into_iter().map(PriceVersion::try_from).collect()
}

/// Those of these that begin at the same instant as a version of their key and step that exists; places in the list.
pub(crate) async fn known(
    conn: &mut AsyncPgConnection,
    new: &[Beginning<'_>],
) -> Result<Vec<usize>, DbError> {
    let steps = new.iter().map(|one| one.new);
    places(conn, pg::sql(&KNOWN).bind_rows::<NewStep>(steps).bind_rows::<NewVersion>(new.iter())).await
}

/// Those of these that have no version of their step, while nobody but `actor` put any price of the model, for the provider or
/// for all; places in the list.
pub(crate) async fn unpriced(
    conn: &mut AsyncPgConnection,
    actor: &str,
    new: &[NewPrice],
) -> Result<Vec<usize>, DbError> {
    places(conn, pg::sql(&UNPRICED).bind::<Text, _>(actor).bind_rows::<NewStep>(new.iter())).await
}

/// Inserts versions with their rates; their ids, in the order of `new`.
pub(crate) async fn insert(
    conn: &mut AsyncPgConnection,
    now: OffsetDateTime,
    actor: &str,
    new: &[Beginning<'_>],
) -> Result<Vec<i64>, DbError> {
    let count = i64::try_from(new.len()).unwrap_or(i64::MAX);
    let ids: Vec<i64> = values(conn, pg::sql(DRAW).bind::<BigInt, _>(count)).await?;
    DbError::expect_rows("draw ids of prices", new.len(), ids.len())?;
    let inserted = pg::sql(&INSERT)
        .bind::<Timestamptz, _>(now)
        .bind::<Text, _>(actor)
        .bind::<Array<BigInt>, _>(&ids)
        .bind_rows::<NewStep>(new.iter().map(|one| one.new))
        .bind_rows::<NewVersion>(new.iter())
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
    let inserted = pg::sql(&INSERT_RATES).bind_rows::<NewRate>(rates.iter().copied()).execute(conn).await?;
    DbError::expect_rows("insert rates of prices", rates.len(), inserted)
}

/// Columns of [`PriceRow`] without those of its version, for statements that name a price `price`.
const PRICE_COLUMNS: &str = "price.provider, price.model, price.source, price.actor, price.created_at,
             (SELECT min(next.valid_from) FROM usage.prices AS next
              WHERE next.provider = price.provider AND next.model = price.model AND next.service_tier = price.service_tier
                AND next.min_context = price.min_context AND next.valid_from > price.valid_from) AS valid_until";

/// A version's end is the beginning of its successor. The inner part walks the index of versions; a place in the list is a
/// key with its step, named by the id of any of its versions: those that came meanwhile stand at the same place.
static LIST: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {PRICE_COLUMNS}, {VERSION_COLUMNS} FROM (
    SELECT DISTINCT ON (provider, model, service_tier, min_context) * FROM usage.prices
    WHERE valid_from <= $1 AND ($2 IS NULL OR model = $2)
      AND ($3 IS NULL OR (provider, model, service_tier, min_context) > (
          SELECT provider, model, service_tier, min_context FROM usage.prices WHERE id = $3))
    ORDER BY provider, model, service_tier, min_context, valid_from DESC LIMIT $4 OFFSET $5
) AS price {PRICE_RATES} ORDER BY price.provider, price.model, price.service_tier, price.min_context"
    )
});

static FIND: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {PRICE_COLUMNS}, {VERSION_COLUMNS} FROM usage.prices AS price {PRICE_RATES} WHERE price.id = ANY ($1)"
    )
});

pg::written_columns! {
    /// The key of a version, with its step.
    NewStep = new: &'a NewPrice {
        provider: Text = new.key.provider.as_str(),
        model: Text = new.key.model.as_str(),
        service_tier: Text = new.key.service_tier.as_str(),
        min_context: BigInt = new.min_context,
    }
}

pg::written_columns! {
    /// The other columns of a version.
    NewVersion = version: &'a Beginning<'a> {
        valid_from: Timestamptz = version.valid_from,
        retired: Bool = version.new.offer == Offer::Retired,
        source: Text = version.new.source.as_str(),
    }
}

pg::written_columns! {
    /// A rate of the version with this id.
    NewRate = (price_id, class, rate): (i64, TokenClass, Rate) {
        price_id: BigInt = price_id,
        token_class: Text = class.as_str(),
        charge_pico: BigInt = rate.charge_pico,
        cost_pico: BigInt = rate.cost_pico,
    }
}

static KNOWN: LazyLock<String> = LazyLock::new(|| {
    let columns = [NewStep::COLUMNS, NewVersion::COLUMNS].concat();
    format!(
        "
SELECT given.place - 1 AS place FROM {} WITH ORDINALITY AS given ({}, place)
JOIN usage.prices USING (provider, model, service_tier, min_context, valid_from) ORDER BY place",
        Placeholders::default().unnest(&columns),
        columns::names(&columns)
    )
});

static UNPRICED: LazyLock<String> = LazyLock::new(|| {
    let mut given = Placeholders::default();
    let (actor, steps) = (given.one(), given.unnest(NewStep::COLUMNS));
    format!(
        "
SELECT given.place - 1 AS place
FROM {steps} WITH ORDINALITY AS given ({}, place)
WHERE NOT EXISTS (
    SELECT FROM usage.prices AS price
    WHERE price.provider IN (given.provider, '') AND price.model = given.model
      AND (price.actor <> {actor} OR (price.provider, price.service_tier, price.min_context)
                              = (given.provider, given.service_tier, given.min_context)))
ORDER BY place",
        columns::names(NewStep::COLUMNS)
    )
});

const DRAW: &str =
    "SELECT nextval(pg_get_serial_sequence('usage.prices', 'id')) AS id FROM generate_series(1, $1)";

static INSERT: LazyLock<String> = LazyLock::new(|| {
    let mut given = Placeholders::default();
    let (now, actor) = (given.one(), given.one());
    let columns = [&[("id", "bigint")], NewStep::COLUMNS, NewVersion::COLUMNS].concat();
    format!(
        "INSERT INTO usage.prices (created_at, actor, {}) OVERRIDING SYSTEM VALUE SELECT {now}, {actor}, given.* FROM {} AS given",
        columns::names(&columns),
        given.unnest(&columns)
    )
});

static INSERT_RATES: LazyLock<String> =
    LazyLock::new(|| Placeholders::default().insert("usage.price_rates", NewRate::COLUMNS));

struct PriceRow {
    provider: String,
    model: String,
    source: String,
    actor: String,
    created_at: OffsetDateTime,
    valid_until: Option<OffsetDateTime>,
    version: VersionRow,
}
pg::read_columns! {
    PriceRow: { provider, model, source, actor, created_at, valid_until } made |row| { version: VersionRow::build(row)? }
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
