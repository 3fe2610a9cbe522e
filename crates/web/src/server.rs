//! The route table on actix, and the server around it.

use std::{
    net::{SocketAddr, TcpListener},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use actix_cors::Cors;
use actix_http::{
    HttpService, Protocol, Request,
    error::{DispatchError, ParseError},
};
use actix_server::Server;
use actix_service::{
    IntoServiceFactory as _, Service as _, ServiceFactory, ServiceFactoryExt as _, fn_factory, fn_service,
    map_config,
};
use actix_web::{
    App as ActixApp,
    body::BoxBody,
    dev::{AppConfig, RequestHead, ServiceRequest, ServiceResponse},
    http::{
        Method,
        header::{self, HeaderName},
    },
    middleware::from_fn,
};
use tokio::net::TcpStream;

use super::{
    compress::{accepts_encodings, compress},
    connection::{Connection, HEAD_MAX, LINGER, client_error},
    connections::{Connections, LEAVING_MAX},
    expect::expectations,
    keep_alive::keep_alive,
    listener::prepare,
    observe::observe,
    places::Places,
    route::Route,
    selective::Selective,
    service::Service,
    settings::{Cors as CorsSettings, CorsOrigins},
};

/// Time that an idle connection is kept.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// Time that the library waits for a client after its last answer. Longer than [`LINGER`], which ends first.
const DISCONNECT_TIMEOUT: Duration = LINGER.saturating_mul(2);
/// Most worker threads of the library.
const WORKERS_MAX: usize = 512;

/// A server on `listener` that answers these routes. It runs its own workers; stop it through its handle.
///
/// It is put together from the parts of actix-web's `HttpServer`, which has no place for the limits of a connection
/// (see `connection`) and for an answer instead of `100 Continue` (see `expect`).
///
/// # Errors
/// What listening raises.
pub fn server<S: Service>(
    app: Arc<S>,
    routes: Vec<&'static Route<S>>,
    listener: TcpListener,
) -> std::io::Result<Server> {
    prepare(&listener)?;
    let workers = app.settings().workers.min(WORKERS_MAX);
    let grace = app.settings().shutdown_grace.as_secs();
    let routes: Arc<[&'static Route<S>]> = routes.into();
    let builder = Server::build()
        .workers(workers)
        // Whatever the judgement of single connections takes: no more sockets than there are descriptors for.
        .max_concurrent_connections(sockets_of_a_worker(&app.traffic().connections, workers))
        .shutdown_timeout(grace)
        .disable_signals();
    let draining = builder.graceful_shutdown_signal();
    let factory = move || {
        let draining = draining.clone();
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let draining = draining.clone();
                async move { draining.notified().await }
            })
            .keep_alive(KEEP_ALIVE)
            .client_request_timeout(HEAD_MAX)
            .client_disconnect_timeout(DISCONNECT_TIMEOUT)
            .on_connect_ext(|connection: &Connection, data| {
                data.insert(Rc::clone(connection.line()));
            })
            .expect(expectations(application(&app, &routes)))
            .finish(application(&app, &routes));
        connections(http, &app.traffic().connections)
    };
    let server = builder.listen("http", listener, factory)?.run();
    Ok(server)
}

fn sockets_of_a_worker(connections: &Connections, workers: usize) -> usize {
    let all = connections.total_max().saturating_add(LEAVING_MAX);
    all.checked_div(workers).unwrap_or(all).max(1)
}

