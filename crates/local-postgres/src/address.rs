//! Where the running server can be reached, left in a file for other programs of whoever runs it.
//!
//! Only its owner may read the file. It is gone after a stop. A process that was killed leaves it behind, so it counts
//! only while someone holds the folder: a program that gets the lock starts a server itself and never asks.

use std::path::Path;

use crate::Error;
use crate::folder::Readers;
use crate::location::{self, Home};

const FILE: &str = "postgres.url";

/// Where another process can reach the server that it runs on `data_dir`, if it left word. Ask after
/// [`Error::Locked`]: without a holder the answer is out of date.
///
/// # Errors
/// [`Error::Untrusted`] when the folder or the file belongs to another account, or others may change it;
/// [`Error::LocationLost`] as at a start.
pub fn running_url(data_dir: &Path) -> Result<Option<String>, Error> {
    let Some(data_dir) = location::find(data_dir)? else {
        return Ok(None);
    };
    let home = location::recorded(&data_dir)?;
    // It holds an address and no password: who could have written it matters, not who can read it.
    let content = home.folder.read_if_there(FILE, Readers::Anyone)?;
    Ok(content.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned()))
}

/// Returns true if a start on `data_dir` would find data, and not make an empty database. Makes nothing.
///
/// # Errors
/// As [`running_url`].
pub fn has_cluster(data_dir: &Path) -> Result<bool, Error> {
    let Some(data_dir) = location::find(data_dir)? else {
        return Ok(false);
    };
    Ok(location::recorded(&data_dir)?.cluster_version()?.is_some())
}

/// Returns true if a start would trust `data_dir`; a folder that is missing is made by the start. Makes nothing.
///
/// # Errors
/// As [`running_url`].
pub fn check_data_dir(data_dir: &Path) -> Result<(), Error> {
    location::find(data_dir).map(drop)
}

/// Publishes the address. The caller holds the folder.
pub(crate) fn leave(home: &Home, url: &str) -> Result<(), Error> {
    home.folder.write_private(FILE, format!("{url}\n").as_bytes())
}

/// Withdraws the address.
pub(crate) fn withdraw(home: &Home) -> Result<(), Error> {
    home.folder.remove_if_there(FILE)
}
