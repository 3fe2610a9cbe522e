//! `/api/v1/usage/...`

mod export;
mod recorded_by;
mod summary;
mod timeseries;
