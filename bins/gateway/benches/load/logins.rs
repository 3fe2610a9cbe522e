//! Logins: a storm of them next to `/livez`, and the times of answers about addresses with and without an account.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    num::NonZero,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::available_parallelism,
    time::{Duration, Instant},
};

use identity::{Password, PasswordPool};
use kernel::{Ids as _, RandomIds, SeededIds};
use serde_json::json;
use testkit::MailServer;
use tokio::{sync::Barrier, task::JoinSet, time::sleep_until};

use crate::{
    Options,
    client::{Connection, Request, request},
    scenario::Measured,
    service::Service,
};

const PASSWORD: &str = "correct horse battery staple";
/// Logins of a storm, each of another account.
const STORM: usize = 200;
/// Interval of probes of `/livez`.
const PROBE_EVERY: Duration = Duration::from_millis(5);
/// Probes before the first storm.
const QUIET: Duration = Duration::from_secs(2);

/// Addresses by what is known of them. The last is compared with the second and shows how exact the measurement is.
const ADDRESSES: [(&str, &str); 4] = [
    ("with a password", "load0@example.com"),
    ("unknown", "nobody@example.com"),
    ("without a password", "load900@example.com"),
    ("unknown, again", "no-one@example.com"),
];
/// The address that others are compared with.
const COMPARED: usize = 1;

/// Measures storms and times with a service of its own.
pub async fn run(options: &Options, pairs: usize) {
    let mails = MailServer::start().await;
    let url = mails.url();
    // One client has an eighth of the queue: each login comes from another one.
    let variables =
        [("SMTP_URL", url.as_str()), ("MAIL_FROM", "accounts@example.com"), ("TRUSTED_PROXIES", "127.0.0.1")];
    let service = Service::start_with(options, &variables).await;
    set_passwords(&service).await;
    storms(&service, options.rounds).await;
    println!("\n| {pairs} times each, in random order | median ms | p90 ms | / unknown |");
    println!("|---|---|---|---|");
    let login = |email: &str| json!({"email": email, "password": "another password"});
    times(&service, "/api/auth/email-login", 401, pairs, login).await;
    times(&service, "/api/auth/forgot-password", 202, pairs, |email| json!({"email": email})).await;
    service.stop();
}

/// Gives most users a password, without a request: the service has not hashed any when the first storm begins.
async fn set_passwords(service: &Service) {
    let pool = PasswordPool::new(NonZero::<usize>::MIN, Arc::new(RandomIds));
    let hash = pool.hash("load", Password::presented(&PASSWORD.into())).await.unwrap();
    service.sql(&format!(
        "INSERT INTO identity.credentials SELECT user_id, email_folded, '{hash}', created_at, created_at \
         FROM identity.users WHERE user_id <> 'load|900'"
    ));
}

/// Storms of logins, with the memory of the process and the times of `/livez` meanwhile.
async fn storms(service: &Service, rounds: u32) {
    let slots = available_parallelism().map_or(1, |cores| (cores.get() / 2).clamp(1, 4));
    let going_on = Arc::new(AtomicBool::new(true));
    let quiet = probe(service.address, Arc::clone(&going_on));
    tokio::time::sleep(QUIET).await;
    going_on.store(false, Ordering::Release);
    println!(
        "\n{STORM} logins at once, {slots} slots of 20 MiB; no logins: {}\n",
        of_livez(quiet.await.unwrap())
    );
    println!("| logins | answers | seconds | resident before MiB | highest MiB | growth MiB | /livez |");
    println!("|---|---|---|---|---|---|---|");
    for round in 0..=rounds {
        // First requests that hash nothing: what connections, to clients and to the database, take.
        let (name, requests) = match round {
            0 => ("forgotten passwords".to_owned(), of_strangers()),
            round => (format!("storm {round}"), of_accounts()),
        };
        let before = service.resident_kib();
        service.forget_highest_resident();
        let going_on = Arc::new(AtomicBool::new(true));
        let probing = probe(service.address, Arc::clone(&going_on));
        let began = Instant::now();
        let answers = storm(service, requests).await;
        let took = began.elapsed();
        going_on.store(false, Ordering::Release);
        let livez = of_livez(probing.await.unwrap());
        let highest = service.highest_resident_kib();
        let [before_mib, highest_mib, growth_mib] =
            [before, highest, highest.saturating_sub(before)].map(|kib| kib as f64 / 1_024.0);
        println!(
            "| {name} | {answers} | {:.1} | {before_mib:.1} | {highest_mib:.1} | {growth_mib:.1} | {livez} |",
            took.as_secs_f64(),
        );
    }
}

