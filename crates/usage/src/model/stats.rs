//! What records sum up to.

use std::collections::BTreeMap;

use kernel::{Credits, Usd};

/// Sums and counts of the records a filter matches (HTTP contract 4.3). Without records: zeros and empty maps.
///
/// The maps count records; records without the value are left out of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stats {
    /// How many records there are.
    pub total_records: i64,
    /// What they were charged with.
    pub total_credits_charged: Credits,
    /// What the providers take.
    pub total_cost_usd: Usd,
    /// All tokens.
    pub total_tokens_used: i64,
    /// Records by kind of event.
    pub by_event_type: BTreeMap<String, i64>,
    /// Records by model.
    pub by_model: BTreeMap<String, i64>,
    /// Records by provider.
    pub by_provider: BTreeMap<String, i64>,
}
