//! `gateway migrate`: brings the schema to this version and ends.

use super::{failure::Failure, output, prepare::prepare, runtime::runtime};
use crate::{config::Purpose, database::Database, telemetry};

/// Opening a database migrates it, so this opens it and says what that did.
pub(super) fn run() -> Result<(), Failure> {
    let (loaded, account) = prepare(Purpose::Upkeep)?;
    telemetry::init_logs(&loaded.config.log);
    account.log();
    runtime()?.block_on(async {
        let mut database = Database::open(&loaded.config).await?;
        let migrated = std::mem::take(&mut database.migrated);
        database.close().await?;
        output::print(&summary(&migrated)).map_err(Failure::Output)
    })
}

fn summary(migrated: &[String]) -> String {
    if migrated.is_empty() {
        "the schema is up to date".to_owned()
    } else {
        format!("applied:\n  {}", migrated.join("\n  "))
    }
}
