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
    App as ActixApp, HttpRequest,
    body::BoxBody,
    dev::{AppConfig, ServiceResponse},
    guard::{self, Guard},
    http::{
        Method,
        header::{self, HeaderName, HeaderValue},
    },
    middleware::{Compress, from_fn},
    web,
};
use socket2::SockRef;
use tokio::net::TcpStream;

use super::{
    catalogue,
    connection::{Connection, HEAD_MAX, LINGER, client_error},
    connections::{Connections, LEAVING_MAX},
    dispatch::{dispatch, language_of, refuse},
    error::ApiError,
    expect::expectations,
    keep_alive::keep_alive,
    local_caller::is_on_this_machine,
    observe::{UNROUTED, observe, routed},
    route::{Access, Route},
    routes::served,
};
use crate::{app::App, config::CorsOrigins};

/// How long an idle connection is kept.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How long the library waits for a client after its last answer. Longer than [`LINGER`], which ends first.
const DISCONNECT_TIMEOUT: Duration = LINGER.saturating_mul(2);
/// Most worker threads of the library.
const WORKERS_MAX: usize = 512;

/// Most connections that wait to be accepted. Where none fits, the kernel drops the attempt and its client tries again after a
/// second; the standard library's 128 are taken by one client that opens many at once.
const BACKLOG: i32 = 1_024;
/// Most bytes of an answer that the kernel takes beyond what it can send. Without a limit it takes megabytes for each client that
/// reads nothing, and the copies delay all others. More is handed over when half of it was taken, so this also decides how slow a
/// client may be (ADR 0013).
#[cfg(target_os = "linux")]
const UNSENT_MAX: u32 = 64 * 1024;

/// A server on `listener`. It runs its own workers; stop it through its handle.
///
/// It is put together from the parts of actix-web's `HttpServer`, which has no place for the limits of a connection
/// (see [`super::connection`]) and for an answer instead of `100 Continue` (see [`super::expect`]).
///
/// # Errors
/// What listening raises.
pub fn server(app: Arc<App>, listener: TcpListener) -> std::io::Result<Server> {
    prepare(&listener)?;
    let workers = app.config.listen.workers.min(WORKERS_MAX);
    let grace = app.config.limits.shutdown_grace.as_secs();
    let builder = Server::build()
        .workers(workers)
        // Whatever the judgement of single connections takes: no more sockets than there are descriptors for.
        .max_concurrent_connections(sockets_of_a_worker(&app.traffic.connections, workers))
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
            .expect(expectations(application(&app)))
            .finish(application(&app));
        connections(http, &app)
    };
    let server = builder.listen("http", listener, factory)?.run();
    Ok(server)
}

/// Sets what the standard library does not. Accepted sockets take over the options of their listener.
pub(super) fn prepare(listener: &TcpListener) -> std::io::Result<()> {
    let socket = SockRef::from(listener);
    #[cfg(target_os = "linux")]
    socket.set_tcp_notsent_lowat(UNSENT_MAX)?;
    // On a socket that listens already this sets the length of its queue.
    socket.listen(BACKLOG)
}

fn sockets_of_a_worker(connections: &Connections, workers: usize) -> usize {
    let all = connections.total_max().saturating_add(LEAVING_MAX);
    all.checked_div(workers).unwrap_or(all).max(1)
}

/// Everything that answers requests, for one worker.
fn application(
    app: &Arc<App>,
) -> impl ServiceFactory<
    Request,
    Config = (),
    Response = ServiceResponse<BoxBody>,
    Error = actix_http::Response<BoxBody>,
    InitError = (),
> + use<> {
    let (outer, inner) = (Arc::clone(app), Arc::clone(app));
    let application = ActixApp::new()
        .wrap(Compress::default())
        .wrap(cors(app))
        .wrap(from_fn(move |request, next| observe(Arc::clone(&outer), request, next)))
        .wrap(from_fn(keep_alive))
        .configure(move |services| configure(services, &inner));
    let application =
        application.into_factory().map_err(|error: actix_web::Error| error.error_response().into());
    map_config(application, |()| AppConfig::default())
}

