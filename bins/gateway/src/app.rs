//! The wired service: what every request needs, made once.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use flows::{BalanceReads, ProbeReads, StatusReads, Writes, correction::Corrections};
use identity::{BootstrapKey, IssuerError, JwksTiming, Verifier};
use kernel::{Clock, Ids};
use pg::{DbError, Pool, Tx};
use tokio::{runtime::Handle, sync::OnceCell, task::JoinHandle};
use usage::prices::Seeded;

use crate::{
    config::{Config, PriceSeeds},
    hot_thread::HotThread,
    http::{packed::Packed, read_slots::ReadSlots, traffic::Traffic},
    telemetry::{Metrics, Moved},
};

pub use flows::{AUDITS, MIGRATIONS};

/// Connections for committers and for the questions that every request asks. Slow lists and statistics use others, so
/// that they cannot hold up a charge.
const HOT_CONNECTIONS: usize = 7;
/// How long a whole batch waits for an account that another process has locked, before only that account's commands wait:
/// far more than a commit takes, far less than its neighbours would notice as an outage.
const BATCH_LOCK_TIMEOUT: Duration = Duration::from_millis(250);
/// How long after the start the ledger is audited first: not in the rush after an upgrade, and not a day later.
const FIRST_AUDIT_AFTER: Duration = Duration::from_mins(5);

/// Everything behind the HTTP surface. Shared by all workers.
pub struct App {
    /// The checked configuration.
    pub config: Arc<Config>,
    /// Connections for lists, statistics and what else handlers do themselves.
    pub pool: Pool,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where ids come from.
    pub ids: Arc<dyn Ids>,
    /// Checks tokens.
    pub verifier: Arc<Verifier>,
    /// The configured API key, if there is one.
    pub bootstrap_key: Option<BootstrapKey>,
    /// The token that opens `/metrics`, if there is one.
    pub metrics_token: Option<BootstrapKey>,
    /// The way in for writes of money, usage and messages.
    pub writes: Writes,
    /// Takes usage records back.
    pub corrections: Corrections,
    /// The way in for usage in bulk: a queue of its own, so that nobody who spends waits behind it.
    pub bulk: Writes,
    /// Balances, read together.
    pub balances: BalanceReads,
    /// Users' existence and role, read together.
    pub statuses: StatusReads,
    /// Whether the database answers, asked together.
    pub probes: ProbeReads,
    /// What `/metrics` shows.
    pub metrics: Metrics,
    /// Counts what the ledger did for requests.
    pub moved: Moved,
    /// The OpenAPI document, made when it is first asked for.
    pub openapi: OnceLock<Packed>,
    /// How many slow reads each user runs.
    pub read_slots: ReadSlots,
    /// What clients take up.
    pub traffic: Traffic,
    /// The time zones that the database knows, asked for when one is first named.
    pub zones: OnceCell<usage::Zones>,
    hot: Pool,
    _hot_thread: HotThread,
    sweeper: JoinHandle<()>,
    pruning: JoinHandle<()>,
    auditor: Option<JoinHandle<()>>,
    usage_upkeep: JoinHandle<()>,
    usage_anomalies: Option<JoinHandle<()>>,
    serving: AtomicBool,
}

