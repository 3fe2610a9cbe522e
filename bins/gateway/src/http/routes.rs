//! The route table: every endpoint of the service, with its access rule (I9). One endpoint a file.

mod api_keys {
    pub mod body;
    pub mod create;
    pub mod list;
    pub mod revoke;
}
mod audit_events {
    pub mod list;
}
mod auth {
    pub mod change_password;
    pub mod confirm_email;
    pub mod dev_token;
    pub mod email_login;
    pub mod forgot_password;
    pub mod login;
    pub mod logout;
    pub mod message;
    pub mod refresh;
    pub mod register;
    pub mod reset_password;
    pub mod send_confirmation;
    pub mod tokens;
    pub mod verify;
    pub mod wechat_login;
}
mod billing {
    pub mod recharge;
    pub mod transactions;
}
mod chat {
    pub mod body;
    pub mod cancel;
    pub mod create_session;
    pub mod delete_session;
    pub mod events;
    pub mod list_messages;
    pub mod list_sessions;
    pub mod send;
    pub mod session_body;
    pub mod stream;
}
mod credits {
    pub mod account;
    pub mod balance;
    pub mod bodies;
    pub mod budgets;
    pub mod capture;
    pub mod consume;
    pub mod create_grant;
    pub mod create_hold;
    pub mod grants;
    pub mod holds;
    pub mod order;
    pub mod recharge;
    pub mod refund;
    pub mod release;
    pub mod set_budgets;
    pub mod transactions;
}
mod files {
    pub mod body;
    pub mod complete;
    pub mod delete;
    pub mod download;
    pub mod info;
    pub mod link;
    pub mod list;
    pub mod offer;
    pub mod quota;
    pub mod raw;
    pub mod reading;
    pub mod receive;
    pub mod upload;
}
mod messages {
    pub mod add;
    pub mod body;
    pub mod list;
    pub mod search;
}
mod prices {
    pub mod body;
    pub mod list;
    pub mod put;
}
mod profile {
    pub mod balance;
    pub mod body;
    pub mod get;
    pub mod set;
}
mod sessions {
    pub mod body;
    pub mod create;
    pub mod delete;
    pub mod get;
    pub mod list;
    pub mod set_status;
    pub mod update;
}
mod subscriptions {
    pub mod plans;
}
mod system {
    pub mod docs_asset;
    pub mod health;
    pub mod jwks;
    pub mod livez;
    pub mod metrics;
    pub mod openapi;
    pub mod readyz;
    pub mod redoc;
    pub mod root;
    pub mod swagger;
}
mod usage {
    pub mod all_timeseries;
    pub mod batch;
    pub mod cell;
    pub mod correct;
    pub mod explain;
    pub mod export;
    pub mod export_all;
    pub mod export_format;
    pub mod export_stream;
    pub mod filter;
    pub mod item;
    pub mod list;
    pub mod record;
    pub mod record_body;
    pub mod series_body;
    pub mod series_query;
    pub mod stats;
    pub mod summary;
    pub mod summary_body;
    pub mod timeseries;
}
mod users {
    pub mod body;
    pub mod ensure;
    pub mod erase;
    pub mod export;
    pub mod get;
    pub mod list;
    pub mod me;
    pub mod update;
}

use std::sync::LazyLock;

use actix_web::http::Method;

use super::route::{Access, BodyRule, Origin, Route};
use crate::config::Config;

/// Makes the table of its rows: method, path and file; operation, access rule, body and origin. The file has two functions:
/// `handle` is the endpoint, `doc` its documentation.
macro_rules! routes {
    ($($method:ident $path:literal => $group:ident::$file:ident::handle,
        $operation:literal, $access:ident, $body:ident, $origin:ident;)*) => {
        static TABLE: LazyLock<Vec<Route>> = LazyLock::new(|| {
            vec![$(Route {
                method: Method::$method,
                path: $path,
                access: Access::$access,
                body: BodyRule::$body,
                origin: Origin::$origin,
                operation: $operation,
                doc: $group::$file::doc,
                handler: |call| Box::pin($group::$file::handle(call)),
            }),*]
        });
    };
}

