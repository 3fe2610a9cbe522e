//! Two gateways on one database stay exact together.

use std::sync::Arc;

use testkit::TestDb;
use tokio::task::JoinSet;

use super::gateway_process::{Gateway, folder};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_on_one_database_stay_exact() {
    let db = TestDb::create(gateway::app::MIGRATIONS, gateway::app::AUDITS).await;
    let (one, two) = (folder(), folder());
    let variables = [("DATABASE_URL", db.url()), ("INITIAL_CREDITS", "130")];
    let (first, second) = tokio::join!(
        Gateway::start(one.path(), &variables),
        Gateway::start(two.path(), &variables)
    );
    let gateways = [Arc::new(first), Arc::new(second)];

    let mut sign_ups = JoinSet::new();
    for turn in 0..20 {
        let gateway = Arc::clone(&gateways[turn % 2]);
        sign_ups.spawn(async move { gateway.ensure("auth0|both").await });
    }
    while let Some(done) = sign_ups.join_next().await {
        done.unwrap();
    }
    assert_eq!(
        gateways[0].balance("auth0%7Cboth").await,
        130.0,
        "one initial grant"
    );

    let mut spenders = JoinSet::new();
    for turn in 0..60 {
        let gateway = Arc::clone(&gateways[turn % 2]);
        spenders.spawn(async move { gateway.consume("auth0%7Cboth", 10).await.unwrap().0 });
    }
    let mut statuses = Vec::new();
    while let Some(status) = spenders.join_next().await {
        statuses.push(status.unwrap());
    }
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 13);
    assert_eq!(statuses.iter().filter(|status| **status == 400).count(), 47);
    assert_eq!(gateways[1].balance("auth0%7Cboth").await, 0.0);
}
