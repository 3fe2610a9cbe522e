//! What clients see of the plans.

#![cfg(test)]

mod catalogue;
