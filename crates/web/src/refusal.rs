//! An error as the answer to a request.

use actix_web::{HttpRequest, HttpResponse, http::header};
use kernel::UserId;

use super::{
    call::path_parameter,
    error::{ApiError, ErrorContext},
    language::Language,
    request_id::RequestId,
    service::Service,
};

/// `operation` in the error body of a request that reached no route.
pub const UNROUTED: &str = "unrouted";

/// The documented body for an error of this request.
pub fn refuse<S: Service>(
    app: &S,
    request: &HttpRequest,
    language: Language,
    operation: &str,
    error: ApiError,
) -> HttpResponse {
    let user_id: Option<UserId> = path_parameter(request, "user_id").parse().ok();
    error.respond(&ErrorContext {
        operation,
        user_id: user_id.as_ref(),
        request_id: &RequestId::from_request(request),
        language,
        detail_language: app.detail_language(request.path(), language),
        now: app.clock().now(),
    })
}

/// The language of a request: what it accepts, else the default of its path.
pub fn language_of<S: Service>(app: &S, request: &HttpRequest) -> Language {
    let accept = request.headers().get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    Language::negotiate(accept, app.default_language(request.path()))
}
