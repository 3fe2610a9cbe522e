//! `GET /docs` and `GET /redoc`: the documentation as pages. Everything they load is embedded (ADR 0007).

use actix_web::http::Method;
use serde_json::{Value, json};
use web::pages;

use crate::http::{call::path_parameter, prelude::*};

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
        handler: |_call| Box::pin(async { pages::swagger("User service API") }),
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
        handler: |_call| Box::pin(async { pages::redoc("User service API reference") }),
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
        handler: |call| Box::pin(async move { pages::asset(&call, &path_parameter(&call.request, "file")) }),
    }
}

fn page_doc(summary: &'static str) -> Doc {
    Doc::new("system", summary).reply_as("text/html", json!({"type": "string"}), Value::Null)
}
