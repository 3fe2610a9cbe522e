//! Numbers about the process in the Prometheus text format (HTTP contract 13).
//!
//! Code names its metrics without the prefix of this service (`committer_batch_size`): the prefix is put on when the
//! text is rendered, so that recording a number costs no more for it. Domain crates know the `metrics` façade only.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use pg::pool::PoolStatus;
use tokio::task::JoinHandle;

/// Prefix of every name on the wire.
const PREFIX: &str = "user_service_";
/// Interval at which the exporter's memory is cleaned and the gauges of the process are read.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);
/// Upper bounds for everything that is named `*_seconds`.
const SECONDS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Upper bounds for replies of models.
const SECONDS_OF_MODELS: &[f64] =
    &[0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 60.0, 120.0, 300.0, 600.0];
/// Upper bounds for everything that is named `*_size`: how many things were done at once.
const SIZES: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

static INSTALLED: OnceLock<Result<Metrics, Arc<str>>> = OnceLock::new();

/// The metrics of this process. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    handle: PrometheusHandle,
}

impl Metrics {
    /// Begins to record. Repeated, it answers the same: there is one recorder a process.
    ///
    /// # Errors
    /// A sentence, when another recorder was installed in this process before.
    pub fn install() -> Result<Self, Arc<str>> {
        INSTALLED
            .get_or_init(|| {
                let handle = recorder().map_err(|error| Arc::from(error.to_string()))?;
                describe();
                Ok(Self { handle })
            })
            .clone()
    }

    /// Everything recorded so far, in the Prometheus text format 0.0.4.
    #[must_use]
    pub fn render(&self) -> String {
        with_prefix(&self.handle.render())
    }

    /// Keeps gauges and the exporter's memory up to date until the task is aborted. Needs a tokio runtime.
    pub fn spawn_upkeep(&self, pools: Vec<pg::Pool>) -> JoinHandle<()> {
        let handle = self.handle.clone();
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(UPKEEP_EVERY);
            loop {
                ticks.tick().await;
                handle.run_upkeep();
                read_gauges(&pools);
            }
        })
    }
}

fn recorder() -> Result<PrometheusHandle, BuildError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_size".to_owned()), SIZES)?
        .set_buckets_for_metric(Matcher::Full("chat_upstream_seconds".to_owned()), SECONDS_OF_MODELS)?
        .install_recorder()
}

fn describe_traffic() {
    use metrics::{describe_counter, describe_gauge};

    describe_counter!("rate_limited_total", "Requests refused by a rate limit");
    describe_counter!(
        "forwarded_addresses_ignored_total",
        "Requests with X-Forwarded-For from peers that are not in TRUSTED_PROXIES"
    );
    describe_gauge!(
        "rate_limits_shared",
        "1 while rate limits are counted in Redis, 0 while this process counts alone"
    );
    describe_counter!(
        "http_bodies_refused_total",
        "Bodies refused because too many bytes of them were in memory"
    );
    describe_gauge!("http_connections_open", "Connections of clients");
    describe_counter!("http_connections_refused_total", "Connections closed because there was no room");
    describe_counter!("http_connections_evicted_total", "Idle connections closed in favour of new ones");
    describe_counter!("http_client_errors_total", "Connections that ended by a fault of their client");
}

