//! Making, filling and dropping partitions.
//!
//! Names are put into statements as text, which is safe because they are made of a [`Table`] and a [`Month`] only.

use std::time::Duration;

use diesel::sql_types::{Array, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use kernel::rfc3339;
use pg::{DbError, Tx};

use super::{value, values};
use crate::{OldMonth, core::month::Month};

/// A table that is partitioned by month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Table {
    Records,
    Rollups,
}

impl Table {
    pub(crate) const ALL: [Self; 2] = [Self::Records, Self::Rollups];

    pub(crate) fn partition(self, month: Month) -> String {
        format!("{}_{}", self.name(), month.name())
    }

    fn name(self) -> &'static str {
        match self {
            Self::Records => "records",
            Self::Rollups => "rollups_15m",
        }
    }

    fn time(self) -> &'static str {
        match self {
            Self::Records => "occurred_at",
            Self::Rollups => "bucket",
        }
    }

    /// Rows of roll-ups change again and again; room in their blocks keeps the change there.
    fn options(self) -> &'static str {
        match self {
            Self::Records => "",
            Self::Rollups => "WITH (fillfactor = 70)",
        }
    }
}

/// Limit for moving the rows of a month. Not without limit: a server that has gone silent is given up some time.
const MOVE_MAX: Duration = Duration::from_hours(6);

/// Lets one process at a time work on the partitions, until the end of the transaction; and lets a large move take its time.
pub(crate) async fn lock(tx: &mut Tx) -> Result<(), DbError> {
    tx.limit_statements(MOVE_MAX).await?;
    tx.conn().batch_execute("SELECT pg_advisory_xact_lock(7284018846117465002)").await?;
    Ok(())
}

/// Keeps the months as they are until the end of the transaction. As its first statement it comes before the snapshot: LOCK
/// needs none.
pub(crate) async fn hold(conn: &mut AsyncPgConnection) -> Result<(), DbError> {
    conn.batch_execute("LOCK TABLE usage.records, usage.rollups_15m IN ACCESS SHARE MODE").await?;
    Ok(())
}

/// The months that have a partition.
pub(crate) async fn attached(conn: &mut AsyncPgConnection, table: Table) -> Result<Vec<Month>, DbError> {
    Ok(months(table, values(conn, pg::sql(ATTACHED).bind::<Text, _>(table.name())).await?))
}

/// Months of records that were detached and not dropped, because the process ended in between.
pub(crate) async fn detached(conn: &mut AsyncPgConnection) -> Result<Vec<Month>, DbError> {
    Ok(months(Table::Records, values(conn, pg::sql(DETACHED)).await?))
}

/// The months of what lies in the DEFAULT partition.
pub(crate) async fn strays(conn: &mut AsyncPgConnection, table: Table) -> Result<Vec<Month>, DbError> {
    let sql = match table {
        Table::Records => STRAY_RECORDS,
        Table::Rollups => STRAY_ROLLUPS,
    };
    Ok(values(conn, pg::sql(sql)).await?.into_iter().map(Month::containing).collect())
}

/// Makes the partition of a month, moves what lies in the DEFAULT partition into it, and answers how many rows that were.
///
/// Everyone reads on while rows are moved, and who writes waits at the table itself. Who waited only at the DEFAULT partition
/// would have chosen it before, and be refused by its new bounds after; and a row that came after the move would make
/// attaching fail.
///
/// The partition is made apart and attached, which locks readers out for an instant, or as long as this waits for those who
/// read already, which is briefly: `lock_timeout` is set for it. Readers too wait at the table itself. Attaching alone locks
/// them out of the DEFAULT partition, where a reader that has looked up the partitions before waits with a list in which the
/// new one is missing, and then finds the moved rows in neither. Who read the table in a transaction that writes to it must
/// have locked it for writing before (`lock_to_write`), or both would wait for one another.
pub(crate) async fn create(
    conn: &mut AsyncPgConnection,
    table: Table,
    month: Month,
) -> Result<usize, DbError> {
    let (from, to) = bounds(month)?;
    let (name, time, options) = (table.name(), table.time(), table.options());
    let partition = table.partition(month);
    conn.batch_execute(&format!(
        "LOCK TABLE ONLY usage.{name} IN SHARE ROW EXCLUSIVE MODE;
         CREATE TABLE usage.{partition} (LIKE usage.{name} INCLUDING ALL) {options}"
    ))
    .await?;
    let columns: String = value(conn, pg::sql(COLUMNS).bind::<Text, _>(name)).await?;
    let moved = diesel::sql_query(format!(
        "WITH gone AS (
             DELETE FROM usage.{name}_default WHERE {time} >= '{from}' AND {time} < '{to}' RETURNING {columns})
         INSERT INTO usage.{partition} ({columns}) SELECT {columns} FROM gone"
    ))
    .execute(conn)
    .await?;
    conn.batch_execute(&format!(
        "SET LOCAL lock_timeout = 200;
         LOCK TABLE ONLY usage.{name} IN ACCESS EXCLUSIVE MODE;
         ALTER TABLE usage.{name} ATTACH PARTITION usage.{partition} FOR VALUES FROM ('{from}') TO ('{to}')"
    ))
    .await?;
    Ok(moved)
}

