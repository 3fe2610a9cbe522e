//! The first steps of every command, in an order that matters: the configuration, then the account.

use super::{
    account::{self, Account},
    failure::Failure,
};
use crate::config::{self, DatabaseSource, EnvFile, Loaded, Purpose};

/// Reads the configuration, changes to the account of RUN_AS and judges the folders above DATA_DIR. No thread may run and no
/// file may be open.
pub(super) fn prepare(purpose: Purpose) -> Result<(Loaded, Account), Failure> {
    let mut loaded = config::from_environment(purpose)?;
    // Examined now, because the other account may be unable to; judged for the other account.
    let env_file = EnvFile::find();
    let account = account::change(loaded.config.run_as.as_ref())?;
    if let Some(file) = env_file {
        loaded.notices.extend(file.notices(loaded.config.app.environment));
    }
    if let DatabaseSource::Embedded { .. } = loaded.config.database.source {
        judge_parents(&mut loaded)?;
    }
    Ok((loaded, account))
}

/// Refuses a private database whose folder other accounts can exchange; in development, where checkouts lie in all kinds of
/// shared folders, it is a notice.
fn judge_parents(loaded: &mut Loaded) -> Result<(), Failure> {
    let exposed = local_postgres::exposed_parents(&loaded.config.data_dir).map_err(Failure::DataDir)?;
    for error in exposed {
        if !loaded.config.app.environment.is_development() {
            return Err(Failure::DataDir(error));
        }
        loaded.notices.push(error.to_string());
    }
    Ok(())
}
