//! The statements that are made of parts: committed whole, and such that PostgreSQL can explain them.

use testkit::Statements;

use crate::support::database;

fn statements() -> Statements {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/statements");
    Statements { folder, texts: credits::statements() }
}

#[test]
fn committed_statements_are_current() {
    statements().assert_committed();
}

#[test]
#[ignore = "writes the statements: `just statements`"]
fn write() {
    statements().write().unwrap();
}

#[tokio::test]
async fn every_statement_and_audit_can_be_explained() {
    let audits = credits::AUDITS.iter().map(|audit| (audit.rule, audit.sql));
    let mut statements = statements();
    statements.texts.extend(audits);
    statements.assert_explained(&database().await).await;
}
