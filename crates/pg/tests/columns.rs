//! A column is named once: rows are written, changed and read by the same list.

use diesel::sql_types::{BigInt, Nullable, Text};
use diesel_async::RunQueryDsl;
use pg::{
    DbError,
    columns::{Placeholders, Read, Written, get},
};

use crate::support::notes;

#[derive(Debug, PartialEq)]
struct Note {
    id: i64,
    text: String,
    is_reply: bool,
}

pg::read_columns! {
    Note, "note_": { id, text = "{}.body" } also { parent } made |row| {
        is_reply: get::<Option<i64>>(row, "note_parent")?.is_some(),
    }
}

pg::written_columns! {
    NewNote = (id, body): (i64, &'a str) {
        id: BigInt = id,
        body: Text = body,
        parent: Nullable<BigInt> = id.checked_sub(1).filter(|parent| *parent > 0),
    }
}

/// A user whose id is read from the body of a note.
struct Author {
    body: kernel::UserId,
}

pg::read_columns! { Author: { body } }

fn note(id: i64, text: &str) -> Note {
    Note { id, text: text.to_owned(), is_reply: id > 1 }
}

#[tokio::test]
async fn rows_are_written_changed_and_read_by_one_list() {
    let db = notes().await;
    let mut conn = db.connect().await;
    let insert = pg::once!(Placeholders::default().insert_in_order("notes.notes", NewNote::COLUMNS));
    let new = [(1, "a"), (2, "b")];
    pg::sql(insert).bind_rows::<NewNote>(new.into_iter()).execute(&mut conn).await.unwrap();
    let update = pg::once!(Placeholders::default().update("notes.notes", 1, NewNote::COLUMNS));
    let changed = [(2, "c"), (3, "unknown")];
    let rows = pg::sql(update).bind_rows::<NewNote>(changed.into_iter()).execute(&mut conn).await.unwrap();
    assert_eq!(rows, 1);
    let select = pg::once!(format!("SELECT {} FROM notes.notes n ORDER BY n.place", Note::list("n")));
    let stored: Vec<Note> = pg::sql(select).load(&mut conn).await.unwrap();
    assert_eq!(stored, [note(1, "a"), note(2, "c")]);
}

#[tokio::test]
async fn value_that_its_type_does_not_know_is_inconsistent_data() {
    let db = notes().await;
    let mut conn = db.connect().await;
    let read: Result<Author, _> = pg::sql("SELECT '' AS body").get_result(&mut conn).await;
    let error = DbError::from(read.map(|author| author.body).unwrap_err());
    assert!(matches!(&error, DbError::Inconsistent(what) if what.starts_with("body: ")), "{error:?}");
}
