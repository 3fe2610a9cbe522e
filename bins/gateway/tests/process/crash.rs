//! kill -9 under a load on the ledger, at random points: what was acknowledged is durable, what was not is all or nothing,
//! and a repeat with the same key converges.
//!
//! `CRASH_KILLS` is the number of kills of each test (3), `CRASH_SEED` repeats the choices of an earlier run, which prints
//! its seed; the timing of the machine cannot be repeated. `just crash` runs a hundred of each.

mod book;
pub mod choices;
mod client;
mod every_domain;
mod request;
mod victim;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    gateway_process::{Gateway, database, folder},
    ledger_verify::verify,
};
use crate::prelude::*;
use book::Book;
use choices::Choices;
use client::Client;
use victim::{Victim, World};

const CLIENTS: u64 = 16;
const USERS: [&str; 4] = ["a", "b", "c", "d"];
/// Answers between the start of the load and a kill, at most.
const ANSWERS_MAX: u64 = 120;
/// And then some time within a batch, in microseconds.
const LATER_MICROS_MAX: u64 = 4_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_killed_over_its_private_database_loses_no_credit() {
    let folder = folder();
    crash(World::private(folder.path(), Victim::Gateway)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_killed_over_an_outside_database_loses_no_credit() {
    let db = database().await;
    let folder = folder();
    crash(World::outside(folder.path(), db.url())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_private_database_loses_no_credit() {
    let folder = folder();
    crash(World::private(folder.path(), Victim::Database)).await;
}

/// Kills, restarts and settles, again and again, and prints what happened.
#[expect(clippy::print_stdout, reason = "the recipe shows it, and a failure is repeated with the seed")]
async fn crash(mut world: World<'_>) {
    let (seed, kills) = (choices::seed(), choices::kills());
    let choices = Choices::new(seed);
    println!("{kills} kills of {world}, CRASH_SEED={seed} repeats the choices");
    let began = Instant::now();
    let mut gateway = world.start().await;
    for user in USERS {
        gateway.ensure(user).await;
    }
    let mut clients: Vec<Client> = (0..CLIENTS)
        .map(|number| Client::new(number, USERS[number as usize % USERS.len()], choices.below(u64::MAX)))
        .collect();
    let mut book = Book::new(&USERS);
    for kill in 1..=kills {
        let (ended, loaded) = run_until_killed(&world, gateway, clients, &choices).await;
        gateway = world.restore(ended).await;
        clients = settle(&gateway, loaded).await;
        for client in &mut clients {
            book.write(client.take_exchanges());
        }
        check(&world, &gateway, &book, kill).await;
    }
    book.check_listing(&gateway).await;
    println!("{world}: {book}; {}", world.summary(began.elapsed()));
}

/// One load, ended by a kill at a random point of it.
async fn run_until_killed(
    world: &World<'_>,
    gateway: Gateway,
    clients: Vec<Client>,
    choices: &Choices,
) -> (Gateway, Vec<Client>) {
    let gateway = Arc::new(gateway);
    let (answers, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let mut load = JoinSet::new();
    for client in clients {
        load.spawn(client.load(Arc::clone(&gateway), Arc::clone(&answers), Arc::clone(&stop)));
    }
    let enough = 1 + choices.below(ANSWERS_MAX);
    // Clients that got no answer have ended: on a machine that paused, all of them may have.
    while answers.load(Ordering::SeqCst) < enough && Arc::strong_count(&answers) > 1 {
        tokio::task::yield_now().await;
    }
    let later = Duration::from_micros(choices.below(LATER_MICROS_MAX));
    let waiting = Instant::now();
    while waiting.elapsed() < later {
        tokio::task::yield_now().await;
    }
    world.kill(&gateway, choices);
    stop.store(true, Ordering::SeqCst);
    let loaded = load.join_all().await;
    let gateway = Arc::into_inner(gateway).unwrap();
    (gateway, loaded)
}

/// What was not answered is sent until it is; then everything of this round is sent again and must change nothing.
async fn settle(gateway: &Gateway, clients: Vec<Client>) -> Vec<Client> {
    let settling = clients.into_iter().map(|client| client.settle(gateway));
    futures_util::future::join_all(settling).await
}

/// The books against the independent record, and against themselves.
async fn check(world: &World<'_>, gateway: &Gateway, book: &Book, kill: u64) {
    book.check_entries(&world.database_url()).await;
    book.check_balances(gateway).await;
    let (code, report, error) = verify(world.folder(), world.variables());
    assert_eq!(code, Some(0), "after kill {kill}: {report} {error}");
    assert_eq!(report["entries"], book.entries(), "after kill {kill}");
}
