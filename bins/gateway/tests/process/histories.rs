//! Two gateways, one database, random requests: each account has a history that could have happened one by one.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex},
    time::Instant,
};

use super::gateway_process::{Gateway, database};
use crate::prelude::*;

const USERS: usize = 3;
const TASKS: u64 = 8;
const TURNS: usize = 40;
const SEED: u64 = 0x5eed;

/// What may be answered besides 200: decided noes.
const REFUSALS: [&str; 4] = [
    "InsufficientCreditsException",
    "HoldNotOpenException",
    "ReferenceConflictException",
    "RefundExceedsChargeException",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_requests_to_two_gateways_make_one_history_of_each_account() {
    let db = database().await;
    let variables = [("INITIAL_CREDITS", "40")];
    let (one, two) = tokio::join!(Gateway::on(db.url(), &variables), Gateway::on(db.url(), &variables));
    let gateways = Arc::new([one, two]);
    for user in 0..USERS {
        gateways[user % 2].ensure(&name(user)).await;
    }
    let world = Arc::new(World::default());
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        tasks.spawn(work(Arc::clone(&gateways), Arc::clone(&world), Random(SEED + task)));
    }
    tasks.join_all().await;

    let answers = std::mem::take(&mut *world.answers.lock().unwrap());
    assert!(answers.len() > USERS * 40, "{} answers are no load", answers.len());
    for refusal in REFUSALS {
        assert!(answers.iter().any(|answer| answer.code() == refusal), "no {refusal}");
    }
    assert!(answers.iter().any(|answer| answer.is_replayed), "no key was repeated");
    for user in 0..USERS {
        let answers: Vec<&Answer> = answers.iter().filter(|answer| answer.user == user).collect();
        let listed = history(&gateways[0], user).await;
        check_chain(&listed);
        check_answers(&listed, &answers);
        check_order(&listed, &answers);
        check_keys(&answers);
        check_once(&listed, &answers);
        check_refusals(&answers);
        check_balance(gateways.as_slice(), user, &listed).await;
    }
}

fn name(user: usize) -> String {
    format!("history-{user}")
}

/// SplitMix64: small, seeded, and good enough to mix requests up.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap()
    }

    /// Credits below `bound`, with six decimals.
    fn amount(&mut self, bound: u64) -> String {
        format!("{}.{:06}", self.below(bound), 1 + self.below(999_999))
    }
}

/// What the tasks know of each other's doings.
#[derive(Default)]
struct World {
    holds: Mutex<HashMap<usize, Vec<String>>>,
    charges: Mutex<HashMap<usize, Vec<Value>>>,
    answers: Mutex<Vec<Answer>>,
}

/// A request that may be sent again.
#[derive(Clone)]
struct Request {
    user: usize,
    path: String,
    body: Value,
    key: Option<String>,
}

struct Answer {
    user: usize,
    path: String,
    key: Option<String>,
    status: u16,
    body: Value,
    is_replayed: bool,
    sent: Instant,
    received: Instant,
}

impl Answer {
    fn code(&self) -> &str {
        self.body["error_code"].as_str().unwrap_or_default()
    }

    /// The transaction in this answer.
    fn transaction(&self) -> Option<&Value> {
        let data = &self.body["data"];
        [data, &data["transaction"]].into_iter().find(|value| value["transaction_type"].is_string())
    }

    /// What a repeat must equal.
    fn comparable(&self) -> Value {
        let mut body = self.body.clone();
        body.as_object_mut().unwrap().remove("request_id");
        json!({"status": self.status, "body": body})
    }
}

async fn work(gateways: Arc<[Gateway; 2]>, world: Arc<World>, mut random: Random) {
    for _ in 0..TURNS {
        let request = world.request(&mut random);
        let (here, there) = (random.index(2), random.below(4));
        // Now and then the same request goes to both processes at once, as an impatient client does it.
        if request.key.is_some() && there == 0 {
            let (one, two) = tokio::join!(send(&gateways[0], &request), send(&gateways[1], &request));
            world.note(one);
            world.note(two);
        } else {
            let answer = send(&gateways[here], &request).await;
            world.note(answer);
        }
    }
}

async fn send(gateway: &Gateway, request: &Request) -> Answer {
    let path = format!("{}/credits/{}", name(request.user), request.path);
    let sending = gateway.post(&path, &request.body).key(request.key.as_deref());
    let sent = Instant::now();
    let reply = sending.await;
    let answer = Answer {
        user: request.user,
        path: request.path.clone(),
        key: request.key.clone(),
        status: reply.status,
        body: reply.json(),
        is_replayed: reply.is_replayed(),
        sent,
        received: Instant::now(),
    };
    assert!(answer.status == 200 || REFUSALS.contains(&answer.code()), "{path} {}: {reply:?}", request.body);
    answer
}

