//! The command line: what the process can be told to do, and with which exit code it ends.
//!
//! 0: done, or stopped as asked. 1: failed, the chain of causes is on stderr. 2: the command line or the configuration
//! is wrong, one line for each problem is on stderr. 3: the ledger has drifted, the first drift is on stderr. Ended by a
//! second signal: 128 and its number.

mod account;
mod api_key_create;
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
mod user_role;

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use identity::{Role, api_keys::KeyScope, signing_keys::Start};
use kernel::UserId;
use time::OffsetDateTime;
use web::fields::{Value, parser::Parse as _, time::instant};

use api_key_create::ToMake;
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

#[derive(Debug, Clone, Subcommand)]
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
    /// Looks after API keys
    #[command(subcommand)]
    ApiKey(ApiKey),
    /// Looks after users
    #[command(subcommand)]
    User(User),
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

#[derive(Debug, Clone, Subcommand)]
enum ApiKey {
    /// Makes a key, while the service runs or not, and prints it: it is stored nowhere and shown this once
    #[command(
        after_help = "Uses DATABASE_URL, or the private server in DATA_DIR: that of a running gateway, or else one \
                            started for it. Exit codes: 0 made, 1 not made, 2 misconfigured."
    )]
    Create {
        /// Name for people
        #[arg(long, value_parser = name)]
        name: String,
        /// Scope of the key: read, service or admin
        #[arg(long = "scope", required = true, value_parser = scope)]
        scopes: Vec<KeyScope>,
        /// End of its validity, such as 2027-01-31T00:00:00Z; none if not given
        #[arg(long, value_parser = point_in_time)]
        expires_at: Option<OffsetDateTime>,
    },
}

#[derive(Debug, Clone, Subcommand)]
enum User {
    /// Makes a user an administrator; a start with another ADMIN_USER_IDS leaves it so
    Promote {
        /// The external id
        user_id: UserId,
    },
    /// Takes the role of an administrator from a user; a start with ADMIN_USER_IDS that names them gives it back
    Demote {
        /// The external id
        user_id: UserId,
    },
}

fn name(text: &str) -> Result<String, String> {
    web::parse::text(1, 255).parse(Value::Text(text)).map_err(|problem| problem.msg)
}

fn scope(text: &str) -> Result<KeyScope, String> {
    KeyScope::from_name(text).ok_or_else(|| "is not read, service or admin".to_owned())
}

fn point_in_time(text: &str) -> Result<OffsetDateTime, String> {
    instant().parse(Value::Text(text)).map_err(|problem| problem.msg)
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
        Command::ApiKey(ApiKey::Create { name, scopes, expires_at }) => {
            api_key_create::run(ToMake { name, scopes, expires_at })
        }
        Command::User(User::Promote { user_id }) => user_role::run(user_id, Role::Admin),
        Command::User(User::Demote { user_id }) => user_role::run(user_id, Role::User),
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
        let key = ["gateway", "api-key", "create", "--name", "n", "--scope", "read", "--scope", "service"];
        let parsed = CommandLine::try_parse_from(key).unwrap().command;
        let Some(Command::ApiKey(ApiKey::Create { scopes, expires_at: None, .. })) = parsed else {
            panic!("{parsed:?}")
        };
        assert_eq!(scopes, [KeyScope::Read, KeyScope::Service]);
        for more in [["--expires-at", "soon"], ["--scope", "all"], ["--rate", "1"]] {
            assert!(CommandLine::try_parse_from(key.iter().chain(&more)).is_err(), "{more:?}");
        }
        assert!(CommandLine::try_parse_from(&key[..5]).is_err(), "no scope");
        assert!(CommandLine::try_parse_from(["gateway", "user", "promote", "auth0|a"]).is_ok());
        assert!(CommandLine::try_parse_from(["gateway", "user", "demote", "no id"]).is_err());
        let retain = |months| ["gateway", "usage", "retain", "--months", months, "--dry-run"];
        assert!(CommandLine::try_parse_from(retain("2")).is_ok());
        for months in ["1", "0", "-1", "1201", "some"] {
            assert!(CommandLine::try_parse_from(retain(months)).is_err(), "{months}");
        }
    }
}