/// Everything that answers requests, for one worker.
fn application<S: Service>(
    app: &Arc<S>,
    routes: &Arc<[&'static Route<S>]>,
) -> impl ServiceFactory<
    Request,
    Config = (),
    Response = ServiceResponse<BoxBody>,
    Error = actix_http::Response<BoxBody>,
    InitError = (),
> + use<S> {
    let (outer, places) = (Arc::clone(app), Rc::new(Places::new(Arc::clone(app), routes)));
    let answer = move |request: ServiceRequest| {
        let places = Rc::clone(&places);
        async move {
            let (request, payload) = request.into_parts();
            let response = places.answer(request.clone(), payload).await;
            Ok(ServiceResponse::new(request, response))
        }
    };
    let application = ActixApp::new()
        .app_data(Arc::clone(routes))
        // The library's own router would try one path after the other.
        .default_service(fn_service(answer))
        .wrap(Selective::new(from_fn(compress), accepts_encodings))
        .wrap(Selective::new(cors(&app.settings().cors), may_be_cross_origin))
        .wrap(from_fn(move |request, next| observe(Arc::clone(&outer), request, next)))
        .wrap(from_fn(keep_alive));
    let application =
        application.into_factory().map_err(|error: actix_web::Error| error.error_response().into());
    map_config(application, |()| AppConfig::default())
}

/// Accepts what there is room for, and counts how connections end.
fn connections<H>(http: H, open: &Arc<Connections>) -> impl ServiceFactory<TcpStream, Config = ()> + use<H>
where
    H: ServiceFactory<
            (Connection, Protocol, Option<SocketAddr>),
            Config = (),
            Response = (),
            Error = DispatchError,
            InitError = (),
        > + 'static,
{
    let (http, open) = (Rc::new(http), Arc::clone(open));
    fn_factory(move || {
        let (http, open) = (Rc::clone(&http), Arc::clone(&open));
        async move {
            let http = Rc::new(http.new_service(()).await?);
            Ok::<_, ()>(fn_service(move |stream: TcpStream| {
                let (http, open) = (Rc::clone(&http), Arc::clone(&open));
                async move {
                    let Ok(peer) = stream.peer_addr() else {
                        return Ok(());
                    };
                    // Without room the socket is closed as it is.
                    let Some(place) = open.admit(peer) else {
                        return Ok(());
                    };
                    // Otherwise the last part of a large answer waits until the part before it is acknowledged: 40 ms, by Linux.
                    if stream.set_nodelay(true).is_err() {
                        return Ok(());
                    }
                    let connection = Connection::new(stream, place);
                    let served = http.call((connection, Protocol::Http1, Some(peer))).await;
                    if let Err(error) = &served {
                        ended_badly(error);
                    }
                    Ok::<_, ()>(())
                }
            }))
        }
    })
}

/// The end of a connection that was not closed in order. An answer that broke off was counted with its request.
fn ended_badly(error: &DispatchError) {
    let kind = match error {
        DispatchError::Parse(ParseError::TooLarge) => "head_too_large",
        DispatchError::Parse(_) => "malformed",
        DispatchError::SlowRequestTimeout => "slow_head",
        DispatchError::Io(_) | DispatchError::DisconnectTimeout => "broken_off",
        _ => return,
    };
    tracing::debug!(error = %error, "a connection ended with an error");
    client_error(kind);
}

/// Returns true if a request comes from a page, or asks for one what it may send.
fn may_be_cross_origin(request: &RequestHead) -> bool {
    request.method == Method::OPTIONS || request.headers.contains_key(header::ORIGIN)
}

/// Cross-origin rules (HTTP contract 1.13).
fn cors(settings: &CorsSettings) -> Cors {
    let name = HeaderName::from_static;
    let mut cors = Cors::default()
        .allowed_methods(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
        .allowed_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::ACCEPT,
            header::ACCEPT_LANGUAGE,
            name("idempotency-key"),
            name("x-api-key"),
            name("x-user-id"),
            name("x-request-id"),
        ])
        .expose_headers([
            name("x-request-id"),
            name("x-next-cursor"),
            name("idempotency-replayed"),
            header::RETRY_AFTER,
            name("ratelimit"),
            name("ratelimit-policy"),
            header::CONTENT_DISPOSITION,
        ])
        // `observe` adds the header to every answer.
        .disable_vary_header()
        .max_age(600);
    cors = match &settings.origins {
        CorsOrigins::Any => cors.allow_any_origin(),
        CorsOrigins::List(origins) => origins.iter().fold(cors, |cors, origin| cors.allowed_origin(origin)),
    };
    if settings.allow_credentials { cors.supports_credentials() } else { cors }
}
