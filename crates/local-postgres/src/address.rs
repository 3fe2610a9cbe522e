//! Where the running server can be reached, left in a file for other programs of whoever runs it.
//!
//! Only its owner may read the file. It is gone after a stop. A process that was killed leaves it behind, so it counts
//! only while someone holds the folder: a program that gets the lock starts a server itself and never asks.

use std::path::{Path, PathBuf};

use crate::Error;
use crate::data_files::{read_if_there, remove_if_there, write_private};
use crate::location::{self, Home};

const FILE: &str = "postgres.url";

/// Where another process can reach the server that it runs on `data_dir`, if it left word. Ask after
/// [`Error::Locked`]: without a holder the answer is out of date.
///
/// # Errors
/// [`Error::Io`] when the file belongs to another account, [`Error::LocationLost`] as at a start.
pub fn running_url(data_dir: &Path) -> Result<Option<String>, Error> {
    let content = read_if_there(&file_in(&location::recorded(data_dir)?))?;
    Ok(content.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned()))
}

/// Whether a start on `data_dir` would find data, and not make an empty database. Makes nothing.
///
/// # Errors
/// As [`running_url`].
pub fn has_cluster(data_dir: &Path) -> Result<bool, Error> {
    Ok(location::recorded(data_dir)?.cluster_version()?.is_some())
}

/// Tells others. The caller holds the folder.
pub(crate) fn leave(home: &Home, url: &str) -> Result<(), Error> {
    write_private(&file_in(home), format!("{url}\n").as_bytes())
}

/// Tells others no longer.
pub(crate) fn withdraw(home: &Home) -> Result<(), Error> {
    remove_if_there(&file_in(home))
}

fn file_in(home: &Home) -> PathBuf {
    home.dir.join(FILE)
}
