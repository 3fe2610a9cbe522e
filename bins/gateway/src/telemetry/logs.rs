//! Log lines: one format for people, one for machines, always on stderr.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::{
    Layer, Registry,
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use crate::config::{Log, LogFormat, LogLevel};

/// Libraries that tell more than anyone wants to know about each request or connection.
const NOISY: &[&str] = &[
    "actix_http",
    "actix_rt",
    "actix_server",
    "actix_web",
    "h2",
    "hyper",
    "hyper_util",
    "mio",
    "reqwest",
    "rustls",
    "tokio_postgres",
    "tower",
    "tracing_actix_web",
];

/// Libraries that log faults of clients as errors, one line for each; the gateway counts them. What goes wrong on our side is told
/// where the answer is made.
const SILENT: &[&str] = &["actix_http::h1::dispatcher"];

/// Begins to log as `log` says. Once a process: a later call changes nothing.
pub fn init(log: &Log) {
    let subscriber = Registry::default().with(layer(log).with_filter(filter(log.level)));
    // A test binary that started the app before has its subscriber already.
    if subscriber.try_init().is_err() {
        tracing::debug!("logs were set up before");
        return;
    }
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or("a panic without a message");
        tracing::error!(place, panic.message = message, "a thread panicked");
    }));
}

fn layer(log: &Log) -> Box<dyn Layer<Registry> + Send + Sync> {
    let stderr_is_terminal = io::stderr().is_terminal();
    let readable = match log.format {
        LogFormat::Text => true,
        LogFormat::Json => false,
        LogFormat::Auto => stderr_is_terminal || io::stdout().is_terminal(),
    };
    if readable {
        fmt::layer()
            .with_writer(io::stderr)
            .with_ansi(stderr_is_terminal)
            .with_target(log.level >= LogLevel::Debug)
            .boxed()
    } else {
        fmt::layer().json().flatten_event(true).with_span_list(false).with_writer(io::stderr).boxed()
    }
}

fn filter(level: LogLevel) -> Targets {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let capped = level.min(LevelFilter::WARN);
    Targets::new()
        .with_default(level)
        .with_targets(NOISY.iter().map(|target| (*target, capped)))
        .with_targets(SILENT.iter().map(|target| (*target, LevelFilter::OFF)))
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn libraries_are_capped_at_warn_and_never_raised() {
        let debug = filter(LogLevel::Debug);
        assert!(debug.would_enable("gateway::http", &Level::DEBUG));
        assert!(!debug.would_enable("gateway::http", &Level::TRACE));
        assert!(debug.would_enable("actix_http::h1", &Level::WARN));
        assert!(!debug.would_enable("actix_http::h1::dispatcher", &Level::ERROR));
        assert!(!debug.would_enable("actix_http::h1", &Level::INFO));
        let error = filter(LogLevel::Error);
        assert!(!error.would_enable("actix_http::h1", &Level::WARN));
    }
}
