//! `/api/v1/usage/...`

mod timeseries;
