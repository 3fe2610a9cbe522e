//! Where pooled connections should live, measured: the numbers of ADR 0003.
//!
//! HTTP workers are single-threaded runtimes. Here they read rows by key, each with some requests at a time, in four
//! designs that may open the same number of connections. `cargo bench -p pg --bench pool_designs` prints two tables;
//! the numbers of one run compare with each other only.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark stops at the first failure and prints what it found"
)]

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};

use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Text},
};
use diesel_async::{
    AsyncPgConnection, RunQueryDsl,
    pooled_connection::{AsyncDieselConnectionManager, deadpool as managed},
};
use pg::{BatchLimits, Coalescer, DbError, Lookup, Migration, Pool};
use testkit::TestDb;
use tokio::{
    runtime::{Builder, Runtime},
    task::LocalSet,
    time::{sleep, sleep_until},
};

const WORKERS: usize = 2;
/// Of the whole process, in every design.
const CONNECTIONS: usize = 8;
const ROUNDS: usize = 5;
const WARM_UP: Duration = Duration::from_millis(500);
const MEASURED: Duration = Duration::from_secs(2);
const ROWS: i64 = 10_000;

const NOTES: &[Migration] = &[Migration {
    name: "20260101000000_create_notes",
    up: "CREATE SCHEMA notes; CREATE TABLE notes.notes (id bigint PRIMARY KEY, body text NOT NULL);
        INSERT INTO notes.notes SELECT id, 'note ' || id FROM generate_series(1, 10000) AS id; ANALYZE notes.notes",
    down: "DROP SCHEMA notes CASCADE",
}];

#[derive(Debug, Clone, Copy)]
enum Design {
    /// (a) One pool whose connections live on the main runtime.
    Main,
    /// (b) A small pool per worker, its connections on that worker.
    PerWorker,
    /// One pool whose connections live on whichever worker opened them: what one gets without thinking about it.
    Accidental,
    /// (a), with questions that wait together asked together on the main runtime: our hot path.
    Coalesced,
}

const DESIGNS: [(Design, &str); 4] = [
    (Design::Main, "(a) shared, on the main runtime"),
    (Design::PerWorker, "(b) one per worker"),
    (Design::Accidental, "shared, wherever opened"),
    (Design::Coalesced, "(a) and coalesced"),
];

#[derive(Debug, Clone, Copy)]
enum Disturbance {
    None,
    /// The first worker does not look at its sockets for 20 ms out of every 100, as in a handler that computes; only
    /// the others are measured.
    FirstWorkerStalls,
}

fn main() {
    let main_runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let db = main_runtime.block_on(TestDb::create(&[NOTES], &[]));
    for disturbance in [Disturbance::None, Disturbance::FirstWorkerStalls] {
        println!(
            "\n{disturbance:?}, {WORKERS} workers, {CONNECTIONS} connections, median of {ROUNDS} runs\n"
        );
        println!("| requests at a time, per worker | design | reads/s | p50 µs | p99 µs |");
        println!("|---|---|---|---|---|");
        for requests in [1, 8, 64] {
            // Alternating, so that a slow minute of the machine strikes all designs.
            let mut runs: [Vec<Run>; DESIGNS.len()] = Default::default();
            for _ in 0..ROUNDS {
                for (place, (design, _)) in runs.iter_mut().zip(DESIGNS) {
                    place.push(measure(&main_runtime, &db, design, requests, disturbance));
                }
            }
            for (mut runs, (_, name)) in runs.into_iter().zip(DESIGNS) {
                runs.sort_by_key(|run| run.per_second);
                let Run { per_second, p50, p99 } = runs[ROUNDS / 2];
                println!("| {requests} | {name} | {per_second} | {p50} | {p99} |");
            }
        }
    }
    let _main = main_runtime.enter();
    drop(db);
}

#[derive(Debug, Clone, Copy)]
struct Run {
    per_second: u128,
    p50: u128,
    p99: u128,
}

fn measure(main: &Runtime, db: &TestDb, design: Design, requests: usize, disturbance: Disturbance) -> Run {
    let shared = {
        let _on_main = main.enter();
        match design {
            Design::Main => Some(Source::Pool(db.pool_of(CONNECTIONS))),
            Design::PerWorker => None,
            Design::Accidental => Some(Source::Accidental(accidental_pool(db.url()))),
            Design::Coalesced => Some(Source::Coalesced(coalescer(db))),
        }
    };
    let begin = Instant::now() + WARM_UP;
    let mut latencies: Vec<Duration> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                let shared = shared.clone();
                scope.spawn(move || work(worker, shared, db, begin, requests, disturbance))
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    latencies.sort();
    let at = |percent: usize| latencies[(latencies.len() - 1) * percent / 100].as_micros();
    Run {
        per_second: u128::try_from(latencies.len()).unwrap() * 1000 / MEASURED.as_millis(),
        p50: at(50),
        p99: at(99),
    }
}

