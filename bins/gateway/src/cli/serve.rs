//! `gateway serve`: from the configuration to answering requests, and back down in the opposite order.

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::{Duration, Instant},
};

use actix_web::dev::ServerHandle;
use kernel::{RandomIds, SystemClock};
use tokio::task::JoinHandle;

use super::{
    bind,
    failure::Failure,
    prepare::prepare,
    runtime::runtime,
    signals::{Signals, Stop},
};
use crate::{
    app::App,
    config::{Config, Purpose},
    database::Database,
    descriptors, http,
    telemetry::{self, Metrics},
};

/// Beyond the grace that requests get: what the server needs to notice that they have ended.
const DRAIN_SLACK: Duration = Duration::from_secs(2);
/// Time that committers may take for what they have accepted.
const FLUSH_PATIENCE: Duration = Duration::from_secs(10);
/// Longest time that blocking work, such as a start of the private server that is no longer wanted, delays the end.
const RUNTIME_PATIENCE: Duration = Duration::from_secs(5);

/// Serves until a signal asks to stop, or something that is needed fails.
pub(super) fn run() -> Result<(), Failure> {
    let began = Instant::now();
    let (mut loaded, account) = prepare(Purpose::Serving)?;
    telemetry::init_logs(&loaded.config.log);
    account.log();
    for notice in &loaded.notices {
        tracing::warn!("{notice}");
    }
    descriptors::raise_limit();
    let (listener, address) = bind::bind(&loaded.config.listen)?;
    loaded.config.listen.port = address.port();
    let runtime = runtime()?;
    let outcome = runtime.block_on(serve(loaded.config, listener, address, began));
    runtime.shutdown_timeout(RUNTIME_PATIENCE);
    outcome
}

/// Everything that runs, so that it can be stopped.
struct Running {
    app: Arc<App>,
    database: Database,
    upkeep: JoinHandle<()>,
    server: ServerHandle,
    serving: JoinHandle<std::io::Result<()>>,
    delay: Duration,
    grace: Duration,
}

async fn serve(
    config: Config,
    listener: TcpListener,
    address: SocketAddr,
    began: Instant,
) -> Result<(), Failure> {
    let mut signals = Signals::receive()?;
    let started = tokio::select! {
        biased;
        stop = signals.next() => {
            tracing::info!(signal = stop.name(), "told to stop before the service was ready");
            return Ok(());
        }
        started = Box::pin(start(config, listener)) => started,
    };
    let mut running = started?;
    tracing::info!(
        duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        "listening on http://{address}, documentation at http://{address}/docs"
    );
    let ended = running.until_told_or_broken(&mut signals).await;
    // By reference: `select!` would drop the future before it ends the process, and with it wait for the database.
    let mut stopping = Box::pin(running.stop(ended.is_ok()));
    tokio::select! {
        biased;
        stop = signals.next() => end_at_once(stop),
        stopped = &mut stopping => ended.and(stopped),
    }
}

/// Database, application, HTTP: each needs the one before. What was started is stopped by being dropped.
async fn start(config: Config, listener: TcpListener) -> Result<Running, Failure> {
    let metrics = Metrics::install().map_err(Failure::Metrics)?;
    let database = Database::open(&config).await?;
    let config = Arc::new(config);
    let app = App::start(
        Arc::clone(&config),
        database.pool.clone(),
        Arc::new(SystemClock),
        Arc::new(RandomIds),
        metrics.clone(),
    )
    .await
    .map_err(|error| Failure::App(Box::new(error)))?;
    let app = Arc::new(app);
    let server = http::server(Arc::clone(&app), listener).map_err(Failure::Server)?;
    Ok(Running {
        upkeep: metrics.spawn_upkeep(app.pools()),
        app,
        database,
        server: server.handle(),
        serving: tokio::spawn(server),
        delay: config.limits.shutdown_delay,
        grace: config.limits.shutdown_grace,
    })
}

impl Running {
    /// Ends when the operator wants it, or with what failed.
    async fn until_told_or_broken(&mut self, signals: &mut Signals) -> Result<(), Failure> {
        tokio::select! {
            stop = signals.next() => {
                tracing::info!(signal = stop.name(), "told to stop, finishing running requests");
                Ok(())
            }
            how = self.database.ended() => Err(Failure::DatabaseEnded(how)),
            served = &mut self.serving => Err(match served {
                Ok(Err(error)) => Failure::Server(error),
                Ok(Ok(())) | Err(_) => Failure::ServerEnded,
            }),
        }
    }

    /// Requests, committers, database: each may still need the next one.
    async fn stop(self, drain: bool) -> Result<(), Failure> {
        self.app.begin_shutdown();
        if drain {
            tokio::time::sleep(self.delay).await;
        }
        self.app.traffic.connections.begin_drain();
        let stopping = tokio::time::timeout(self.grace + DRAIN_SLACK, self.server.stop(drain));
        // Replies of a model may take long; their requests are answered with what there is.
        let replies = async {
            tokio::time::sleep(self.grace / 2).await;
            self.app.stop_replies().await;
        };
        tokio::pin!(stopping);
        let stopped = tokio::select! {
            stopped = &mut stopping => stopped,
            () = replies => stopping.await,
        };
        if stopped.is_err() {
            tracing::warn!("some requests did not finish in time");
        }
        if tokio::time::timeout(FLUSH_PATIENCE, self.app.shut_down()).await.is_err() {
            tracing::warn!("some operations did not finish in time: none of them was answered");
        }
        self.upkeep.abort();
        self.database.close().await?;
        tracing::info!("stopped");
        Ok(())
    }
}

/// The kernel tells the private server to shut down when this process is gone.
fn end_at_once(stop: Stop) -> ! {
    tracing::warn!(signal = stop.name(), "told to stop again, ending at once");
    std::process::exit(stop.exit_code())
}
