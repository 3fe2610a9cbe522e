//! `/api/v1/users/{user_id}/credits/...`

mod budgets;
mod busy;
mod classes;
mod consume;
mod global_references;
mod holds;
mod keys;
mod recharge;
mod refund;
mod transactions;
