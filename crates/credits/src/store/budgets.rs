//! Table `credits.budgets`: read with the windows of an instant, replaced, and what was spent updated.

use std::{collections::BTreeMap, sync::LazyLock};

use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Nullable, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use kernel::{Credits, UserId};
use pg::{
    DbError,
    columns::{Placeholders, Read, Written},
};
use time::OffsetDateTime;

use crate::{
    core::{AccountState, Budget, Window},
    model::{BudgetPeriod, NewBudget},
    store::columns::Shared,
};

/// A budget as it is stored, with the window that follows if its own is over.
#[derive(Debug)]
struct BudgetRow {
    user_id: UserId,
    at: OffsetDateTime,
    period: BudgetPeriod,
    zone: String,
    amount: Credits,
    spent: Credits,
    window_start: Option<OffsetDateTime>,
    window_end: Option<OffsetDateTime>,
    next_start: Option<OffsetDateTime>,
    next_end: Option<OffsetDateTime>,
}

// From tables named `t` (user and instant), `b` and `w`.
pg::read_columns! {
    BudgetRow, "budget_": {
        user_id = "t.user_id", at = "t.at", period, zone, amount, spent, window_start, window_end, next_start = "w.window_start",
        next_end = "w.window_end"
    }
}

/// An account with one of its budgets.
#[derive(Debug, QueryableByName)]
struct SeenRow {
    #[diesel(sql_type = BigInt)]
    held: i64,
    #[diesel(sql_type = Timestamptz)]
    now: OffsetDateTime,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    next_due_at: Option<OffsetDateTime>,
    #[diesel(embed)]
    budget: Option<BudgetRow>,
}

/// The budgets of an account as they are read without a lock.
#[derive(Debug)]
pub struct Seen {
    /// Held credit, as stored.
    pub held: Credits,
    /// True if something has come due that the stored figures do not show.
    pub is_due: bool,
    /// The budgets with their zones, shortest period first, in the windows of the instant.
    pub budgets: Vec<(Budget, String)>,
}

#[derive(QueryableByName)]
struct TextRow {
    #[diesel(sql_type = Text)]
    text: String,
}

/// The window of a period and a zone that an instant is in; nulls for a lifetime or no period. All three are SQL expressions.
///
/// Days and months begin at midnight of the zone, which is never reckoned in seconds: PostgreSQL knows when it is. Where a
/// clock that is set back strikes midnight twice, they begin with the first; PostgreSQL means the second. Days before and
/// behind are looked at too, because the date of such an instant can be that of the day before its own.
fn window_of(period: &str, zone: &str, at: &str) -> String {
    format!(
        "(
    SELECT max(b.begin) FILTER (WHERE b.begin <= {at}) AS window_start, min(b.begin) FILTER (WHERE b.begin > {at}) AS window_end
    FROM (
        SELECT CASE WHEN (m.late - interval '1 hour') AT TIME ZONE {zone} = m.midnight THEN m.late - interval '1 hour'
                    WHEN (m.late - interval '30 minutes') AT TIME ZONE {zone} = m.midnight THEN m.late - interval '30 minutes'
                    ELSE m.late END AS begin
        FROM (
            SELECT d.midnight, d.midnight AT TIME ZONE {zone} AS late
            FROM (
                SELECT CASE {period} WHEN 'day' THEN interval '1 day' WHEN 'month' THEN interval '1 month' END AS step,
                       CASE WHEN {period} IN ('day', 'month') THEN date_trunc({period}, {at} AT TIME ZONE {zone}) END AS today
            ) AS p, generate_series(p.today - p.step, p.today + p.step * 2, p.step) AS d (midnight)
        ) AS m
    ) AS b
)"
    )
}

/// The window behind the stored one of `b`, if that is over.
fn next_window() -> String {
    window_of("(CASE WHEN b.window_end <= t.at THEN b.period END)", "b.zone", "t.at")
}

pub(super) static LOAD: LazyLock<String> = LazyLock::new(|| {
    format!(
        "
SELECT {}
FROM unnest($1::text[], $2::timestamptz[]) AS t (user_id, at)
JOIN credits.budgets b ON b.user_id = t.user_id CROSS JOIN LATERAL {} AS w",
        BudgetRow::list("b"),
        next_window()
    )
});

