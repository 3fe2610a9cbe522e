//! The table `identity.users`.

use diesel::{
    OptionalExtension, QueryableByName,
    sql_types::{Array, BigInt, Bool, Nullable, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use kernel::UserId;
use pg::DbError;
use time::OffsetDateTime;

use crate::model::{Activity, NewUser, Plan, Role, User, UserStatus, fold};

/// The unique index of addresses that are vouched for.
const VOUCHED_EMAIL_KEY: &str = "users_vouched_email_key";

/// The user with this id.
pub(crate) async fn find(conn: &mut AsyncPgConnection, user: &UserId) -> Result<Option<User>, DbError> {
    pg::sql(
        "SELECT id, user_id, email, email_vouched, name, role, plan, is_active, created_at, updated_at \
         FROM identity.users WHERE user_id = $1",
    )
    .bind::<Text, _>(user.as_str())
    .get_result::<UserRow>(conn)
    .await
    .optional()?
    .map(User::try_from)
    .transpose()
}

/// Inserts a user; `None` if the id is taken or the address, vouched for, is held, after the transaction that did so has
/// ended.
pub(crate) async fn insert_unless_conflict(
    conn: &mut AsyncPgConnection,
    now: OffsetDateTime,
    new: &NewUser,
) -> Result<Option<User>, DbError> {
    pg::sql(
        "INSERT INTO identity.users (user_id, email, email_folded, email_vouched, name, role, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $7) ON CONFLICT DO NOTHING \
         RETURNING id, user_id, email, email_vouched, name, role, plan, is_active, created_at, updated_at",
    )
    .bind::<Text, _>(new.user_id.as_str())
    .bind::<Text, _>(new.email.as_str())
    .bind::<Text, _>(new.email_folded())
    .bind::<Bool, _>(new.email_vouched())
    .bind::<Text, _>(new.name.as_str())
    .bind::<Text, _>(new.role.as_str())
    .bind::<Timestamptz, _>(now)
    .get_result::<UserRow>(conn)
    .await
    .optional()?
    .map(User::try_from)
    .transpose()
}

/// Whether any user holds an address that is folded to this.
pub(crate) async fn email_is_held(conn: &mut AsyncPgConnection, folded: &str) -> Result<bool, DbError> {
    let row: ExistsRow = pg::sql(
        "SELECT EXISTS (SELECT FROM identity.users WHERE email_folded = $1 AND email_vouched) AS found",
    )
    .bind::<Text, _>(folded)
    .get_result(conn)
    .await?;
    Ok(row.found)
}

/// Makes the stored address the user's own; `None` if another user holds it, or if the user has another address by now.
///
/// Addresses from before the service folded them itself are folded anew.
pub(crate) async fn vouch_unless_held(
    conn: &mut AsyncPgConnection,
    now: OffsetDateTime,
    user: &UserId,
    email: &str,
) -> Result<Option<User>, DbError> {
    let updated = pg::sql(
        "UPDATE identity.users SET email_vouched = true, email_folded = $2, updated_at = greatest($3, created_at) \
         WHERE user_id = $1 AND email = $4 AND NOT email_vouched AND NOT EXISTS \
             (SELECT FROM identity.users AS holder WHERE holder.email_folded = $2 AND holder.email_vouched) \
         RETURNING id, user_id, email, email_vouched, name, role, plan, is_active, created_at, updated_at",
    )
    .bind::<Text, _>(user.as_str())
    .bind::<Text, _>(fold(email))
    .bind::<Timestamptz, _>(now)
    .bind::<Text, _>(email)
    .get_result::<UserRow>(conn)
    .await
    .optional()
    .map_err(DbError::from);
    match updated {
        Err(DbError::Constraint { constraint, .. }) if constraint == VOUCHED_EMAIL_KEY => {
            Err(DbError::overtaken())
        }
        Err(error) => Err(error),
        Ok(row) => row.map(User::try_from).transpose(),
    }
}

/// What stood in the way of an insert was gone when it was looked for: trying again helps.
pub(crate) fn vanished() -> DbError {
    DbError::Contention(diesel::result::Error::NotFound)
}

/// Activity and role, in the order asked.
pub(crate) async fn statuses(
    mut conn: &AsyncPgConnection,
    users: &[UserId],
) -> Result<Vec<Option<UserStatus>>, DbError> {
    let rows: Vec<StatusRow> = pg::sql(
        "SELECT users.is_active, users.role \
         FROM unnest($1) WITH ORDINALITY AS asked (user_id, place) \
         LEFT JOIN identity.users ON users.user_id = asked.user_id COLLATE \"C\" \
         ORDER BY asked.place",
    )
    .bind::<Array<Text>, _>(texts(users))
    .load(&mut conn)
    .await?;
    DbError::expect_rows("statuses of users", users.len(), rows.len())?;
    rows.into_iter().map(StatusRow::into_status).collect()
}

/// Counts users by the span they were made in.
pub(crate) async fn created_between(
    conn: &mut AsyncPgConnection,
    starts: &[OffsetDateTime],
    end: OffsetDateTime,
) -> Result<Vec<i64>, DbError> {
    let mut counts = vec![0; starts.len()];
    let Some(first) = starts.first() else {
        return Ok(counts);
    };
    let rows: Vec<SpanRow> = pg::sql(
        "SELECT width_bucket(created_at, $1)::bigint AS place, count(*) AS users FROM identity.users \
         WHERE created_at >= $2 AND created_at < $3 GROUP BY place",
    )
    .bind::<Array<Timestamptz>, _>(starts)
    .bind::<Timestamptz, _>(*first)
    .bind::<Timestamptz, _>(end)
    .load(conn)
    .await?;
    for row in rows {
        let place = usize::try_from(row.place.saturating_sub(1)).ok();
        match place.and_then(|place| counts.get_mut(place)) {
            Some(count) => *count = row.users,
            None => return Err(DbError::Inconsistent(format!("users in span {}", row.place))),
        }
    }
    Ok(counts)
}

/// Sets `is_active`; a user who has that state already keeps his `updated_at`.
pub(crate) async fn set_active(
    conn: &mut AsyncPgConnection,
    now: OffsetDateTime,
    user: &UserId,
    activity: Activity,
) -> Result<Option<User>, DbError> {
    pg::sql(
        "UPDATE identity.users SET is_active = $2, \
         updated_at = CASE WHEN is_active = $2 THEN updated_at ELSE greatest($3, created_at) END \
         WHERE user_id = $1 \
         RETURNING id, user_id, email, email_vouched, name, role, plan, is_active, created_at, updated_at",
    )
    .bind::<Text, _>(user.as_str())
    .bind::<Bool, _>(activity == Activity::Active)
    .bind::<Timestamptz, _>(now)
    .get_result::<UserRow>(conn)
    .await
    .optional()?
    .map(User::try_from)
    .transpose()
}

#[derive(QueryableByName)]
struct UserRow {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Text)]
    user_id: String,
    #[diesel(sql_type = Nullable<Text>)]
    email: Option<String>,
    #[diesel(sql_type = Bool)]
    email_vouched: bool,
    #[diesel(sql_type = Nullable<Text>)]
    name: Option<String>,
    #[diesel(sql_type = Text)]
    role: String,
    #[diesel(sql_type = Text)]
    plan: String,
    #[diesel(sql_type = Bool)]
    is_active: bool,
    #[diesel(sql_type = Timestamptz)]
    created_at: OffsetDateTime,
    #[diesel(sql_type = Timestamptz)]
    updated_at: OffsetDateTime,
}