fn describe() {
    use metrics::{describe_counter, describe_gauge, describe_histogram};

    describe_counter!("http_requests_total", "Requests answered");
    describe_histogram!("http_request_duration_seconds", "Time from head to answer");
    describe_gauge!("http_requests_in_flight", "Requests being answered");
    describe_counter!("auth_failures_total", "Credentials refused");
    describe_traffic();
    describe_counter!("credits_consumed_total", "Credits that requests charged, captures of holds included");
    describe_counter!("credits_recharged_total", "Bought credits that requests added");
    describe_counter!("credits_granted_total", "Credits that requests gave, with effect at once");
    describe_counter!("credits_refused_total", "Requests that the ledger refused, by error code");
    describe_counter!(
        "credits_replays_total",
        "Requests of the ledger that had been decided before, by key, reference or event"
    );
    describe_counter!("usage_refused_total", "Usage records refused, but for their charge, by code");
    describe_counter!("usage_records_total", "Usage records stored");
    describe_counter!("usage_exported_records_total", "Usage records read for exports");
    describe_counter!("http_answers_broken_total", "Answers that broke off after their head was sent");
    describe_counter!("messages_total", "Messages stored");
    describe_counter!(
        "files_bytes_total",
        "Bytes of files that were uploaded (in), and sent by this service (out)"
    );
    describe_counter!("files_removed_total", "Objects that were removed from the storage after their files");
    describe_histogram!(
        "chat_upstream_seconds",
        "Time from the request to the model to the end of its reply"
    );
    describe_counter!("chat_replies_total", "Replies of the model that ended and were stored");
    describe_gauge!("process_resident_memory_bytes", "Memory of the process in RAM");
    describe_gauge!("build_info", "1, with the version as a label");
    metrics::gauge!("build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    describe_housekeeping();
}

/// Background work, and the work of the batches of writes and reads do.
fn describe_housekeeping() {
    use metrics::{describe_counter, describe_gauge, describe_histogram};

    describe_histogram!("committer_batch_size", "Operations in one commit");
    describe_gauge!("committer_queue_depth", "Operations that wait for a commit");
    describe_histogram!("committer_queue_wait_seconds", "Time an operation waits for its batch");
    describe_histogram!("committer_commit_seconds", "Time a batch takes, from begin to commit");
    describe_counter!("committer_at_once_total", "Operations done by one statement instead of a transaction");
    describe_counter!("committer_isolations_total", "Batches repeated one by one after a failure");
    describe_counter!("committer_blocked_total", "Looks that found operations blocked by another process");
    describe_gauge!(
        "job_success_timestamp_seconds",
        "When a background job last succeeded, in seconds since 1970; until then when the process started"
    );
    describe_gauge!("job_duration_seconds", "Time that the last run of a background job took");
    describe_counter!("job_failures_total", "Runs of a background job that failed");
    describe_counter!(
        "idempotency_pruned_total",
        "First outcomes of idempotency keys that were forgotten, by kind"
    );
    describe_counter!(
        "sweeper_failed_accounts_total",
        "Times an account was found so damaged that what is due there could not be booked"
    );
    describe_gauge!("db_pool_connections", "Database connections: idle, busy; and callers waiting for one");
    describe_counter!(
        "database_restarts_total",
        "Starts of the private PostgreSQL after it had ended unexpectedly"
    );
    describe_counter!("usage_anomalies_total", "Hours in which a user spent far more than usual");
    describe_gauge!(
        "ledger_verify_violations",
        "Violations that the last audit of the ledger found; anything but 0 is an alarm"
    );
    describe_gauge!("ledger_verify_accounts", "Accounts that it checked");
    describe_gauge!("ledger_verify_entries", "Entries that it checked");
    describe_gauge!("ledger_verify_usage_records", "Usage records that it checked");
    describe_gauge!("ledger_verify_timestamp_seconds", "When it ended, in seconds since 1970");
    describe_gauge!("ledger_verify_duration_seconds", "How long it took");
    describe_counter!("ledger_verify_failures_total", "Audits of the ledger that could not be finished");
}

fn read_gauges(pools: &[pg::Pool]) {
    let of_all = |count: fn(&PoolStatus) -> usize| pools.iter().map(|pool| count(&pool.status())).sum();
    for (state, count) in [
        ("idle", of_all(|status| status.idle)),
        ("busy", of_all(|status| status.busy)),
        ("waiting", of_all(|status| status.waiting)),
    ] {
        metrics::gauge!("db_pool_connections", "state" => state).set(number(count));
    }
    if let Some(kib) = resident_kib() {
        metrics::gauge!("process_resident_memory_bytes").set(f64::from(kib) * 1024.0);
    }
}

/// Where the system tells: Linux.
fn resident_kib() -> Option<u32> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

fn number(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::from(u32::MAX), f64::from)
}

/// Each line of the format is empty, or begins with a name, or with `# HELP` or `# TYPE` and a name.
fn with_prefix(text: &str) -> String {
    let mut prefixed = String::with_capacity(text.len().saturating_mul(3).saturating_div(2));
    for line in text.lines() {
        let (comment, rest) = ["# HELP ", "# TYPE "]
            .iter()
            .find_map(|comment| line.strip_prefix(comment).map(|rest| (*comment, rest)))
            .unwrap_or(("", line));
        prefixed.push_str(comment);
        if !rest.is_empty() && !rest.starts_with('#') {
            prefixed.push_str(PREFIX);
        }
        prefixed.push_str(rest);
        prefixed.push('\n');
    }
    prefixed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_gets_the_prefix_once() {
        let text = "# HELP a_total Counts\n# TYPE a_total counter\na_total{x=\"# TYPE \"} 1\n\nb 2\n";
        let expected = "# HELP user_service_a_total Counts\n# TYPE user_service_a_total counter\n\
                        user_service_a_total{x=\"# TYPE \"} 1\n\nuser_service_b 2\n";
        assert_eq!(with_prefix(text), expected);
    }

    #[test]
    fn a_second_installation_shares_the_first_and_histograms_have_buckets() {
        let (first, second) = (Metrics::install().unwrap(), Metrics::install().unwrap());
        metrics::histogram!("committer_batch_size", "queue" => "test").record(3.0);
        metrics::histogram!("http_request_duration_seconds", "route" => "/test").record(0.002);
        first.handle.run_upkeep();
        for text in [first.render(), second.render()] {
            assert!(
                text.contains("user_service_committer_batch_size_bucket{queue=\"test\",le=\"4\"} 1"),
                "{text}"
            );
            assert!(
                text.contains(
                    "user_service_http_request_duration_seconds_bucket{route=\"/test\",le=\"0.0025\"} 1"
                ),
                "{text}"
            );
            assert!(text.contains("user_service_build_info{version="), "{text}");
        }
    }
}