impl World {
    /// A request; those with a key follow from the key alone, so that a key always stands for one request.
    fn request(&self, random: &mut Random) -> Request {
        let user = random.index(USERS);
        if random.below(3) == 0 {
            let number = random.below(12);
            let mut of_key = Random(SEED ^ (number << 8) ^ user as u64);
            let (path, body) = independent(&mut of_key);
            let key = Some(format!("key-{number}"));
            return Request { user, path, body, key };
        }
        let pick = |random: &mut Random, known: &Mutex<HashMap<usize, Vec<String>>>| {
            let known = known.lock().unwrap();
            let list = known.get(&user).filter(|list| !list.is_empty())?;
            Some(list[random.index(list.len())].clone())
        };
        let dependent = match random.below(6) {
            0 | 1 => pick(random, &self.holds).map(|hold| {
                let amount = match random.below(3) {
                    0 => json!({}),
                    1 => json!({"amount": 0}),
                    _ => json!({"amount": random.amount(10)}),
                };
                (format!("holds/{hold}/capture"), amount)
            }),
            2 => pick(random, &self.holds).map(|hold| (format!("holds/{hold}/release"), json!({}))),
            3 => self.refund(random, user),
            _ => None,
        };
        let (path, body) = dependent.unwrap_or_else(|| independent(random));
        let key = None;
        Request { user, path, body, key }
    }

    fn refund(&self, random: &mut Random, user: usize) -> Option<(String, Value)> {
        let charges = self.charges.lock().unwrap();
        let list = charges.get(&user)?;
        let charge = &list[random.index(list.len())];
        let mut body = json!({"transaction_id": charge["transaction_id"], "reason": "no good"});
        if random.below(2) == 0 {
            body["transaction_id"] = charge["id"].clone();
            body["amount"] = json!(random.amount(10));
        }
        Some(("refund".to_owned(), body))
    }

    fn note(&self, answer: Answer) {
        if answer.status == 200 {
            let data = &answer.body["data"];
            if answer.path == "holds" {
                let hold = data["hold_id"].text().to_owned();
                self.holds.lock().unwrap().entry(answer.user).or_default().push(hold);
            }
            if let Some(charge) =
                answer.transaction().filter(|charge| charge["transaction_type"] == "consume")
            {
                let charge = charge.clone();
                self.charges.lock().unwrap().entry(answer.user).or_default().push(charge);
            }
        }
        self.answers.lock().unwrap().push(answer);
    }
}

/// A request that needs to know nothing of others.
fn independent(random: &mut Random) -> (String, Value) {
    let (charge, gift) = (random.amount(20), random.amount(5));
    let reference = format!("pi-{}", random.below(6));
    match random.below(8) {
        0..=2 => ("consume".to_owned(), json!({"amount": charge, "metadata": {"n": 1}})),
        3 => ("holds".to_owned(), json!({"amount": charge})),
        4 => ("holds".to_owned(), json!({"amount": charge, "mode": "clamp"})),
        // Two amounts a reference: one of them comes too late.
        5 => {
            let amount = 1 + random.below(2);
            ("recharge".to_owned(), json!({"amount": amount, "reference_id": reference}))
        }
        6 => ("grants".to_owned(), json!({"amount": gift, "priority": random.below(3)})),
        _ => ("recharge".to_owned(), json!({"amount": gift})),
    }
}

/// All transactions of a user, oldest first.
async fn history(gateway: &Gateway, user: usize) -> Vec<Value> {
    let mut listed = gateway.get(&format!("{}/credits/transactions?limit=500", name(user))).rows().await;
    assert!(listed.len() < 500, "one page holds them all");
    listed.reverse();
    listed
}

/// Millionths, exactly.
fn micro(amount: &Value) -> i64 {
    (amount.as_f64().unwrap() * 1e6).round() as i64
}

fn id(transaction: &Value) -> &str {
    transaction["transaction_id"].text()
}

/// Each transaction begins where the one before it ended, and does what it says.
fn check_chain(listed: &[Value]) {
    let mut balance = 0;
    for entry in listed {
        assert_eq!(micro(&entry["credits_before"]), balance, "{entry}");
        let sign = if entry["direction"] == "credit" { 1 } else { -1 };
        balance += sign * micro(&entry["amount"]);
        assert_eq!(micro(&entry["credits_after"]), balance, "{entry}");
        assert!(balance >= 0, "{entry}");
    }
    let ids: Vec<i64> = listed.iter().map(|entry| entry["id"].as_i64().unwrap()).collect();
    assert!(ids.is_sorted_by(|one, two| one < two), "{ids:?}");
}

