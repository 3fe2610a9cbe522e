//! No network call while a transaction is open (I8).

use crate::{
    rule::Rule,
    source::{Source, has_word},
    workspace::{Member, Workspace, member},
};

/// Crates that speak to others than PostgreSQL.
const CALLERS: [&str; 8] =
    ["gateway", "client", "testkit", "identity", "files", "billing", "webhooks", "chat"];
const CLIENTS: [&str; 6] = ["reqwest", "hyper", "hyper-util", "awc", "object_store", "lettre"];

/// What a function with a transaction must have nothing to do with.
const NETWORK: [&str; 11] = [
    "reqwest",
    "lettre",
    "AsyncSmtpTransport",
    "object_store",
    "TcpStream",
    "UdpSocket",
    "UnixStream",
    "PaymentProvider",
    "ChatModel",
    "ObjectStore",
    "FileStore",
];

const RULE: Rule = Rule {
    name: "I8",
    says: "no network call is made while a transaction is open",
    because: "it would hold row locks for as long as a stranger takes to answer, and could not be taken back; what must \
        happen after the commit is a row written in the transaction",
};

#[test]
fn i8_functions_with_a_transaction_call_nobody() {
    let breaches: Vec<String> = Workspace::get().production().flat_map(calls_in).collect();
    RULE.is_kept(&breaches);
}

#[test]
fn i8_crates_that_only_keep_books_cannot_call() {
    RULE.is_kept(&callers(&Workspace::get().members));
}

fn calls_in(source: &Source) -> Vec<String> {
    let mut breaches = Vec::new();
    for function in source.functions() {
        if !has_word(function.signature, "Tx") && !function.body.contains("Tx::begin") {
            continue;
        }
        for word in NETWORK {
            if has_word(function.signature, word) || has_word(function.body, word) {
                breaches.push(format!(
                    "{}: {} has a transaction and {word}",
                    source.at(function.line),
                    function.name
                ));
            }
        }
    }
    breaches
}

fn callers(members: &[Member]) -> Vec<String> {
    let mut breaches = Vec::new();
    for member in members {
        if CALLERS.contains(&member.name.as_str()) {
            continue;
        }
        for client in CLIENTS.iter().filter(|client| member.needs(client)) {
            breaches.push(format!("{} depends on {client}", member.name));
        }
    }
    breaches
}

#[test]
fn calls_with_a_transaction_are_found() {
    let found = |text: &str| calls_in(&Source::new("crates/billing/src/service.rs", text)).len();
    assert_eq!(found("async fn pay(tx: &mut Tx, provider: &dyn PaymentProvider) { }"), 1);
    assert_eq!(found("async fn pay() { let tx = Tx::begin(&pool).await?; reqwest::get(url).await?; }"), 1);
    assert_eq!(found("async fn pay(provider: &dyn PaymentProvider) {} fn book(tx: &mut Tx) {}"), 0);
}

#[test]
fn clients_in_crates_that_keep_books_are_found() {
    let members =
        [member("credits", &["reqwest"]), member("chat", &["reqwest"]), member("usage", &["dev:reqwest"])];
    assert_eq!(callers(&members), ["credits depends on reqwest"]);
}
