//! Between plain columns and the types of the ledger.

use std::str::FromStr;

use diesel_async::AsyncPgConnection;
use kernel::{Actor, FreeForm, UserId};
use pg::DbError;

/// A connection that is shared by statements which run pipelined.
pub type Shared<'a> = &'a AsyncPgConnection;

/// A user id that was stored.
pub fn user_id(text: &str) -> Result<UserId, DbError> {
    UserId::stored(text).map_err(|error| DbError::Inconsistent(error.to_string()))
}

/// A stored word.
pub fn parsed<T: FromStr>(text: &str) -> Result<T, DbError>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error: T::Err| DbError::Inconsistent(error.to_string()))
}

/// The capacity in which an entry was written.
pub fn actor(text: &str) -> Result<Actor, DbError> {
    [Actor::User, Actor::Service, Actor::Admin, Actor::System]
        .into_iter()
        .find(|actor| actor.as_str() == text)
        .ok_or_else(|| DbError::Inconsistent(format!("{text:?} is not an actor")))
}

/// Attached JSON as it is stored: null for the empty object.
pub fn metadata(value: &FreeForm) -> Option<&str> {
    Some(value.as_json()).filter(|json| *json != "{}")
}

/// Attached JSON as it was stored.
pub fn stored_metadata(text: Option<String>) -> FreeForm {
    text.map_or_else(FreeForm::empty, FreeForm::stored)
}

/// The texts of some users, for an array.
pub fn texts<'a>(users: impl IntoIterator<Item = &'a UserId>) -> Vec<&'a str> {
    users.into_iter().map(UserId::as_str).collect()
}
