//! `/api/v1/usage/...`

mod export;
mod summary;
mod timeseries;
