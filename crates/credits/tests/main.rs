//! The ledger: its pure rules against an independent model, and the same rules on a real PostgreSQL.

#![cfg(test)]

mod budgets;
mod classes;
mod concurrency;
mod cool;
mod core_holds;
mod core_properties;
mod core_rules;
mod database_properties;
mod execute;
mod generator;
mod global_references;
mod history;
mod holds;
mod invariants;
mod journal;
mod memory;
mod oracle;
mod paging;
mod reads;
mod spend;
mod support;
mod transaction_ids;
mod verify;
