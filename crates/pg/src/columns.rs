//! Columns of tables, each named once: how a row is read, and how many rows are written in one statement.
//!
//! [`read_columns!`](crate::read_columns) makes the select list and the reading of a type, [`written_columns!`](crate::written_columns)
//! the list of an `INSERT ... SELECT FROM unnest($1::bigint[], ...)` and its binds. Texts are made once, in a `LazyLock`.

use std::{borrow::Cow, io::Write};

use diesel::{
    deserialize::{self, FromSql, FromSqlRow, QueryableByName},
    pg::{Pg, PgValue},
    row::NamedRow,
    serialize::{self, IsNull, Output, ToSql},
    sql_types::{
        BigInt, Binary, Bool, Double, Integer, Jsonb, Nullable, SmallInt, SqlType, Text, Timestamptz,
        Uuid as SqlUuid, is_nullable::NotNull,
    },
};
use kernel::{Actor, CallerClass, Credits, FreeForm, Usd, UserId};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::Sql;

impl<'a> Sql<'a> {
    /// Binds the next columns of rows, an array each.
    pub fn bind_rows<W: Written>(self, rows: impl Iterator<Item = W::Row<'a>> + Clone) -> Self {
        W::bind(self, rows)
    }
}

/// A column that is written: its name, and the name of its type.
pub type Column = (&'static str, &'static str);

/// A list of columns that are written, made by [`written_columns!`](crate::written_columns).
pub trait Written {
    /// One row.
    type Row<'a>;
    /// The columns, in the order of the binds.
    const COLUMNS: &'static [Column];

    /// Binds an array for each column.
    fn bind<'a>(sql: Sql<'a>, rows: impl Iterator<Item = Self::Row<'a>> + Clone) -> Sql<'a>;
}

