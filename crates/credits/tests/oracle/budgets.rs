//! Budgets, as naively: what was spent is added up from all rows, every time.

use super::{Oracle, Row};

/// A limit for every so many seconds, or once and for all.
#[derive(Debug, Clone, Copy)]
pub struct Allowance {
    pub limit: i128,
    pub seconds: Option<i64>,
}

impl Oracle {
    /// What was charged in the present window and not given back since.
    pub fn spent(&self, allowance: Allowance) -> i128 {
        let window = |at: i64| allowance.seconds.map(|seconds| at.div_euclid(seconds));
        let present = |row: &Row| window(row.at) == window(self.time);
        let mut sum = 0;
        for row in &self.rows {
            match (row.kind, row.gives_back) {
                ("consume" | "capture", _) if present(row) => sum += row.amount,
                (_, Some(charge)) if present(&self.rows[charge]) => sum -= row.amount,
                _ => {}
            }
        }
        sum
    }

    /// What all budgets still allow.
    pub(super) fn allowed(&self) -> i128 {
        let left = |allowance: &Allowance| allowance.limit - self.spent(*allowance) - self.kept();
        self.allowances.iter().map(left).min().unwrap_or(i128::MAX).max(0)
    }
}
