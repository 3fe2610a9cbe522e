//! The OpenAPI document of this service, generated from the route table and the types it answers with.

use serde_json::Value;
use web::openapi::{About, document};

use crate::{app::App, config::Config, http::route::Route};

/// The document as JSON text, under the name and version that the configuration gives the service.
///
/// It lists exactly these routes.
#[must_use]
pub fn json(config: &Config, routes: &[&'static Route]) -> String {
    document::<App>(&about(&config.app.name, &config.app.version), routes.iter().copied()).to_string()
}

/// The document, indented, as it stands in `docs/openapi.json`.
#[must_use]
pub fn pretty_json(routes: &'static [Route]) -> String {
    let document: Value = document::<App>(&about(NAME, env!("CARGO_PKG_VERSION")), routes);
    let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
    text.push('\n');
    text
}

fn about<'a>(title: &'a str, version: &'a str) -> About<'a> {
    About { title, version, description: DESCRIPTION, tags: TAGS, parameters: PARAMETERS, tokens: TOKENS }
}

/// Name of the service where no configuration is at hand.
const NAME: &str = "User Management Service";

const DESCRIPTION: &str = "Users, credits, usage and sessions of an AI product, behind one HTTP API.\n\n\
Errors have the shape of `Error`, whose `error_code` lists the codes, except a 503 of `/health` and `/readyz`, which has the shape of \
their 200. A JSON body has at most 32 levels of nesting, no key twice in one object, and numbers between -1.8e308 and \
1.8e308. Amounts are exact decimal \
numbers. Times are UTC with microseconds. `message` follows `Accept-Language` (English, Chinese). A list that goes on \
answers `X-Next-Cursor`. Unknown query parameters are ignored on the documented routes; where `x-closed-query` is true they \
are 422 `extra_forbidden`.";

const TAGS: &[(&str, &str)] = &[
    ("users", "Users."),
    ("credits", "Balances, grants, holds and budgets."),
    ("usage", "Usage records and statistics."),
    ("prices", "Prices of models."),
    ("sessions", "Conversations and messages."),
    ("subscriptions", "Plans."),
    ("auth", "Tokens for development."),
    ("administration", "API keys and the audit log."),
    ("system", "Health, metrics and documentation."),
];

/// Name, description and example.
const PARAMETERS: &[(&str, &str, &str)] = &[
    ("user_id", "The user's external id, raw or percent-encoded.", "auth0|test123"),
    ("hold_id", "The hold's id.", "0b6f2a9e-5a3e-4f57-9f0e-6a4c1f8f6f10"),
    ("key_id", "The id of the API key.", "0190a6c8-1c2b-4def-8abc-0123456789ab"),
    ("session_id", "The session's id.", "4da97cfa-b95f-4898-8b7d-2786ff703ce0"),
    ("message_id", "The id of the message of the assistant.", "ad941213-9d10-4be0-9052-5665fd5fa033"),
    ("upload_id", "The id of the direct upload.", "f7d8e9a1-3f7c-4c9e-9a51-0a1b2c3d4e5f"),
    ("file_id", "The id of the file.", "f7d8e9a1-3f7c-4c9e-9a51-0a1b2c3d4e5f"),
    ("id", "The number of the usage record.", "123"),
    ("file", "A file of the pages `/docs` and `/redoc`.", "swagger-ui.css"),
];

const TOKENS: &str = "A token of a configured issuer; in development one from `POST /auth/dev-token`.";
