//! A request on its way through, for the log and the metrics: abandoned, or answered.

use std::{cell::RefCell, collections::HashMap, sync::LazyLock, time::Instant};

use actix_web::http::Method;
use metrics::{Counter, Gauge, Histogram};

use super::request_id::RequestId;

/// A request on its way through. One that is never answered, because its connection ended, is counted and logged when it is
/// dropped.
pub(super) struct Passage {
    id: RequestId,
    method: &'static str,
    is_recorded: bool,
}

impl Passage {
    /// It begins.
    pub(super) fn begin(method: &Method, id: RequestId) -> Self {
        in_flight().increment(1.0);
        Self { id, method: method_label(method), is_recorded: false }
    }

    /// It was answered; its answer is recorded elsewhere.
    pub(super) fn answered(&mut self) {
        self.is_recorded = true;
    }

    /// It was being answered when its client went away.
    pub(super) fn hung_up_within(&mut self) {
        self.is_recorded = true;
        self.count();
        tracing::info!(request_id = %self.id, method = self.method, "the client hung up in the middle of the answer");
    }

    fn count(&self) {
        metrics::counter!("http_requests_abandoned_total", "method" => self.method).increment(1);
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        in_flight().decrement(1.0);
        if !self.is_recorded {
            self.count();
            tracing::info!(request_id = %self.id, method = self.method, "the connection ended before the answer");
        }
    }
}

/// The log line and metrics of an answer.
pub(super) struct Answer {
    /// Id of its request.
    pub(super) id: RequestId,
    /// Method of its request, as [`method_label`] names it.
    pub(super) method: &'static str,
    /// Path of its route.
    pub(super) route: &'static str,
    /// Its status.
    pub(super) status: u16,
    /// The beginning of its request.
    pub(super) began: Instant,
}

impl Answer {
    /// An answer of which the head was sent and then a part only: its status cannot tell.
    pub(super) fn record_broken(&self) {
        metrics::counter!("http_answers_broken_total", "route" => self.route).increment(1);
        tracing::warn!(request_id = %self.id, route = self.route, "the answer broke off");
        self.record();
    }

    /// An answer that was sent.
    pub(super) fn record(&self) {
        let Self { id, method, route, status, began } = self;
        let elapsed = began.elapsed();
        Figures::with(method, route, *status, |figures| {
            figures.answered.increment(1);
            figures.seconds.record(elapsed.as_secs_f64());
        });
        let duration_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        if *status >= 500 {
            tracing::warn!(request_id = %id, method, route, status, duration_ms, "request answered");
        } else {
            tracing::info!(request_id = %id, method, route, status, duration_ms, "request answered");
        }
    }
}

/// The metrics of one kind of answer.
struct Figures {
    answered: Counter,
    seconds: Histogram,
}

impl Figures {
    /// Finds them in the memory of the worker: looking a metric up by its labels costs more than counting.
    fn with(method: &'static str, route: &'static str, status: u16, count: impl FnOnce(&Self)) {
        thread_local! {
            static KNOWN: RefCell<HashMap<(&'static str, &'static str, u16), Figures>> = RefCell::default();
        }
        KNOWN.with_borrow_mut(|known| {
            let figures = known.entry((method, route, status)).or_insert_with(|| Self {
                answered: metrics::counter!(
                    "http_requests_total", "method" => method, "route" => route, "status" => status.to_string()
                ),
                seconds: metrics::histogram!(
                    "http_request_duration_seconds", "method" => method, "route" => route
                ),
            });
            count(figures);
        });
    }
}

fn in_flight() -> &'static Gauge {
    static GAUGE: LazyLock<Gauge> = LazyLock::new(|| metrics::gauge!("http_requests_in_flight"));
    &GAUGE
}

/// Methods are labels of metrics, so foreign ones share one name.
pub(super) fn method_label(method: &Method) -> &'static str {
    const KNOWN: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    let known = KNOWN.iter().find(|known| **known == method.as_str());
    known.copied().unwrap_or("other")
}
