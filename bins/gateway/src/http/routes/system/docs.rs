//! `GET /docs` and `GET /redoc`: the documentation as pages. Everything they load is embedded (ADR 0007).

use std::io::Read as _;

use actix_web::http::{Method, header};
use flate2::read::GzDecoder;
use rust_embed::RustEmbed;
use serde_json::{Value, json};

use crate::http::{
    call::{Call, path_parameter},
    catalogue,
    doc::Doc,
    error::ApiError,
    reply::Reply,
    route::{Access, BodyRule, Origin, Route},
};

#[derive(RustEmbed)]
#[folder = "assets/docs/"]
#[include = "*.html"]
#[include = "*.js"]
#[include = "*.css"]
#[include = "*.png"]
#[include = "*.gz"]
struct Assets;

/// No script, style or connection from anywhere else; the styles that the pages set themselves are allowed.
const POLICY: &str = "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; font-src 'self' data:; worker-src 'self' blob:; connect-src 'self'; frame-ancestors 'none'";

/// The page with Swagger UI.
#[must_use]
pub fn swagger_route() -> Route {
    Route {
        method: Method::GET,
        path: "/docs",
        access: Access::Anyone,
        body: BodyRule::Ignored,
        origin: Origin::Documented,
        operation: "docs",
        doc: || page_doc("Interactive documentation"),
        handler: |call| Box::pin(async move { page(&call, "docs.html") }),
    }
}

/// The page with Redoc.
#[must_use]
pub fn redoc_route() -> Route {
    Route {
        method: Method::GET,
        path: "/redoc",
        access: Access::Anyone,
        body: BodyRule::Ignored,
        origin: Origin::Documented,
        operation: "redoc",
        doc: || page_doc("Reference page"),
        handler: |call| Box::pin(async move { page(&call, "redoc.html") }),
    }
}

/// What the pages load.
#[must_use]
pub fn asset_route() -> Route {
    Route {
        method: Method::GET,
        path: "/docs/assets/{file}",
        access: Access::Anyone,
        body: BodyRule::Ignored,
        origin: Origin::Extension,
        operation: "docs_asset",
        doc: || {
            Doc::new("system", "A file of the documentation pages")
                .reply_as("application/octet-stream", json!({"type": "string"}), Value::Null)
                .errors(&[&catalogue::NOT_FOUND])
        },
        handler: |call| {
            Box::pin(async move {
                let file = path_parameter(&call.request, "file");
                // The pages have routes of their own, which add the security policy.
                if file.ends_with(".html") {
                    return Err(ApiError::new(&catalogue::NOT_FOUND));
                }
                Ok(serve(&call, &file)?.header(header::CACHE_CONTROL, "public, max-age=3600"))
            })
        },
    }
}

fn page_doc(summary: &'static str) -> Doc {
    Doc::new("system", summary).reply_as("text/html", json!({"type": "string"}), Value::Null)
}

fn page(call: &Call, file: &str) -> Result<Reply, ApiError> {
    Ok(serve(call, file)?.header(header::CONTENT_SECURITY_POLICY, POLICY))
}

/// Large files are embedded compressed and sent so to every client that takes gzip.
fn serve(call: &Call, file: &str) -> Result<Reply, ApiError> {
    let content_type = content_type(file);
    if let Some(plain) = Assets::get(file) {
        return Ok(Reply::of(content_type, plain.data.into_owned()));
    }
    let packed = Assets::get(&format!("{file}.gz")).ok_or_else(|| ApiError::new(&catalogue::NOT_FOUND))?;
    let varying = |reply: Reply| reply.header(header::VARY, "Accept-Encoding");
    if takes_gzip(call.header(&header::ACCEPT_ENCODING).unwrap_or_default()) {
        let reply = Reply::of(content_type, packed.data.into_owned());
        return Ok(varying(reply.header(header::CONTENT_ENCODING, "gzip")));
    }
    let mut plain = Vec::new();
    GzDecoder::new(&*packed.data)
        .read_to_end(&mut plain)
        .map_err(|error| {
            tracing::error!(file, error = %error, "an embedded file cannot be unpacked");
            ApiError::new(&catalogue::INTERNAL)
        })?;
    Ok(varying(Reply::of(content_type, plain)))
}

/// Whether an `Accept-Encoding` value lets gzip through; `q=0` does not.
fn takes_gzip(accept: &str) -> bool {
    accept.split(',').any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let weight = parts
            .find_map(|part| part.strip_prefix("q="))
            .map_or(Ok(1.0), str::parse::<f32>);
        is_gzip && weight.is_ok_and(|weight| weight > 0.0)
    })
}

fn content_type(file: &str) -> &'static str {
    match file.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("png") => "image/png",
        _ => "application/octet-stream",
    }
}
