//! What is asked, again and again.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use kernel::{Ids as _, SeededIds};
use tokio::task::JoinSet;

use crate::{
    Options,
    client::{Connection, NUMBER, Request, request},
    cpu::Cpu,
    service::{KEY, Service, User},
};

/// One kind of request.
pub struct Scenario {
    pub name: &'static str,
    pub spread: Spread,
    pub connections: Option<usize>,
    /// Items of one request, for example records; these are counted.
    pub items: usize,
    pub request: fn(&User) -> Request,
}

/// User of the requests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// Those of all accounts.
    All,
    /// Those of as many accounts: where requests are too large to be kept for all of them.
    First(usize),
    /// Those of this one.
    Account(usize),
}

/// The account that has a million entries (`--history`).
pub const MILLION_ENTRIES: usize = 1;
/// The account that has a thousand live grants (`--history`).
pub const THOUSAND_GRANTS: usize = 2;

impl Scenario {
    /// Returns true if these options ask for it.
    pub fn is_wanted(&self, options: &Options) -> bool {
        let needs_history = self.spread == Spread::Account(MILLION_ENTRIES)
            || self.spread == Spread::Account(THOUSAND_GRANTS);
        let only = options.only.split('|');
        let is_named = |only: &str| match only.strip_prefix('=') {
            Some(exact) => self.name == exact,
            None => self.name.contains(only),
        };
        (options.history || !needs_history) && only.into_iter().any(is_named)
    }
}

/// Measurements of a turn.
#[derive(Default)]
pub struct Measured {
    /// Requests, times what each carries.
    pub items: usize,
    pub elapsed: Duration,
    /// Sorted.
    pub latencies: Vec<Duration>,
    pub cpu: Cpu,
}

