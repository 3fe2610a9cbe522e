//! `/api/v1/users/{user_id}/credits/...`

mod budgets;
mod busy;
mod consume;
mod holds;
mod keys;
mod recharge;
mod refund;
mod transactions;
