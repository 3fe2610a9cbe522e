//! A proxy that the configuration does not name.

use super::gateway_process::{Gateway, database};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_says_once_what_to_set_and_a_metric_counts() {
    let db = database().await;
    let hint = "set TRUSTED_PROXIES to its address or network";
    let gateway = Gateway::on(db.url(), &[]).await;
    gateway.request("GET", "/").expect(200).await;
    assert!(!gateway.log().contains(hint));
    for client in 1..=5 {
        gateway
            .request("GET", "/")
            .header("X-Forwarded-For", &format!("198.51.100.{client}"))
            .expect(200)
            .await;
    }
    let log = gateway.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains(hint)).collect();
    assert!(lines.len() == 1 && lines[0].contains(r#""peer":"127.0.0.1""#), "{lines:?}");
    assert!(lines[0].contains("WARN") && !log.contains("198.51.100."), "{lines:?}");
    let metrics = gateway.metrics().await;
    assert!(metrics.contains("user_service_forwarded_addresses_ignored_total 5\n"), "{metrics}");

    let named = Gateway::on(db.url(), &[("TRUSTED_PROXIES", "127.0.0.0/8")]).await;
    named.request("GET", "/").header("X-Forwarded-For", "198.51.100.1").expect(200).await;
    assert!(
        !named.log().contains(hint) && !named.metrics().await.contains("forwarded_addresses_ignored_total 1")
    );
}