/// Logins of accounts, each of another one.
fn of_accounts() -> Vec<Request> {
    let body = |number| json!({"email": format!("load{number}@example.com"), "password": PASSWORD});
    let login =
        |number| post("/api/auth/email-login", &body(number)).forwarded(&format!("198.51.100.{number}"));
    (0..STORM).map(login).collect()
}

/// Forgotten passwords of addresses without an account.
fn of_strangers() -> Vec<Request> {
    let body = |number| json!({"email": format!("nobody{number}@example.com")});
    (0..STORM).map(|number| post("/api/auth/forgot-password", &body(number))).collect()
}

/// Number of answers by status, of requests that begin together on open connections.
async fn storm(service: &Service, requests: Vec<Request>) -> String {
    let barrier = Arc::new(Barrier::new(requests.len()));
    let mut answers = JoinSet::new();
    for request in requests {
        let (address, barrier) = (service.address, Arc::clone(&barrier));
        answers.spawn(async move {
            let mut connection = Connection::open(address).await;
            barrier.wait().await;
            let status = connection.send(request.bytes()).await.0;
            let retry_after = if connection.has_header("retry-after") { " with Retry-After" } else { "" };
            format!("{status}{retry_after}")
        });
    }
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for answer in answers.join_all().await {
        *counts.entry(answer).or_default() += 1;
    }
    counts.iter().map(|(answer, count)| format!("{count} x {answer}")).collect::<Vec<_>>().join(", ")
}

/// Asks `/livez` on new connections, on a thread of its own. A time counts from the instant that was planned.
fn probe(address: SocketAddr, going_on: Arc<AtomicBool>) -> tokio::task::JoinHandle<Vec<Duration>> {
    tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (mut due, mut probes) = (Instant::now(), JoinSet::new());
            while going_on.load(Ordering::Acquire) {
                sleep_until(due.into()).await;
                probes.spawn(async move {
                    let livez = request("GET", "/livez", "", "");
                    let status = Connection::open(address).await.send(livez.bytes()).await.0;
                    assert_eq!(status, 200);
                    due.elapsed()
                });
                due += PROBE_EVERY;
            }
            probes.join_all().await
        })
    })
}

fn of_livez(latencies: Vec<Duration>) -> String {
    let measured = measured(latencies);
    let [p50, p99, slowest] = [0.5, 0.99, 1.0].map(|quantile| measured.quantile_ms(quantile));
    format!("{} x, p50 {p50:.1} ms, p99 {p99:.1} ms, slowest {slowest:.1} ms", measured.items)
}

/// Asks one after the other about each address, in another order each time.
async fn times(
    service: &Service,
    path: &str,
    expected: u16,
    pairs: usize,
    body: impl Fn(&str) -> serde_json::Value,
) {
    let requests = ADDRESSES.map(|(_, email)| post(path, &body(email)));
    let mut connection = Connection::open(service.address).await;
    let random = SeededIds::new(1);
    let mut latencies: [Vec<Duration>; ADDRESSES.len()] = Default::default();
    for _ in 0..pairs {
        let mut order: Vec<usize> = (0..ADDRESSES.len()).collect();
        order.sort_by_cached_key(|_| random.uuid());
        for place in order {
            let began = Instant::now();
            let (status, body) = connection.send(requests[place].bytes()).await;
            latencies[place].push(began.elapsed());
            assert_eq!(status, expected, "{}", String::from_utf8_lossy(body));
        }
    }
    let latencies = latencies.map(measured);
    let compared = latencies[COMPARED].quantile_ms(0.5);
    for ((name, _), measured) in ADDRESSES.iter().zip(&latencies) {
        let [median, p90] = [0.5, 0.9].map(|quantile| measured.quantile_ms(quantile));
        println!("| {path}, {name} | {median:.3} | {p90:.3} | {:.3} |", median / compared);
    }
}

fn post(path: &str, body: &serde_json::Value) -> Request {
    request("POST", path, "", &body.to_string())
}

fn measured(mut latencies: Vec<Duration>) -> Measured {
    latencies.sort_unstable();
    Measured { items: latencies.len(), latencies, ..Measured::default() }
}
