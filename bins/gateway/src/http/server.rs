//! The route table on actix, and the server around it.

use std::{net::TcpListener, sync::Arc, time::Duration};

use actix_cors::Cors;
use actix_web::{
    App as ActixApp, HttpRequest, HttpServer,
    dev::Server,
    guard::{self, Guard},
    http::{
        Method,
        header::{self, HeaderName, HeaderValue},
    },
    middleware::{Compress, from_fn},
    web,
};

use super::{
    catalogue,
    dispatch::{dispatch, language_of, refuse},
    error::ApiError,
    observe::{UNROUTED, observe, routed},
    route::Route,
    routes::served,
};
use crate::{app::App, config::CorsOrigins};

/// How long a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an idle connection is kept.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// A server on `listener`. It runs its own workers; stop it through its handle.
///
/// # Errors
/// What binding the listener raises.
pub fn server(app: Arc<App>, listener: TcpListener) -> std::io::Result<Server> {
    let workers = app.config.listen.workers;
    let grace = app.config.limits.shutdown_grace.as_secs();
    let factory = move || {
        let (outer, inner) = (Arc::clone(&app), Arc::clone(&app));
        ActixApp::new()
            .wrap(Compress::default())
            .wrap(cors(&app))
            .wrap(from_fn(move |request, next| {
                observe(Arc::clone(&outer), request, next)
            }))
            .configure(move |services| configure(services, &inner))
    };
    let server = HttpServer::new(factory)
        .workers(workers)
        .keep_alive(KEEP_ALIVE)
        .client_request_timeout(HEAD_TIMEOUT)
        .client_disconnect_timeout(Duration::from_secs(1))
        .shutdown_timeout(grace)
        .disable_signals()
        .listen(listener)?
        .run();
    Ok(server)
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
        CorsOrigins::List(origins) => origins
            .iter()
            .fold(cors, |cors, origin| cors.allowed_origin(origin)),
    };
    if settings.allow_credentials {
        cors.supports_credentials()
    } else {
        cors
    }
}
