//! What every command does first, in an order that matters: the configuration, then the account.

use super::{
    Failure,
    account::{self, Account},
};
use crate::config::{self, Loaded, Purpose};

/// Reads the configuration and changes to the account of RUN_AS. No thread may run and no file may be open.
pub(super) fn prepare(purpose: Purpose) -> Result<(Loaded, Account), Failure> {
    let loaded = config::from_environment(purpose)?;
    let account = account::change(loaded.config.run_as.as_ref())?;
    Ok((loaded, account))
}
