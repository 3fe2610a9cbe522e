//! The public surface of `identity`, against a real PostgreSQL and a real HTTP server on loopback.

#[cfg(test)]
mod addresses;
#[cfg(test)]
mod key_server;
#[cfg(test)]
mod minting;
#[cfg(test)]
mod roles;
#[cfg(test)]
mod tokens;
#[cfg(test)]
mod users;
