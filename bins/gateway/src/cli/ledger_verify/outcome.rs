//! Result of an audit, for people and for programs.

use std::time::Duration;

use flows::verify::{Report, Violation};
use kernel::rfc3339;
use serde_json::{Value, json};

use crate::cli::failure::Failure;

/// Most violations that are told in sentences; programs get all that the audit keeps.
const LINES_MAX: usize = 20;

/// The result, and how long it took.
#[derive(Debug)]
pub(super) struct Outcome {
    report: Report,
    took: Duration,
}

impl Outcome {
    pub(super) fn new(report: Report, took: Duration) -> Self {
        Self { report, took }
    }

    /// A summary, then the violations.
    pub(super) fn text(&self) -> String {
        let Report { accounts, entries, records, found, violations } = &self.report;
        let verdict = if self.report.is_clean() {
            "the books are clean".to_owned()
        } else {
            format!("{found} violations")
        };
        let mut text = format!(
            "{accounts} accounts with {entries} entries and {records} usage records in {:.1} s ({} rows a second): {verdict}",
            self.took.as_secs_f64(),
            self.rows_a_second()
        );
        for violation in violations.iter().take(LINES_MAX) {
            text.push_str(&format!("\n  {violation}"));
        }
        if violations.len() > LINES_MAX {
            text.push_str("\n  ... --json tells more");
        }
        text
    }

    /// One object on one line. Figures are integers; `violations_found` may be more than are listed.
    pub(super) fn json(&self) -> String {
        let violations: Vec<Value> = self.report.violations.iter().map(violation).collect();
        json!({
            "clean": self.report.is_clean(),
            "accounts": self.report.accounts,
            "entries": self.report.entries,
            "usage_records": self.report.records,
            "violations_found": self.report.found,
            "violations": violations,
            "duration_ms": u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
            "rows_per_second": self.rows_a_second(),
        })
        .to_string()
    }

    /// A failure if anything has drifted, which names the first drift.
    pub(super) fn verdict(&self) -> Result<(), Failure> {
        match self.report.violations.first() {
            None => Ok(()),
            Some(first) => Err(Failure::Drifted { first: first.to_string(), found: self.report.found }),
        }
    }

    fn rows_a_second(&self) -> u64 {
        let rows = u128::from(self.report.entries).saturating_add(self.report.records.into());
        u64::try_from(rows.saturating_mul(1_000) / self.took.as_millis().max(1)).unwrap_or(u64::MAX)
    }
}

fn violation(violation: &Violation) -> Value {
    json!({
        "rule": violation.rule,
        "account": violation.user_id,
        "seq": violation.seq,
        "at": violation.at.map(rfc3339),
        "detail": violation.detail,
    })
}