routes! {
    POST "/api/v1/users/ensure" => users::ensure::handle,
        "ensure_user", Newcomer, Json, Documented;
    GET "/api/v1/users/me" => users::me::handle,
        "get_current_user", NamedUser, Ignored, Documented;
    GET "/api/v1/users" => users::list::handle,
        "list_users", Staff, Ignored, Extension;
    GET "/api/v1/users/{user_id}" => users::get::handle,
        "get_user", HiddenPathUser, Ignored, Extension;
    PATCH "/api/v1/users/{user_id}" => users::update::handle,
        "update_user", OwnerOrAdmin, Json, Extension;
    DELETE "/api/v1/users/{user_id}" => users::erase::handle,
        "erase_user", OwnerOrAdmin, Ignored, Extension;
    GET "/api/v1/users/{user_id}/export" => users::export::handle,
        "export_user", OwnerOrAdmin, Ignored, Extension;
    POST "/api/v1/users/{user_id}/credits/consume" => credits::consume::handle,
        "consume_credits", PathUser, Json, Documented;
    POST "/api/v1/users/{user_id}/credits/recharge" => credits::recharge::handle,
        "recharge_credits", Recharge, Json, Documented;
    GET "/api/v1/users/{user_id}/credits/balance" => credits::balance::handle,
        "get_user_balance", PathUser, Ignored, Documented;
    GET "/api/v1/users/{user_id}/credits/transactions" => credits::transactions::handle,
        "list_transactions", PathUser, Ignored, Documented;
    GET "/api/v1/users/{user_id}/credits/account" => credits::account::handle,
        "get_credit_account", HiddenPathUser, Ignored, Extension;
    GET "/api/v1/users/{user_id}/credits/grants" => credits::grants::handle,
        "list_grants", HiddenPathUser, Ignored, Extension;
    POST "/api/v1/users/{user_id}/credits/grants" => credits::create_grant::handle,
        "create_grant", StaffForPathUser, Json, Extension;
    POST "/api/v1/users/{user_id}/credits/refund" => credits::refund::handle,
        "refund_charge", StaffForPathUser, Json, Extension;
    POST "/api/v1/users/{user_id}/credits/holds" => credits::create_hold::handle,
        "create_hold", HiddenPathUser, Json, Extension;
    GET "/api/v1/users/{user_id}/credits/holds" => credits::holds::handle,
        "list_holds", HiddenPathUser, Ignored, Extension;
    POST "/api/v1/users/{user_id}/credits/holds/{hold_id}/capture" => credits::capture::handle,
        "capture_hold", HiddenPathUser, Json, Extension;
    POST "/api/v1/users/{user_id}/credits/holds/{hold_id}/release" => credits::release::handle,
        "release_hold", HiddenPathUser, Ignored, Extension;
    GET "/api/v1/users/{user_id}/credits/budgets" => credits::budgets::handle,
        "get_budgets", HiddenPathUser, Ignored, Extension;
    PUT "/api/v1/users/{user_id}/credits/budgets" => credits::set_budgets::handle,
        "set_budgets", StaffForPathUser, Json, Extension;
    POST "/api/v1/users/{user_id}/usage" => usage::record::handle,
        "record_usage", Metering, Json, Documented;
    POST "/api/v1/usage/batch" => usage::batch::handle,
        "record_usage_batch", OwnThings, Batch, Documented;
    GET "/api/v1/users/{user_id}/usage" => usage::list::handle,
        "list_usage", PathUser, Ignored, Documented;
    POST "/api/v1/users/{user_id}/usage/{id}/correct" => usage::correct::handle,
        "correct_usage", StaffForPathUser, Json, Extension;
    GET "/api/v1/users/{user_id}/usage/{id}/explain" => usage::explain::handle,
        "explain_usage", HiddenPathUser, Ignored, Extension;
    GET "/api/v1/users/{user_id}/usage/stats" => usage::stats::handle,
        "get_usage_stats", PathUser, Ignored, Documented;
    GET "/api/v1/users/{user_id}/usage/timeseries" => usage::timeseries::handle,
        "get_usage_timeseries", HiddenPathUser, Ignored, Extension;
    GET "/api/v1/usage/timeseries" => usage::all_timeseries::handle,
        "get_all_usage_timeseries", Staff, Ignored, Extension;
    GET "/api/v1/usage/summary" => usage::summary::handle,
        "get_usage_summary", Staff, Ignored, Extension;
    GET "/api/v1/users/{user_id}/usage/export" => usage::export::handle,
        "export_usage", HiddenPathUser, Ignored, Extension;
    GET "/api/v1/usage/export" => usage::export_all::handle,
        "export_all_usage", Staff, Ignored, Extension;
    GET "/api/v1/prices" => prices::list::handle,
        "list_prices", AnyCaller, Ignored, Extension;
    PUT "/api/v1/prices" => prices::put::handle,
        "put_prices", Admin, Json, Extension;
    POST "/api/v1/users/{user_id}/sessions" => sessions::create::handle,
        "create_session", PathUser, Json, Documented;
    GET "/api/v1/users/{user_id}/sessions" => sessions::list::handle,
        "list_sessions", PathUser, Ignored, Documented;
    GET "/api/v1/sessions/{session_id}" => sessions::get::handle,
        "get_session", OwnThings, Ignored, Extension;
    PATCH "/api/v1/sessions/{session_id}" => sessions::update::handle,
        "update_session", OwnThings, Json, Extension;
    PUT "/api/v1/sessions/{session_id}/status" => sessions::set_status::handle,
        "update_session_status", OwnThings, Json, Documented;
    DELETE "/api/v1/sessions/{session_id}" => sessions::delete::handle,
        "delete_session", OwnThings, Ignored, Documented;
    POST "/api/v1/sessions/{session_id}/messages" => messages::add::handle,
        "add_message", OwnThings, Json, Documented;
    GET "/api/v1/sessions/{session_id}/messages" => messages::list::handle,
        "list_messages", OwnThings, Ignored, Documented;
    GET "/api/v1/users/{user_id}/messages/search" => messages::search::handle,
        "search_messages", HiddenPathUser, Ignored, Extension;
    POST "/api/v1/users/{user_id}/files/upload" => files::upload::handle,
        "upload_file", PathUser, Stream, Documented;
    GET "/api/v1/users/{user_id}/files" => files::list::handle,
        "list_files", PathUser, Ignored, Documented;
    DELETE "/api/v1/users/{user_id}/files" => files::delete::handle,
        "delete_file", PathUser, Ignored, Documented;
    GET "/api/v1/users/{user_id}/files/info" => files::info::handle,
        "get_file_info", PathUser, Ignored, Documented;
    GET "/api/v1/users/{user_id}/files/download" => files::download::handle,
        "download_file", HiddenPathUser, Ignored, Extension;
    POST "/api/v1/users/{user_id}/files/uploads" => files::offer::handle,
        "create_upload", HiddenPathUser, Json, Extension;
    POST "/api/v1/users/{user_id}/files/uploads/{upload_id}/complete" => files::complete::handle,
        "complete_upload", HiddenPathUser, Ignored, Extension;
    GET "/api/v1/users/{user_id}/files/quota" => files::quota::handle,
        "get_file_quota", HiddenPathUser, Ignored, Extension;
    GET "/files/raw/{file_id}" => files::raw::handle,
        "get_file_bytes", Anyone, Ignored, Extension;
    PUT "/files/uploads/{upload_id}" => files::receive::handle,
        "put_upload_bytes", Anyone, Stream, Extension;
    POST "/api/v1/api-keys" => api_keys::create::handle,
        "create_api_key", Admin, Json, Extension;
    GET "/api/v1/api-keys" => api_keys::list::handle,
        "list_api_keys", Admin, Ignored, Extension;
    DELETE "/api/v1/api-keys/{key_id}" => api_keys::revoke::handle,
        "revoke_api_key", Admin, Ignored, Extension;
    GET "/api/v1/audit-events" => audit_events::list::handle,
        "list_audit_events", Admin, Ignored, Extension;
    GET "/api/v1/subscriptions/plans" => subscriptions::plans::handle,
        "list_plans", Anyone, Ignored, Documented;
    POST "/api/auth/refresh" => auth::refresh::handle,
        "refresh_tokens", Anyone, Json, Extension;
    POST "/api/auth/logout" => auth::logout::handle,
        "log_out", OwnLogin, Json, Extension;
    POST "/api/auth/register" => auth::register::handle,
        "register", Login, Json, Documented;
    POST "/api/auth/email-login" => auth::email_login::handle,
        "email_login", Login, Json, Documented;
    POST "/api/auth/wechat-login" => auth::wechat_login::handle,
        "wechat_login", Login, Json, Documented;
    GET "/api/auth/verify" => auth::verify::handle,
        "verify", NamedUser, Ignored, Documented;
    POST "/api/auth/confirm-email" => auth::confirm_email::handle,
        "confirm_email", Login, Json, Extension;
    POST "/api/auth/forgot-password" => auth::forgot_password::handle,
        "forgot_password", Login, Json, Extension;
    POST "/api/auth/reset-password" => auth::reset_password::handle,
        "reset_password", Login, Json, Extension;
    POST "/api/auth/change-password" => auth::change_password::handle,
        "change_password", OwnLogin, Json, Extension;
    POST "/api/auth/send-confirmation" => auth::send_confirmation::handle,
        "send_confirmation", OwnLogin, Ignored, Extension;
    GET "/api/user/profile" => profile::get::handle,
        "get_profile", NamedUser, Ignored, Documented;
    PUT "/api/user/profile" => profile::set::handle,
        "set_profile", NamedUser, Json, Documented;
    GET "/api/user/balance" => profile::balance::handle,
        "get_balance", NamedUser, Ignored, Documented;
    POST "/api/sessions" => chat::create_session::handle,
        "create_chat_session", NamedUser, Json, Documented;
    GET "/api/sessions" => chat::list_sessions::handle,
        "list_chat_sessions", NamedUser, Ignored, Documented;
    DELETE "/api/sessions/{session_id}" => chat::delete_session::handle,
        "delete_chat_session", NamedUser, Ignored, Documented;
    GET "/api/sessions/{session_id}/messages" => chat::list_messages::handle,
        "list_chat_messages", NamedUser, Ignored, Documented;
    POST "/api/sessions/{session_id}/messages" => chat::send::handle,
        "send_message", NamedUser, Json, Documented;
    GET "/api/sessions/{session_id}/messages/{message_id}/stream" => chat::stream::handle,
        "stream_reply", NamedUser, Ignored, Extension;
    POST "/api/sessions/{session_id}/messages/{message_id}/cancel" => chat::cancel::handle,
        "cancel_reply", NamedUser, Ignored, Extension;
    POST "/api/billing/recharge" => billing::recharge::handle,
        "recharge_balance", NamedRecharge, Json, Documented;
    GET "/api/billing/transactions" => billing::transactions::handle,
        "list_balance_changes", NamedUser, Ignored, Documented;
    POST "/auth/dev-token" => auth::dev_token::handle,
        "create_dev_token", Development, Ignored, Documented;
    GET "/health" => system::health::handle,
        "health", Probe, Ignored, Documented;
    GET "/livez" => system::livez::handle,
        "livez", Probe, Ignored, Extension;
    GET "/readyz" => system::readyz::handle,
        "readyz", Probe, Ignored, Extension;
    GET "/metrics" => system::metrics::handle,
        "metrics", Metrics, Ignored, Documented;
    GET "/" => system::root::handle,
        "root", Anyone, Ignored, Extension;
    GET "/.well-known/jwks.json" => system::jwks::handle,
        "jwks", Anyone, Ignored, Extension;
    GET "/openapi.json" => system::openapi::handle,
        "openapi", Anyone, Ignored, Extension;
    GET "/docs" => system::swagger::handle,
        "docs", Anyone, Ignored, Documented;
    GET "/redoc" => system::redoc::handle,
        "redoc", Anyone, Ignored, Documented;
    GET "/docs/assets/{file}" => system::docs_asset::handle,
        "docs_asset", Anyone, Ignored, Extension;
}

