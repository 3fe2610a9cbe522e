//! `/api/v1/usage/...`

mod summary;
mod timeseries;
