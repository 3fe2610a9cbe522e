//! The plans, as data.

use std::fmt;

use kernel::{Credits, Usd};
use serde::{Serialize, Serializer};

/// Name of a plan. Its text is part of the contract and is never changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PlanCode {
    /// The plan of new users.
    Free,
    /// For a person who works with it.
    Pro,
    /// For an organisation.
    Enterprise,
}

/// One plan. It serializes as a member of `plans` in HTTP contract 8.1; its code is the name of that member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The plan.
    #[serde(skip)]
    pub code: PlanCode,
    /// The name to show.
    pub name: &'static str,
    /// Price of a month.
    pub price_monthly: Usd,
    /// Credits of one period; a whole number.
    #[serde(serialize_with = "Credits::serialize_plain")]
    pub credits: Credits,
    /// Features, as words for the client to translate.
    pub features: &'static [&'static str],
    /// Length of one period, in days.
    pub duration_days: u16,
    /// True if it is the one to point out.
    pub recommended: bool,
}

/// All plans, cheapest first.
#[must_use]
pub fn plans() -> &'static [Plan] {
    &PLANS
}

const MICRO: i64 = 1_000_000;
const NANO: i64 = 1_000_000_000;

static PLANS: [Plan; 3] = [
    Plan {
        code: PlanCode::Free,
        name: "Free",
        price_monthly: Usd::ZERO,
        credits: Credits::from_micro(1_000 * MICRO),
        features: &["basic_ai", "limited_requests"],
        duration_days: 30,
        recommended: false,
    },
    Plan {
        code: PlanCode::Pro,
        name: "Pro",
        price_monthly: Usd::from_nano(20 * NANO),
        credits: Credits::from_micro(10_000 * MICRO),
        features: &["advanced_ai", "priority_support", "analytics"],
        duration_days: 30,
        recommended: true,
    },
    Plan {
        code: PlanCode::Enterprise,
        name: "Enterprise",
        price_monthly: Usd::from_nano(100 * NANO),
        credits: Credits::from_micro(50_000 * MICRO),
        features: &["premium_ai", "dedicated_support", "custom_models", "api_access"],
        duration_days: 30,
        recommended: false,
    },
];

impl PlanCode {
    /// The stable text: `free`, `pro`, `enterprise`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Pro => "pro",
            Self::Enterprise => "enterprise",
        }
    }
}

impl fmt::Display for PlanCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for PlanCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
