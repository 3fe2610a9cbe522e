//! `/api/v1/users/{user_id}/credits/...`

mod consume;
mod holds;
mod recharge;
mod transactions;
