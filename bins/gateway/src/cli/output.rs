//! Writing for whoever typed the command. Everything else the process says goes through the log.

use std::io;

/// Writes to stdout. A reader that has seen enough and left is no failure.
pub(super) fn print(text: &str) -> io::Result<()> {
    match write(&mut io::stdout().lock(), text) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// Writes to stderr. If even that fails, the exit code has to say it.
pub(super) fn complain(text: &str) {
    write(&mut io::stderr().lock(), text).unwrap_or_default();
}

fn write(to: &mut dyn io::Write, text: &str) -> io::Result<()> {
    to.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        to.write_all(b"\n")?;
    }
    to.flush()
}
