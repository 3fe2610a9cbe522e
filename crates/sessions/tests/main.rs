//! Sessions against a real PostgreSQL. One test binary, so that it is linked once.

#![cfg(test)]

mod access;
mod adding;
mod batches;
mod deleting;
mod expiry;
mod finding;
mod paging;
mod parallel;
mod replies;
mod schema;
mod searching;
mod status;
mod support;
