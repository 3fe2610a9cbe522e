//! Making the cluster once: complete under its final name, or not there at all.

use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

use crate::command::{OnParentDeath, Programs};
use crate::location::Home;
use crate::names::{self, Names};
use crate::{Durability, Error};

/// Half-made clusters: this and six characters of `mkdtemp`.
const UNFINISHED_PREFIX: &str = "postgres.init-";
const INITDB_PATIENCE: Duration = Duration::from_secs(300);

/// Makes the cluster if there is none. A start that was killed on the way leaves a folder of another name, which
/// is removed here.
///
/// # Errors
/// [`Error::ToolFailed`] with what `initdb` said.
pub(crate) fn ensure(
    home: &Home,
    programs: &Programs<'_>,
    durability: Durability,
    wanted: &Names<'_>,
) -> Result<(), Error> {
    remove_unfinished(home)?;
    let cluster = home.cluster();
    if home.cluster_version()?.is_some() {
        return names::ensure(home, programs, wanted);
    }
    tracing::info!(
        postgres.version = programs.binaries.version(),
        "making a new database in {}",
        cluster.display()
    );
    // The notes of a cluster that someone deleted must not speak for the new one.
    names::forget(home)?;
    let unfinished = nix::unistd::mkdtemp(&home.folder.join(&format!("{UNFINISHED_PREFIX}XXXXXX")))
        .map_err(|errno| Error::io("make a folder in", home.folder.path())(errno.into()))?;
    programs.account.give(&unfinished)?;

    let initdb = programs.binaries.initdb();
    let mut command = programs.prepared(&initdb, OnParentDeath::Kill)?;
    command.arg("-D").arg(&unfinished).args([
        "--username=postgres",
        "--auth=trust",
        "--encoding=UTF8",
        "--locale=C",
        "--no-sync",
        "--no-instructions",
    ]);
    programs.run("initdb", command, None, INITDB_PATIENCE)?;
    names::create_all(&unfinished, programs, wanted)?;
    if durability == Durability::Durable {
        let mut command = programs.prepared(&initdb, OnParentDeath::Kill)?;
        command.arg("--sync-only").arg("-D").arg(&unfinished);
        programs.run("initdb --sync-only", command, None, INITDB_PATIENCE)?;
    }
    std::fs::rename(&unfinished, &cluster).map_err(Error::io("rename the new database to", &cluster))?;
    home.folder.sync()?;
    names::note(home, wanted)
}

fn remove_unfinished(home: &Home) -> Result<(), Error> {
    let entries = std::fs::read_dir(home.folder.path()).map_err(Error::io("list", home.folder.path()))?;
    for entry in entries.flatten() {
        if !entry.file_name().as_bytes().starts_with(UNFINISHED_PREFIX.as_bytes()) {
            continue;
        }
        tracing::info!("removing {}, an earlier first start did not finish it", entry.path().display());
        match std::fs::remove_dir_all(entry.path()) {
            Ok(()) => {}
            // A process of that start may still be writing as it dies. The folder is in nobody's way: next time.
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {
                tracing::warn!(%error, "could not remove {} yet", entry.path().display());
            }
            Err(error) => return Err(Error::io("remove", &entry.path())(error)),
        }
    }
    Ok(())
}
