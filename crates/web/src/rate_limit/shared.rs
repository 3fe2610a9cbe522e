//! Buckets in Redis, which all processes share (HTTP contract 1.12, `REDIS_URL`).
//!
//! A process whose Redis fails, or is slower than [`PATIENCE`], counts alone: its requests do not ask again until a look in the
//! background, every [`COOL_DOWN`], was answered in time.

use std::{
    fmt,
    sync::{Arc, LazyLock},
    time::Duration,
};

use metrics::gauge;
use redis::{AsyncConnectionConfig, Client, RedisError, Script, aio::MultiplexedConnection};
use tokio::{
    sync::watch::{self, Sender},
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::bucket::{Call, Charge, ChargeOutcome, SET_BACK_MIN_US};

/// Longest time of a call (HTTP contract 1.12).
pub(super) const PATIENCE: Duration = Duration::from_millis(50);
/// Longest time to connect.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// Pause before the next look at a Redis that failed.
const COOL_DOWN: Duration = Duration::from_secs(2);
/// Key of the look, whose bucket is full a millisecond later.
const PROBE: &str = "rate_limit:probe";
const PROBE_CHARGE: Charge = Charge { needed_us: 1, window_us: 1_000 };

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("bucket.lua")));

/// The address of a Redis server, with its credentials, which do not print.
#[derive(Clone)]
pub struct RedisUrl(Client);

/// The Redis server that processes share.
#[derive(Debug)]
pub(super) struct Shared {
    patience: Duration,
    link: Arc<Sender<Link>>,
    keeper: JoinHandle<()>,
}

/// The present way to Redis.
#[derive(Debug)]
enum Link {
    /// Through this connection; the number distinguishes it from earlier ones.
    Open(MultiplexedConnection, u64),
    /// None, because of this.
    Closed(Fault),
}

/// Why Redis is not asked.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("not connected yet")]
    NotYet,
    #[error("no answer within {} ms", .0.as_millis())]
    Slow(Duration),
    #[error("no connection within {} s", CONNECT_MAX.as_secs())]
    Unreachable,
    #[error("the script answered for another number of buckets")]
    Incomplete,
    #[error("{0}")]
    Failed(#[from] RedisError),
}

/// One bucket in a call of the script.
#[derive(Debug)]
pub(super) struct KeyedCharge {
    /// Its key.
    pub(super) key: String,
    pub(super) charge: Charge,
    pub(super) call: Call,
}

impl RedisUrl {
    /// Reads `redis://`, `rediss://` (TLS), `redis+unix://` and their equivalents for Valkey.
    ///
    /// # Errors
    /// The end of a sentence that begins with the value.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fault = "is not a URL of Redis: redis://[user:password@]host[:port][/number], rediss:// for TLS, or redis+unix:///socket";
        Client::open(text).map(Self).map_err(|_| fault.to_owned())
    }
}

/// Without the credentials.
impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let info = self.0.get_connection_info();
        write!(f, "{} (database {})", info.addr(), info.redis_settings().db())
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisUrl({self})")
    }
}

impl Shared {
    /// Connects in the background, on the present tokio runtime, and again whenever the connection is lost.
    /// A call that takes longer than `patience` has failed.
    pub(super) fn start(url: &RedisUrl, patience: Duration) -> Self {
        let link = Arc::new(watch::channel(Link::Closed(Fault::NotYet)).0);
        let keeper = tokio::spawn(keep(url.clone(), patience, Arc::clone(&link)));
        Self { patience, link, keeper }
    }

    /// Charges the buckets of a request in one round trip, in order; once one holds too little, those after it are looked at
    /// only. `None` if this process counts alone at present.
    pub(super) async fn charge<const N: usize>(
        &self,
        charges: &[KeyedCharge; N],
        pinned_us: Option<i64>,
    ) -> Option<[ChargeOutcome; N]> {
        let (mut connection, number) = match &*self.link.borrow() {
            Link::Open(connection, number) => (connection.clone(), *number),
            Link::Closed(_) => return None,
        };
        let answer = timeout(self.patience, invoke(&mut connection, charges, pinned_us)).await;
        match answer.unwrap_or(Err(Fault::Slow(self.patience))) {
            Ok(outcomes) => Some(outcomes),
            Err(fault) => {
                self.close(number, fault);
                None
            }
        }
    }

