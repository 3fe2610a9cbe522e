//! Real servers, real failures. One test binary, so that it is linked once.
//!
//! What is shown here is what the domains rely on: a transaction is whole or not at all, failures are told apart by what a
//! caller can do, batches lose nothing.

#[cfg(test)]
mod coalescer;
#[cfg(test)]
mod columns;
#[cfg(test)]
mod committer;
#[cfg(test)]
mod errors;
#[cfg(test)]
mod held;
#[cfg(test)]
mod isolation;
#[cfg(test)]
mod migrations;
#[cfg(test)]
mod note_work;
#[cfg(test)]
mod poolers;
#[cfg(test)]
mod pools;
#[cfg(test)]
mod probe;
#[cfg(test)]
mod server;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod shares;
#[cfg(test)]
mod silence;
#[cfg(test)]
mod statements;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod transactions;
#[cfg(test)]
mod urls;
#[cfg(test)]
mod workers;