/// In the order of the report.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "GET /health",
        spread: Spread::All,
        connections: None,
        items: 1,
        request: |user| request("GET", "/health", &user.token, ""),
    },
    Scenario {
        name: "balance",
        spread: Spread::All,
        connections: None,
        items: 1,
        request: |user| request("GET", &format!("{}/credits/balance", user.path), &user.token, ""),
    },
    Scenario { name: "consume", spread: Spread::All, connections: None, items: 1, request: consume },
    Scenario {
        name: "consume, one hot account",
        spread: Spread::Account(0),
        connections: None,
        items: 1,
        request: consume,
    },
    Scenario {
        name: "consume, one account with 1,000,000 entries",
        spread: Spread::Account(MILLION_ENTRIES),
        connections: None,
        items: 1,
        request: consume,
    },
    Scenario {
        name: "consume, one account with 1,000 live grants",
        spread: Spread::Account(THOUSAND_GRANTS),
        connections: None,
        items: 1,
        request: consume,
    },
    Scenario {
        name: "consume, lone request",
        spread: Spread::Account(0),
        connections: Some(1),
        items: 1,
        request: consume,
    },
    Scenario {
        name: "consume, lone request, 1,000,000 entries",
        spread: Spread::Account(MILLION_ENTRIES),
        connections: Some(1),
        items: 1,
        request: consume,
    },
    Scenario {
        name: "consume, lone request, 1,000 live grants",
        spread: Spread::Account(THOUSAND_GRANTS),
        connections: Some(1),
        items: 1,
        request: consume,
    },
    Scenario {
        name: "add message",
        spread: Spread::All,
        connections: None,
        items: 1,
        request: |user| {
            let body = r#"{"role":"user","content":"Hello, how can AI help with coding?","tokens_used":10}"#;
            request("POST", &format!("/api/v1/sessions/{}/messages", user.session), &user.token, body)
        },
    },
    Scenario {
        name: "record usage",
        spread: Spread::All,
        connections: None,
        items: 1,
        request: |user| {
            let body = r#"{"endpoint":"/api/chat","event_type":"ai_chat","credits_charged":5.5,"cost_usd":0.011,"prompt_tokens":800,"completion_tokens":450,"model_name":"gpt-4","provider":"openai"}"#;
            request("POST", &format!("{}/usage", user.path), &user.token, body)
        },
    },
    Scenario {
        name: "metered charge",
        spread: Spread::All,
        connections: None,
        items: 1,
        request: |user| {
            let body = format!(
                r#"{{"endpoint":"/api/chat","event_type":"ai_chat","charge":true,"event_id":"call-{NUMBER}","prompt_tokens":800,"completion_tokens":450,"model_name":"gpt-4","provider":"openai"}}"#
            );
            request("POST", &format!("{}/usage", user.path), &user.token, &body)
        },
    },
    Scenario {
        name: "usage batches of 500 (records)",
        spread: Spread::First(16),
        connections: Some(4),
        items: BATCH,
        request: |user| batch(user, ""),
    },
    Scenario {
        name: "usage batches of 500 with event ids (records)",
        spread: Spread::First(16),
        connections: Some(4),
        items: BATCH,
        request: |user| batch(user, &format!(r#","event_id":"call-{NUMBER}""#)),
    },
];

/// Records of one batch.
const BATCH: usize = 500;

/// Events of 500 users, of whom `first` is the first, none of them charged.
fn batch(first: &User, more: &str) -> Request {
    let items: Vec<String> = (0..BATCH)
        .map(|place| {
            let user = (first.number + place) % first.of;
            let model = ["gpt-4", "gpt-4o", "gpt-5", "gpt-5-mini"][place % 4];
            format!(
                r#"{{"user_id":"load|{user}","endpoint":"/api/chat","event_type":"ai_chat","credits_charged":5.5,"cost_usd":0.011,"prompt_tokens":800,"completion_tokens":450,"model_name":"{model}","provider":"openai"{more}}}"#
            )
        })
        .collect();
    let body = format!(r#"{{"records":[{}]}}"#, items.join(","));
    request("POST", "/api/v1/usage/batch", KEY, &body)
}

fn consume(user: &User) -> Request {
    request(
        "POST",
        &format!("{}/credits/consume", user.path),
        &user.token,
        r#"{"amount":0.01,"reason":"load"}"#,
    )
}

/// Answer to one request: a route may be missing.
pub async fn status(service: &Service, scenario: &Scenario) -> u16 {
    let user = match scenario.spread {
        Spread::Account(number) => &service.users[number],
        Spread::All | Spread::First(_) => &service.users[0],
    };
    let (request, mut buffer) = ((scenario.request)(user), Vec::new());
    let mut connection = Connection::open(service.address).await;
    connection.send(request.fresh(&mut buffer)).await.0
}

/// Sends requests for `turn` and measures each.
pub async fn run(service: &Service, scenario: &Scenario, options: &Options, turn: Duration) -> Measured {
    let users = match scenario.spread {
        Spread::All => service.users.as_slice(),
        Spread::First(count) => &service.users[..count.min(service.users.len())],
        Spread::Account(number) => &service.users[number..=number],
    };
    let requests: Arc<Vec<Request>> = Arc::new(users.iter().map(scenario.request).collect());
    let connections = scenario.connections.unwrap_or(options.connections);
    let cpu = service.cpu();
    let (began, until) = (Instant::now(), Instant::now() + turn);
    let mut senders = JoinSet::new();
    for number in 0..connections {
        senders.spawn(send(service.address, Arc::clone(&requests), number, until));
    }
    let mut latencies: Vec<Duration> = senders.join_all().await.concat();
    let (elapsed, cpu) = (began.elapsed(), service.cpu() - cpu);
    latencies.sort_unstable();
    Measured { items: latencies.len() * scenario.items, elapsed, latencies, cpu }
}

async fn send(
    address: std::net::SocketAddr,
    requests: Arc<Vec<Request>>,
    number: usize,
    until: Instant,
) -> Vec<Duration> {
    let mut connection = Connection::open(address).await;
    let mut latencies = Vec::with_capacity(100_000);
    // Each sender picks at random, as pgbench does for the floor. Were all to go the same way round, they would meet at the
    // same accounts again and again.
    let random = SeededIds::new(number as u64);
    let mut buffer = Vec::new();
    while Instant::now() < until {
        let place = (random.uuid().as_u128() % requests.len() as u128) as usize;
        let request = requests[place].fresh(&mut buffer);
        let began = Instant::now();
        let (status, body) = connection.send(request).await;
        latencies.push(began.elapsed());
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(body));
    }
    latencies
}

impl Measured {
    pub fn per_second(&self) -> f64 {
        self.items as f64 / self.elapsed.as_secs_f64()
    }

    /// A quantile of the latencies in milliseconds.
    pub fn quantile_ms(&self, quantile: f64) -> f64 {
        let place = (self.latencies.len() as f64 * quantile) as usize;
        let latency = self.latencies.get(place.min(self.latencies.len().saturating_sub(1)));
        latency.copied().unwrap_or_default().as_secs_f64() * 1_000.0
    }
}
