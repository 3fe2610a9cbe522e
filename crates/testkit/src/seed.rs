//! A data folder that was initialised once and is copied by each test process: a copy takes a tenth of an `initdb`.

use std::{error::Error, fs, io, path::Path, path::PathBuf};

use local_postgres::{Binaries, Durability, LocalPostgres, Settings};

use crate::{
    copy_tree::{Content, content_of, copy_tree},
    work_folder::{RunFolder, WorkFolder, remove},
};

/// An error that only a broken machine or migration can cause.
pub(crate) type Failed = Box<dyn Error + Send + Sync>;

/// The ordinary role that owns every test database. No superuser, so that privileges mean something.
pub(crate) const ROLE: &str = "app";

/// Connections of all tests that run at the same time.
const CONNECTIONS_MAX: u16 = 400;

/// Raise it when what a seed holds changes.
const REVISION: u32 = 1;
/// The cluster, as `local-postgres` names it.
const CLUSTER: &str = "postgres";
/// Its note of the role and database that exist.
const NAMES: &str = "postgres.names";
/// Our own note of what a whole seed holds.
const CONTENT: &str = "content";

/// An initialised and cleanly stopped data folder. Nobody writes to it.
#[derive(Debug)]
pub(crate) struct Seed {
    path: PathBuf,
}

impl Seed {
    /// The seed for `binaries`, made now if there is none or if files of it are gone.
    pub(crate) fn ensure(folder: &WorkFolder, binaries: &Binaries) -> Result<Self, Failed> {
        let path = folder.join(&format!("seed-{}-{REVISION}", binaries.version()));
        let seed = Self { path };
        if !seed.is_whole() {
            seed.make(folder)?;
        }
        Ok(seed)
    }

    /// Copies the seed into the folder of this process.
    pub(crate) fn copy_to(&self, run: &RunFolder) -> io::Result<()> {
        copy_tree(&self.path.join(CLUSTER), &run.path.join(CLUSTER))?;
        fs::copy(self.path.join(NAMES), run.path.join(NAMES))?;
        Ok(())
    }

    /// Some systems delete single old files from their temporary folder.
    fn is_whole(&self) -> bool {
        let noted = fs::read_to_string(self.path.join(CONTENT)).ok();
        let found = content_of(&self.path.join(CLUSTER)).ok().map(note_of);
        noted.is_some() && noted == found
    }

    /// It gets its name only when it is complete, so a kill on the way leaves nothing that looks like a seed.
    fn make(&self, folder: &WorkFolder) -> Result<(), Failed> {
        let unfinished = folder.unfinished()?;
        let mut settings = settings(&unfinished);
        // It must outlive a crash of the machine, unlike its copies.
        settings.durability = Durability::Durable;
        LocalPostgres::start(&settings)?.stop()?;
        note(&unfinished)?;
        remove(&self.path);
        fs::rename(&unfinished, &self.path)?;
        Ok(())
    }
}

/// Settings of every server of this crate.
#[expect(
    clippy::disallowed_methods,
    reason = "a test harness has no configuration to take the place of the server binaries from"
)]
pub(crate) fn settings(data_dir: &Path) -> Settings {
    Settings {
        bin_dir: std::env::var_os("PG_BIN_DIR").map(Into::into),
        path: std::env::var_os("PATH"),
        role: ROLE.to_owned(),
        durability: Durability::Disposable,
        max_connections: CONNECTIONS_MAX,
        // The folder may be in memory, which need not hold a gigabyte of log.
        server_settings: vec![
            ("max_wal_size".to_owned(), "128MB".to_owned()),
            ("min_wal_size".to_owned(), "32MB".to_owned()),
        ],
        ..Settings::new(data_dir)
    }
}

fn note(unfinished: &Path) -> io::Result<()> {
    let content = content_of(&unfinished.join(CLUSTER))?;
    fs::write(unfinished.join(CONTENT), note_of(content))
}

fn note_of(content: Content) -> String {
    format!("{} files, {} bytes\n", content.files, content.size_bytes)
}