/// A column that is read: the name of its field, its name in the answer, and the expression that it is, if not the column of
/// that name; `{}` stands for the table.
pub type Answered = (&'static str, &'static str, &'static str);

/// A type that is read from the columns of a row, made by [`read_columns!`](crate::read_columns).
pub trait Read: QueryableByName<Pg> {
    /// The columns.
    fn columns() -> Vec<Answered>;

    /// The select list, from a table of this name.
    #[must_use]
    fn list(table: &str) -> String {
        Self::list_but(table, &[])
    }

    /// The select list, with other expressions for some fields.
    #[must_use]
    fn list_but(table: &str, others: &[(&str, &str)]) -> String {
        let columns = Self::columns().into_iter().map(|(field, name, expression)| {
            match others.iter().find(|(other, _)| *other == field) {
                Some((_, other)) => format!("{other} AS {name}"),
                None if !expression.is_empty() => format!("{} AS {name}", expression.replace("{}", table)),
                None if field == name => format!("{table}.{field}"),
                None => format!("{table}.{field} AS {name}"),
            }
        });
        listed(columns)
    }

    /// A select list of nulls, for the part of a `UNION` that has no such row.
    #[must_use]
    fn nulls() -> String {
        listed(Self::columns().into_iter().map(|(_, name, _)| format!("NULL AS {name}")))
    }
}

/// The names of columns, separated by commas.
#[must_use]
pub fn names(columns: &[Column]) -> String {
    listed(columns.iter().map(|(name, _)| (*name).to_owned()))
}

/// Most characters of a line of a list.
const LINE_MAX: usize = 96;

/// Separated by commas, in lines that can be read.
fn listed(items: impl Iterator<Item = String>) -> String {
    let (mut list, mut line) = (String::new(), 0_usize);
    for item in items {
        if !list.is_empty() && line.saturating_add(item.len()) > LINE_MAX {
            list.push_str(",\n      ");
            line = 0;
        } else if !list.is_empty() {
            list.push_str(", ");
        }
        line = line.saturating_add(item.len()).saturating_add(2);
        list.push_str(&item);
    }
    list
}

/// The placeholders of a statement: `$1`, `$2`, ..., each used once, in the order in which its values are bound.
#[derive(Debug, Default)]
pub struct Placeholders(usize);

impl Placeholders {
    /// The next placeholder.
    pub fn one(&mut self) -> String {
        self.0 = self.0.saturating_add(1);
        format!("${}", self.0)
    }

    /// `unnest($1::text[], ...)`: the rows of these columns.
    pub fn unnest(&mut self, columns: &[Column]) -> String {
        let arrays = columns.iter().map(|(_, sql_type)| format!("{}::{sql_type}[]", self.one()));
        format!("unnest({})", listed(arrays))
    }

    /// `SELECT unnest($1::text[]) AS user_id, ...`: the rows of these columns, in the order given. Many columns take less time
    /// this way than by [`Placeholders::unnest`], which PostgreSQL copies array by array first.
    pub fn select(&mut self, columns: &[Column]) -> String {
        let arrays =
            columns.iter().map(|(name, sql_type)| format!("unnest({}::{sql_type}[]) AS {name}", self.one()));
        format!("SELECT {}", listed(arrays))
    }

    /// Inserts rows.
    pub fn insert(&mut self, table: &str, columns: &[Column]) -> String {
        format!("INSERT INTO {table} ({})\n    {}", names(columns), self.select(columns))
    }

    /// Inserts rows in the order given, in which generated ids then rise.
    pub fn insert_in_order(&mut self, table: &str, columns: &[Column]) -> String {
        let (names, rows) = (names(columns), self.unnest(columns));
        format!(
            "INSERT INTO {table} ({names})
    SELECT {names}
    FROM {rows} WITH ORDINALITY AS new ({names}, place) ORDER BY place"
        )
    }

    /// Updates the rows of `table` (named `old`) that have the first `keys` columns of given ones (named `new`) to the others.
    pub fn update(&mut self, table: &str, keys: usize, columns: &[Column]) -> String {
        let (key, set) = columns.split_at(keys.min(columns.len()));
        let key: Vec<String> = key.iter().map(|(name, _)| format!("old.{name} = new.{name}")).collect();
        format!(
            "UPDATE {table} AS old SET {}\n    FROM ({}) AS new\n    WHERE {}",
            listed(set.iter().map(|(name, _)| format!("{name} = new.{name}"))),
            self.select(columns),
            key.join(" AND ")
        )
    }
}

/// Names a list of columns that are written: `name: Type = value` for each, of a row or of its parts.
///
/// ```
/// use diesel::sql_types::{BigInt, Text};
///
/// pg::written_columns! {
///     /// New notes.
///     NewNote = (id, body): (i64, &'a str) { id: BigInt = id, body: Text = body }
/// }
/// ```
#[macro_export]
macro_rules! written_columns {
    ($(#[$about:meta])* $vis:vis $name:ident = $parts:tt: $type:ty {
        $($column:ident: $sql:ty = $value:expr),+ $(,)?
    }) => {
        $(#[$about])*
        #[derive(Debug)]
        $vis struct $name;

        impl $crate::columns::Written for $name {
            type Row<'a> = $type;
            const COLUMNS: &'static [$crate::columns::Column] =
                &[$((stringify!($column), <$sql as $crate::columns::SqlName>::NAME)),+];

            fn bind<'a>(
                sql: $crate::Sql<'a>,
                rows: impl Iterator<Item = Self::Row<'a>> + Clone,
            ) -> $crate::Sql<'a> {
                sql$(.bind::<diesel::sql_types::Array<$sql>, _>({
                    let value = |row: $type| {
                        let $parts = row;
                        // Not every column is of every part.
                        let _ = &$parts;
                        $value
                    };
                    rows.clone().map(value).collect::<Vec<_>>()
                }))+
            }
        }
    };
}

