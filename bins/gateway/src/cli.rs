//! The command line: what the process can be told to do, and with which exit code it ends.
//!
//! 0: done, or stopped as asked. 1: failed, the chain of causes is on stderr. 2: the command line or the configuration
//! is wrong, one line for each problem is on stderr. 3: the ledger has drifted, the first drift is on stderr. Ended by a
//! second signal: 128 and its number.

mod account;
mod bind;
mod check_config;
mod failure;
mod keys_rotate;
mod ledger_cool;
mod ledger_verify;
mod migrate;
mod output;
mod port_holder;
mod prepare;
mod runtime;
mod serve;
mod signals;
mod terminal_line;
mod upkeep;
mod usage_retain;

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use identity::signing_keys::Start;

use failure::Failure;
use ledger_verify::Form;
use usage_retain::Deed;

const EXIT_FAILED: u8 = 1;
const EXIT_MISCONFIGURED: u8 = 2;
const EXIT_DRIFTED: u8 = 3;

#[derive(Debug, Parser)]
#[command(name = "gateway", version, about, after_help = "Configuration: `gateway docs configuration`")]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Command {
    /// Serves HTTP until it is told to stop (the default)
    Serve,
    /// Brings the database schema to this version
    Migrate,
    /// Looks after the ledger
    #[command(subcommand)]
    Ledger(Ledger),
    /// Looks after usage records
    #[command(subcommand)]
    Usage(Usage),
    /// Looks after the keys that sign the tokens of this service
    #[command(subcommand)]
    Keys(Keys),
    /// Checks the configuration and prints the values that count, secrets hidden
    CheckConfig,
    /// Prints the OpenAPI description as JSON
    Openapi,
    /// Prints a generated page of the documentation as Markdown
    Docs {
        /// The page
        page: Page,
    },
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Ledger {
    /// Audits every account while the service runs; exits with 3 if one has drifted
    #[command(
        after_help = "Uses DATABASE_URL, or the private server in DATA_DIR: that of a running gateway, or else one \
                            started for the audit. Changes nothing. Exit codes: 0 clean, 1 could not be audited, \
                            2 misconfigured, 3 drifted."
    )]
    Verify {
        /// Prints the result as one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Writes heads of accounts back into their grants, for the way to a version without them
    #[command(
        after_help = "Uses DATABASE_URL, or the private server in DATA_DIR: that of a running gateway, or else one \
                            started for it. No figure changes. Beside a running gateway the next charge of an account makes a \
                            head again, so stop all gateways first (deploy/README.md). Exit codes: 0 done, 1 could not be \
                            finished (the next run goes on), 2 misconfigured."
    )]
    Cool,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Usage {
    /// Drops months of usage records that are older than is wanted, while the service runs
    #[command(
        after_help = "Uses DATABASE_URL, or the private server in DATA_DIR: that of a running gateway, or else one \
                            started for it. Statistics and series of dropped months go on from roll-ups; lists and exports \
                            end there. Exit codes: 0 done, 1 could not be finished (the next run goes on), 2 misconfigured."
    )]
    Retain {
        /// Months to keep beside the present one; USAGE_RETENTION_MONTHS if not given
        #[arg(long, value_parser = clap::value_parser!(u16).range(i64::from(::usage::MONTHS_MIN)..=1200))]
        months: Option<u16>,
        /// Only tells what would be dropped
        #[arg(long)]
        dry_run: bool,
        /// Prints the result as one JSON object
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Keys {
    /// Replaces the key that signs, on every process, while they run
    #[command(
        after_help = "Uses DATABASE_URL, or the private server in DATA_DIR: that of a running gateway, or else one \
                            started for it. The new key is published at once and signs after 5 minutes; the old one stays \
                            published until its last token has expired. Exit codes: 0 done, 1 not done, 2 misconfigured."
    )]
    Rotate {
        /// Signs with the new key at once; services that hold an older copy of the published keys refuse the new tokens for up to 5 minutes
        #[arg(long)]
        now: bool,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Page {
    /// docs/errors.md
    Errors,
    /// docs/events.md
    Events,
    /// docs/configuration.md
    Configuration,
}

/// Does what the command line of this process says.
#[must_use]
pub fn main() -> ExitCode {
    match run(CommandLine::parse().command.unwrap_or(Command::Serve)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report();
            ExitCode::from(match failure {
                Failure::Configuration(_) | Failure::Account(_) => EXIT_MISCONFIGURED,
                Failure::Drifted { .. } => EXIT_DRIFTED,
                _ => EXIT_FAILED,
            })
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve => serve::run(),
        Command::Migrate => migrate::run(),
        Command::Ledger(Ledger::Verify { json }) => ledger_verify::run(form(json)),
        Command::Ledger(Ledger::Cool) => ledger_cool::run(),
        Command::Usage(Usage::Retain { months, dry_run, json }) => {
            let deed = if dry_run { Deed::Tell } else { Deed::Drop };
            usage_retain::run(months, deed, form(json))
        }
        Command::Keys(Keys::Rotate { now }) => {
            keys_rotate::run(if now { Start::AtOnce } else { Start::Later })
        }
        Command::CheckConfig => check_config::run(),
        Command::Openapi => output::print(&crate::http::openapi_json()).map_err(Failure::Output),
        Command::Docs { page: Page::Errors } => {
            output::print(&crate::http::errors_markdown()).map_err(Failure::Output)
        }
        Command::Docs { page: Page::Events } => output::print(&webhooks::markdown()).map_err(Failure::Output),
        Command::Docs { page: Page::Configuration } => {
            output::print(&crate::config::markdown()).map_err(Failure::Output)
        }
    }
}

fn form(json: bool) -> Form {
    if json { Form::Json } else { Form::Text }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_serving_is_the_default() {
        CommandLine::command().debug_assert();
        let parsed = CommandLine::try_parse_from(["gateway"]).unwrap();
        assert!(parsed.command.is_none());
        let parsed = CommandLine::try_parse_from(["gateway", "docs", "errors"]).unwrap();
        assert!(matches!(parsed.command, Some(Command::Docs { page: Page::Errors })));
        assert!(CommandLine::try_parse_from(["gateway", "check-config"]).is_ok());
        let parsed = CommandLine::try_parse_from(["gateway", "ledger", "verify", "--json"]).unwrap();
        assert!(matches!(parsed.command, Some(Command::Ledger(Ledger::Verify { json: true }))));
        assert!(CommandLine::try_parse_from(["gateway", "keys", "rotate", "--now"]).is_ok());
        let retain = |months| ["gateway", "usage", "retain", "--months", months, "--dry-run"];
        assert!(CommandLine::try_parse_from(retain("2")).is_ok());
        for months in ["1", "0", "-1", "1201", "some"] {
            assert!(CommandLine::try_parse_from(retain(months)).is_err(), "{months}");
        }
    }
}
