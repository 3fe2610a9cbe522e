//! The independent record: what the answers say that the ledger must hold, and nothing else.

use std::{collections::BTreeMap, fmt};

use diesel::{QueryableByName, sql_types::BigInt, sql_types::Text};
use diesel_async::RunQueryDsl as _;

use super::request::{Action, Exchange, Micro, micro};
use crate::prelude::*;
use crate::process::gateway_process::Gateway;

/// What a user begins with.
const INITIAL: i64 = 1_000_000_000;

/// An entry of the journal: whose, of which type, how much, and by which transaction or hold it is known.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, QueryableByName)]
struct Entry {
    #[diesel(sql_type = Text)]
    user_id: String,
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = BigInt)]
    amount: i64,
    #[diesel(sql_type = Text)]
    link: String,
}

/// A usage record: whose, which, what it is worth, and the transaction that charged it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, QueryableByName)]
struct Used {
    #[diesel(sql_type = Text)]
    user_id: String,
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = BigInt)]
    worth: i64,
    #[diesel(sql_type = Text)]
    link: String,
}

/// A sum in micro-credits. Signed: exchanges are written down client by client, not in the order of the journal.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Balance {
    posted: i64,
    held: i64,
}

/// The record.
pub struct Book {
    entries: Vec<Entry>,
    records: Vec<Used>,
    balances: BTreeMap<&'static str, Balance>,
    holds: BTreeMap<String, Micro>,
    answers: u64,
    refusals: u64,
    /// First answers that were already repeats: the kill came between the commit and the answer.
    late: u64,
}

