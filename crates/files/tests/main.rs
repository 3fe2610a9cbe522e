//! Files against real servers. One test binary, so that it is linked once.

#![cfg(test)]

mod content;
mod names;
mod objects;
mod removals;
