//! Credits as counters show them.

use std::sync::atomic::{AtomicU64, Ordering};

use kernel::Credits;

/// A sum of credits for a metric that counts whole ones: fractions are kept until they add up.
#[derive(Debug, Default)]
pub struct WholeCredits(AtomicU64);

/// Millionths of a credit.
const MICRO: u64 = 1_000_000;

impl WholeCredits {
    /// Adds an amount; returns by how many whole credits the sum has grown.
    pub fn add(&self, amount: Credits) -> u64 {
        let micro = u64::try_from(amount.micro()).unwrap_or(0);
        let before = self.0.fetch_add(micro, Ordering::Relaxed);
        (before.saturating_add(micro) / MICRO).saturating_sub(before / MICRO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_add_up() {
        let sum = WholeCredits::default();
        let grown: Vec<u64> =
            ["0.4", "0.5", "0.2", "2.9", "0"].map(|amount| sum.add(amount.parse().unwrap())).into();
        assert_eq!(grown, [0, 0, 1, 3, 0]);
    }
}
