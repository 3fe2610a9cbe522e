//! `GET /docs` and `GET /redoc`: the documentation as pages. Everything they load is embedded (ADR 0007).

use std::{borrow::Cow, collections::HashMap, sync::LazyLock};

use actix_web::http::{Method, header};
use bytes::Bytes;
use rust_embed::RustEmbed;
use serde_json::{Value, json};

use crate::http::{call::path_parameter, packed::Packed, prelude::*};

#[derive(RustEmbed)]
#[folder = "assets/docs/"]
#[include = "*.html"]
#[include = "*.js"]
#[include = "*.css"]
#[include = "*.png"]
#[include = "*.gz"]
struct Assets;

/// The files that are embedded packed, by the name that they have unpacked.
static PACKED: LazyLock<HashMap<String, Packed>> = LazyLock::new(|| {
    let of = |name: &str| {
        let file = Assets::get(&format!("{name}.gz"))?;
        Some((name.to_owned(), Packed::of_gzip(embedded(file.data))))
    };
    Assets::iter().filter_map(|name| of(name.strip_suffix(".gz")?)).collect()
});

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

/// Large files are embedded packed and sent so to every client that takes gzip.
fn serve(call: &Call, file: &str) -> Result<Reply, ApiError> {
    let content_type = content_type(file);
    if let Some(plain) = Assets::get(file) {
        return Ok(Reply::of(content_type, embedded(plain.data)));
    }
    let packed = PACKED.get(file).ok_or_else(|| ApiError::new(&catalogue::NOT_FOUND))?;
    packed.reply(call, content_type)
}

/// The bytes of a file; those in the binary are not copied.
fn embedded(data: Cow<'static, [u8]>) -> Bytes {
    match data {
        Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        Cow::Owned(bytes) => bytes.into(),
    }
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
