//! Sums of records.

use std::collections::BTreeMap;

use kernel::{CreditsSum, UsdSum};

use crate::Coverage;

/// Sums and counts of the records a filter matches (HTTP contract 4.3). Without records: zeros and empty maps.
///
/// Sums are wider than what they add up, so that they are exact for any number of records. The maps count records; records without the value are left out of them, and so
/// are values of which every record was taken back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stats {
    /// Number of records.
    pub total_records: i64,
    /// Their charges.
    pub total_credits_charged: CreditsSum,
    /// Credits that their charges took from balances. A corrected record took nothing; other refunds do not count.
    pub total_credits_deducted: CreditsSum,
    /// Cost of the providers.
    pub total_cost_usd: UsdSum,
    /// All tokens.
    pub total_tokens_used: i128,
    /// Records by kind of event.
    pub by_event_type: BTreeMap<String, i64>,
    /// Records by model.
    pub by_model: BTreeMap<String, i64>,
    /// Records by provider.
    pub by_provider: BTreeMap<String, i64>,
    /// Scope of the sums.
    pub coverage: Coverage,
}
