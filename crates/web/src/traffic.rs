//! Limits of clients: connections, memory for bodies, and the rates of each client.

use std::{io, sync::Arc, thread::available_parallelism};

use super::{
    bodies::Bodies, connections::Connections, rate_limit::RateLimits, settings::Settings,
    untrusted_proxy::UntrustedProxies,
};

/// The limits of all clients together, and what they take up now.
#[derive(Debug)]
pub struct Traffic {
    /// The request bodies in memory.
    pub bodies: Bodies,
    /// Requests and bytes of each caller.
    pub rate_limits: RateLimits,
    /// The open connections.
    pub connections: Arc<Connections>,
    /// Notices proxies that the settings do not name.
    pub(super) untrusted_proxies: UntrustedProxies,
}

impl Traffic {
    /// The limits of these settings. With [`Settings::redis`] it needs a tokio runtime.
    ///
    /// # Errors
    /// What the system raises.
    pub fn new(settings: &Settings) -> io::Result<Self> {
        // Room is left for the threads that serve requests.
        let readers = available_parallelism().map_or(1, |cores| cores.get() / 2);
        let connections = Connections::new(
            settings.connections,
            settings.connections_per_address,
            settings.trusted_proxies.clone(),
        );
        Ok(Self {
            bodies: Bodies::new(settings.body_bytes_in_flight, readers)?,
            rate_limits: settings
                .rate_limits
                .map_or_else(RateLimits::off, |rates| RateLimits::new(rates, settings.redis.as_ref())),
            connections: Arc::new(connections),
            untrusted_proxies: UntrustedProxies::default(),
        })
    }
}