/// Why the service cannot be wired.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database refused.
    #[error("the database cannot be prepared")]
    Database(#[from] DbError),
    /// The system gives no thread.
    #[error("a thread cannot be started")]
    Thread(#[source] std::io::Error),
    /// The token verifier cannot be made from the configuration.
    #[error("tokens cannot be verified with this configuration")]
    Tokens(#[source] IssuerError),
}

impl App {
    /// Wires the service on the present, multi-threaded tokio runtime. The database must be migrated.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(
        config: Arc<Config>,
        pool: Pool,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
        metrics: Metrics,
    ) -> Result<Self, StartError> {
        if !config.auth.admin_user_ids.is_empty() {
            let promoted = identity::users::promote_admins(
                &mut *pool.get().await?,
                &*clock,
                &config.auth.admin_user_ids,
            )
            .await?;
            tracing::info!(promoted, "administrators of the configuration have their role");
        }
        if let Some(seeds) = config.price_seeds {
            bring_prices(&pool, &*clock, seeds).await?;
        }
        let verifier = Verifier::start(
            config.auth.issuers(),
            JwksTiming::default(),
            Arc::clone(&clock),
            &Handle::current(),
        )
        .map_err(StartError::Tokens)?;
        let hot_thread = HotThread::start().map_err(StartError::Thread)?;
        let home = hot_thread.handle();
        let hot = pool.sibling_on(home.clone(), HOT_CONNECTIONS, BATCH_LOCK_TIMEOUT)?;
        let defaults = config.credits.defaults;
        let on_it = home.enter();
        let writes = Writes::start(hot.clone(), Arc::clone(&clock), defaults);
        let bulk = Writes::start_bulk(hot.clone(), Arc::clone(&clock), defaults);
        let balances = BalanceReads::start(hot.clone(), Arc::clone(&clock));
        let statuses = StatusReads::start(hot.clone());
        let probes = ProbeReads::start(hot.clone());
        drop(on_it);
        let housekeeping = || (pool.clone(), Arc::clone(&clock));
        let ((sweeps, its_clock), (prunes, also_its_clock)) = (housekeeping(), housekeeping());
        let (months, their_clock) = housekeeping();
        let keep_for = config.limits.idempotency_kept;
        let auditor = auditor(&config, &pool, &clock)?;
        let usage_anomalies = config
            .usage
            .anomalies
            .map(|rule| flows::usage_anomalies::start(pool.clone(), Arc::clone(&clock), rule));
        Ok(Self {
            verifier: Arc::new(verifier),
            bootstrap_key: config.auth.api_key.clone().map(BootstrapKey::new),
            metrics_token: config.metrics.token.clone().map(BootstrapKey::new),
            writes,
            bulk,
            corrections: Corrections::new(pool.clone(), Arc::clone(&clock), Arc::clone(&ids), defaults),
            balances,
            statuses,
            probes,
            read_slots: ReadSlots::default(),
            traffic: Traffic::new(&config, Handle::current()),
            zones: OnceCell::new(),
            hot,
            _hot_thread: hot_thread,
            config,
            pool,
            clock,
            ids,
            metrics,
            moved: Moved::default(),
            openapi: OnceLock::new(),
            sweeper: flows::sweeper::start(sweeps, its_clock, defaults),
            pruning: flows::pruning::start(prunes, also_its_clock, keep_for),
            auditor,
            usage_anomalies,
            usage_upkeep: flows::usage_upkeep::start(months, their_clock),
            serving: AtomicBool::new(true),
        })
    }

    /// Whether new requests are wanted; false from the beginning of a shutdown on.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.serving.load(Ordering::Acquire)
    }

    /// Tells load balancers, through `/readyz`, to send requests elsewhere.
    pub fn begin_shutdown(&self) {
        self.serving.store(false, Ordering::Release);
    }

    /// Gives up all connections to the database; every request that needs one is then refused.
    pub fn disconnect(&self) {
        self.pool.close();
        self.hot.close();
    }

    /// Finishes what waits in the committers. Call it after the last request was answered.
    pub async fn shut_down(&self) {
        self.begin_shutdown();
        self.sweeper.abort();
        self.pruning.abort();
        if let Some(auditor) = &self.auditor {
            auditor.abort();
        }
        self.usage_upkeep.abort();
        if let Some(watch) = &self.usage_anomalies {
            watch.abort();
        }
        self.writes.flush().await;
        self.bulk.flush().await;
    }
}

/// Puts the prices that this version brings along and that the database does not have.
async fn bring_prices(pool: &Pool, clock: &dyn Clock, seeds: PriceSeeds) -> Result<(), DbError> {
    let mut tx = Tx::begin(pool).await?;
    let seeded = match usage::prices::seed(&mut tx, clock, seeds.credits_per_usd).await {
        Ok(seeded) => seeded,
        Err(error) => {
            tx.give_up(&error).await;
            return Err(error);
        }
    };
    tx.commit().await?;
    if seeded != Seeded::default() {
        tracing::info!(
            prices.count = seeded.prices,
            aliases.count = seeded.aliases,
            "models without a price have the public one that this version knows"
        );
    }
    Ok(())
}

/// Audits the ledger in the background, on a connection of its own, if the configuration wants it.
fn auditor(config: &Config, pool: &Pool, clock: &Arc<dyn Clock>) -> Result<Option<JoinHandle<()>>, DbError> {
    let every = config.credits.verify_every;
    if every.is_zero() {
        return Ok(None);
    }
    let schedule = flows::ledger_audit::Schedule {
        first_after: FIRST_AUDIT_AFTER,
        every,
    };
    let task = flows::ledger_audit::start(pool.sibling(1)?, Arc::clone(clock), schedule);
    Ok(Some(task))
}
