//! Sessions against a real PostgreSQL. One test binary, so that it is linked once.

#[cfg(test)]
mod access;
#[cfg(test)]
mod adding;
#[cfg(test)]
mod batches;
#[cfg(test)]
mod deleting;
#[cfg(test)]
mod expiry;
#[cfg(test)]
mod finding;
#[cfg(test)]
mod paging;
#[cfg(test)]
mod parallel;
#[cfg(test)]
mod schema;
#[cfg(test)]
#[cfg(test)]
mod status;
#[cfg(test)]
mod support;