#[derive(QueryableByName)]
struct SpanRow {
    /// From 1.
    #[diesel(sql_type = BigInt)]
    place: i64,
    #[diesel(sql_type = BigInt)]
    users: i64,
}

/// Both null for a user who is not there.
#[derive(QueryableByName)]
struct StatusRow {
    #[diesel(sql_type = Nullable<Bool>)]
    is_active: Option<bool>,
    #[diesel(sql_type = Nullable<Text>)]
    role: Option<String>,
}

#[derive(QueryableByName)]
struct ExistsRow {
    #[diesel(sql_type = Bool)]
    found: bool,
}

impl TryFrom<UserRow> for User {
    type Error = DbError;

    fn try_from(row: UserRow) -> Result<Self, DbError> {
        Ok(Self {
            id: row.id,
            user_id: UserId::stored(&row.user_id)
                .map_err(|error| DbError::Inconsistent(format!("user {}: {error}", row.id)))?,
            email: row.email,
            email_vouched: row.email_vouched,
            name: row.name,
            role: role(&row.role)?,
            plan: Plan::from_name(&row.plan)
                .ok_or_else(|| DbError::Inconsistent(format!("unknown plan {}", row.plan)))?,
            is_active: row.is_active,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

impl StatusRow {
    fn into_status(self) -> Result<Option<UserStatus>, DbError> {
        let (Some(is_active), Some(name)) = (self.is_active, self.role) else {
            return Ok(None);
        };
        Ok(Some(UserStatus { is_active, role: role(&name)? }))
    }
}

fn role(name: &str) -> Result<Role, DbError> {
    Role::from_name(name).ok_or_else(|| DbError::Inconsistent(format!("unknown role {name}")))
}

pub(super) fn texts(users: &[UserId]) -> Vec<&str> {
    users.iter().map(UserId::as_str).collect()
}
