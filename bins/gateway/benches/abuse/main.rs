//! The attacks of one machine on a gateway, all at once and next to ordinary load: `just abuse`. It stays on the loopback interface,
//! takes as long as `--seconds` says, and ends by itself.
//!
//! Checked are the promises to everybody else: `/livez` answers within 50 ms (99 of 100) and never takes a second, the process keeps
//! below 300 MB, ordinary requests are answered, and the books are right afterwards. The exit code is 1 if one of them is broken.
//!
//! The attackers are a process of their own at a lower priority, and `/livez` is asked by a thread that does nothing else: attackers
//! and clients share the processors with the service here, which they do not elsewhere, and what is looked for is the delay that
//! the service makes. Before the attack on the service, the same attackers attack a server in their own process: the times of
//! `/livez` meanwhile are what the machine makes of it, and no service could be better.
//!
//! Each look at `/livez` opens a connection of its own, so that all workers are asked, and begins at an instant that was fixed
//! before. Its time counts from that instant: an answer that comes late does not keep the next looks from being due.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement that cannot go on panics, and its result is what it prints"
)]

mod attackers;
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

use self::{
    attackers::{Attackers, Victim},
    service::{Client, Service},
};

/// The slowest that 99 of 100 answers of `/livez` may be.
const LIVEZ_P99_MAX: Duration = Duration::from_millis(50);
/// The slowest that any answer of `/livez` may be.
const LIVEZ_SLOWEST_MAX: Duration = Duration::from_secs(1);
/// Timeout of `/livez`. A failure counts as this slow.
const LIVEZ_PATIENCE: Duration = Duration::from_secs(30);
/// Most memory of the gateway, in KiB.
const RESIDENT_KIB_MAX: u64 = 300 * 1024;
/// Interval between probes of `/livez` and of the memory.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Duration of the probes before any attack.
const QUIET: Duration = Duration::from_secs(2);
/// Longest duration of an attack, counted by the attackers.
const CONTROL_MAX: Duration = Duration::from_secs(10);

/// Options of the attack.
#[derive(Debug, Clone, Parser)]
struct Options {
    /// Duration of the attacks, in seconds.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Only attacks whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// This is the process of the attackers.
    #[arg(long, hide = true)]
    attack: bool,
    /// They attack a server of their own.
    #[arg(long, hide = true, requires = "attack")]
    themselves: bool,
    /// Given by cargo; without meaning here.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Measurements of the service during the attacks.
#[derive(Debug, Default)]
struct Seen {
    latencies: Vec<Duration>,
    resident_kib_max: u64,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if options.attack {
        let victim = match options.themselves {
            true => Victim::Themselves,
            false => Victim::Service,
        };
        runtime.block_on(attackers::attack(&options.only, victim));
        return ExitCode::SUCCESS;
    }
    runtime.block_on(run(&options))
}

async fn run(options: &Options) -> ExitCode {
    let service = Arc::new(Service::start().await);
    let quiet = watch(&service, QUIET).await;
    println!("quiet: {}", told(&quiet));
    let others = attacked(&service, options, Victim::Themselves).await;
    println!("attackers busy with themselves: {}", told(&others.seen));
    let attacked = attacked(&service, options, Victim::Service).await;
    print!("{}", attacked.summary);
    println!("attacked: {}", told(&attacked.seen));
    let (answered, failed) = (attacked.answered, attacked.failed);
    println!("ordinary load: {answered} requests answered, {failed} failed");
    let (audit, output) = service.verify();
    println!("ledger verify: {}", if audit { "clean" } else { &output });
    let held = [
        ("p99 of /livez", p99(&attacked.seen) < LIVEZ_P99_MAX),
        ("slowest /livez", slowest(&attacked.seen) < LIVEZ_SLOWEST_MAX),
        ("memory", attacked.seen.resident_kib_max < RESIDENT_KIB_MAX),
        ("ordinary load", answered > 0 && failed == 0),
        ("ledger verify", audit),
    ];
    service.stop();
    let broken: Vec<&str> = held.iter().filter(|(_, held)| !held).map(|(name, _)| *name).collect();
    if broken.is_empty() {
        println!("every promise was kept");
        return ExitCode::SUCCESS;
    }
    println!("broken: {}", broken.join(", "));
    ExitCode::FAILURE
}

/// Measurements during an attack, and what became of it.
struct Attacked {
    seen: Seen,
    summary: String,
    answered: u64,
    failed: u64,
}

/// Attacks next to ordinary load.
async fn attacked(service: &Arc<Service>, options: &Options, victim: Victim) -> Attacked {
    let attackers = Attackers::start(&service.target, &options.only, victim);
    let going_on = Arc::new(AtomicBool::new(true));
    let ordinary = tokio::spawn(ordinary(Arc::clone(service), Arc::clone(&going_on)));
    let time = match victim {
        Victim::Service => Duration::from_secs(options.seconds),
        Victim::Themselves => Duration::from_secs(options.seconds).min(CONTROL_MAX),
    };
    let seen = watch(service, time).await;
    going_on.store(false, Ordering::Release);
    let (answered, failed) = ordinary.await.unwrap();
    let summary = tokio::task::spawn_blocking(|| attackers.stop()).await.unwrap();
    Attacked { seen, summary, answered, failed }
}

/// Asks `/livez` on a thread of its own.
async fn watch(service: &Arc<Service>, time: Duration) -> Seen {
    let service = Arc::clone(service);
    let watching = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(look_on(&service, time))
    };
    tokio::task::spawn_blocking(watching).await.unwrap()
}

/// Asks `/livez` at fixed instants, and looks at the memory.
async fn look_on(service: &Service, time: Duration) -> Seen {
    let mut seen = Seen::default();
    let began = Instant::now();
    let mut looks = tokio::task::JoinSet::new();
    let mut due = began;
    while due.duration_since(began) < time {
        tokio::time::sleep_until(due.into()).await;
        looks.spawn(look(service.address, due));
        seen.resident_kib_max = seen.resident_kib_max.max(service.resident_kib());
        due += LOOK_EVERY;
    }
    seen.latencies = looks.join_all().await;
    seen.latencies.sort_unstable();
    seen
}

/// Time from the due instant to the answer of `/livez` on a new connection.
async fn look(address: std::net::SocketAddr, due: Instant) -> Duration {
    let asking = async {
        let mut client = Client::open(address).await?;
        client.send(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await
    };
    match tokio::time::timeout(LIVEZ_PATIENCE, asking).await {
        Ok(Ok(200)) => due.elapsed(),
        _ => LIVEZ_PATIENCE,
    }
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

fn slowest(seen: &Seen) -> Duration {
    seen.latencies.last().copied().unwrap_or_default()
}

fn told(seen: &Seen) -> String {
    let middle = seen.latencies.get(seen.latencies.len() / 2).copied().unwrap_or_default();
    let missed = seen.latencies.iter().filter(|time| **time >= LIVEZ_PATIENCE).count();
    format!(
        "/livez {} times, median {middle:.1?}, p99 {:.1?} (below {LIVEZ_P99_MAX:?}), slowest {:.1?} (below {LIVEZ_SLOWEST_MAX:?}), \
         {missed} without an answer; memory at most {} MB",
        seen.latencies.len(),
        p99(seen),
        slowest(seen),
        seen.resident_kib_max / 1024
    )
}
