//! The settings of a service, as its configuration has read them.

use std::time::Duration;

use ipnet::IpNet;

use crate::rate_limit::{Policies, RedisUrl};

/// Settings of the HTTP of a service.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Worker threads.
    pub workers: usize,
    /// Longest time of a request.
    pub request_timeout: Duration,
    /// Longest time for running requests to finish when the process is asked to stop.
    pub shutdown_grace: Duration,
    /// Open connections in total; an address gets half of them at most.
    pub connections: usize,
    /// Open connections of one address.
    pub connections_per_address: usize,
    /// Proxies: their connections are not counted by address, and their `X-Forwarded-For` names the client.
    pub trusted_proxies: Vec<IpNet>,
    /// Bytes of request bodies held in memory at once.
    pub body_bytes_in_flight: u64,
    /// Rates of callers; `None` for no limits.
    pub rate_limits: Option<Policies>,
    /// The Redis server through which processes count together; `None` for each alone.
    pub redis: Option<RedisUrl>,
    /// Web pages that may call the service.
    pub cors: Cors,
}

/// Web pages that may call the service from a browser (HTTP contract 1.13).
#[derive(Debug, Clone, Default)]
pub struct Cors {
    /// Their origins.
    pub origins: CorsOrigins,
    /// True if browsers may send credentials; never together with [`CorsOrigins::Any`].
    pub allow_credentials: bool,
}

/// A set of web origins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CorsOrigins {
    /// All.
    Any,
    /// These, each as a browser writes it: `https://app.example.com`. Empty means none.
    List(Vec<String>),
}

impl Default for CorsOrigins {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

impl Default for Settings {
    /// One worker, requests of 30 seconds, 1,024 connections, 64 MiB of bodies, no pages of other origins.
    fn default() -> Self {
        Self {
            workers: 1,
            request_timeout: Duration::from_secs(30),
            shutdown_grace: Duration::from_secs(30),
            connections: 1_024,
            connections_per_address: 512,
            trusted_proxies: Vec::new(),
            body_bytes_in_flight: 64 * 1024 * 1024,
            rate_limits: None,
            redis: None,
            cors: Cors::default(),
        }
    }
}
