//! The one way into every route: the order of checks of HTTP contract 1.4, a time limit, and a guard against panics.

use std::{cell::Cell, future::poll_fn, pin::pin, rc::Rc, sync::Arc, task::Poll, time::Duration};

use super::{
    access,
    bodies::{self, Body, BodyRule, Meter},
    call::{Call, Received, Stage},
    caller::Caller,
    catalogue,
    error::ApiError,
    expect::{GoOn, HeadOnly},
    fields::Fields,
    isolation::isolate,
    keep_alive::{Failed, Incoming},
    language::Language,
    rate_limit::{self, Level, Levels},
    refusal::{language_of, refuse},
    reply::Reply,
    route::Route,
    service::{AccessRule as _, Service},
};
use actix_web::{
    HttpMessage, HttpRequest, HttpResponse,
    dev::Payload,
    http::header::{self, HeaderValue},
};
use tokio::time::{Instant, error::Elapsed, timeout};

/// A route, with what is found out about it once.
pub struct Endpoint<S: Service> {
    route: &'static Route<S>,
    known_parameters: Option<Vec<&'static str>>,
}

impl<S: Service> Endpoint<S> {
    /// The endpoint of a route.
    #[must_use]
    pub fn new(route: &'static Route<S>) -> Self {
        Self { route, known_parameters: route.known_parameters() }
    }
}

/// Progress of a request.
#[derive(Debug)]
struct Progress {
    stage: Rc<Cell<Stage>>,
    /// The time that it may take.
    time_limit: Rc<Cell<Duration>>,
    /// Rest of the caller's limits, once the request was counted.
    levels: Cell<Levels>,
}

