//! `gateway ledger cool`: writes heads of accounts back, before the way to a version that does not know them.

use std::time::Instant;

use pg::Access;

use super::{failure::Failure, upkeep};

/// Writes them back, and prints how many there were.
pub(super) fn run() -> Result<(), Failure> {
    upkeep::run(Access::ReadWrite, async |_config, pool, line| {
        let missing = pg::migrate::pending(pool, &[credits::MIGRATIONS]).await.map_err(Failure::Cool)?;
        if !missing.is_empty() {
            return Err(Failure::SchemaBehind { missing });
        }
        let began = Instant::now();
        let cooled = credits::cool(pool, |so_far| {
            if let Some(line) = line {
                line.show(&format!("{so_far} accounts"));
            }
        })
        .await
        .map_err(Failure::Cool)?;
        let took = began.elapsed().as_secs_f64();
        Ok(format!("{cooled} accounts in {took:.1} s: their heads are in the rows of their grants"))
    })
}
