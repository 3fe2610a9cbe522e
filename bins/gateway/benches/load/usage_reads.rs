//! What it costs to ask for usage, and to drop a month of it, with so many records stored.

use std::time::{Duration, Instant};

use kernel::{Clock as _, SystemClock, rfc3339};

use crate::{
    Options,
    client::{Request, request},
    scenario::{self, Measured, Scenario, Spread},
    service::{KEY, Service, User},
    usage_history,
};

/// What is asked, by one connection at a time: this is about how long an answer takes, not about how many there are.
const READS: &[Scenario] = &[
    of_user("newest page of a user", Spread::All, |user| {
        request("GET", &format!("{}/usage?limit=50", user.path), &user.token, "")
    }),
    of_user("30-day stats of a user", Spread::All, stats),
    of_user("daily series of a user, 30 days", Spread::All, series),
    of_user("30-day stats of the user with most records", Spread::Account(0), stats),
    of_user("daily series of the user with most records", Spread::Account(0), series),
    across("30-day series by model, all users", |_| all("UTC", SUMS)),
    across("the same in Asia/Shanghai", |_| all("Asia/Shanghai", SUMS)),
    across("the same in Asia/Kolkata", |_| all("Asia/Kolkata", SUMS)),
    across("the same in UTC, with active users", |_| all("UTC", "records,active_users")),
    across("summary of 30 days", |_| request("GET", "/api/v1/usage/summary", KEY, "")),
];

const fn of_user(name: &'static str, spread: Spread, request: fn(&User) -> Request) -> Scenario {
    Scenario { name, spread, connections: Some(1), items: 1, request }
}

const fn across(name: &'static str, request: fn(&User) -> Request) -> Scenario {
    of_user(name, Spread::Account(0), request)
}

fn stats(user: &User) -> Request {
    let start = rfc3339(SystemClock.now() - time::Duration::days(30));
    let path = format!("{}/usage/stats?start_date={start}", user.path);
    request("GET", &path, &user.token, "")
}

fn series(user: &User) -> Request {
    let path = format!("{}/usage/timeseries?bucket=1d", user.path);
    request("GET", &path, &user.token, "")
}

/// Everything but active users, who are counted from the sums of each user.
const SUMS: &str = "records,credits_charged,cost_usd,tokens_used,prompt_tokens,completion_tokens";

fn all(zone: &str, metrics: &str) -> Request {
    let path = format!("/api/v1/usage/timeseries?bucket=1d&group_by=model&tz={zone}&metrics={metrics}");
    request("GET", &path, KEY, "")
}

/// Fills a service of its own with `records` records, asks, drops a month, and prints what it took.
pub async fn run(options: &Options, records: u64) {
    let mut service = Service::start(options).await;
    usage_history::fill(&mut service, records).await;
    if records <= CHECKED_MAX {
        usage_history::check(&service).await;
    }
    println!("\n{records} records of {} users\n", options.accounts);
    println!("| | answers | p50 ms | p95 ms | p99 ms | slowest ms |");
    println!("|---|---|---|---|---|---|");
    for read in READS {
        eprintln!("{}", read.name);
        let status = scenario::status(&service, read).await;
        if status != 200 {
            println!("| {} | answered with {status}, not measured | | | | |", read.name);
            continue;
        }
        // Once to read into memory what is asked again and again.
        scenario::run(&service, read, options, Duration::from_secs(1)).await;
        let turn = Duration::from_secs(options.seconds * u64::from(options.rounds));
        print(read.name, &scenario::run(&service, read, options, turn).await);
    }
    drop_months(&mut service, options).await;
    service.stop();
}

/// Most records that are audited whole: each audit reads all of them.
const CHECKED_MAX: u64 = 1_000_000;

fn print(name: &str, measured: &Measured) {
    let [p50, p95, p99, slowest] = [0.5, 0.95, 0.99, 1.0].map(|quantile| measured.quantile_ms(quantile));
    println!("| {name} | {} | {p50:.1} | {p95:.1} | {p99:.1} | {slowest:.1} |", measured.items);
}

/// Drops the oldest months, one at a time, while somebody reads.
async fn drop_months(service: &mut Service, options: &Options) {
    println!("\n| dropped | event ids forgotten | took s | slowest page meanwhile ms |");
    println!("|---|---|---|---|");
    let pool = usage_history::pool(service);
    // The oldest month is part of a month; the second is forgotten by its ids before, which is what takes long.
    for (kept, forget) in [(5, "true"), (4, "true"), (3, "false"), (2, "false")] {
        if forget == "false" {
            service.sql(&format!(
                "DELETE FROM usage.dedupe WHERE occurred_at < date_trunc('month', now()) - interval '{kept} months'"
            ));
        }
        service.settle();
        let page = &READS[0];
        let reading = scenario::run(service, page, options, Duration::from_secs(2));
        let dropping = async {
            let began = Instant::now();
            let done = usage::retain(&pool, &SystemClock, kept).await.unwrap();
            (done, began.elapsed())
        };
        let (pages, (done, took)) = tokio::join!(reading, dropping);
        println!(
            "| {} | {} | {:.3} | {:.1} |",
            done.dropped.join(", "),
            done.forgotten,
            took.as_secs_f64(),
            pages.quantile_ms(1.0),
        );
    }
}
