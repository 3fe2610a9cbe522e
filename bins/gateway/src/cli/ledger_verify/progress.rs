//! How far the audit has come, on one line of the terminal that is overwritten. Elsewhere nothing is shown.

use std::time::Instant;

use credits::verify::Report;

use crate::cli::terminal_line::TerminalLine;

const BAR_CHARS: u64 = 30;

/// A line on stderr.
#[derive(Debug)]
pub(super) struct Progress {
    line: TerminalLine,
    began: Instant,
    accounts: u64,
}

impl Progress {
    /// Nothing if stderr is no terminal.
    pub(super) fn on_terminal() -> Option<Self> {
        TerminalLine::on_terminal().map(|line| Self {
            line,
            began: Instant::now(),
            accounts: 0,
        })
    }

    /// Says how many accounts there are; more may come while they are audited.
    pub(super) fn expect(&mut self, accounts: u64) {
        self.accounts = accounts;
    }

    /// Shows how far `report` is.
    pub(super) fn show(&self, report: &Report) {
        let seconds = self.began.elapsed().as_millis().max(1);
        let a_second = u128::from(report.entries).saturating_mul(1_000) / seconds;
        self.line.show(&format!(
            "{}, {a_second} entries a second",
            line(report, self.accounts)
        ));
    }

    /// Takes the line away.
    pub(super) fn clear(&self) {
        self.line.clear();
    }
}

fn line(report: &Report, accounts: u64) -> String {
    let accounts = accounts.max(report.accounts).max(1);
    let done = report.accounts.saturating_mul(BAR_CHARS) / accounts;
    let bar: String = (0..BAR_CHARS)
        .map(|place| if place < done { '#' } else { '.' })
        .collect();
    let percent = report.accounts.saturating_mul(100) / accounts;
    let mut line = format!("[{bar}] {percent:3} % of {accounts} accounts");
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
        let at = |accounts, found| Report {
            accounts,
            found,
            ..Report::default()
        };
        assert_eq!(
            line(&at(0, 0), 200),
            "[..............................]   0 % of 200 accounts"
        );
        assert_eq!(
            line(&at(100, 0), 200),
            "[###############...............]  50 % of 200 accounts"
        );
        assert_eq!(
            line(&at(300, 2), 200),
            "[##############################] 100 % of 300 accounts, 2 VIOLATIONS"
        );
        assert!(line(&at(0, 0), 0).contains("  0 %"));
    }
}
