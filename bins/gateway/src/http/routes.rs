//! The route table: every endpoint of the service, with its access rule (I9). One endpoint a file.

pub mod auth;
pub mod credits;
pub mod messages;
pub mod prices;
pub mod sessions;
pub mod subscriptions;
pub mod system;
pub mod usage;
pub mod users;

use std::sync::LazyLock;

use super::route::{Access, Route};
use crate::config::Config;

/// Every route, in the order of the documentation.
#[must_use]
pub fn table() -> &'static [Route] {
    static TABLE: LazyLock<Vec<Route>> = LazyLock::new(|| {
        vec![
            users::ensure::route(),
            users::me::route(),
            credits::consume::route(),
            credits::recharge::route(),
            credits::balance::route(),
            credits::transactions::route(),
            credits::account::route(),
            credits::grants::route(),
            credits::create_grant::route(),
            credits::refund::route(),
            credits::create_hold::route(),
            credits::holds::route(),
            credits::capture::route(),
            credits::release::route(),
            credits::budgets::route(),
            credits::set_budgets::route(),
            usage::record::route(),
            usage::batch::route(),
            usage::list::route(),
            usage::correct::route(),
            usage::explain::route(),
            usage::stats::route(),
            usage::timeseries::route(),
            usage::all_timeseries::route(),
            usage::summary::route(),
            usage::export::route(),
            usage::export_all::route(),
            prices::list::route(),
            prices::put::route(),
            sessions::create::route(),
            sessions::list::route(),
            sessions::set_status::route(),
            sessions::delete::route(),
            messages::add::route(),
            messages::list::route(),
            subscriptions::plans::route(),
            auth::dev_token::route(),
            system::health::route(),
            system::livez::route(),
            system::readyz::route(),
            system::metrics::route(),
            system::root::route(),
            system::openapi::route(),
            system::docs::swagger_route(),
            system::docs::redoc_route(),
            system::docs::asset_route(),
        ]
    });
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