/// Answers one request.
pub async fn dispatch<S: Service>(
    app: Arc<S>,
    endpoint: Rc<Endpoint<S>>,
    request: HttpRequest,
    payload: Payload,
) -> HttpResponse {
    let route = endpoint.route;
    let language = language_of(&*app, &request);
    let progress = Rc::new(Progress {
        stage: Rc::default(),
        time_limit: Rc::new(Cell::new(app.settings().request_timeout)),
        levels: Cell::default(),
    });
    // On the heap: the layers around it would copy it from one to the next.
    let work =
        Box::pin(run(Arc::clone(&app), endpoint, request.clone(), payload, language, Rc::clone(&progress)));
    let work = unless_body_fails(
        &request,
        work,
        |stage, failed| match stage {
            Stage::Work if !route.only_reads() => ApiError::outcome_unknown(),
            Stage::Admission | Stage::Receipt | Stage::Work => bodies::broke_off(failed.after_bytes),
        },
        &progress,
    );
    // Once an unsafe request was handed over, a panic says nothing about what was committed, like a time-out. Reading its
    // fields is isolated on its own, see `Fields::read`.
    let work = isolate(work, || match progress.stage.get() {
        Stage::Work if !route.only_reads() => ApiError::outcome_unknown(),
        Stage::Admission | Stage::Receipt | Stage::Work => ApiError::new(&catalogue::INTERNAL),
    });
    let result = match within(&progress.time_limit, work).await {
        Ok(result) => result,
        Err(_elapsed) => Err(match progress.stage.get() {
            Stage::Receipt => ApiError::new(&catalogue::REQUEST_TIMEOUT),
            Stage::Work if !route.only_reads() => ApiError::outcome_unknown(),
            Stage::Admission | Stage::Work => ApiError::unavailable(),
        }),
    };
    let mut response = match result {
        Ok(reply) => in_language(reply.respond(), language),
        Err(error) => refuse(&*app, &request, language, route.operation, error),
    };
    let Levels { requests, bytes } = progress.levels.get();
    let levels: Vec<Level> = [requests, bytes].into_iter().flatten().collect();
    for (name, value) in rate_limit::headers(&levels).into_iter().flatten() {
        if !response.headers().contains_key(&name) {
            response.headers_mut().insert(name, value);
        }
    }
    if route.access.is_authenticated() {
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// The result of `work`, unless it takes longer than the limit, which may grow meanwhile.
async fn within<T>(limit: &Cell<Duration>, work: impl Future<Output = T>) -> Result<T, Elapsed> {
    let (began, mut work) = (Instant::now(), pin!(work));
    loop {
        let allowed = limit.get();
        match timeout(allowed.saturating_sub(began.elapsed()), work.as_mut()).await {
            Err(_) if limit.get() > allowed => {}
            result => return result,
        }
    }
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

async fn run<S: Service>(
    app: Arc<S>,
    endpoint: Rc<Endpoint<S>>,
    request: HttpRequest,
    payload: Payload,
    language: Language,
    progress: Rc<Progress>,
) -> Result<Reply, ApiError> {
    let route = endpoint.route;
    let caller = access::admit(&*app, route, &request, &progress.levels).await?;
    if request.extensions().contains::<HeadOnly>() {
        return match judge_head(route, &request) {
            Err(error) => Err(app.after_failure(&caller, error).await),
            judged => judged,
        };
    }
    let done = async {
        progress.stage.set(Stage::Receipt);
        let (body, payload) = receive(&*app, route, &request, payload, &caller, &progress).await?;
        progress.stage.set(Stage::Admission);
        let (query, bytes) = (request.query_string().to_owned(), body.bytes);
        let (work, share) = (move || Fields::parse(&query, bytes), Arc::new(body.share));
        let mut fields = app.traffic().bodies.work(&share, work).await?;
        if let Some(known) = &endpoint.known_parameters {
            fields.allow_only(known);
            if known.is_empty() && route.body == BodyRule::Ignored {
                // The endpoint reads nothing.
                fields.read(|_| Some(()))?;
            }
        }
        let (app, caller) = (Arc::clone(&app), caller.clone());
        let received = Received {
            fields,
            share,
            rule: route.body,
            payload,
            stage: Rc::clone(&progress.stage),
            time_limit: Rc::clone(&progress.time_limit),
        };
        let call = Call::new(app, request, language, route.operation, caller, received);
        progress.stage.set(Stage::Work);
        (route.handler)(call).await
    };
    match done.await {
        Err(error) => Err(app.after_failure(&caller, error).await),
        Ok(reply) => app.after_success(&caller, route.operation).map(|()| reply),
    }
}

/// Decision about a body from the head of its request, before the body is asked for.
fn judge_head<S: Service>(route: &Route<S>, request: &HttpRequest) -> Result<Reply, ApiError> {
    match route.body {
        BodyRule::Ignored => {}
        BodyRule::Stream => bodies::judge_encoding(request)?,
        BodyRule::Json | BodyRule::Batch => {
            bodies::judge_head(request, route.body.bytes_max())?;
        }
    }
    Ok(Reply::new("application/json", "").marked(GoOn))
}

async fn receive<S: Service>(
    app: &S,
    route: &Route<S>,
    request: &HttpRequest,
    mut payload: Payload,
    caller: &Caller<S::Facts>,
    progress: &Progress,
) -> Result<(Body, Option<Payload>), ApiError> {
    let principal = caller.principal.as_ref();
    let mut meter = Meter::new(&app.traffic().rate_limits, principal, app.clock());
    match route.body {
        BodyRule::Ignored => return Ok((app.traffic().bodies.none(principal), None)),
        BodyRule::Stream => {
            bodies::judge_encoding(request)?;
            return Ok((app.traffic().bodies.none(principal), Some(payload)));
        }
        BodyRule::Json | BodyRule::Batch => {}
    }
    let bytes_max = route.body.bytes_max();
    let received =
        bodies::receive(&app.traffic().bodies, request, &mut payload, bytes_max, principal, &mut meter).await;
    if meter.level.is_some() {
        progress.levels.set(Levels { bytes: meter.level, ..progress.levels.get() });
    }
    Ok((received?, None))
}
