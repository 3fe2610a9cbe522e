//! The statements that are made of parts: committed whole, and such that PostgreSQL can explain them.

use testkit::Statements;

use crate::support::House;

fn statements() -> Statements {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/statements");
    Statements { folder, texts: sessions::statements() }
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
    let audits = sessions::AUDITS.iter().map(|audit| (audit.rule, audit.sql));
    let mut statements = statements();
    statements.texts.extend(audits);
    statements.assert_explained(&House::build().await.db).await;
}