/// One worker: a runtime of its own, as actix makes it.
fn work(
    worker: usize,
    shared: Option<Source>,
    db: &TestDb,
    begin: Instant,
    requests: usize,
    disturbance: Disturbance,
) -> Vec<Duration> {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let stalls = worker == 0 && matches!(disturbance, Disturbance::FirstWorkerStalls);
    LocalSet::new().block_on(&runtime, async {
        let source = shared.unwrap_or_else(|| Source::Pool(db.pool_of(CONNECTIONS / WORKERS)));
        let latencies = Rc::new(RefCell::new(Vec::new()));
        let done = Rc::new(Cell::new(false));
        for request in 0..requests {
            let (source, latencies, done) = (source.clone(), Rc::clone(&latencies), Rc::clone(&done));
            let seed = i64::try_from(worker * requests + request).unwrap();
            tokio::task::spawn_local(async move {
                let mut id = seed;
                while !done.get() {
                    id = (id * 31 + 7) % ROWS;
                    let asked = Instant::now();
                    assert_eq!(source.read(id + 1).await, format!("note {}", id + 1));
                    if asked >= begin && !done.get() {
                        latencies.borrow_mut().push(asked.elapsed());
                    }
                }
            });
        }
        if stalls {
            tokio::task::spawn_local(async {
                loop {
                    sleep(Duration::from_millis(80)).await;
                    std::thread::sleep(Duration::from_millis(20));
                }
            });
        }
        sleep_until((begin + MEASURED).into()).await;
        done.set(true);
        // Requests under way end before the runtime does: a connection may live on it.
        sleep(Duration::from_millis(200)).await;
        if stalls { Vec::new() } else { latencies.take() }
    })
}

#[derive(Clone)]
enum Source {
    Pool(Pool),
    Accidental(managed::Pool<AsyncPgConnection>),
    Coalesced(Coalescer<Bodies>),
}

impl Source {
    async fn read(&self, id: i64) -> String {
        match self {
            Source::Pool(pool) => read(&mut pool.get().await.unwrap(), id).await,
            Source::Accidental(pool) => read(&mut pool.get().await.unwrap(), id).await,
            Source::Coalesced(questions) => questions.ask("all", id).await.unwrap(),
        }
    }
}

#[derive(QueryableByName)]
struct Note {
    #[diesel(sql_type = Text)]
    body: String,
}

async fn read(conn: &mut AsyncPgConnection, id: i64) -> String {
    let query = pg::sql("SELECT body FROM notes.notes WHERE id = $1").bind::<BigInt, _>(id);
    let note: Note = query.get_result(conn).await.unwrap();
    note.body
}

/// Settings of every session of `pg::Pool` (ADR 0008), as a parameter of the URL.
const PLANNER: &str = "-c%20plan_cache_mode%3Dforce_generic_plan%20-c%20enable_seqscan%3Doff\
    %20-c%20enable_hashjoin%3Doff%20-c%20enable_mergejoin%3Doff";

fn accidental_pool(url: &str) -> managed::Pool<AsyncPgConnection> {
    let mut settings = diesel_async::pooled_connection::ManagerConfig::default();
    settings.recycling_method = diesel_async::pooled_connection::RecyclingMethod::Fast;
    let url = format!("{url}?options={PLANNER}");
    managed::Pool::builder(AsyncDieselConnectionManager::new_with_config(url, settings))
        .max_size(CONNECTIONS)
        .build()
        .unwrap()
}

fn coalescer(db: &TestDb) -> Coalescer<Bodies> {
    let limits = BatchLimits {
        name: "bodies",
        lanes: 1,
        workers: 1,
        batch_items_max: 512,
        queue_items_max: 8192,
        batch_bytes_max: 16 << 20,
        queue_bytes_max: 64 << 20,
        wait_max: Duration::from_secs(10),
    };
    Coalescer::start(db.pool_of(CONNECTIONS), Bodies, limits)
}

struct Bodies;

impl Lookup for Bodies {
    type Item = i64;
    type Outcome = String;

    async fn load(&self, conn: &mut AsyncPgConnection, ids: &[i64]) -> Result<Vec<String>, DbError> {
        const SQL: &str = "SELECT n.body FROM unnest($1) WITH ORDINALITY AS asked (id, place)
            JOIN notes.notes AS n ON n.id = asked.id ORDER BY asked.place";
        let notes: Vec<Note> = pg::sql(SQL).bind::<Array<BigInt>, _>(ids).load(conn).await?;
        Ok(notes.into_iter().map(|note| note.body).collect())
    }
}
