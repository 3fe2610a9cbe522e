//! `jsonb` as text, never parsed into values: numbers keep their digits.

use std::io::Write;

use diesel::{
    deserialize::{self, FromSql, FromSqlRow},
    pg::{Pg, PgValue},
    serialize::{self, IsNull, Output, ToSql},
    sql_types::Jsonb,
};
use kernel::FreeForm;

/// The text of a `jsonb` value that is read.
#[derive(Debug, FromSqlRow)]
pub(super) struct JsonText(String);

/// The text of a `jsonb` value that is written.
#[derive(Debug)]
pub(super) struct JsonRef<'a>(&'a str);

/// The column of an object, where NULL stands for `{}`.
pub(super) fn column(object: &FreeForm) -> Option<JsonRef<'_>> {
    Some(object.as_json()).filter(|text| *text != "{}").map(JsonRef)
}

/// The object of a column, where NULL stands for `{}`.
pub(super) fn object(column: Option<JsonText>) -> FreeForm {
    column.map_or_else(FreeForm::empty, |text| FreeForm::stored(text.0))
}

/// The binary form is this byte, then the text.
const VERSION: u8 = 1;

impl FromSql<Jsonb, Pg> for JsonText {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        match value.as_bytes().split_first() {
            Some((&VERSION, text)) => Ok(Self(std::str::from_utf8(text)?.to_owned())),
            _ => Err("jsonb of an unknown version".into()),
        }
    }
}

impl ToSql<Jsonb, Pg> for JsonRef<'_> {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        out.write_all(&[VERSION])?;
        out.write_all(self.0.as_bytes())?;
        Ok(IsNull::No)
    }
}