pub(super) static READ: LazyLock<String> = LazyLock::new(|| {
    format!(
        "
SELECT t.held, t.at AS now, t.next_due_at, {}
FROM (
    SELECT a.user_id, a.held, a.next_due_at, greatest(a.as_of, coalesce($2, clock_timestamp())) AS at
    FROM credits.accounts a WHERE a.user_id = $1 OFFSET 0
) AS t
LEFT JOIN credits.budgets b ON b.user_id = t.user_id LEFT JOIN LATERAL {} AS w ON true
ORDER BY CASE b.period WHEN 'day' THEN 1 WHEN 'month' THEN 2 ELSE 3 END",
        BudgetRow::list("b"),
        next_window()
    )
});

/// Budgets of these users, each in the window of the instant given with the user. Asks nothing if nothing is wanted.
pub async fn load(
    mut conn: Shared<'_>,
    wanted: &[(&str, OffsetDateTime)],
) -> Result<BTreeMap<UserId, Vec<Budget>>, DbError> {
    if wanted.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows: Vec<BudgetRow> = pg::sql(&LOAD)
        .bind::<Array<Text>, _>(wanted.iter().map(|(user, _)| *user).collect::<Vec<_>>())
        .bind::<Array<Timestamptz>, _>(wanted.iter().map(|(_, at)| *at).collect::<Vec<_>>())
        .load(&mut conn)
        .await?;
    let mut budgets: BTreeMap<UserId, Vec<Budget>> = BTreeMap::new();
    for row in rows {
        budgets.entry(row.user_id.clone()).or_default().push(row.into_budget().0);
    }
    Ok(budgets)
}

/// The budgets of a user, without a lock; `None` without an account. One statement, hence one snapshot.
pub async fn read(
    conn: &mut AsyncPgConnection,
    pinned: Option<OffsetDateTime>,
    user: &UserId,
) -> Result<Option<Seen>, DbError> {
    let rows: Vec<SeenRow> = pg::sql(&READ)
        .bind::<Text, _>(user.as_str())
        .bind::<Nullable<Timestamptz>, _>(pinned)
        .load(conn)
        .await?;
    let Some(first) = rows.as_slice().first() else {
        return Ok(None);
    };
    let mut seen = Seen {
        held: Credits::from_micro(first.held),
        is_due: first.next_due_at.is_some_and(|at| at <= first.now),
        budgets: Vec::new(),
    };
    seen.budgets.extend(rows.into_iter().filter_map(|row| row.budget).map(BudgetRow::into_budget));
    Ok(Some(seen))
}

/// The first of these names that is none of a time zone. Names are looked up, not tried: PostgreSQL takes `FOO+3` for a zone.
pub async fn unknown_zone(conn: &mut AsyncPgConnection, zones: Vec<&str>) -> Result<Option<String>, DbError> {
    let unknown: Vec<TextRow> = pg::sql(
        "SELECT w.zone AS text FROM unnest($1::text[]) WITH ORDINALITY AS w (zone, nth) \
         WHERE w.zone NOT IN (SELECT z.name FROM pg_timezone_names z WHERE z.name !~ '^(posix|right)/' \
           AND z.name NOT IN ('localtime', 'posixrules', 'Factory')) ORDER BY w.nth LIMIT 1",
    )
    .bind::<Array<Text>, _>(zones)
    .load(conn)
    .await?;
    Ok(unknown.into_iter().next().map(|row| row.text))
}

/// Replaces the budgets of an account that is locked; false if there is no such account.
///
/// They begin in the windows of the account's own time, with what was spent there by then. That is the fall of the balance
/// since the window began, but for what fell or rose for other reasons; and those entries are rare and have an index.
/// So it costs a bisection and what was granted, refunded, lost or corrected in the window, not what was charged.
pub async fn replace(
    conn: &mut AsyncPgConnection,
    user: &UserId,
    new: &[NewBudget],
) -> Result<bool, DbError> {
    let marked = pg::sql("UPDATE credits.accounts SET budgeted = $2 WHERE user_id = $1")
        .bind::<Text, _>(user.as_str())
        .bind::<diesel::sql_types::Bool, _>(!new.is_empty())
        .execute(conn)
        .await?;
    if marked == 0 {
        return Ok(false);
    }
    pg::sql("DELETE FROM credits.budgets WHERE user_id = $1")
        .bind::<Text, _>(user.as_str())
        .execute(conn)
        .await?;
    let inserted = pg::sql(&INSERT)
        .bind::<Text, _>(user.as_str())
        .bind::<Array<Text>, _>(new.iter().map(|budget| budget.period.as_str()).collect::<Vec<_>>())
        .bind::<Array<Text>, _>(new.iter().map(|budget| budget.zone.as_str()).collect::<Vec<_>>())
        .bind::<Array<BigInt>, _>(new.iter().map(|budget| budget.limit.micro()).collect::<Vec<_>>())
        .execute(conn)
        .await?;
    DbError::expect_rows("insert credits.budgets", new.len(), inserted)?;
    Ok(true)
}

