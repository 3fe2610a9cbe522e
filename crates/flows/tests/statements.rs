//! The statements that are made of parts: committed whole, and such that PostgreSQL can explain them.

use testkit::Statements;

use crate::database;

fn statements() -> [Statements; 4] {
    [
        (concat!(env!("CARGO_MANIFEST_DIR"), "/../credits/statements"), credits::statements()),
        (concat!(env!("CARGO_MANIFEST_DIR"), "/statements"), flows::statements()),
        (concat!(env!("CARGO_MANIFEST_DIR"), "/../sessions/statements"), sessions::statements()),
        (concat!(env!("CARGO_MANIFEST_DIR"), "/../usage/statements"), usage::statements()),
    ]
    .map(|(folder, texts)| Statements { folder, texts })
}

#[test]
fn committed_statements_are_current() {
    statements().iter().for_each(Statements::assert_committed);
}

#[test]
#[ignore = "writes the statements: `just statements`"]
fn write() {
    statements().iter().for_each(|statements| statements.write().unwrap());
}

#[tokio::test]
async fn every_statement_and_audit_can_be_explained() {
    let audits = flows::AUDITS.iter().flat_map(|audits| audits.iter()).map(|audit| (audit.rule, audit.sql));
    let texts = statements().into_iter().flat_map(|statements| statements.texts).chain(audits).collect();
    Statements { folder: "", texts }.assert_explained(&database().await).await;
}
