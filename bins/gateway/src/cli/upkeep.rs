//! Commands that change the database of a running gateway, or of none, and print one text.

use pg::{Access, Pool};

use super::{
    failure::Failure, output, prepare::prepare, runtime::runtime, signals::Signals,
    terminal_line::TerminalLine,
};
use crate::{
    config::{Config, Log, LogLevel, Purpose},
    database::Database,
    telemetry,
};

/// Runs `work` on the database of the configuration, as it is, until it is done or a signal arrives, and prints its text. It may
/// show its progress on the line.
pub(super) fn run(
    access: Access,
    work: impl AsyncFnOnce(&Config, &Pool, Option<&TerminalLine>) -> Result<String, Failure>,
) -> Result<(), Failure> {
    let (loaded, _account) = prepare(Purpose::Upkeep)?;
    // Who reads the result does not want to read how a server started.
    telemetry::init_logs(&Log { level: loaded.config.log.level.min(LogLevel::Warn), ..loaded.config.log });
    let text = runtime()?.block_on(visit(&loaded.config, access, work))?;
    output::print(&text).map_err(Failure::Output)
}

async fn visit(
    config: &Config,
    access: Access,
    work: impl AsyncFnOnce(&Config, &Pool, Option<&TerminalLine>) -> Result<String, Failure>,
) -> Result<String, Failure> {
    let mut signals = Signals::receive()?;
    let database = tokio::select! {
        biased;
        stop = signals.next() => return Err(Failure::Stopped(stop.name())),
        visited = Database::visit(config, access) => visited?,
    };
    let line = TerminalLine::on_terminal();
    let done = tokio::select! {
        biased;
        stop = signals.next() => Err(Failure::Stopped(stop.name())),
        done = work(config, &database.pool, line.as_ref()) => done,
    };
    if let Some(line) = line {
        line.clear();
    }
    let closed = database.close().await;
    let text = done?;
    closed?;
    Ok(text)
}
