//! The one way into every route: the order of checks of HTTP contract 1.4, a time limit, and a guard against panics.

use std::{cell::Cell, future::poll_fn, pin::pin, rc::Rc, sync::Arc, task::Poll};

use actix_web::{
    HttpMessage, HttpRequest, HttpResponse,
    http::{
        Method,
        header::{self, HeaderValue},
    },
    web::Payload,
};
use kernel::UserId;

use super::{
    access,
    bodies::{self, Body, Meter},
    call::{Call, Caller, Received, Stage, path_parameter},
    catalogue,
    error::{ApiError, ErrorContext},
    expect::{GoOn, HeadOnly},
    fields::Fields,
    isolation::isolate,
    keep_alive::{Failed, Incoming},
    language::Language,
    observe::{self, RequestId},
    rate_limit::Level,
    reply::Reply,
    route::{BodyRule, Route},
    routes::known_parameters,
};
use crate::app::App;

/// How far a request has come.
#[derive(Debug, Default)]
struct Progress {
    stage: Rc<Cell<Stage>>,
    /// What is left of the caller's byte limit, once it was asked.
    level: Cell<Option<Level>>,
}

/// Answers one request.
pub async fn dispatch(
    app: Arc<App>,
    route: &'static Route,
    request: HttpRequest,
    payload: Payload,
) -> HttpResponse {
    observe::routed(&request, route.path);
    let language = language_of(&app, &request);
    let limit = app.config.limits.request_timeout;
    let progress = Rc::new(Progress::default());
    // On the heap: the layers around it would copy it from one to the next.
    let work =
        Box::pin(run(Arc::clone(&app), route, request.clone(), payload, language, Rc::clone(&progress)));
    let work = unless_body_fails(
        &request,
        work,
        |stage, failed| match stage {
            Stage::Work if !is_safe(&route.method) => ApiError::outcome_unknown(),
            Stage::Admission | Stage::Receipt | Stage::Work => bodies::broke_off(failed.after_bytes),
        },
        &progress,
    );
    // Once an unsafe request was handed over, a panic says nothing about what was committed, like a time-out. Reading its
    // fields is isolated on its own, see `Fields::read`.
    let work = isolate(work, || match progress.stage.get() {
        Stage::Work if !is_safe(&route.method) => ApiError::outcome_unknown(),
        Stage::Admission | Stage::Receipt | Stage::Work => ApiError::new(&catalogue::INTERNAL),
    });
    let result = match tokio::time::timeout(limit, work).await {
        Ok(result) => result,
        Err(_elapsed) => Err(match progress.stage.get() {
            Stage::Receipt => ApiError::new(&catalogue::REQUEST_TIMEOUT),
            Stage::Work if !is_safe(&route.method) => ApiError::outcome_unknown(),
            Stage::Admission | Stage::Work => ApiError::unavailable(),
        }),
    };
    let mut response = match result {
        Ok(reply) => in_language(reply.respond(), language),
        Err(error) => refuse(&app, &request, language, route.operation, error),
    };
    for (name, value) in progress.level.get().iter().flat_map(Level::headers) {
        if !response.headers().contains_key(&name) {
            response.headers_mut().insert(name, value);
        }
    }
    if route.access.is_authenticated() {
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// The result of `work`, or `refusal` as soon as the body turns out to be malformed or broken off: while it is received, in the
/// admission before, and on routes that ignore it.
async fn unless_body_fails<T>(
    request: &HttpRequest,
    work: impl Future<Output = Result<T, ApiError>>,
    refusal: impl Fn(Stage, Failed) -> ApiError,
    progress: &Progress,
) -> Result<T, ApiError> {
    let incoming = request.extensions().get::<Incoming>().cloned();
    let mut work = pin!(work);
    poll_fn(|context| {
        if let Poll::Ready(done) = work.as_mut().poll(context) {
            return Poll::Ready(done);
        }
        let Some(incoming) = &incoming else {
            return Poll::Pending;
        };
        let stage = progress.stage.get();
        let failed = match stage {
            // Its reader finds the failure.
            Stage::Receipt => incoming.failed().map_or(Poll::Pending, Poll::Ready),
            Stage::Admission | Stage::Work => incoming.poll_failed(context),
        };
        failed.map(|failed| Err(refusal(stage, failed)))
    })
    .await
}

fn in_language(mut response: HttpResponse, language: Language) -> HttpResponse {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LANGUAGE, HeaderValue::from_static(language.tag()));
    headers.append(header::VARY, HeaderValue::from_static("Accept-Language"));
    response
}

/// The documented body for an error of this request.
pub fn refuse(
    app: &App,
    request: &HttpRequest,
    language: Language,
    operation: &str,
    error: ApiError,
) -> HttpResponse {
    let user_id: Option<UserId> = path_parameter(request, "user_id").parse().ok();
    error.respond(&ErrorContext {
        operation,
        user_id: user_id.as_ref(),
        request_id: &RequestId::of(request),
        language,
        now: app.clock.now(),
    })
}

/// The language of a request: what it accepts, else the default of its surface.
pub fn language_of(app: &App, request: &HttpRequest) -> Language {
    let path = request.path();
    let is_chat = path.starts_with("/api/") && !path.starts_with("/api/v1/");
    let default = if is_chat { Language::Zh } else { app.config.app.default_language };
    let accept = request.headers().get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    Language::negotiate(accept, default)
}

async fn run(
    app: Arc<App>,
    route: &'static Route,
    request: HttpRequest,
    payload: Payload,
    language: Language,
    progress: Rc<Progress>,
) -> Result<Reply, ApiError> {
    let caller = access::admit(&app, route, &request).await?;
    if request.extensions().contains::<HeadOnly>() {
        return match judge_head(route, &request) {
            Err(error) => Err(access::after_failure(&app, &caller, error).await),
            judged => judged,
        };
    }
    let done = async {
        progress.stage.set(Stage::Receipt);
        let body = receive(&app, route, &request, payload, &caller, &progress).await?;
        progress.stage.set(Stage::Admission);
        let (query, bytes) = (request.query_string().to_owned(), body.bytes);
        let (work, share) = (move || Fields::of(&query, bytes), Arc::new(body.share));
        let mut fields = app.traffic.bodies.work(&share, work).await?;
        if let Some(known) = known_parameters(route) {
            fields.allow_only(known);
            if known.is_empty() && route.body == BodyRule::Ignored {
                // The endpoint reads nothing.
                fields.read(|_| Some(()))?;
            }
        }
        let (app, caller) = (Arc::clone(&app), caller.clone());
        let received = Received { fields, share, rule: route.body, stage: Rc::clone(&progress.stage) };
        let call = Call::new(app, request, language, route.operation, caller, received);
        progress.stage.set(Stage::Work);
        (route.handler)(call).await
    };
    match done.await {
        Err(error) => Err(access::after_failure(&app, &caller, error).await),
        Ok(_) if caller.standing.is_due() => {
            tracing::error!(operation = route.operation, "a route looked at nobody's standing");
            Err(ApiError::new(&catalogue::INTERNAL))
        }
        done => done,
    }
}

/// What the head of a request decides about its body, before the body is asked for.
fn judge_head(route: &Route, request: &HttpRequest) -> Result<Reply, ApiError> {
    if route.body != BodyRule::Ignored {
        bodies::judge_head(request, route.body.bytes_max())?;
    }
    Ok(Reply::of("application/json", "").marked(GoOn))
}

async fn receive(
    app: &App,
    route: &Route,
    request: &HttpRequest,
    mut payload: Payload,
    caller: &Caller,
    progress: &Progress,
) -> Result<Body, ApiError> {
    let mut meter = Meter::new(&app.traffic.rate_limits, caller.principal.as_ref(), &*app.clock);
    if route.body == BodyRule::Ignored {
        return Ok(app.traffic.bodies.none(caller));
    }
    let bytes_max = route.body.bytes_max();
    let received =
        bodies::receive(&app.traffic.bodies, request, &mut payload, bytes_max, caller, &mut meter).await;
    progress.level.set(meter.level);
    received
}

/// Returns whether a method changes nothing.
#[must_use]
pub fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}