/// Says from which columns a type is read: its fields, each with the expression that it is, if that is not the column of its
/// name; `also` columns that are no fields; `with` fields of types that have columns of their own; fields that are `made`, of
/// the row if need be. A prefix keeps the names of several tables apart.
///
/// ```
/// struct Note {
///     id: i64,
///     text: String,
///     is_long: bool,
/// }
///
/// pg::read_columns! {
///     Note, "note_": { id, text = "{}.body" } also { size } made |row| {
///         is_long: pg::columns::get::<i64>(row, "note_size")? > 1_000,
///     }
/// }
/// ```
#[macro_export]
macro_rules! read_columns {
    ($type:ident: $($columns:tt)+) => {
        $crate::read_columns! { $type, "": $($columns)+ }
    };
    ($type:ident, $prefix:literal: { $($field:ident $(= $expression:literal)?),* $(,)? }
        $(also { $($other:ident $(= $of_other:literal)?),+ $(,)? })?
        $(with { $($part:ident: $of_part:ty),+ $(,)? })?
        $(made $(|$row:ident|)? { $($made:ident: $value:expr),+ $(,)? })?
    ) => {
        impl diesel::deserialize::QueryableByName<diesel::pg::Pg> for $type {
            fn build<'a>(
                row: &impl diesel::row::NamedRow<'a, diesel::pg::Pg>,
            ) -> diesel::deserialize::Result<Self> {
                $($(let $row = row;)?)?
                Ok(Self {
                    $($field: $crate::columns::get(row, concat!($prefix, stringify!($field)))?,)*
                    $($($part: <$of_part as diesel::deserialize::QueryableByName<diesel::pg::Pg>>::build(row)?,)+)?
                    $($($made: $value,)+)?
                })
            }
        }

        impl $crate::columns::Read for $type {
            fn columns() -> Vec<$crate::columns::Answered> {
                [
                    vec![
                        $((stringify!($field), concat!($prefix, stringify!($field)), concat!($($expression)?)),)*
                        $($((stringify!($other), concat!($prefix, stringify!($other)), concat!($($of_other)?)),)+)?
                    ],
                    $($(<$of_part as $crate::columns::Read>::columns(),)+)?
                ].concat()
            }
        }
    };
}

/// [`read_columns!`](crate::read_columns) and [`written_columns!`](crate::written_columns) of one list, for a type that is
/// written as it is read: its fields; columns that are no fields; and fields that are made of `row`.
#[macro_export]
macro_rules! columns {
    ($(#[$about:meta])* $vis:vis $name:ident = $value:ident: $type:ident {
        $($field:ident: $sql:ty = $of_field:expr),+ $(,)?
    } also {
        $($other:ident: $of_sql:ty = $of_other:expr),+ $(,)?
    } made |$row:ident| {
        $($made:ident: $of_made:expr),+ $(,)?
    }) => {
        $crate::written_columns! {
            $(#[$about])*
            $vis $name = $value: &'a $type {
                $($field: $sql = $of_field,)+
                $($other: $of_sql = $of_other,)+
            }
        }
        $crate::read_columns! {
            $type: { $($field),+ } also { $($other),+ } made |$row| { $($made: $of_made),+ }
        }
    };
}

/// The name of an SQL type.
pub trait SqlName {
    /// As PostgreSQL writes it.
    const NAME: &'static str;
}

/// A type whose values are read from one column.
pub trait FromColumn: Sized {
    /// Type of the column.
    type Sql: SqlType;
    /// The plain type of its values.
    type Plain: FromSql<Self::Sql, Pg>;

    /// The value.
    ///
    /// # Errors
    /// The plain value is none of this type.
    fn from_plain(plain: Self::Plain) -> deserialize::Result<Self>;
}

/// A stored value that its type does not know. It ends as [`DbError::Inconsistent`](crate::DbError::Inconsistent).
#[derive(Debug, thiserror::Error)]
#[error("{column}: {problem}")]
pub(crate) struct Unreadable {
    column: String,
    problem: String,
}

/// Reads a column.
///
/// # Errors
/// There is none of this name, or its value is none of this type.
pub fn get<'a, T: FromColumn>(row: &impl NamedRow<'a, Pg>, name: &str) -> deserialize::Result<T> {
    let plain = NamedRow::get::<T::Sql, T::Plain>(row, name)?;
    T::from_plain(plain)
        .map_err(|error| Unreadable { column: name.to_owned(), problem: error.to_string() }.into())
}

macro_rules! named {
    ($($sql:ty: $name:literal),+) => {
        $(impl SqlName for $sql {
            const NAME: &'static str = $name;
        })+
    };
}
named! {
    BigInt: "bigint", Binary: "bytea", Bool: "boolean", Double: "double precision", Jsonb: "jsonb",
    SmallInt: "smallint", Text: "text", Timestamptz: "timestamptz", SqlUuid: "uuid"
}

impl<T: SqlName + SqlType<IsNull = NotNull>> SqlName for Nullable<T> {
    const NAME: &'static str = T::NAME;
}

