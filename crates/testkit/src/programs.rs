//! Programs that some tests use and that a machine may lack.

use std::{
    env::{split_paths, var_os},
    ffi::OsStr,
    path::PathBuf,
};

use nix::unistd::geteuid;

/// Says that a test is skipped because `program` is missing.
///
/// # Panics
/// In CI (`CI` is set), if `./dev setup` could have installed it: by root or with sudo. A test must not vanish there.
#[expect(clippy::print_stderr, reason = "the reader of a test's output has to see that it did not run")]
pub fn skip_without(program: &str) {
    assert!(!must_be_there(), "{program} is not installed: ./dev setup installs it");
    eprintln!("SKIPPED: {program} is not installed (./dev setup installs it, as root or with sudo)");
}

/// Says that a test is skipped, and why.
#[expect(clippy::print_stderr, reason = "the reader of a test's output has to see that it did not run")]
pub fn skip(reason: &str) {
    eprintln!("SKIPPED: {reason}");
}

/// Looks for a program in `PATH`.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "a test harness has no configuration to take the place of binaries from"
)]
pub fn find_program(name: &str) -> Option<PathBuf> {
    find_in(&var_os("PATH").unwrap_or_default(), name)
}

fn find_in(path: &OsStr, name: &str) -> Option<PathBuf> {
    split_paths(path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

#[expect(clippy::disallowed_methods, reason = "tests have no configuration to ask whether this is CI")]
fn must_be_there() -> bool {
    var_os("CI").is_some() && (geteuid().is_root() || find_program("sudo").is_some())
}
