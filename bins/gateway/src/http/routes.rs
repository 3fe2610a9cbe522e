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

use std::{collections::HashMap, sync::LazyLock};

use super::route::{Access, Origin, Route};
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

/// The query parameters of a route that refuses others; `None` for one that ignores them (HTTP contract 1.1).
#[must_use]
pub fn known_parameters(route: &Route) -> Option<&'static [&'static str]> {
    static KNOWN: LazyLock<HashMap<&'static str, Vec<&'static str>>> = LazyLock::new(|| {
        let refuses =
            |route: &&Route| route.origin == Origin::Extension && route.path.starts_with("/api/v1/");
        table()
            .iter()
            .filter(refuses)
            .map(|route| (route.operation, (route.doc)().query_names().collect()))
            .collect()
    });
    KNOWN.get(route.operation).map(Vec::as_slice)
}
