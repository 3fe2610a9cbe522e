//! The harness itself, through its public surface.

#![cfg(test)]

mod databases;
