//! `jsonb` as text, never parsed into values: numbers keep their digits.

use std::{borrow::Cow, collections::BTreeMap, io::Write};

use diesel::{
    deserialize::{self, FromSql, FromSqlRow},
    pg::{Pg, PgValue},
    serialize::{self, IsNull, Output, ToSql},
    sql_types::Jsonb,
};
use kernel::FreeForm;
use pg::DbError;

use crate::rating::{Quantities, TokenClass};

/// The text of a `jsonb` value that is read.
#[derive(Debug, FromSqlRow)]
pub(super) struct JsonText(String);

/// The text of a `jsonb` value that is written.
#[derive(Debug)]
pub(super) struct JsonRef<'a>(Cow<'a, str>);

/// The column of an object, where NULL stands for `{}`.
pub(super) fn column(object: &FreeForm) -> Option<JsonRef<'_>> {
    let text = Some(object.as_json()).filter(|text| *text != "{}");
    text.map(|text| JsonRef(text.into()))
}

/// The object of a column, where NULL stands for `{}`.
pub(super) fn object(column: Option<JsonText>) -> FreeForm {
    column.map_or_else(FreeForm::empty, |text| FreeForm::stored(text.0))
}

/// The column of quantities: an object of counts by class.
pub(super) fn of_quantities(quantities: &Quantities) -> JsonRef<'static> {
    let members = quantities.iter().map(|(class, count)| format!("\"{class}\":{count}"));
    JsonRef(format!("{{{}}}", members.collect::<Vec<_>>().join(",")).into())
}

/// The quantities of a column.
pub(super) fn quantities(column: JsonText) -> Result<Quantities, DbError> {
    let unusable = |problem: &dyn std::fmt::Display| DbError::Inconsistent(format!("quantities: {problem}"));
    let counts: BTreeMap<String, i64> = serde_json::from_str(&column.0).map_err(|error| unusable(&error))?;
    let mut classes = Vec::with_capacity(counts.len());
    for (name, count) in counts {
        let class: TokenClass = name.parse().map_err(|error| unusable(&error))?;
        classes.push((class, count));
    }
    Quantities::of(classes).map_err(|error| unusable(&error))
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
