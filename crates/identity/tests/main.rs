//! The public surface of `identity`, against a real PostgreSQL and a real HTTP server on loopback.

#![cfg(test)]

mod addresses;
mod api_keys;
mod audit;
mod credentials;
mod identities;
mod key_server;
mod logins;
mod mails;
mod minting;
mod roles;
mod seal;
mod signing_keys;
mod statuses;
mod tokens;
mod user_lists;
mod users;
mod wechat;