macro_rules! read_as {
    ($($type:ty: $sql:ty, $plain:ty, |$value:ident| $read:expr);+ $(;)?) => {
        $(impl FromColumn for $type {
            type Sql = $sql;
            type Plain = $plain;

            fn from_plain($value: $plain) -> deserialize::Result<Self> {
                $read
            }
        })+
    };
}
read_as! {
    bool: Bool, Self, |value| Ok(value);
    i16: SmallInt, Self, |value| Ok(value);
    u8: SmallInt, i16, |value| Ok(value.try_into()?);
    i32: Integer, Self, |value| Ok(value);
    i64: BigInt, Self, |value| Ok(value);
    f64: Double, Self, |value| Ok(value);
    String: Text, Self, |value| Ok(value);
    Vec<u8>: Binary, Self, |value| Ok(value);
    Uuid: SqlUuid, Self, |value| Ok(value);
    OffsetDateTime: Timestamptz, Self, |value| Ok(value);
    Credits: BigInt, i64, |micro| Ok(Self::from_micro(micro));
    Usd: BigInt, i64, |nano| Ok(Self::from_nano(nano));
    UserId: Text, String, |text| Self::stored(&text).map_err(|error| format!("{text:?}: {error}").into());
    CallerClass: Text, String, |text| text.parse().map_err(Into::into);
    Actor: Text, String, |text| {
        let known = [Self::User, Self::Service, Self::Admin, Self::System];
        known.into_iter().find(|actor| actor.as_str() == text).ok_or_else(|| format!("{text:?} is not an actor").into())
    };
    FreeForm: Nullable<Jsonb>, Option<JsonText>, |text| Ok(text.map_or_else(Self::empty, |text| Self::stored(text.0)));
    JsonText: Jsonb, Self, |value| Ok(value);
}

impl<T> FromColumn for Option<T>
where
    T: FromColumn<Sql: SqlType<IsNull = NotNull>>,
    Option<T::Plain>: FromSql<Nullable<T::Sql>, Pg>,
{
    type Sql = Nullable<T::Sql>;
    type Plain = Option<T::Plain>;

    fn from_plain(plain: Self::Plain) -> deserialize::Result<Self> {
        plain.map(T::from_plain).transpose()
    }
}

/// Says that types are stored as the words that they are parsed from, or found by with a function of theirs.
#[macro_export]
macro_rules! word_columns {
    ($($type:ty),+) => {
        $crate::word_columns! { $($type: |text| text.parse().map_err(|error| format!("{text:?}: {error}").into())),+ }
    };
    ($($type:ty),+; $find:ident) => {
        $crate::word_columns! { $($type: |text| Self::$find(&text).ok_or_else(|| format!("unknown {text:?}").into())),+ }
    };
    ($($type:ty: |$text:ident| $value:expr),+) => {
        $(impl $crate::columns::FromColumn for $type {
            type Sql = diesel::sql_types::Text;
            type Plain = String;

            fn from_plain($text: String) -> diesel::deserialize::Result<Self> {
                $value
            }
        })+
    };
}

/// The text of a `jsonb` value that is read. It is never parsed into values: numbers keep their digits.
#[derive(Debug, FromSqlRow)]
pub struct JsonText(pub String);

/// The text of a `jsonb` value that is written.
#[derive(Debug)]
pub struct Json<'a>(pub Cow<'a, str>);

impl<'a> Json<'a> {
    /// The value.
    pub fn new(value: &'a FreeForm) -> Self {
        Self(value.as_json().into())
    }

    /// The value of a column in which NULL stands for the empty object.
    pub fn unless_empty(value: &'a FreeForm) -> Option<Self> {
        Some(value.as_json()).filter(|text| *text != "{}").map(|text| Self(text.into()))
    }
}

/// The binary form of `jsonb` is this byte, then the text.
const JSONB_VERSION: u8 = 1;

impl FromSql<Jsonb, Pg> for JsonText {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        match value.as_bytes().split_first() {
            Some((&JSONB_VERSION, text)) => Ok(Self(std::str::from_utf8(text)?.to_owned())),
            _ => Err("jsonb of an unknown version".into()),
        }
    }
}

impl ToSql<Jsonb, Pg> for Json<'_> {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        out.write_all(&[JSONB_VERSION])?;
        out.write_all(self.0.as_bytes())?;
        Ok(IsNull::No)
    }
}
