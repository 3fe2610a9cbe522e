//! The private database ends by itself: what the gateway mends, and what it leaves to whoever supervises it.

use std::process::Command;

use super::gateway_process::{Gateway, folder, private_server};

fn signal(signal: &str, pid: &str) {
    assert!(Command::new("kill").args([signal, pid]).status().unwrap().success());
}

#[tokio::test]
async fn a_killed_database_is_started_again_until_it_happens_too_often() {
    let folder = folder();
    let mut gateway = Gateway::start(folder.path(), &[]).await;
    gateway.ensure("a").await;
    let mut spent = 0;
    for _ in 0..5 {
        let before = private_server(folder.path()).unwrap();
        signal("-KILL", &before);
        // Another process id says that the new server exists, an acknowledged charge that it works.
        while private_server(folder.path()).is_none_or(|pid| pid == before) {
            assert!(gateway.ended().is_none(), "{}", gateway.log());
            tokio::task::yield_now().await;
        }
        while gateway.consume("a", 1).await.status != 200 {
            assert!(gateway.ended().is_none(), "{}", gateway.log());
        }
        spent += 1;
        assert_eq!(gateway.balance("a").await, f64::from(1000 - spent));
    }
    let metrics = gateway.metrics().await;
    assert!(metrics.contains("user_service_database_restarts_total 5"), "{metrics}");
    signal("-KILL", &private_server(folder.path()).unwrap());
    assert_eq!(gateway.wait().code(), Some(1), "{}", gateway.log());
    assert!(gateway.log().contains("after 5 starts in 10 minutes"), "{}", gateway.log());
}

#[tokio::test]
async fn a_database_that_was_shut_down_ends_the_gateway_which_then_starts_as_ever() {
    let folder = folder();
    let mut gateway = Gateway::start(folder.path(), &[]).await;
    gateway.ensure("a").await;
    signal("-INT", &private_server(folder.path()).unwrap());
    assert_eq!(gateway.wait().code(), Some(1), "{}", gateway.log());
    let log = gateway.log();
    assert!(log.contains("the private PostgreSQL was shut down by somebody"), "{log}");
    assert!(log.contains("postgres.log"), "{log}");
    drop(gateway);
    let gateway = Gateway::start(folder.path(), &[]).await;
    gateway.get("/readyz").expect(200).await;
    assert_eq!(gateway.balance("a").await, 1000.0);
}