/// Takes the records of a month out of their table, and notes that they are gone: every reader knows from then on.
///
/// Waits briefly only: while it waits for those who use the table, everyone who comes later waits behind it. Without waiting
/// (`CONCURRENTLY`) is not possible where there is a DEFAULT partition.
pub(crate) async fn detach(conn: &mut AsyncPgConnection, month: Month) -> Result<(), DbError> {
    let (_, end) = bounds(month)?;
    let partition = Table::Records.partition(month);
    conn.batch_execute(&format!(
        "SET LOCAL lock_timeout = 200;
         ALTER TABLE usage.records DETACH PARTITION usage.{partition};
         UPDATE usage.retention SET dropped_before = greatest(dropped_before, '{end}')"
    ))
    .await?;
    Ok(())
}

/// Sizes of partitions, those that are not made yet included; in the order asked.
pub(crate) async fn sizes(
    conn: &mut AsyncPgConnection,
    partitions: Vec<String>,
) -> Result<Vec<OldMonth>, DbError> {
    let rows: Vec<SizeRow> = pg::sql(SIZES).bind::<Array<Text>, _>(partitions).load(conn).await?;
    let month = |row: SizeRow| OldMonth {
        partition: row.name,
        records: row.records.and_then(|records| u64::try_from(records).ok()),
        bytes: u64::try_from(row.bytes).unwrap_or(0),
    };
    Ok(rows.into_iter().map(month).collect())
}

/// Drops the records of a month that was detached.
pub(crate) async fn drop(conn: &mut AsyncPgConnection, month: Month) -> Result<(), DbError> {
    let partition = Table::Records.partition(month);
    conn.batch_execute(&format!("DROP TABLE IF EXISTS usage.{partition}")).await?;
    Ok(())
}

const ATTACHED: &str = "
SELECT child.relname::text AS name FROM pg_inherits
JOIN pg_class AS child ON child.oid = inhrelid
WHERE inhparent = ('usage.' || $1)::regclass";

const DETACHED: &str = "
SELECT relname::text AS name FROM pg_class
WHERE relnamespace = 'usage'::regnamespace AND relkind = 'r' AND NOT relispartition AND relname LIKE 'records\\_%'";

const STRAY_RECORDS: &str =
    "SELECT DISTINCT date_trunc('month', occurred_at, 'UTC') AS at FROM usage.records_default ORDER BY at";
const STRAY_ROLLUPS: &str =
    "SELECT DISTINCT date_trunc('month', bucket, 'UTC') AS at FROM usage.rollups_15m_default ORDER BY at";

/// All but those that are computed.
const COLUMNS: &str = "
SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) AS name FROM pg_attribute
WHERE attrelid = ('usage.' || $1)::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''";

const SIZES: &str = "
SELECT wanted.name, CASE WHEN reltuples >= 0 THEN reltuples::bigint END AS records,
       coalesce(pg_total_relation_size(pg_class.oid), 0) AS bytes
FROM unnest($1) WITH ORDINALITY AS wanted (name, place)
LEFT JOIN pg_class ON pg_class.oid = to_regclass('usage.' || wanted.name)
ORDER BY place";

struct SizeRow {
    name: String,
    records: Option<i64>,
    bytes: i64,
}
pg::read_columns! { SizeRow: { name, records, bytes } }

fn months(table: Table, partitions: Vec<String>) -> Vec<Month> {
    let month = |name: &String| Month::parse(name.strip_prefix(table.name())?.strip_prefix('_')?);
    let mut months: Vec<Month> = partitions.iter().filter_map(month).collect();
    months.sort_unstable();
    months
}

fn bounds(month: Month) -> Result<(String, String), DbError> {
    match (month.start(), month.plus(1).start()) {
        (Some(from), Some(to)) => Ok((rfc3339(from), rfc3339(to))),
        _ => Err(DbError::Inconsistent(format!("month {} is not in the calendar", month.name()))),
    }
}
