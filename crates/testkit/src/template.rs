//! One migrated database for each list of migrations, cloned by the tests that want this list.

use std::{collections::BTreeSet, time::Duration};

use diesel::{QueryableByName, sql_types::BigInt, sql_types::Text};
use diesel_async::RunQueryDsl;
use pg::{Migration, Pool, PoolSettings};
use tokio::sync::Mutex;

use crate::{
    seed::{Failed, ROLE},
    server::Server,
};

/// Name of the template for `migrations`, made now if this process has not needed it yet.
pub(crate) async fn ensure(server: &Server, migrations: &[Migration]) -> Result<String, Failed> {
    static READY: Mutex<BTreeSet<String>> = Mutex::const_new(BTreeSet::new());
    let fingerprint = pg::migrate::fingerprint(&[migrations]);
    let name = format!("template_{}", fingerprint.get(..16).unwrap_or(&fingerprint));
    let mut ready = READY.lock().await;
    if !ready.contains(&name) {
        make(server, &name, migrations).await?;
        ready.insert(name.clone());
    }
    Ok(name)
}

/// Waits until no session is left in `database`: PostgreSQL itself looks only every tenth of a second.
pub(crate) async fn wait_until_unused(server: &Server, database: &str) -> Result<(), Failed> {
    #[derive(QueryableByName)]
    struct Sessions {
        #[diesel(sql_type = BigInt)]
        count: i64,
    }
    let mut admin = server.admin().get().await?;
    for _ in 0..2_000 {
        let sessions: Sessions = pg::sql(
            "SELECT count(pg_terminate_backend(pid)) AS count FROM pg_stat_activity WHERE datname = $1",
        )
        .bind::<Text, _>(database)
        .get_result(&mut admin)
        .await?;
        if sessions.count == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

async fn make(server: &Server, name: &str, migrations: &[Migration]) -> Result<(), Failed> {
    // A first attempt may have failed on the way.
    server.administer(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await?;
    server.administer(&format!("CREATE DATABASE {name} OWNER {ROLE}")).await?;
    let pool = Pool::new(&PoolSettings::new(server.url(name)))?;
    pg::migrate::run(&pool, &[migrations]).await?;
    pool.close();
    server.administer(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false")).await?;
    wait_until_unused(server, name).await
}
