//! Bodies compressed for clients that accept it, where that saves packets.

use actix_http::encoding::Encoder;
use actix_web::{
    Error, HttpMessage as _, HttpResponse,
    body::{BodySize, BoxBody, MessageBody},
    dev::{RequestHead, ServiceRequest, ServiceResponse},
    http::header::{self, AcceptEncoding, ContentEncoding, Encoding, HeaderValue},
    middleware::Next,
};

use super::reply::Exact;

/// Smallest body that is compressed, in bytes: a smaller one fits in a packet as it is, and compressing it takes longer than
/// everything else that a request needs.
const BYTES_MIN: u64 = 1_024;

/// Encodings of bodies, the most preferred first among equals.
const OFFERED: [Encoding; 3] = [Encoding::identity(), Encoding::gzip(), Encoding::deflate()];

/// Returns true if a request says which encodings it accepts.
pub(super) fn accepts_encodings(request: &RequestHead) -> bool {
    request.headers.contains_key(header::ACCEPT_ENCODING)
}

/// Compresses the body of the answer if that is what the client prefers.
///
/// # Errors
/// What the inner layers raise.
pub(super) async fn compress(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    // A header that cannot be read counts as none.
    let Some(accepted) = request.get_header::<AcceptEncoding>() else {
        return Ok(next.call(request).await?.map_into_boxed_body());
    };
    let Some(Encoding::Known(preferred)) = accepted.negotiate(OFFERED.iter()) else {
        let refused = HttpResponse::NotAcceptable().insert_header((header::VARY, "Accept-Encoding")).finish();
        return Ok(request.into_response(refused));
    };
    let accepts_plain = || accepted.negotiate([Encoding::identity()].iter()).is_some();
    let response = next.call(request).await?;
    let is_exact = response.response().extensions().contains::<Exact>();
    Ok(response.map_body(|head, body| {
        let is_small = matches!(body.size(), BodySize::None | BodySize::Sized(..BYTES_MIN));
        if preferred == ContentEncoding::Identity
            || is_exact
            || is_packed(head.headers.get(header::CONTENT_TYPE))
            || is_small && accepts_plain()
        {
            return body.boxed();
        }
        BoxBody::new(Encoder::response(preferred, head, body))
    }))
}

/// Returns true for types whose content is compressed already.
fn is_packed(content_type: Option<&HeaderValue>) -> bool {
    let starts = |kind: &str| content_type.is_some_and(|value| value.as_bytes().starts_with(kind.as_bytes()));
    starts("video/") || starts("image/") && !starts("image/svg")
}