impl Book {
    /// With an account for each user.
    pub fn new(users: &[&'static str]) -> Self {
        let balance = Balance { posted: INITIAL, held: 0 };
        Self {
            entries: Vec::new(),
            records: Vec::new(),
            balances: users.iter().map(|user| (*user, balance)).collect(),
            holds: BTreeMap::new(),
            answers: 0,
            refusals: 0,
            late: 0,
        }
    }

    /// How many entries there must be, the initial grants included.
    pub fn entries(&self) -> u64 {
        (self.entries.len() + self.balances.len()) as u64
    }

    /// Writes down what was asked and answered.
    pub fn write(&mut self, exchanges: Vec<Exchange>) {
        for exchange in exchanges {
            self.answers += 1;
            self.late += u64::from(exchange.answer.replayed);
            if exchange.answer.status == 200 {
                self.write_success(&exchange);
            } else {
                self.refusals += 1;
            }
        }
    }

    fn write_success(&mut self, Exchange { request, answer }: &Exchange) {
        let (user, data) = (request.user, &answer.body["data"]);
        match &request.action {
            Action::Consume { amount } => {
                self.entry(user, "consume", *amount, data);
                self.balance(user).posted -= signed(*amount);
            }
            Action::Recharge { amount, .. } => {
                self.entry(user, "recharge", *amount, data);
                self.balance(user).posted += signed(*amount);
            }
            Action::Refund { amount, .. } => {
                self.entry(user, "refund", *amount, data);
                self.balance(user).posted += signed(*amount);
            }
            Action::Hold { amount } => {
                let hold = text(&data["hold_id"]);
                self.push(user, "hold", *amount, hold.clone());
                self.holds.insert(hold, *amount);
                self.balance(user).held += signed(*amount);
            }
            Action::Release { hold } => {
                let held = self.holds.remove(hold).unwrap();
                self.push(user, "release", held, hold.clone());
                self.balance(user).held -= signed(held);
            }
            Action::Capture { hold, amount } => {
                let captured = amount - micro(&data["uncollected"]);
                self.entry(user, "capture", captured, &data["transaction"]);
                self.capture(user, hold, captured);
            }
            Action::Use { hold, amount } => {
                let charged = amount - micro(&data["credits_uncollected"]);
                let link = text(&data["transaction_id"]);
                self.records.push(Used {
                    user_id: user.to_owned(),
                    id: data["id"].as_i64().unwrap(),
                    worth: signed(*amount),
                    link: link.clone(),
                });
                match hold {
                    None => {
                        self.push(user, "consume", charged, link);
                        self.balance(user).posted -= signed(charged);
                    }
                    Some(hold) => {
                        self.push(user, "capture", charged, link);
                        self.capture(user, hold, charged);
                    }
                }
            }
        }
    }

    /// A hold was charged with so much, and the rest of it is free.
    fn capture(&mut self, user: &str, hold: &str, captured: Micro) {
        let held = self.holds.remove(hold).unwrap();
        if captured < held {
            self.push(user, "release", held - captured, hold.to_owned());
        }
        let balance = self.balance(user);
        balance.held -= signed(held);
        balance.posted -= signed(captured);
    }

    fn balance(&mut self, user: &str) -> &mut Balance {
        self.balances.get_mut(user).unwrap()
    }

    fn entry(&mut self, user: &str, kind: &str, amount: Micro, transaction: &Value) {
        assert_eq!(micro(&transaction["amount"]), amount, "{transaction}");
        self.push(user, kind, amount, text(&transaction["transaction_id"]));
    }

    fn push(&mut self, user: &str, kind: &str, amount: Micro, link: String) {
        self.entries.push(Entry {
            user_id: user.to_owned(),
            kind: kind.to_owned(),
            amount: signed(amount),
            link,
        });
    }

    /// The journal has every entry that was acknowledged, under the same id, once, and no other; so has the usage every
    /// record. None is without the other.
    pub async fn check_entries(&self, url: &str) {
        let mut conn = connect(url).await;
        let mut stored: Vec<Entry> = diesel::sql_query(
            "SELECT user_id, type AS kind, amount, CASE WHEN type IN ('hold', 'release') THEN hold_id::text \
             ELSE 'txn_' || transaction_id::text END AS link FROM credits.entries WHERE type <> 'grant'",
        )
        .load(&mut conn)
        .await
        .unwrap();
        let mut written = self.entries.clone();
        compare(&mut stored, &mut written);
        let mut stored: Vec<Used> = diesel::sql_query(
            "SELECT user_id, id, credits_charged AS worth, 'txn_' || charge_transaction::text AS link FROM usage.records",
        )
        .load(&mut conn)
        .await
        .unwrap();
        compare(&mut stored, &mut self.records.clone());
    }

    /// Balances are the sum of what was acknowledged, to the micro-credit.
    pub async fn check_balances(&self, gateway: &Gateway) {
        for (user, expected) in &self.balances {
            let account = gateway.get(&format!("{user}/credits/account")).data().await;
            let [posted, held] = ["balance", "held"].map(|name| signed(micro(&account[name])));
            let found = Balance { posted, held };
            assert_eq!(found, *expected, "of {user}");
        }
    }

    /// Users see the same transactions, by the same ids.
    pub async fn check_listing(&self, gateway: &Gateway) {
        for user in self.balances.keys() {
            let mut listed = Vec::new();
            loop {
                let path = format!("{user}/credits/transactions?limit=500&offset={}", listed.len());
                let page = gateway.get(&path).rows().await;
                if page.is_empty() {
                    break;
                }
                listed.extend(page.iter().map(|item| text(&item["transaction_id"])));
            }
            // The first one is the initial grant, which nobody asked for here.
            assert!(listed.pop().is_some());
            let mut expected: Vec<String> = self
                .entries
                .iter()
                .filter(|entry| entry.user_id == *user && entry.link.starts_with("txn_"))
                .map(|entry| entry.link.clone())
                .collect();
            listed.sort();
            expected.sort();
            assert_eq!(listed, expected, "of {user}");
        }
    }
}

impl fmt::Display for Book {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} requests ({} refused), {} of them had been done without an answer, {} entries",
            self.answers,
            self.refusals,
            self.late,
            self.entries()
        )
    }
}

/// Both are the same, in any order.
fn compare<T: Ord + fmt::Debug>(stored: &mut [T], written: &mut [T]) {
    stored.sort();
    written.sort();
    let lost: Vec<_> = written.iter().filter(|one| stored.binary_search(one).is_err()).collect();
    let unknown: Vec<_> = stored.iter().filter(|one| written.binary_search(one).is_err()).collect();
    assert!(lost.is_empty() && unknown.is_empty(), "lost: {lost:?}; never acknowledged: {unknown:?}");
    assert_eq!(stored.len(), written.len(), "something was done twice");
}

fn signed(amount: Micro) -> i64 {
    i64::try_from(amount).unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}