/// Accepts what there is room for, and counts how connections end.
fn connections<H>(http: H, app: &Arc<App>) -> impl ServiceFactory<TcpStream, Config = ()> + use<H>
where
    H: ServiceFactory<
            (Connection, Protocol, Option<SocketAddr>),
            Config = (),
            Response = (),
            Error = DispatchError,
            InitError = (),
        > + 'static,
{
    let (http, open) = (Rc::new(http), Arc::clone(&app.traffic.connections));
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

/// How a connection ended that was not closed in order. An answer that broke off was counted with its request.
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

/// Puts the route table on actix: one resource a path, 405 with `Allow` for other methods, 404 for other paths.
pub fn configure(services: &mut web::ServiceConfig, app: &Arc<App>) {
    let table: Vec<&'static Route> = served(&app.config).collect();
    let mut paths: Vec<&'static str> = table.iter().map(|route| route.path).collect();
    paths.sort_unstable();
    paths.dedup();
    for path in paths {
        let routes: Vec<&'static Route> = table.iter().copied().filter(|route| route.path == path).collect();
        services.service(resource(path, &routes, app));
    }
    let app = Arc::clone(app);
    services.default_service(web::to(move |request: HttpRequest| {
        let error = ApiError::new(&catalogue::NOT_FOUND);
        let response = refuse(&app, &request, language_of(&app, &request), UNROUTED, error);
        async move { response }
    }));
}

fn resource(path: &'static str, routes: &[&'static Route], app: &Arc<App>) -> actix_web::Resource {
    let mut resource = web::resource(path);
    for route in routes.iter().copied() {
        let app = Arc::clone(app);
        let handler = move |request: HttpRequest, payload: web::Payload| {
            dispatch(Arc::clone(&app), route, request, payload)
        };
        resource = resource.route(web::route().guard(method_guard(route.method.clone())).to(handler));
    }
    let is_for_this_machine = routes.iter().any(|route| route.access == Access::Development)
        && !app.config.app.development_on_network;
    if is_for_this_machine {
        // A path that is guarded off is answered as one that does not exist.
        resource = resource.guard(guard::fn_guard(|context| is_on_this_machine(context.head())));
    }
    let (allow, app) = (allowed(routes), Arc::clone(app));
    resource.default_service(web::to(move |request: HttpRequest| {
        routed(&request, path);
        let error = ApiError::new(&catalogue::METHOD_NOT_ALLOWED).header(header::ALLOW, allow.clone());
        let response = refuse(&app, &request, language_of(&app, &request), UNROUTED, error);
        async move { response }
    }))
}

/// `HEAD` works wherever `GET` does; the body is left out on the wire.
fn method_guard(method: Method) -> impl Guard {
    guard::fn_guard(move |context| {
        let wanted = &context.head().method;
        *wanted == method || (*wanted == Method::HEAD && method == Method::GET)
    })
}

fn allowed(routes: &[&'static Route]) -> HeaderValue {
    let mut methods: Vec<&str> = routes.iter().map(|route| route.method.as_str()).collect();
    if methods.contains(&"GET") {
        methods.push("HEAD");
    }
    HeaderValue::from_str(&methods.join(", ")).unwrap_or(HeaderValue::from_static(""))
}

/// Cross-origin rules (HTTP contract 1.13).
pub fn cors(app: &App) -> Cors {
    let settings = &app.config.cors;
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
        .max_age(600);
    cors = match &settings.origins {
        CorsOrigins::Any => cors.allow_any_origin(),
        CorsOrigins::List(origins) => origins.iter().fold(cors, |cors, origin| cors.allowed_origin(origin)),
    };
    if settings.allow_credentials { cors.supports_credentials() } else { cors }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::{ErrorKind, Write as _},
        net::TcpStream,
    };

    use socket2::{Domain, Socket, Type};

    use super::*;

    /// Nothing accepts here, so all of them have to fit into the queue.
    #[test]
    fn many_connections_at_once_wait_to_be_accepted() {
        let most = fs::read_to_string("/proc/sys/net/core/somaxconn")
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(128);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        prepare(&listener).unwrap();
        let address = listener.local_addr().unwrap();
        let connect = |number| {
            TcpStream::connect_timeout(&address, Duration::from_secs(20))
                .unwrap_or_else(|error| panic!("connection {number}: {error}"))
        };
        let connections: Vec<TcpStream> = (0..most.min(300)).map(connect).collect();
        assert!(!connections.is_empty());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_kernel_takes_little_for_a_client_that_does_not_read() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        prepare(&listener).unwrap();
        let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        client.set_recv_buffer_size(4 * 1024).unwrap();
        client.connect(&listener.local_addr().unwrap().into()).unwrap();
        let (mut accepted, _peer) = listener.accept().unwrap();
        accepted.set_nonblocking(true).unwrap();
        let (chunk, mut taken) = (vec![0; 32 * 1024], 0);
        let refused = loop {
            match accepted.write(&chunk) {
                Ok(count) => taken += count,
                Err(error) => break error,
            }
        };
        assert_eq!(refused.kind(), ErrorKind::WouldBlock);
        assert!(taken < 512 * 1024, "{taken} bytes");
    }
}
