//! What surrounds every request, routed or not: its id, one log line, its metrics, and JSON for every error.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    fmt,
    rc::Rc,
    sync::{Arc, LazyLock},
    time::Instant,
};

use actix_web::{
    Error, HttpMessage, HttpRequest,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    error::InternalError,
    http::{
        Method, StatusCode,
        header::{self, HeaderName, HeaderValue},
    },
    middleware::Next,
};

use metrics::{Counter, Gauge, Histogram};

use super::{
    catalogue::{self, Entry},
    dispatch::{language_of, refuse},
    error::{ApiError, ErrorContext},
    expect::GoOn,
    language::Language,
    reply::Streamed,
    watched::watched,
};
use crate::app::App;

/// `operation` in the error body of a request that reached no route.
pub const UNROUTED: &str = "unrouted";

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id of a request: the caller's own if it is usable, else a new UUID (HTTP contract 1.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

/// What travels with a request for the log and the metrics.
#[derive(Debug, Clone)]
struct Trace {
    id: RequestId,
    /// The path of its route, once that is known.
    route: Rc<Cell<Option<&'static str>>>,
}

/// Says which path of the route table answers the request.
pub fn routed(request: &HttpRequest, path: &'static str) {
    if let Some(trace) = request.extensions().get::<Trace>() {
        trace.route.set(Some(path));
    }
}

impl RequestId {
    /// The id that [`observe`] gave the request; empty outside of it.
    #[must_use]
    pub fn of(request: &HttpRequest) -> String {
        request.extensions().get::<Trace>().map(|trace| trace.id.to_string()).unwrap_or_default()
    }

    fn from_header(value: Option<&HeaderValue>) -> Option<Self> {
        let text = value?.to_str().ok()?;
        let fits = (1..=64).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        fits.then(|| Self(text.into()))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The outermost middleware.
///
/// # Errors
/// None of its own: errors of the inner layers become documented answers.
pub async fn observe(
    app: Arc<App>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let began = Instant::now();
    let id = RequestId::from_header(request.headers().get(X_REQUEST_ID))
        .unwrap_or_else(|| RequestId(app.ids.uuid().to_string().into()));
    let route = Rc::new(Cell::new(None));
    request.extensions_mut().insert(Trace { id: id.clone(), route: Rc::clone(&route) });
    let mut passage = Passage::begin(&request, id.clone());
    // No handle to the request may be kept here: routing needs it alone.
    let mut response = match next.call(request).await {
        Ok(response) => documented(&app, response.map_into_boxed_body()),
        Err(error) => {
            passage.answered();
            return Err(undocumented(&app, &id, &error));
        }
    };
    if response.response().extensions().contains::<GoOn>() {
        passage.answered();
        return Ok(response);
    }
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        headers.insert(X_REQUEST_ID, value);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let answer = Answer {
        id,
        method: method_label(response.request().method()),
        route: route.get().unwrap_or("unmatched"),
        status: response.status().as_u16(),
        began,
    };
    if response.response().extensions().contains::<Streamed>() {
        return Ok(response.map_body(|_, body| watched(body, passage, answer)));
    }
    passage.answered();
    answer.record();
    Ok(response)
}

/// A request on its way through. One that is never answered, because its connection ended, is counted and logged when it is
/// dropped.
pub(super) struct Passage {
    id: RequestId,
    method: &'static str,
    told: bool,
}

impl Passage {
    fn begin(request: &ServiceRequest, id: RequestId) -> Self {
        in_flight().increment(1.0);
        Self { id, method: method_label(request.method()), told: false }
    }

    /// It was answered, which is told elsewhere.
    pub(super) fn answered(&mut self) {
        self.told = true;
    }

    /// It was being answered when its client went away.
    pub(super) fn hung_up_within(&mut self) {
        self.told = true;
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
        if !self.told {
            self.count();
            tracing::info!(request_id = %self.id, method = self.method, "the connection ended before the answer");
        }
    }
}

/// An error of an inner layer that made no response. None is known to occur; the body is the documented one all the same.
fn undocumented(app: &App, id: &RequestId, error: &Error) -> Error {
    let status = error.as_response_error().status_code();
    if status.is_server_error() {
        tracing::warn!(request_id = %id, status = status.as_u16(), error = %error, "a layer refused a request");
    } else {
        tracing::debug!(request_id = %id, status = status.as_u16(), error = %error, "a layer refused a request");
    }
    let mut response = ApiError::new(entry_for(status)).respond(&ErrorContext {
        operation: UNROUTED,
        user_id: None,
        request_id: &id.to_string(),
        language: Language::En,
        now: app.clock.now(),
    });
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        response.headers_mut().insert(X_REQUEST_ID, value);
    }
    InternalError::from_response("refused", response).into()
}

/// Errors of the framework and of middleware come as plain text; here they become the documented body.
fn documented(app: &App, response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    let status = response.status();
    let is_json = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/json"));
    if is_json || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let refused = plain_error(app, response.request(), status);
    let (request, old) = response.into_parts();
    let mut refused = refused;
    for (name, value) in old.headers() {
        if name.as_str().starts_with("access-control-") || *name == header::VARY {
            refused.headers_mut().append(name.clone(), value.clone());
        }
    }
    ServiceResponse::new(request, refused)
}

fn plain_error(app: &App, request: &HttpRequest, status: StatusCode) -> actix_web::HttpResponse {
    refuse(app, request, language_of(app, request), UNROUTED, ApiError::new(entry_for(status)))
}

fn entry_for(status: StatusCode) -> &'static Entry {
    match status.as_u16() {
        404 => &catalogue::NOT_FOUND,
        406 => &catalogue::UNSUPPORTED_MEDIA_TYPE,
        405 => &catalogue::METHOD_NOT_ALLOWED,
        408 => &catalogue::REQUEST_TIMEOUT,
        413 => &catalogue::PAYLOAD_TOO_LARGE,
        415 => &catalogue::UNSUPPORTED_MEDIA_TYPE,
        503 => &catalogue::SERVICE_UNAVAILABLE,
        // What is left among client errors is a cross-origin preflight from an origin that is not allowed.
        400..=499 => &catalogue::PERMISSION_DENIED,
        _ => &catalogue::INTERNAL,
    }
}

/// What is told of an answer.
pub(super) struct Answer {
    id: RequestId,
    method: &'static str,
    route: &'static str,
    status: u16,
    began: Instant,
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
fn method_label(method: &Method) -> &'static str {
    const KNOWN: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    let known = KNOWN.iter().find(|known| **known == method.as_str());
    known.copied().unwrap_or("other")
}
