//! The documentation as pages: Swagger UI and Redoc. Everything they load is embedded (ADR 0007).
//!
//! The pages expect the document at `/openapi.json` and their files below `/docs/assets/`.

use std::{borrow::Cow, collections::HashMap, sync::LazyLock};

use actix_web::http::header;
use bytes::Bytes;
use rust_embed::RustEmbed;

use super::{call::Call, catalogue, error::ApiError, packed::Packed, reply::Reply, service::Service};

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

/// The page with Swagger UI, under this title.
///
/// # Errors
/// 404 `NotFoundException` if it is not embedded.
pub fn swagger(title: &str) -> Result<Reply, ApiError> {
    page("docs.html", title)
}

/// The page with Redoc, under this title.
///
/// # Errors
/// 404 `NotFoundException` if it is not embedded.
pub fn redoc(title: &str) -> Result<Reply, ApiError> {
    page("redoc.html", title)
}

/// A file that the pages load.
///
/// # Errors
/// 404 `NotFoundException`, also for the pages: they have routes of their own, which add the security policy.
pub fn asset<S: Service>(call: &Call<S>, file: &str) -> Result<Reply, ApiError> {
    if file.ends_with(".html") {
        return Err(ApiError::new(&catalogue::NOT_FOUND));
    }
    Ok(serve(call, file)?.header(header::CACHE_CONTROL, "public, max-age=3600"))
}

fn page(file: &str, title: &str) -> Result<Reply, ApiError> {
    let page = Assets::get(file).ok_or_else(|| ApiError::new(&catalogue::NOT_FOUND))?;
    let page = String::from_utf8_lossy(&page.data).replace("{title}", title);
    Ok(Reply::new(content_type(file), page).header(header::CONTENT_SECURITY_POLICY, POLICY))
}

/// Large files are embedded packed and sent so to every client that takes gzip.
fn serve<S: Service>(call: &Call<S>, file: &str) -> Result<Reply, ApiError> {
    let content_type = content_type(file);
    if let Some(plain) = Assets::get(file) {
        return Ok(Reply::new(content_type, embedded(plain.data)));
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
