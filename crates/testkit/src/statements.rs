//! Statements that are made of parts: committed whole, and such that PostgreSQL can plan them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

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
        let entries = fs::read_dir(self.folder).unwrap().map(|entry| entry.unwrap().path());
        let committed: BTreeMap<String, String> = entries
            .map(|path| {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                (name, fs::read_to_string(path).unwrap())
            })
            .collect();
        let expected: BTreeMap<String, String> = self.files().collect();
        for name in committed.keys().chain(expected.keys()) {
            let same = committed.get(name) == expected.get(name);
            assert!(same, "{}/{name} is not what the code says: run `just statements`", self.folder);
        }
    }

    /// Writes the folder anew.
    ///
    /// # Panics
    /// It cannot be written.
    pub fn write(&self) {
        let folder = Path::new(self.folder);
        if folder.exists() {
            fs::remove_dir_all(folder).unwrap();
        }
        fs::create_dir_all(folder).unwrap();
        for (name, text) in self.files() {
            fs::write(folder.join(name), text).unwrap();
        }
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
