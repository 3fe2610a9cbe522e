//! Statements that are made of parts: committed whole, and such that PostgreSQL can plan them.

use std::{collections::BTreeSet, fs, io, path::Path};

use diesel_async::SimpleAsyncConnection;

use crate::TestDb;

/// Whole statements by name, and the folder in which they are committed, each as `<name>.sql`.
#[derive(Debug)]
pub struct Statements {
    /// The folder.
    pub folder: &'static str,
    /// The texts by name.
    pub texts: Vec<(&'static str, &'static str)>,
}

impl Statements {
    /// Checks that the folder has these statements, and nothing else.
    ///
    /// # Panics
    /// It has not: `just statements` writes them.
    pub fn assert_committed(&self) {
        let folder = self.folder;
        for (name, text) in self.files() {
            let committed = fs::read_to_string(Path::new(folder).join(&name)).unwrap_or_default();
            assert!(committed == text, "{folder}/{name} is not what the code says: run `just statements`");
        }
        let files = fs::read_dir(folder).map_or(0, Iterator::count);
        assert_eq!(files, self.texts.len(), "files in {folder} that no statement has: run `just statements`");
    }

    /// Writes the folder anew.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self) -> io::Result<()> {
        let folder = Path::new(self.folder);
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        fs::create_dir_all(folder)?;
        self.files().try_for_each(|(name, text)| fs::write(folder.join(name), text))
    }

    /// Checks that each can be planned from its text alone, as a person would in `psql`: `PREPARE`, then `EXPLAIN EXECUTE`.
    ///
    /// # Panics
    /// One cannot.
    pub async fn assert_explained(&self, db: &TestDb) {
        let mut conn = db.connect().await;
        for (name, text) in &self.texts {
            let used: BTreeSet<usize> = text
                .split('$')
                .skip(1)
                .filter_map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok())
                .collect();
            let places = 1..=used.last().copied().unwrap_or_default();
            // A place that a text passes over has no type of its own.
            let types = places.clone().map(|place| if used.contains(&place) { "unknown" } else { "text" });
            let (types, nulls) = (listed(types), listed(places.map(|_| "NULL")));
            let explain = format!(
                "PREPARE one {types} AS {text}; EXPLAIN (COSTS OFF) EXECUTE one {nulls}; DEALLOCATE one"
            );
            let explained = conn.batch_execute(&explain).await;
            assert!(explained.is_ok(), "{name}: {explained:?}\n{text}");
        }
    }

    fn files(&self) -> impl Iterator<Item = (String, String)> {
        self.texts.iter().map(|(name, text)| (format!("{name}.sql"), format!("{}\n", text.trim())))
    }
}

/// In parentheses, if there is any.
fn listed<'a>(items: impl Iterator<Item = &'a str>) -> String {
    let items: Vec<&str> = items.collect();
    if items.is_empty() { String::new() } else { format!("({})", items.join(", ")) }
}
