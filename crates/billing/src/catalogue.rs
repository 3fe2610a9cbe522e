//! The plans as one answer.

use serde::{Serialize, Serializer};

use crate::{Plan, plans};

/// Everything the plan route answers; serializes to exactly the documented members in their order (HTTP contract 8.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PlanCatalogue {
    #[serde(serialize_with = "by_code")]
    plans: &'static [Plan],
    currency: &'static str,
    billing_cycle: &'static str,
}

/// The catalogue of all plans.
#[must_use]
pub fn catalogue() -> PlanCatalogue {
    PlanCatalogue { plans: plans(), currency: "USD", billing_cycle: "monthly" }
}

fn by_code<S: Serializer>(plans: &&'static [Plan], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(plans.iter().map(|plan| (plan.code, plan)))
}