    /// Gives up this connection, unless another request has done so.
    fn close(&self, number: u64, fault: Fault) {
        self.link.send_if_modified(|link| {
            let is_present = matches!(link, Link::Open(_, present) if *present == number);
            if is_present {
                *link = Link::Closed(fault);
            }
            is_present
        });
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

async fn invoke<const N: usize>(
    connection: &mut MultiplexedConnection,
    charges: &[KeyedCharge; N],
    pinned_us: Option<i64>,
) -> Result<[ChargeOutcome; N], Fault> {
    let mut invocation = SCRIPT.prepare_invoke();
    invocation.arg(pinned_us.map(|now| now.to_string()).unwrap_or_default()).arg(SET_BACK_MIN_US);
    for KeyedCharge { key, charge, call } in charges {
        let takes = i32::from(*call == Call::Take);
        invocation.key(key).arg(charge.needed_us).arg(charge.window_us).arg(takes);
    }
    let answer: Vec<i64> = invocation.invoke_async(connection).await?;
    let outcomes: Vec<ChargeOutcome> = answer
        .as_chunks()
        .0
        .iter()
        .map(|[is_taken, full_at_us, now_us]| ChargeOutcome {
            is_taken: *is_taken == 1,
            full_at_us: *full_at_us,
            now_us: *now_us,
        })
        .collect();
    outcomes.try_into().map_err(|_| Fault::Incomplete)
}

/// Opens the way to Redis again whenever it was closed, and reports each change once.
async fn keep(url: RedisUrl, patience: Duration, link: Arc<Sender<Link>>) {
    let mut closings = link.subscribe();
    let mut is_reported = false;
    gauge!("rate_limits_shared").set(0.0);
    for number in 0_u64.. {
        match connect(&url.0, patience).await {
            Ok(connection) => {
                gauge!("rate_limits_shared").set(1.0);
                tracing::info!(redis = %url, "rate limits are counted in Redis, together with other processes");
                link.send_replace(Link::Open(connection, number));
                let closed = closings.wait_for(|link| matches!(link, Link::Closed(_))).await;
                let Ok(Link::Closed(fault)) = closed.as_deref() else {
                    return;
                };
                gauge!("rate_limits_shared").set(0.0);
                report_alone(&url, fault);
                is_reported = true;
            }
            Err(fault) if !is_reported => {
                report_alone(&url, &fault);
                is_reported = true;
            }
            Err(_reported) => {}
        }
        sleep(COOL_DOWN).await;
    }
}

fn report_alone(url: &RedisUrl, fault: &Fault) {
    tracing::warn!(redis = %url, error = %fault, "Redis is not available: this process counts rate limits alone");
}

/// A connection that answered a charge in time.
async fn connect(client: &Client, patience: Duration) -> Result<MultiplexedConnection, Fault> {
    // The time of a call is limited as a whole, beside.
    let config =
        AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(Some(CONNECT_MAX));
    let connecting = client.get_multiplexed_async_connection_with_config(&config);
    let mut connection = timeout(CONNECT_MAX, connecting).await.map_err(|_elapsed| Fault::Unreachable)??;
    // Loads the script, which may take longer than a call of it.
    SCRIPT.load_async(&mut connection).await?;
    let probe = [KeyedCharge { key: PROBE.to_owned(), charge: PROBE_CHARGE, call: Call::Take }];
    let probing = invoke(&mut connection, &probe, None);
    timeout(patience, probing).await.map_err(|_elapsed| Fault::Slow(patience))??;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use futures_util::{FutureExt as _, future::join_all};
    use proptest::{prelude::*, test_runner::TestRunner};
    use testkit::RedisServer;
    use tokio::{runtime::Handle, task::block_in_place};

    use super::{super::memory::Memory, *};

    /// Longer than any pause of a busy machine.
    const LONG: Duration = Duration::from_secs(600);

    impl Shared {
        async fn wait_until_open(&self) {
            let mut link = self.link.subscribe();
            let opening = link.wait_for(|link| matches!(link, Link::Open(..)));
            timeout(LONG, opening).await.unwrap().unwrap();
        }
    }

    async fn opened(server: &RedisServer, patience: Duration) -> Shared {
        let shared = Shared::start(&RedisUrl::parse(&server.url()).unwrap(), patience);
        shared.wait_until_open().await;
        shared
    }

    /// One bucket, by its caller.
    async fn charge_one(
        shared: &Shared,
        caller: &str,
        charge: Charge,
        call: Call,
        pinned_us: Option<i64>,
    ) -> Option<ChargeOutcome> {
        let charges = [KeyedCharge { key: caller.to_owned(), charge, call }];
        shared.charge(&charges, pinned_us).await.map(|[outcome]| outcome)
    }

    /// Two charges of a sequence.
    #[derive(Debug, Clone)]
    struct Step {
        callers: [u8; 2],
        /// Time since the step before, in microseconds; a clock may be set back.
        passed_us: i64,
        charges: [Charge; 2],
        calls: [Call; 2],
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let passed = prop_oneof![
            4 => 0_i64..3_000,
            4 => 0_i64..3_000_000,
            1 => 0_i64..4_000_000_000,
            1 => -2_000_000_i64..0,
            1 => -10_000_000_000_i64..0,
        ];
        let charge = prop_oneof![
            Just(Charge { needed_us: 10_000, window_us: 2_000_000 }),
            Just(Charge { needed_us: 0, window_us: 2_000_000 }),
            Just(Charge { needed_us: 142_857, window_us: 1_000_000 }),
            (0_i64..3_000_000_000, 0_i64..3_000_000_000)
                .prop_map(|(a, b)| Charge { needed_us: a.min(b), window_us: a.max(b) }),
        ];
        let call = prop_oneof![4 => Just(Call::Take), 1 => Just(Call::Check)];
        let charges = proptest::array::uniform2(charge);
        let calls = proptest::array::uniform2(call);
        let step = ([0_u8..3, 3..6], passed, charges, calls)
            .prop_map(|(callers, passed_us, charges, calls)| Step { callers, passed_us, charges, calls });
        proptest::collection::vec(step, 1..40)
    }

    /// The memory of a process and Redis have one rule, to the microsecond.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn memory_and_redis_decide_alike() {
        let Some(server) = RedisServer::start().await else { return };
        let shared = opened(&server, LONG).await;
        let (runtime, sequences) = (Handle::current(), AtomicU64::new(0));
        let compare = |steps: Vec<Step>| {
            let sequence = sequences.fetch_add(1, Ordering::Relaxed);
            let memory = Memory::new();
            let mut now_us = 1_764_500_000_000_000;
            for Step { callers, passed_us, charges, calls } in steps {
                now_us += passed_us;
                let place = [0, 1];
                let keyed = place.map(|place| KeyedCharge {
                    key: format!("test:{sequence}:{}", callers[place]),
                    charge: charges[place],
                    call: calls[place],
                });
                let by_redis = runtime.block_on(shared.charge(&keyed, Some(now_us)));
                let mut is_refused = false;
                let by_memory = keyed.map(|KeyedCharge { key, charge, call }| {
                    let outcome = match call {
                        Call::Take if !is_refused => memory.take(&key, charge, now_us),
                        Call::Take | Call::Check => memory.check(&key, charge, now_us),
                    };
                    is_refused |= !outcome.is_taken;
                    outcome
                });
                prop_assert_eq!(by_redis, Some(by_memory));
            }
            Ok(())
        };
        let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) };
        block_in_place(|| TestRunner::new(config).run(&steps(), compare)).unwrap();
    }

    #[tokio::test]
    async fn processes_share_their_buckets() {
        let Some(server) = RedisServer::start().await else { return };
        let (one, two) = (opened(&server, LONG).await, opened(&server, LONG).await);
        let charge = Charge { needed_us: 60_000_000, window_us: 600_000_000 };
        let take = async |of: &Shared| {
            let outcome = charge_one(of, "a", charge, Call::Take, Some(1_764_500_000_000_000)).await;
            outcome.unwrap().is_taken
        };
        let asked = join_all((0..10).flat_map(|_| [take(&one), take(&two)])).await;
        assert_eq!(asked.into_iter().filter(|is_taken| *is_taken).count(), 10, "of twenty");
    }

    /// The time is that of the server, which forgets a bucket when it is full.
    #[tokio::test]
    async fn buckets_go_by_the_clock_of_the_server() {
        let Some(server) = RedisServer::start().await else { return };
        let shared = opened(&server, LONG).await;
        let charge = Charge { needed_us: 30_000_000, window_us: 60_000_000 };
        let first = charge_one(&shared, "a", charge, Call::Take, None).await.unwrap();
        let second = charge_one(&shared, "a", charge, Call::Check, None).await.unwrap();
        assert!(first.now_us <= second.now_us);
        assert_eq!(first.full_at_us, first.now_us + 30_000_000);
        let Link::Open(mut connection, _) = shared.link.send_replace(Link::Closed(Fault::NotYet)) else {
            panic!("not connected");
        };
        let (seconds, _): (i64, i64) = redis::cmd("TIME").query_async(&mut connection).await.unwrap();
        assert!(seconds - second.now_us / 1_000_000 < 60);
        let life_ms: i64 = redis::cmd("PTTL").arg("a").query_async(&mut connection).await.unwrap();
        assert!((1..=30_000).contains(&life_ms), "{life_ms}");
    }

    /// Only those wait that asked before it was found out, and the first answer in time ends it.
    #[tokio::test]
    async fn a_server_that_falls_silent_is_left_alone_until_it_answers() {
        let Some(server) = RedisServer::start().await else { return };
        let mut shared = opened(&server, LONG).await;
        let charge = Charge { needed_us: 1, window_us: 1_000_000 };
        shared.patience = Duration::from_millis(20);
        server.pause();
        let ask = || charge_one(&shared, "a", charge, Call::Take, None);
        assert_eq!(join_all((0..200).map(|_| ask())).await, [None; 200]);
        assert_eq!(ask().now_or_never(), Some(None), "nobody waits any more");
        server.resume();
        shared.wait_until_open().await;
        shared.patience = LONG;
        assert!(charge_one(&shared, "a", charge, Call::Take, None).await.is_some());
    }

    #[tokio::test]
    async fn a_server_that_was_killed_is_found_again() {
        let Some(mut server) = RedisServer::start().await else { return };
        let shared = opened(&server, LONG).await;
        let charge = Charge { needed_us: 1, window_us: 1_000_000 };
        server.kill();
        assert_eq!(charge_one(&shared, "a", charge, Call::Take, None).await, None);
        assert_eq!(charge_one(&shared, "a", charge, Call::Take, None).now_or_never(), Some(None));
        server.start_again().await;
        shared.wait_until_open().await;
        assert!(
            charge_one(&shared, "a", charge, Call::Take, None).await.is_some(),
            "the script was loaded again"
        );
    }

    #[test]
    fn a_url_prints_without_its_credentials() {
        for (text, printed) in [
            ("redis://app:hunter2@redis.example.com:6380/3", "redis.example.com:6380 (database 3)"),
            ("rediss://:hunter2@redis.example.com", "redis.example.com:6379 (database 0)"),
            ("redis+unix:///run/redis.sock?db=2&user=app&pass=hunter2", "/run/redis.sock (database 2)"),
        ] {
            let url = RedisUrl::parse(text).unwrap();
            assert_eq!(url.to_string(), printed);
            assert_eq!(format!("{url:?}"), format!("RedisUrl({printed})"));
        }
        for text in ["localhost", "http://redis.example.com", "redis://", "redis://h/x", ""] {
            assert!(
                RedisUrl::parse(text).is_err_and(|fault| fault.starts_with("is not a URL of Redis")),
                "{text}"
            );
        }
    }
}
