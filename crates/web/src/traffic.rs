//! What clients may take up of the process: connections, memory for bodies, and how much each may send.

use std::{io, sync::Arc, thread::available_parallelism};

use super::{bodies::Bodies, connections::Connections, rate_limit::RateLimits};
use crate::{config::Config, descriptors};

/// The limits of all clients together, and what they take up now.
#[derive(Debug)]
pub struct Traffic {
    /// The request bodies in memory.
    pub bodies: Bodies,
    /// How much callers may send.
    pub rate_limits: RateLimits,
    /// The open connections.
    pub connections: Arc<Connections>,
}

impl Traffic {
    /// The limits of this configuration.
    ///
    /// # Errors
    /// What the system raises.
    pub fn new(config: &Config) -> io::Result<Self> {
        let limits = &config.limits;
        // Room is left for the threads that serve requests.
        let readers = available_parallelism().map_or(1, |cores| cores.get() / 2);
        let connections = Connections::new(
            descriptors::for_connections(config.database.pool_size),
            limits.connections_per_address,
            limits.trusted_proxies.clone(),
        );
        if connections.address_max() < limits.connections_per_address {
            tracing::info!(
                total = connections.total_max(),
                of_one_address = connections.address_max(),
                "the limit of open files leaves one address fewer connections than CONNECTIONS_PER_ADDRESS"
            );
        }
        Ok(Self {
            bodies: Bodies::new(limits.body_bytes_in_flight, readers)?,
            rate_limits: RateLimits::new(&config.rate_limits),
            connections: Arc::new(connections),
        })
    }
}
