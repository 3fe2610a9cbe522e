//! What a process counts of the ledger: a recorder is one a process, so the numbers need one of their own.

use std::collections::BTreeMap;

use super::gateway_process::{Gateway, database};
use crate::prelude::*;

const USER: &str = "auth0%7Ccounted";

/// A change of the ledger as a service, under a key if there is one.
async fn post(gateway: &Gateway, key: &str, path: &str, body: Value, status: u16) -> Value {
    let key = Some(key).filter(|key| !key.is_empty());
    gateway.post(&format!("{USER}/credits/{path}"), body).key(key).expect(status).await.json()
}

/// The numbers that begin with `credits_`, without the prefix of the service.
async fn counted(gateway: &Gateway) -> BTreeMap<String, String> {
    let text = gateway.metrics().await;
    let lines = text.lines().filter_map(|line| line.strip_prefix("user_service_credits_")?.rsplit_once(' '));
    lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outcomes_of_the_ledger_are_counted_when_they_are_first_given() {
    let db = database().await;
    let gateway = Gateway::on(db.url(), &[]).await;
    gateway.ensure("auth0|counted").await;
    let amount = |amount: Value| json!({"amount": amount});
    for _ in 0..3 {
        post(&gateway, "charge", "consume", amount(json!(10.25)), 200).await;
        post(&gateway, "too much", "consume", amount(json!(5000)), 400).await;
    }
    post(&gateway, "", "consume", amount(json!(0.75)), 200).await;
    let hold = post(&gateway, "", "holds", amount(json!(20)), 200).await;
    let id = hold["data"]["hold_id"].text().to_owned();
    let capture = format!("holds/{id}/capture");
    for _ in 0..2 {
        post(&gateway, "capture", &capture, amount(json!(15)), 200).await;
    }
    post(&gateway, "", &capture, amount(json!(15)), 409).await;
    let payment = json!({"amount": 100, "reference_id": "pi_1"});
    for _ in 0..2 {
        post(&gateway, "", "recharge", payment.clone(), 200).await;
    }
    for (kind, given) in [("promo", 3), ("plan", 4), ("purchase", 50)] {
        let grant = json!({"amount": given, "kind": kind});
        post(&gateway, "", "grants", grant, 200).await;
    }
    let expected = [
        ("consumed_total", "26"),
        ("granted_total", "7"),
        ("recharged_total", "150"),
        (r#"refused_total{code="HoldNotOpenException"}"#, "1"),
        (r#"refused_total{code="InsufficientCreditsException"}"#, "1"),
        (r#"replays_total{by="key"}"#, "5"),
        (r#"replays_total{by="reference"}"#, "1"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(counted(&gateway).await, expected.into());
}