/// Every route, in the order of the documentation.
#[must_use]
pub fn table() -> &'static [Route] {
    &TABLE
}

/// The routes that this configuration serves. A route that is switched off does not exist: 404, and in no document.
pub fn served(config: &Config) -> impl Iterator<Item = &'static Route> {
    let environment = config.app.environment;
    let metrics = config.metrics.enabled;
    table().iter().filter(move |route| match route.access {
        Access::Development => environment.is_development(),
        Access::Metrics => metrics,
        _ => true,
    })
}

/// The OpenAPI document of all routes, as it stands in `docs/openapi.json`.
#[must_use]
pub fn openapi_json() -> String {
    super::openapi::pretty_json(table())
}

#[cfg(test)]
mod tests {
    use kernel::{KeyAccess, Principal};
    use web::AccessRule as _;

    use super::*;

    #[test]
    fn a_key_that_may_only_read_calls_only_routes_that_read() {
        let key = |access| Principal::Key { name: "k".into(), access };
        let called = |access| {
            let routes = table().iter().filter(|route| route.access.is_authenticated());
            routes
                .filter(|route| route.fits_scope_of(&key(access)))
                .map(|route| route.operation)
                .collect::<Vec<_>>()
        };
        let reading = called(KeyAccess::Read);
        assert!(reading.contains(&"get_user_balance") && reading.contains(&"export_usage"));
        for writing in
            ["consume_credits", "record_usage_batch", "set_budgets", "ensure_user", "delete_session"]
        {
            assert!(!reading.contains(&writing), "{writing}");
            assert!(called(KeyAccess::Service).contains(&writing), "{writing}");
        }
    }
}