pub(super) static INSERT: LazyLock<String> = LazyLock::new(|| {
    format!(
        "
INSERT INTO credits.budgets (user_id, period, zone, amount, window_start, window_end, spent)
SELECT a.user_id, n.period, n.zone, n.amount, w.window_start, w.window_end, coalesce(s.spent, 0)
FROM credits.accounts a CROSS JOIN unnest($2::text[], $3::text[], $4::bigint[]) AS n (period, zone, amount)
CROSS JOIN LATERAL {} AS w
CROSS JOIN LATERAL (
  WITH RECURSIVE search (low, high) AS (
    SELECT 1::bigint, a.entry_seq + 1 WHERE w.window_start IS NOT NULL
    UNION ALL
    SELECT CASE WHEN probe.earlier THEN probe.middle + 1 ELSE probe.low END,
      CASE WHEN probe.earlier THEN probe.high ELSE probe.middle END
    FROM (SELECT s.low, s.high, (s.low + s.high) / 2 AS middle,
      (SELECT e.created_at < w.window_start FROM credits.entries e
        WHERE e.user_id = a.user_id AND e.seq = (s.low + s.high) / 2) AS earlier
      FROM search s WHERE s.low < s.high) AS probe)
  SELECT coalesce((SELECT low FROM search WHERE low = high), 1) AS seq) AS first
CROSS JOIN LATERAL (
  SELECT (SELECT e.balance_before FROM credits.entries e WHERE e.user_id = a.user_id AND e.seq = first.seq) - a.posted
    + coalesce(sum(r.balance_after - r.balance_before
        - CASE WHEN r.refunds_seq >= first.seq THEN r.amount ELSE 0 END), 0)::bigint AS spent
  FROM credits.entries r WHERE r.user_id = a.user_id AND r.seq >= first.seq
    AND r.type IN ('grant', 'recharge', 'refund', 'expire', 'adjust')) AS s
WHERE a.user_id = $1",
        window_of("n.period", "n.zone", "a.as_of")
    )
});

/// Saves what was spent since loading.
pub async fn update(mut conn: Shared<'_>, states: &[&AccountState]) -> Result<(), DbError> {
    let changed: Vec<(&UserId, &Budget)> = states
        .iter()
        .flat_map(|state| {
            let budgets = state.budgets().iter().filter(|budget| budget.is_changed());
            budgets.map(|budget| (&state.user_id, budget))
        })
        .collect();
    if changed.is_empty() {
        return Ok(());
    }
    let updated =
        pg::sql(&UPDATE).bind_rows::<ChangedBudget>(changed.iter().copied()).execute(&mut conn).await?;
    DbError::expect_rows("update credits.budgets", changed.len(), updated)
}

pg::written_columns! {
    ChangedBudget = (user, budget): (&'a UserId, &'a Budget) {
        user_id: Text = user.as_str(),
        period: Text = budget.period.as_str(),
        spent: BigInt = budget.spent.micro(),
        window_start: Nullable<Timestamptz> = budget.window.start,
        window_end: Nullable<Timestamptz> = budget.window.end,
    }
}

pub(super) static UPDATE: LazyLock<String> =
    LazyLock::new(|| Placeholders::default().update("credits.budgets", 2, ChangedBudget::COLUMNS));

impl BudgetRow {
    /// The budget at the instant it was read for, and its zone.
    fn into_budget(self) -> (Budget, String) {
        let stored = Window { start: self.window_start, end: self.window_end };
        let next = Window { start: self.next_start, end: self.next_end };
        let budget = Budget::new(self.period, self.amount, self.spent, stored);
        (budget.at(self.at, next), self.zone)
    }
}
