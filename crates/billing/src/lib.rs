#![doc = include_str!("../README.md")]
#![deny(clippy::as_conversions, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

pub mod catalogue;
pub mod plan;

pub use catalogue::{PlanCatalogue, catalogue};
pub use plan::{Plan, PlanCode, plans};
