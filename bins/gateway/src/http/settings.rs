//! The settings of HTTP that follow from the configuration and from the limits of the process.

use std::io;

use web::{
    Settings, Traffic,
    rate_limit::{Policies, Policy},
};

use crate::{
    config::{Config, RateLimits},
    descriptors,
};

/// The settings of the HTTP of this configuration.
#[must_use]
pub fn settings(config: &Config) -> Settings {
    Settings {
        workers: config.listen.workers,
        request_timeout: config.limits.request_timeout,
        shutdown_grace: config.limits.shutdown_grace,
        connections: descriptors::for_connections(config.database.pool_size),
        connections_per_address: config.limits.connections_per_address,
        trusted_proxies: config.limits.trusted_proxies.clone(),
        body_bytes_in_flight: config.limits.body_bytes_in_flight,
        rate_limits: config.rate_limits.as_ref().map(policies),
        redis: config.rate_limits.as_ref().and_then(|rates| rates.redis.clone()),
        cors: config.cors.clone(),
    }
}

fn policies(rates: &RateLimits) -> Policies {
    Policies {
        user: Policy::per_second("user", rates.user_per_second, rates.user_burst),
        anonymous: Policy::per_second("anonymous", rates.anonymous_per_second, rates.anonymous_burst),
        login: Policy::per_minute("login", rates.logins_per_minute),
        bytes: Policy { class: "bytes", burst: rates.bytes_burst, per_minute: rates.bytes_per_minute },
    }
}

/// The limits of all clients together.
///
/// # Errors
/// The error of the system.
pub fn traffic(settings: &Settings) -> io::Result<Traffic> {
    let traffic = Traffic::new(settings)?;
    let connections = &traffic.connections;
    if connections.address_max() < settings.connections_per_address {
        tracing::info!(
            total = connections.total_max(),
            of_one_address = connections.address_max(),
            "the limit of open files leaves one address fewer connections than CONNECTIONS_PER_ADDRESS"
        );
    }
    Ok(traffic)
}