/// Every answer shows a transaction as it is listed, and each listed one was answered.
fn check_answers(listed: &[Value], answers: &[&Answer]) {
    let by_id: BTreeMap<&str, &Value> = listed.iter().map(|entry| (id(entry), entry)).collect();
    assert_eq!(by_id.len(), listed.len());
    let mut heard = BTreeSet::new();
    for answer in answers {
        if let Some(transaction) = answer.transaction() {
            assert_eq!(by_id.get(id(transaction)), Some(&transaction));
            heard.insert(id(transaction));
        }
        for balance in ["remaining_credits", "new_balance"] {
            if answer.body["replayed"] != true
                && let Some(said) = answer.body.get(balance)
            {
                let after = &answer.transaction().unwrap()["credits_after"];
                assert_eq!(said, after, "{}", answer.body);
            }
        }
    }
    let silent: Vec<&Value> = listed.iter().filter(|entry| !heard.contains(id(entry))).collect();
    assert_eq!(silent.len(), 1, "the initial grant: {silent:?}");
    assert_eq!(silent[0], &listed[0]);
}

/// What was answered before something else was asked comes before it.
fn check_order(listed: &[Value], answers: &[&Answer]) {
    let mut spans: HashMap<&str, (Instant, Instant)> = HashMap::new();
    for answer in answers {
        if let Some(transaction) = answer.transaction() {
            let (sent, received) = spans.entry(id(transaction)).or_insert((answer.sent, answer.received));
            *sent = (*sent).min(answer.sent);
            *received = (*received).min(answer.received);
        }
    }
    let mut latest_sent = None;
    for entry in listed {
        let Some((sent, received)) = spans.get(id(entry)) else { continue };
        assert!(latest_sent.is_none_or(|latest| latest <= received), "{entry}");
        latest_sent = latest_sent.max(Some(sent));
    }
}

/// One answer a key, however often and wherever it was asked.
fn check_keys(answers: &[&Answer]) {
    let mut of_key: HashMap<&str, Vec<&Answer>> = HashMap::new();
    for answer in answers {
        if let Some(key) = &answer.key {
            of_key.entry(key).or_default().push(answer);
        }
    }
    for (key, answers) in of_key {
        let first = answers[0].comparable();
        assert!(answers.iter().all(|answer| answer.comparable() == first), "{key}: {first}");
        let new = answers.iter().filter(|answer| !answer.is_replayed).count();
        assert_eq!(new, 1, "{key}");
    }
}

/// A hold is resolved once, a reference books once, and no charge is given back twice.
fn check_once(listed: &[Value], answers: &[&Answer]) {
    let mut resolved = BTreeSet::new();
    for answer in answers.iter().filter(|answer| answer.status == 200) {
        if answer.path.starts_with("holds/") {
            let hold = answer.path.split('/').nth(1).unwrap();
            assert!(resolved.insert(hold), "{hold} was resolved twice");
        }
    }
    let references: Vec<&str> = listed.iter().filter_map(|entry| entry["reference_id"].as_str()).collect();
    let distinct: BTreeSet<&str> = references.iter().copied().collect();
    assert_eq!(distinct.len(), references.len(), "{references:?}");
    let mut left: HashMap<&str, i64> = HashMap::new();
    for entry in listed {
        match entry["transaction_type"].text() {
            "consume" => drop(left.insert(id(entry), micro(&entry["amount"]))),
            "refund" => {
                let charge = entry["metadata"]["refund_of"].text();
                let rest = left.get_mut(charge).unwrap();
                *rest -= micro(&entry["amount"]);
                assert!(*rest >= 0, "{charge} was given back beyond its amount");
            }
            _ => {}
        }
    }
}

/// Nobody was refused what could be paid.
fn check_refusals(answers: &[&Answer]) {
    for answer in answers {
        if answer.code() == "InsufficientCreditsException" {
            let details = &answer.body["error_details"];
            let [available, required, balance, held] =
                ["available", "required", "balance", "held"].map(|name| micro(&details[name]));
            assert!(required > available && available == balance - held, "{details}");
        }
    }
}

/// Both processes show what the history says.
async fn check_balance(gateways: &[Gateway], user: usize, listed: &[Value]) {
    let user = name(user);
    let newest = &listed.last().unwrap()["credits_after"];
    for gateway in gateways {
        let account = gateway.get(&format!("{user}/credits/account")).data().await;
        assert_eq!(account["balance"], *newest);
        let open = gateway.get(&format!("{user}/credits/holds?status=open&limit=500"));
        let held: i64 = open.rows().await.iter().map(|hold| micro(&hold["amount"])).sum();
        assert_eq!(micro(&account["held"]), held);
    }
}
