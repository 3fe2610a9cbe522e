//! The one way into every route: the order of checks of HTTP contract 1.4, a time limit, and a guard against panics.

use std::{cell::Cell, rc::Rc, sync::Arc};

use actix_web::{
    HttpMessage, HttpRequest, HttpResponse,
    http::{
        Method,
        header::{self, HeaderValue},
    },
    web::{Bytes, BytesMut, Payload},
};
use futures_util::StreamExt;
use kernel::{Detail, UserId};

use super::{
    access,
    call::{Call, path_parameter},
    catalogue,
    error::{ApiError, ErrorContext},
    fault::{Fault, Place},
    fields::Fields,
    isolation::isolate,
    language::Language,
    observe::{self, RequestId},
    reply::Reply,
    route::{BodyRule, Route},
    routes::known_parameters,
};
use crate::app::App;

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
    let begun = Rc::new(Cell::new(false));
    // On the heap: the layers around it would copy it from one to the next.
    let work = Box::pin(run(
        Arc::clone(&app),
        route,
        request.clone(),
        payload,
        language,
        Rc::clone(&begun),
    ));
    // Once an unsafe request was handed over, a panic says nothing about what was committed, like a time-out. Reading its
    // fields is isolated on its own, see `Fields::read`.
    let may_be_done = || begun.get() && !is_safe(&route.method);
    let work = isolate(work, || match may_be_done() {
        true => ApiError::outcome_unknown(),
        false => ApiError::new(&catalogue::INTERNAL),
    });
    let result = match tokio::time::timeout(limit, work).await {
        Ok(result) => result,
        Err(_elapsed) if may_be_done() => Err(ApiError::outcome_unknown()),
        Err(_elapsed) => Err(ApiError::unavailable()),
    };
    let mut response = match result {
        Ok(reply) => in_language(reply.respond(), language),
        Err(error) => refuse(&app, &request, language, route.operation, error),
    };
    if route.access.is_authenticated() {
        response
            .headers_mut()
            .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
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
    let default = if is_chat {
        Language::Zh
    } else {
        app.config.app.default_language
    };
    let accept = request
        .headers()
        .get(header::ACCEPT_LANGUAGE)
        .and_then(|value| value.to_str().ok());
    Language::negotiate(accept, default)
}

async fn run(
    app: Arc<App>,
    route: &'static Route,
    request: HttpRequest,
    payload: Payload,
    language: Language,
    begun: Rc<Cell<bool>>,
) -> Result<Reply, ApiError> {
    let caller = access::admit(&app, route, &request).await?;
    let done = async {
        let body = match route.body {
            BodyRule::Ignored => Bytes::new(),
            rule => read_body(&request, payload, rule.bytes_max()).await?,
        };
        let mut fields = Fields::new(request.query_string(), &body);
        if let Some(known) = known_parameters(route) {
            fields.allow_only(known);
            if known.is_empty() && route.body == BodyRule::Ignored {
                // The endpoint reads nothing.
                fields.read(|_| Some(()))?;
            }
        }
        let (app, caller) = (Arc::clone(&app), caller.clone());
        let call = Call::new(app, request, language, route.operation, caller, fields);
        // From here on something may be done; before, nothing surely was.
        begun.set(true);
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

async fn read_body(request: &HttpRequest, mut payload: Payload, bytes_max: usize) -> Result<Bytes, ApiError> {
    let too_large = || {
        ApiError::new(&catalogue::PAYLOAD_TOO_LARGE).detail(
            "limit",
            Detail::Integer(i64::try_from(bytes_max).unwrap_or(i64::MAX)),
        )
    };
    let declared = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok());
    if declared
        .and_then(|text| text.parse::<usize>().ok())
        .is_some_and(|size| size > bytes_max)
    {
        return Err(too_large());
    }
    let encoding = request
        .headers()
        .get(header::CONTENT_ENCODING)
        .map(HeaderValue::as_bytes);
    let is_encoded = encoding.is_some_and(|name| !name.eq_ignore_ascii_case(b"identity"));
    if is_encoded
        || request
            .content_type()
            .to_ascii_lowercase()
            .starts_with("multipart/")
    {
        return Err(ApiError::new(&catalogue::UNSUPPORTED_MEDIA_TYPE));
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let Ok(chunk) = chunk else {
            let fault = Fault {
                kind: "json_invalid",
                loc: vec!["body".into(), Place::Position(body.len())],
                msg: "The body broke off".to_owned(),
                input: None,
            };
            return Err(ApiError::faults(vec![fault]));
        };
        if body.len().saturating_add(chunk.len()) > bytes_max {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}
