//! The ledger: its pure rules against an independent model, and the same rules on a real PostgreSQL.

#[cfg(test)]
mod budgets;
#[cfg(test)]
mod classes;
#[cfg(test)]
mod concurrency;
#[cfg(test)]
mod core_holds;
#[cfg(test)]
mod core_properties;
#[cfg(test)]
mod core_rules;
#[cfg(test)]
mod database_properties;
#[cfg(test)]
mod execute;
#[cfg(test)]
mod generator;
#[cfg(test)]
mod global_references;
#[cfg(test)]
mod history;
#[cfg(test)]
mod holds;
#[cfg(test)]
mod invariants;
#[cfg(test)]
mod journal;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod paging;
#[cfg(test)]
mod reads;
#[cfg(test)]
#[cfg(test)]
mod support;
#[cfg(test)]
mod verify;
