//! The attacks of one machine on a gateway, all at once and next to ordinary load: `just abuse`. It stays on the loopback interface,
//! takes as long as `--seconds` says, and ends by itself.
//!
//! Checked are the promises to everybody else: `/livez` answers within 50 ms (99 of 100), the process keeps below 300 MB, ordinary
//! requests are answered, and the books are right afterwards. The exit code is 1 if one of them is broken.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a measurement that cannot go on panics, and its result is what it prints"
)]

mod attacks;
mod service;

use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use clap::Parser;

use self::service::{Client, Service};

/// The slowest that 99 of 100 answers of `/livez` may be.
const LIVEZ_P99_MAX: Duration = Duration::from_millis(50);
/// Most memory of the gateway, in KiB.
const RESIDENT_KIB_MAX: u64 = 300 * 1024;
/// How often `/livez` and the memory are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How to attack.
#[derive(Debug, Clone, Parser)]
struct Options {
    /// How long the attacks last, in seconds.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Only attacks whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Given by cargo; without meaning here.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What was seen of the service while it was attacked.
#[derive(Debug, Default)]
struct Seen {
    latencies: Vec<Duration>,
    resident_kib_max: u64,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(run(&options))
}

async fn run(options: &Options) -> ExitCode {
    let service = Arc::new(Service::start().await);
    let quiet = watch(&service, Duration::from_secs(2)).await;
    println!("quiet: {}", told(&quiet));
    let going_on = Arc::new(AtomicBool::new(true));
    let mut tasks = Vec::new();
    for (name, attack) in attacks::all() {
        if name.contains(&options.only) {
            eprintln!("attack: {name}");
            tasks.push((
                name,
                tokio::spawn(attack(Arc::clone(&service), Arc::clone(&going_on))),
            ));
        }
    }
    let ordinary = tokio::spawn(ordinary(Arc::clone(&service), Arc::clone(&going_on)));
    let attacked = watch(&service, Duration::from_secs(options.seconds)).await;
    going_on.store(false, Ordering::Release);
    let (answered, failed) = ordinary.await.unwrap();
    for (name, task) in tasks {
        println!("{name}: {}", task.await.unwrap());
    }
    println!("attacked: {}", told(&attacked));
    println!("ordinary load: {answered} requests answered, {failed} failed");
    let (audit, output) = service.verify();
    println!("ledger verify: {}", if audit { "clean" } else { &output });
    let held = [
        ("p99 of /livez", p99(&attacked) < LIVEZ_P99_MAX),
        ("memory", attacked.resident_kib_max < RESIDENT_KIB_MAX),
        ("ordinary load", answered > 0 && failed == 0),
        ("ledger verify", audit),
    ];
    service.stop();
    let broken: Vec<&str> = held
        .iter()
        .filter(|(_, held)| !held)
        .map(|(name, _)| *name)
        .collect();
    if broken.is_empty() {
        println!("every promise was kept");
        return ExitCode::SUCCESS;
    }
    println!("broken: {}", broken.join(", "));
    ExitCode::FAILURE
}

/// Asks `/livez` again and again, and looks at the memory.
async fn watch(service: &Service, time: Duration) -> Seen {
    let mut seen = Seen::default();
    let mut client = Client::open(service.address).await.unwrap();
    let began = Instant::now();
    while began.elapsed() < time {
        let asked = Instant::now();
        let status = client.send(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await;
        seen.latencies.push(asked.elapsed());
        assert_eq!(status.unwrap(), 200, "/livez must be answered");
        seen.resident_kib_max = seen.resident_kib_max.max(service.resident_kib());
        tokio::time::sleep(LOOK_EVERY).await;
    }
    seen.latencies.sort_unstable();
    seen
}

/// Users that spend, as many as answer one after the other.
async fn ordinary(service: Arc<Service>, going_on: Arc<AtomicBool>) -> (u64, u64) {
    let mut clients = Vec::new();
    for user in &service.users {
        let (user, going_on, address) = (user.clone(), Arc::clone(&going_on), service.address);
        clients.push(tokio::spawn(async move {
            let (mut answered, mut failed) = (0, 0);
            let path = format!("{}/credits/consume", user.path);
            let request = service::request("POST", &path, &user.token, r#"{"amount":0.001}"#);
            let mut client = Client::open(address).await.unwrap();
            while going_on.load(Ordering::Acquire) {
                match client.send(&request).await {
                    Ok(200) => answered += 1,
                    Ok(_) => failed += 1,
                    Err(_) => {
                        failed += 1;
                        client = Client::open(address).await.unwrap();
                    }
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            (answered, failed)
        }));
    }
    let (mut answered, mut failed) = (0, 0);
    for client in clients {
        let (more, less) = client.await.unwrap();
        answered += more;
        failed += less;
    }
    (answered, failed)
}

fn p99(seen: &Seen) -> Duration {
    let place = seen.latencies.len().saturating_mul(99) / 100;
    seen.latencies.get(place).copied().unwrap_or_default()
}

fn told(seen: &Seen) -> String {
    let middle = seen
        .latencies
        .get(seen.latencies.len() / 2)
        .copied()
        .unwrap_or_default();
    let last = seen.latencies.last().copied().unwrap_or_default();
    format!(
        "/livez {} times, median {middle:.1?}, p99 {:.1?}, slowest {last:.1?}; memory at most {} MB",
        seen.latencies.len(),
        p99(seen),
        seen.resident_kib_max / 1024
    )
}
