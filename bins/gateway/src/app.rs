//! The wired service: what every request needs, made once.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chat::OpenAiError;
use flows::{
    BalanceReads, ReadinessProbe, StatusReads, Writes, files::Files, jobs::JobRunner, last_use::Uses,
    message_index::IndexRequests, readiness::Queues, replies::Replies,
};
use identity::{
    BootstrapKey, Issuer, IssuerError, JwksTiming, OwnTokens, Verifier,
    api_keys::KeyRing,
    seal::{SealError, Sealer},
};
use kernel::{Clock, Ids};
use pg::{DbError, Patience, Pool, Tx};
use secrecy::SecretString;
use tokio::{
    runtime::Handle,
    sync::{OnceCell, Semaphore},
};
use usage::prices::Seeded;
use web::{Settings, Traffic, packed::Packed, read_slots::ReadSlots};

use crate::{
    accounts::{Accounts, AccountsError},
    administrators,
    commit_thread::CommitThread,
    config::{Config, PriceSeeds},
    connections::Connections,
    files::{self, Storage},
    housekeeping,
    http::settings::{settings, traffic},
    own_tokens, receivers, replies,
    telemetry::{Metrics, Moved},
};

pub use flows::{AUDITS, MIGRATIONS};

/// Locks: how long a whole batch waits for an account that another process has locked, before only that account's commands
/// wait: far more than a commit takes, far less than its neighbours would notice as an outage. Statements: they take
/// milliseconds, and a server that went silent is given up 3 s later.
const BATCH_PATIENCE: Patience =
    Patience { lock_timeout: Duration::from_millis(250), statement_timeout: Duration::from_secs(5) };

/// Slow reads of one user that run at the same time.
const READS_MAX: usize = 2;

