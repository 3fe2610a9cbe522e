//! Requests per second and latencies of the real binary, next to what the database alone can do on the same server.
//!
//! `cargo bench -p gateway --bench load -- [--rounds N] [--seconds S] [--connections C] [--accounts A]`
//!
//! One private PostgreSQL server with durability on, one gateway process, one load generator, all on this machine.
//! Floor and service take turns, so that a slow moment of the machine meets both. Quote ratios, not rates.

#![expect(
    clippy::unwrap_used,
    clippy::as_conversions,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a measurement that cannot go on panics, and its result is what it prints"
)]

mod client;
mod cpu;
mod floor;
mod logins;
mod message_reads;
mod message_search;
mod message_texts;
mod report;
mod scenario;
mod service;
mod streams;
mod uploads;
mod usage_history;
mod usage_reads;

use std::time::Duration;

use clap::Parser;

use self::{floor::Floor, report::Report, scenario::SCENARIOS, service::Service};

/// Tool of the measurement.
#[derive(Debug, Clone, Parser)]
pub struct Options {
    /// Number of turns of floor and service.
    #[arg(long, default_value_t = 3)]
    pub rounds: u32,
    /// Time that each turn is measured, in seconds.
    #[arg(long, default_value_t = 5)]
    pub seconds: u64,
    /// Connections that send one request after the other.
    #[arg(long, default_value_t = 64)]
    pub connections: usize,
    /// Accounts the requests are spread over.
    #[arg(long, default_value_t = 1_000)]
    pub accounts: usize,
    /// Only scenarios whose name contains one of these, separated by `|`, or is what follows a leading `=`.
    #[arg(long, default_value = "")]
    pub only: String,
    /// Give one account a million entries and another a thousand live grants, and measure them too.
    #[arg(long)]
    pub history: bool,
    /// With so many records of usage: how long reads take, and to drop a month. Several numbers are measured one after the other.
    #[arg(long, value_delimiter = ',')]
    pub usage_records: Vec<u64>,
    /// Instead of all else: storms of logins, and so many logins and forgotten passwords for each of four addresses.
    #[arg(long)]
    pub logins: Option<usize>,
    /// Instead of all else: searches of so many messages of one user, among as many of others.
    #[arg(long)]
    pub search_messages: Option<usize>,
    /// Instead of all else: reading the last messages of a session with so many.
    #[arg(long)]
    pub session_messages: Option<usize>,
    /// Instead of all else: so many replies of a model at a time, for `--seconds`.
    #[arg(long)]
    pub streams: Option<usize>,
    /// Be the model of such replies, with so many tokens each.
    #[arg(long, hide = true)]
    pub serve_model: Option<usize>,
    /// Instead of all else: so many uploads at once, next to `dd`.
    #[arg(long)]
    pub uploads: Option<usize>,
    /// Show what each statement cost the server; the contrib module pg_stat_statements must be installed.
    #[arg(long)]
    pub statements: bool,
    /// Given by cargo; without meaning here.
    #[arg(long, hide = true)]
    pub bench: bool,
}

fn main() {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        if let Some(tokens) = options.serve_model {
            return streams::serve_model(tokens).await;
        }
        if let Some(streams) = options.streams {
            return streams::run(&options, streams).await;
        }
        if let Some(pairs) = options.logins {
            return logins::run(&options, pairs).await;
        }
        if let Some(messages) = options.search_messages {
            return message_search::run(&options, messages).await;
        }
        if let Some(messages) = options.session_messages {
            return message_reads::run(&options, messages).await;
        }
        if let Some(uploads) = options.uploads {
            return uploads::run(&options, uploads).await;
        }
        run(&options).await;
        for records in &options.usage_records {
            usage_reads::run(&options, *records).await;
        }
    });
}

async fn run(options: &Options) {
    let mut service = Service::start(options).await;
    let mut report = Report::new(options);
    report.memory("idle", service.resident_kib());
    if options.history {
        service.age_accounts().await;
    }
    let floor = Floor::prepare(&service, options);
    let turn = Duration::from_secs(options.seconds);
    let mut wanted = Vec::new();
    for scenario in SCENARIOS.iter().filter(|scenario| scenario.is_wanted(options)) {
        match scenario::status(&service, scenario).await {
            200 => wanted.push(scenario),
            status => eprintln!("{} is answered with {status}: not measured", scenario.name),
        }
    }
    for round in 1..=options.rounds {
        report.floor(floor.run(&service, turn));
        for scenario in &wanted {
            eprintln!("round {round}: {}", scenario.name);
            let measured = scenario::run(&service, scenario, options, turn).await;
            report.scenario(scenario.name, measured);
        }
        service.settle();
    }
    report.memory("after the load", service.resident_kib());
    report.print();
    if options.statements {
        service.print_statements();
    }
    service.stop();
}
