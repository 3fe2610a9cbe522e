//! `/api/v1/users/{user_id}/credits/...`

mod consume;
mod recharge;
mod transactions;
