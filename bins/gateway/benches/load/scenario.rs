//! What is asked, again and again.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use kernel::{Ids as _, SeededIds};
use tokio::task::JoinSet;

use crate::{
    Options,
    client::{Connection, request},
    cpu::Cpu,
    service::{Service, User},
};

/// One kind of request.
pub struct Scenario {
    pub name: &'static str,
    /// Spread over all accounts, or sent to the first one only.
    spread: Spread,
    connections: Option<usize>,
    request: fn(&User) -> Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Spread {
    /// Over all accounts.
    All,
    /// All to this one.
    Account(usize),
}

/// The account that has a million entries (`--history`).
pub const MILLION_ENTRIES: usize = 1;
/// The account that has a thousand live grants (`--history`).
pub const THOUSAND_GRANTS: usize = 2;

impl Scenario {
    /// Whether these options ask for it.
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

/// What a turn measured.
pub struct Measured {
    pub requests: usize,
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
        request: |user| request("GET", "/health", &user.token, ""),
    },
    Scenario {
        name: "balance",
        spread: Spread::All,
        connections: None,
        request: |user| request("GET", &format!("{}/credits/balance", user.path), &user.token, ""),
    },
    Scenario {
        name: "consume",
        spread: Spread::All,
        connections: None,
        request: consume,
    },
    Scenario {
        name: "consume, one hot account",
        spread: Spread::Account(0),
        connections: None,
        request: consume,
    },
    Scenario {
        name: "consume, one account with 1,000,000 entries",
        spread: Spread::Account(MILLION_ENTRIES),
        connections: None,
        request: consume,
    },
    Scenario {
        name: "consume, one account with 1,000 live grants",
        spread: Spread::Account(THOUSAND_GRANTS),
        connections: None,
        request: consume,
    },
    Scenario {
        name: "consume, lone request",
        spread: Spread::Account(0),
        connections: Some(1),
        request: consume,
    },
    Scenario {
        name: "consume, lone request, 1,000,000 entries",
        spread: Spread::Account(MILLION_ENTRIES),
        connections: Some(1),
        request: consume,
    },
    Scenario {
        name: "consume, lone request, 1,000 live grants",
        spread: Spread::Account(THOUSAND_GRANTS),
        connections: Some(1),
        request: consume,
    },
    Scenario {
        name: "add message",
        spread: Spread::All,
        connections: None,
        request: |user| {
            let body = r#"{"role":"user","content":"Hello, how can AI help with coding?","tokens_used":10}"#;
            request(
                "POST",
                &format!("/api/v1/sessions/{}/messages", user.session),
                &user.token,
                body,
            )
        },
    },
    Scenario {
        name: "record usage",
        spread: Spread::All,
        connections: None,
        request: |user| {
            let body = r#"{"endpoint":"/api/chat","event_type":"ai_chat","credits_charged":5.5,"cost_usd":0.011,"prompt_tokens":800,"completion_tokens":450,"model_name":"gpt-4","provider":"openai"}"#;
            request("POST", &format!("{}/usage", user.path), &user.token, body)
        },
    },
];

fn consume(user: &User) -> Vec<u8> {
    request(
        "POST",
        &format!("{}/credits/consume", user.path),
        &user.token,
        r#"{"amount":0.01,"reason":"load"}"#,
    )
}

/// Sends requests for `turn` and measures each.
pub async fn run(service: &Service, scenario: &Scenario, options: &Options, turn: Duration) -> Measured {
    let users = match scenario.spread {
        Spread::All => service.users.as_slice(),
        Spread::Account(number) => &service.users[number..=number],
    };
    let requests: Arc<Vec<Vec<u8>>> = Arc::new(users.iter().map(scenario.request).collect());
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
    Measured {
        requests: latencies.len(),
        elapsed,
        latencies,
        cpu,
    }
}

async fn send(
    address: std::net::SocketAddr,
    requests: Arc<Vec<Vec<u8>>>,
    number: usize,
    until: Instant,
) -> Vec<Duration> {
    let mut connection = Connection::open(address).await;
    let mut latencies = Vec::with_capacity(100_000);
    // Each sender picks at random, as pgbench does for the floor. Were all to go the same way round, they would meet at the
    // same accounts again and again.
    let random = SeededIds::new(number as u64);
    while Instant::now() < until {
        let request = &requests[(random.uuid().as_u128() % requests.len() as u128) as usize];
        let began = Instant::now();
        let (status, body) = connection.send(request).await;
        latencies.push(began.elapsed());
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(body));
    }
    latencies
}

impl Measured {
    pub fn per_second(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64()
    }

    /// A quantile of the latencies in milliseconds.
    pub fn quantile_ms(&self, quantile: f64) -> f64 {
        let place = (self.latencies.len() as f64 * quantile) as usize;
        let latency = self
            .latencies
            .get(place.min(self.latencies.len().saturating_sub(1)));
        latency.copied().unwrap_or_default().as_secs_f64() * 1_000.0
    }
}
