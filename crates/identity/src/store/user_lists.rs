//! Lists of `identity.users`, newest first.
//!
//! No page reads the whole table. A text that few users fit is looked up in the indexes of ids, addresses and names. All else
//! walks along the index of the list, or of a rare filter, for at most [`WALK_MAX`] users: a page may have fewer users than
//! were asked for, and the next one goes on where the walk ended.

use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Bool, Nullable, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use kernel::{Page, Slice, TimePlace};
use pg::{DbError, columns::Read};
use time::OffsetDateTime;

use crate::model::{Plan, Role, User, user_filter::UserFilter};

/// Most users that one page walks past.
const WALK_MAX: i64 = 10_000;
/// Most users that a text may fit by one of the indexes to be looked up there: a text that fits more is met often on a walk.
const FOUND_MAX: usize = 2_000;

struct IdRow {
    source: i32,
    id: i64,
}
pg::read_columns! { IdRow: { source, id } }

/// A user of a page, or none; and where the walk ended, if it did not reach the end of the list.
#[derive(QueryableByName)]
struct ListedRow {
    #[diesel(embed)]
    user: Option<User>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    walked_to: Option<OffsetDateTime>,
    #[diesel(sql_type = Nullable<BigInt>)]
    walked_to_id: Option<i64>,
}

/// A page of the users that a filter fits.
pub(crate) async fn page(
    conn: &mut AsyncPgConnection,
    filter: &UserFilter,
    page: &Page<TimePlace>,
) -> Result<Slice<User, TimePlace>, DbError> {
    // Names are indexed by pairs of letters.
    let sought = filter.text.as_deref();
    let found = match sought {
        Some(text) if text.chars().nth(1).is_some() => look_up(conn, text).await?,
        _ => None,
    };
    let text = match (&found, filter) {
        (Some(_), _) => pg::once!(page_of("u.id = ANY($9)", "")),
        (None, UserFilter { role: Some(Role::Admin), .. }) => pg::once!(page_of("u.role = 'admin'", "")),
        (None, UserFilter { is_active: Some(false), .. }) => pg::once!(page_of("NOT u.is_active", "")),
        // A range, and the plan in the order: with "= $2" the planner would walk along all users and hope to meet some.
        (None, UserFilter { plan: Some(_), .. }) => {
            pg::once!(page_of("u.plan BETWEEN $2 AND $2", "u.plan DESC, "))
        }
        _ => pg::once!(page_of("true", "")),
    };
    // Those that were looked up are few: each of them is read.
    let walk = if found.is_some() { i64::MAX } else { WALK_MAX.saturating_add(page.offset()) };
    // The text is not compared again with what was found by it.
    let compared = sought.filter(|_| found.is_none());
    let after = page.after();
    let rows: Vec<ListedRow> = pg::sql(text)
        .bind::<Nullable<Text>, _>(compared)
        .bind::<Nullable<Text>, _>(filter.plan.map(Plan::as_str))
        .bind::<Nullable<Text>, _>(filter.role.map(Role::as_str))
        .bind::<Nullable<Bool>, _>(filter.is_active)
        .bind::<Nullable<Timestamptz>, _>(filter.from)
        .bind::<Nullable<Timestamptz>, _>(filter.to)
        .bind::<Nullable<Timestamptz>, _>(after.map(|place| place.at))
        .bind::<Nullable<BigInt>, _>(after.map(|place| place.id))
        .bind::<Array<BigInt>, _>(found.unwrap_or_default())
        .bind::<BigInt, _>(walk)
        .bind::<BigInt, _>(page.rows())
        .bind::<BigInt, _>(page.offset())
        .load(conn)
        .await?;
    let end =
        rows.as_slice().first().and_then(|row| Some(TimePlace { at: row.walked_to?, id: row.walked_to_id? }));
    let users = rows.into_iter().filter_map(|row| row.user).collect();
    let mut slice = page.cut(users, |user: &User| TimePlace { at: user.created_at, id: user.id });
    if slice.next.is_none() {
        slice.next = end;
    }
    Ok(slice)
}

/// The ids of all users that a text fits, if they are few.
async fn look_up(conn: &mut AsyncPgConnection, sought: &str) -> Result<Option<Vec<i64>>, DbError> {
    let most = FOUND_MAX.saturating_add(1);
    // The texts that begin with this one are those up to the greatest code point after it.
    let rows: Vec<IdRow> = pg::sql(
        "(SELECT 0 AS source, id FROM identity.users WHERE lower(user_id) >= (SELECT identity.fold($1)) \
            AND lower(user_id) < (SELECT identity.fold($1) || chr(1114111)) LIMIT $2) \
         UNION ALL (SELECT 1, id FROM identity.users \
            WHERE identity.fold(email) COLLATE \"C\" >= (SELECT identity.fold($1)) \
            AND identity.fold(email) COLLATE \"C\" < (SELECT identity.fold($1) || chr(1114111)) LIMIT $2) \
         UNION ALL (SELECT 2, id FROM identity.users \
            WHERE identity.name_pairs(identity.fold(name)) @> (SELECT identity.name_pairs(identity.fold($1))) \
            AND strpos(identity.fold(name), (SELECT identity.fold($1))) > 0 LIMIT $2)",
    )
    .bind::<Text, _>(sought)
    .bind::<BigInt, _>(i64::try_from(most).unwrap_or(i64::MAX))
    .load(conn)
    .await?;
    let is_few = (0..3).all(|source| rows.iter().filter(|row| row.source == source).count() <= FOUND_MAX);
    Ok(is_few.then(|| rows.into_iter().map(|row| row.id).collect()))
}

/// A page of a walk along the users that a condition, which has an index, leads to; `first` are the columns of that index in front of
/// those of the list.
fn page_of(condition: &str, first: &str) -> String {
    let along = format!(
        "FROM identity.users AS u
    WHERE {condition} AND u.created_at >= coalesce($5::timestamptz, '-infinity')
      AND u.created_at <= coalesce($6::timestamptz, 'infinity')
      AND (u.created_at, u.id) < (coalesce($7::timestamptz, 'infinity'), coalesce($8::bigint, 0))
    ORDER BY {first}u.created_at DESC, u.id DESC"
    );
    format!(
        "WITH walked_to AS (SELECT u.created_at, u.id {along} OFFSET $10 - 1 LIMIT 1)
SELECT {}, walked_to.created_at AS walked_to, walked_to.id AS walked_to_id
FROM (SELECT true) AS always
LEFT JOIN walked_to ON true
LEFT JOIN (
    SELECT * FROM (SELECT u.* {along} LIMIT $10) AS w
    WHERE ($2::text IS NULL OR w.plan = $2) AND ($3::text IS NULL OR w.role = $3)
      AND ($4::boolean IS NULL OR w.is_active = $4) AND cardinality($9::bigint[]) IS NOT NULL
      AND ($1::text IS NULL OR starts_with(lower(w.user_id), (SELECT identity.fold($1)))
           OR starts_with(identity.fold(w.email), (SELECT identity.fold($1)))
           OR strpos(identity.fold(w.name), (SELECT identity.fold($1))) > 0)
    ORDER BY w.created_at DESC, w.id DESC LIMIT $11 OFFSET $12
) AS page ON true
ORDER BY page.created_at DESC, page.id DESC",
        User::list("page")
    )
}
