//! What every command does first, in an order that matters: the configuration, then the account.

use super::{
    Failure,
    account::{self, Account},
};
use crate::config::{self, EnvFile, Loaded, Purpose};

/// Reads the configuration and changes to the account of RUN_AS. No thread may run and no file may be open.
pub(super) fn prepare(purpose: Purpose) -> Result<(Loaded, Account), Failure> {
    let mut loaded = config::from_environment(purpose)?;
    // Examined now, because the other account may be unable to; judged for the other account.
    let env_file = EnvFile::find();
    let account = account::change(loaded.config.run_as.as_ref())?;
    if let Some(file) = env_file {
        loaded.notices.extend(file.notices(loaded.config.app.environment));
    }
    Ok((loaded, account))
}
