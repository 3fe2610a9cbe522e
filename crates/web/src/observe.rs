//! The frame of every request, routed or not: its id, one log line, its metrics, and JSON for every error.

use std::{cell::Cell, rc::Rc, sync::Arc, time::Instant};

use actix_web::{
    Error, HttpMessage as _, HttpRequest,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    error::InternalError,
    http::{
        StatusCode,
        header::{self, HeaderMap, HeaderValue},
    },
    middleware::Next,
};

use super::{
    catalogue::{self, Entry},
    client_address::X_FORWARDED_FOR,
    error::{ApiError, ErrorContext},
    expect::GoOn,
    language::Language,
    passage::{Answer, Passage, method_label},
    refusal::{UNROUTED, language_of, refuse},
    reply::Streamed,
    request_id::{RequestId, Trace, X_REQUEST_ID},
    service::Service,
    watched::watched,
};

/// The outermost middleware.
///
/// # Errors
/// None of its own: errors of the inner layers become documented answers.
pub async fn observe<S: Service>(
    app: Arc<S>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let began = Instant::now();
    let id = RequestId::from_header(request.headers().get(X_REQUEST_ID))
        .unwrap_or_else(|| RequestId::new(&app.ids().uuid().to_string()));
    let route = Rc::new(Cell::new(None));
    request.extensions_mut().insert(Trace { id: id.clone(), route: Rc::clone(&route) });
    let mut passage = Passage::begin(request.method(), id.clone());
    if request.headers().contains_key(X_FORWARDED_FOR) {
        let trusted = &app.settings().trusted_proxies;
        app.traffic().untrusted_proxies.notice(request.peer_addr(), trusted, app.clock());
    }
    let mut response = match next.call(request).await {
        Ok(response) => documented(&*app, response.map_into_boxed_body()),
        Err(error) => {
            passage.answered();
            return Err(undocumented(&*app, &id, &error));
        }
    };
    if response.response().extensions().contains::<GoOn>() {
        passage.answered();
        return Ok(response);
    }
    let headers = response.headers_mut();
    if let Some(value) = id.header() {
        headers.insert(X_REQUEST_ID, value);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    vary_by_origin(headers);
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

/// An error of an inner layer that made no response. None is known to occur; the body is the documented one all the same.
fn undocumented<S: Service>(app: &S, id: &RequestId, error: &Error) -> Error {
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
        detail_language: Language::En,
        now: app.clock().now(),
    });
    if let Some(value) = id.header() {
        response.headers_mut().insert(X_REQUEST_ID, value);
    }
    vary_by_origin(response.headers_mut());
    InternalError::from_response("refused", response).into()
}

/// Keeps caches from answering one origin with what was made for another. An answer without an `Origin` varies, too (Fetch
/// standard, CORS protocol and HTTP caches).
fn vary_by_origin(headers: &mut HeaderMap) {
    const ORIGIN: &str = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";
    const LANGUAGE_AND_ORIGIN: HeaderValue = HeaderValue::from_static(
        "Accept-Language, Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
    );
    let texts = headers.get_all(header::VARY).filter_map(|value| value.to_str().ok());
    let mut names: Vec<&str> = Vec::with_capacity(4);
    for name in texts.flat_map(|text| text.split(',')).map(str::trim).chain([ORIGIN]) {
        if !names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            names.push(name);
        }
    }
    let value = match names[..] {
        // What nearly every answer has.
        ["Accept-Language", ORIGIN] => LANGUAGE_AND_ORIGIN,
        _ => HeaderValue::from_str(&names.join(", ")).unwrap_or(HeaderValue::from_static("*")),
    };
    headers.insert(header::VARY, value);
}

/// Errors of the framework and of middleware come as plain text; here they become the documented body.
fn documented<S: Service>(app: &S, response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
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

fn plain_error<S: Service>(app: &S, request: &HttpRequest, status: StatusCode) -> actix_web::HttpResponse {
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
