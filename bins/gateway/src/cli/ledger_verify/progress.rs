//! Progress of the audit, on one line of the terminal that is overwritten. Elsewhere nothing is shown.

use std::time::Instant;

use flows::verify::{Report, Stage};

use crate::cli::terminal_line::TerminalLine;

const BAR_CHARS: u64 = 30;

/// A line on stderr.
#[derive(Debug)]
pub(super) struct Progress {
    line: TerminalLine,
    began: Instant,
    /// Number of rows to audit.
    expected: Report,
}

impl Progress {
    /// Nothing if stderr is no terminal.
    pub(super) fn on_terminal() -> Option<Self> {
        TerminalLine::on_terminal().map(|line| Self {
            line,
            began: Instant::now(),
            expected: Report::default(),
        })
    }

    /// Says how much there is; more may come while it is audited.
    pub(super) fn expect(&mut self, expected: Report) {
        self.expected = expected;
    }

    /// Shows how far `report` is.
    pub(super) fn show(&self, stage: Stage, report: &Report) {
        let milliseconds = self.began.elapsed().as_millis().max(1);
        let rows = u128::from(report.entries).saturating_add(report.records.into());
        let a_second = rows.saturating_mul(1_000) / milliseconds;
        self.line.show(&format!("{}, {a_second} rows a second", line(stage, report, &self.expected)));
    }

    /// Takes the line away.
    pub(super) fn clear(&self) {
        self.line.clear();
    }
}

fn line(stage: Stage, report: &Report, expected: &Report) -> String {
    let (what, done, of) = match stage {
        Stage::Ledger => ("accounts", report.accounts, expected.accounts),
        Stage::Usage | Stage::Charges | Stage::Done => ("usage records", report.records, expected.records),
    };
    let of = of.max(done).max(1);
    let chars = done.saturating_mul(BAR_CHARS) / of;
    let bar: String = (0..BAR_CHARS).map(|place| if place < chars { '#' } else { '.' }).collect();
    let percent = done.saturating_mul(100) / of;
    let mut line = format!("[{bar}] {percent:3} % of {of} {what}");
    if !report.is_clean() {
        line.push_str(&format!(", {} VIOLATIONS", report.found));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_fills_up_and_tells_violations() {
        let at = |accounts, found| Report { accounts, found, ..Report::default() };
        let expected = Report { records: 1_000, ..at(200, 0) };
        let ledger = |report: &Report| line(Stage::Ledger, report, &expected);
        assert_eq!(ledger(&at(0, 0)), "[..............................]   0 % of 200 accounts");
        assert_eq!(ledger(&at(100, 0)), "[###############...............]  50 % of 200 accounts");
        assert_eq!(
            ledger(&at(300, 2)),
            "[##############################] 100 % of 300 accounts, 2 VIOLATIONS"
        );
        let usage = Report { records: 500, ..at(200, 0) };
        assert_eq!(
            line(Stage::Usage, &usage, &expected),
            "[###############...............]  50 % of 1000 usage records"
        );
        assert!(line(Stage::Ledger, &at(0, 0), &Report::default()).contains("  0 %"));
    }
}
