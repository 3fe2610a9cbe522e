//! One line of the terminal that is overwritten. Where stderr is no terminal, nothing is shown.

use std::io::{self, IsTerminal as _, Write as _};

/// Back to the beginning of the line, and clear it.
const CLEAR: &str = "\r\u{1b}[K";

/// A line on stderr.
#[derive(Debug)]
pub(super) struct TerminalLine(());

impl TerminalLine {
    /// Nothing if stderr is no terminal.
    pub(super) fn on_terminal() -> Option<Self> {
        io::stderr().is_terminal().then_some(Self(()))
    }

    /// Shows this instead of what stood there.
    pub(super) fn show(&self, text: &str) {
        write(&format!("{CLEAR}{text}"));
    }

    /// Takes the line away.
    pub(super) fn clear(&self) {
        write(CLEAR);
    }
}

/// A terminal that is gone is no reason to give up.
fn write(text: &str) {
    let mut stderr = io::stderr().lock();
    stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush()).unwrap_or_default();
}