/// Everything behind the HTTP surface. Shared by all workers.
pub struct App {
    /// The checked configuration.
    pub config: Arc<Config>,
    /// Connections for short transactions that handlers do themselves.
    pub pool: Pool,
    /// The share of them for lists, statistics and exports.
    pub lists: Pool,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Where ids come from.
    pub ids: Arc<dyn Ids>,
    /// Checks tokens.
    pub verifier: Arc<Verifier>,
    /// The configured API keys.
    pub bootstrap_keys: Vec<BootstrapKey>,
    /// The keys of the table that this process has verified.
    pub key_ring: KeyRing,
    /// Uses of keys, and requests of users, that are still to be written.
    pub uses: Arc<Uses>,
    /// Users whose searches want an index of their messages.
    pub index_requests: Arc<IndexRequests>,
    /// Signs development tokens; none outside development.
    pub development_secret: Option<SecretString>,
    /// Seals secrets in the database; none outside development without SECRETS_KEY.
    pub sealer: Option<Arc<Sealer>>,
    /// Signs own tokens; none without a sealer.
    pub own_tokens: Option<OwnTokens>,
    /// Passwords, mail and WeChat.
    pub accounts: Accounts,
    /// The token that opens `/metrics`, if there is one.
    pub metrics_token: Option<BootstrapKey>,
    /// The way in for writes of money, usage and messages.
    pub writes: Writes,
    /// The way in for usage in bulk: a queue of its own, so that nobody who spends waits behind it.
    pub bulk: Writes,
    /// Replies of the model, where one is configured.
    pub replies: Option<Replies>,
    /// Files of users; none if they cannot be kept.
    pub files: Option<Files>,
    /// True if that is a fault of the storage.
    pub storage_is_broken: bool,
    /// Balances, read together.
    pub balances: BalanceReads,
    /// Users' existence and role, read together.
    pub statuses: StatusReads,
    /// Readiness for requests.
    pub readiness: ReadinessProbe,
    /// Content of `/metrics`.
    pub metrics: Metrics,
    /// Counts what the ledger did for requests.
    pub moved: Moved,
    /// The OpenAPI document, made when it is first asked for.
    pub openapi: OnceLock<Packed>,
    /// Number of slow reads each user runs.
    pub read_slots: ReadSlots,
    /// Turns of exports of users, each of which holds a connection of the lists.
    pub exports: Arc<Semaphore>,
    /// One export of each user at a time.
    pub exported_users: ReadSlots,
    /// The settings of HTTP.
    pub settings: Settings,
    /// Limits of all clients together, and their present use.
    pub traffic: Traffic,
    /// The time zones that the database knows, asked for when one is first named.
    pub zones: OnceCell<usage::Zones>,
    hot: Pool,
    _commit_thread: CommitThread,
    jobs: JobRunner,
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
    /// Secrets in the database cannot be sealed or opened.
    #[error("secrets cannot be kept in the database")]
    Sealing(#[from] SealError),
    /// The model cannot be used.
    #[error("the chat upstream cannot be used")]
    Chat(#[from] OpenAiError),
    /// Mail or WeChat cannot be used.
    #[error("accounts cannot be kept with this configuration")]
    Accounts(#[from] AccountsError),
}

impl App {
    /// Wires the service on the present, multi-threaded tokio runtime. The database must be migrated, and `pool` must have
    /// the size [`Connections::general`].
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
        administrators::apply(&pool, &*clock, &config.auth.admin_user_ids).await?;
        let receiver = receivers::begin(&pool, &clock, config.webhook_url.is_some()).await?;
        bring_prices(&pool, &*clock, config.price_seeds).await?;
        let development_secret = own_tokens::development_secret(&config, &pool, &*clock).await?;
        let sealer = own_tokens::sealer(&config, development_secret.as_ref())?;
        let own_tokens = own_tokens::start(&config, sealer.clone(), &pool, &*clock).await?;
        let own_issuer = own_tokens.is_some().then(|| own_tokens::issuer(&config, &pool, &clock));
        let verifier = verifier(&config, development_secret.as_ref(), own_issuer, &clock)?;
        let accounts = Accounts::new(&config, sealer.as_ref(), &clock, &ids)?;
        let connections = Connections::new(config.database.pool_size);
        let hot = HotPath::start(&pool, connections, &clock, config.credits.defaults)?;
        let background = pool.background_share(connections.housekeeping);
        let (uses, index_requests) = (Arc::default(), Arc::default());
        let mut jobs = housekeeping::jobs(&config, &background, (&clock, &ids), (&uses, &index_requests));
        let replies = replies::start(&config, &pool, &clock, &ids)?;
        let Storage { files, is_broken } =
            files::start(&config, sealer.as_ref(), &pool, &clock, &ids).await?;
        jobs.extend(files.iter().flat_map(Files::jobs));
        let further = [
            receiver,
            accounts.job(&background),
            replies.as_ref().map(Replies::job),
            replies
                .as_ref()
                .filter(|_| connections.listeners > 0)
                .map(|replies| replies.listening_job(&pool)),
        ];
        jobs.extend(further.into_iter().flatten());
        let settings = settings(&config);
        Ok(Self {
            jobs: JobRunner::start(jobs, &clock),
            verifier: Arc::new(verifier),
            bootstrap_keys: bootstrap_keys(&config),
            key_ring: KeyRing::default(),
            uses,
            index_requests,
            development_secret,
            sealer,
            own_tokens,
            accounts,
            metrics_token: config.metrics.token.clone().map(BootstrapKey::new),
            writes: hot.writes,
            bulk: hot.bulk,
            replies,
            files,
            storage_is_broken: is_broken,
            balances: hot.balances,
            statuses: hot.statuses,
            readiness: hot.readiness,
            read_slots: ReadSlots::new(READS_MAX),
            exported_users: ReadSlots::new(1),
            traffic: traffic(&settings).map_err(StartError::Thread)?,
            settings,
            zones: OnceCell::new(),
            hot: hot.pool,
            _commit_thread: hot.thread,
            lists: pool.share(connections.lists),
            exports: Arc::new(Semaphore::new((connections.lists / 2).max(1))),
            config,
            pool,
            clock,
            ids,
            metrics,
            moved: Moved::default(),
            openapi: OnceLock::new(),
            serving: AtomicBool::new(true),
        })
    }

    /// Returns true if new requests are wanted; false from the beginning of a shutdown on.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.serving.load(Ordering::Acquire)
    }

    /// Makes `/readyz` ask load balancers to send requests elsewhere.
    pub fn begin_shutdown(&self) {
        self.serving.store(false, Ordering::Release);
    }

    /// The pools of this process, for its figures.
    #[must_use]
    pub fn pools(&self) -> Vec<Pool> {
        vec![self.hot.clone(), self.pool.clone()]
    }

    /// Gives up all connections to the database; every request that needs one is then refused.
    pub fn disconnect(&self) {
        self.pool.close();
        self.hot.close();
    }

    /// Ends the replies that run, as incomplete, so that their requests can be answered.
    pub async fn stop_replies(&self) {
        if let Some(replies) = &self.replies {
            replies.stop().await;
        }
    }

    /// Finishes what waits in the committers. Call it after the last request was answered.
    pub async fn shut_down(&self) {
        self.begin_shutdown();
        self.jobs.stop();
        self.stop_replies().await;
        self.writes.flush().await;
        self.bulk.flush().await;
    }
}

/// The parts that run on the thread of the committers.
struct HotPath {
    pool: Pool,
    thread: CommitThread,
    writes: Writes,
    bulk: Writes,
    balances: BalanceReads,
    statuses: StatusReads,
    readiness: ReadinessProbe,
}

impl HotPath {
    fn start(
        pool: &Pool,
        connections: Connections,
        clock: &Arc<dyn Clock>,
        defaults: credits::Defaults,
    ) -> Result<Self, StartError> {
        let thread = CommitThread::start().map_err(StartError::Thread)?;
        let home = thread.handle();
        let pool = pool.sibling_on(home.clone(), connections.hot, BATCH_PATIENCE)?;
        let committers = pool.share(connections.committers);
        let _on_it = home.enter();
        let writes = Writes::start(committers.clone(), Arc::clone(clock), defaults);
        let bulk = Writes::start_bulk(committers, Arc::clone(clock), defaults);
        let balances = BalanceReads::start(pool.clone(), Arc::clone(clock));
        let statuses = StatusReads::start(pool.clone());
        let queues = Queues {
            writes: writes.clone(),
            bulk: bulk.clone(),
            balances: balances.clone(),
            statuses: statuses.clone(),
        };
        let readiness = ReadinessProbe::start(pool.clone(), queues);
        Ok(Self { pool, thread, writes, bulk, balances, statuses, readiness })
    }
}

fn verifier(
    config: &Config,
    development_secret: Option<&SecretString>,
    own_issuer: Option<Issuer>,
    clock: &Arc<dyn Clock>,
) -> Result<Verifier, StartError> {
    let issuers = config.auth.issuers(development_secret).into_iter().chain(own_issuer).collect();
    Verifier::start(issuers, JwksTiming::default(), Arc::clone(clock), &Handle::current())
        .map_err(StartError::Tokens)
}

fn bootstrap_keys(config: &Config) -> Vec<BootstrapKey> {
    let keys = config.auth.api_keys.iter().cloned();
    keys.map(BootstrapKey::new).collect()
}

/// Puts the prices that this version brings along and that the database does not have.
async fn bring_prices(pool: &Pool, clock: &dyn Clock, seeds: Option<PriceSeeds>) -> Result<(), DbError> {
    let Some(seeds) = seeds else {
        return Ok(());
    };
    let seed = async |tx: &mut Tx| usage::prices::seed(tx, clock, seeds.credits_per_usd).await;
    let seeded = Tx::run(pool, seed).await?;
    if seeded != Seeded::default() {
        tracing::info!(
            prices.count = seeded.prices,
            aliases.count = seeded.aliases,
            "models without a price have the public one that this version knows"
        );
    }
    Ok(())
}
