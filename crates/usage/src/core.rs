//! Decisions without a database: pure, without I/O, clock or chance.

pub(crate) mod instant;
pub(crate) mod month;
pub(crate) mod rollup;
pub(crate) mod seeds;
pub(crate) mod slot_15m;
pub(crate) mod suggestion;
pub(crate) mod window;
