//! Real servers, real kills. One test binary, so that it is linked once.

#![cfg(test)]

mod crashes;
mod held;
mod lifecycle;
mod places;
mod support;
