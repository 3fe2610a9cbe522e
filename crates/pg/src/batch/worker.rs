//! One worker of a lane: takes batches and sees each to its end.

use std::{sync::Arc, time::Instant};

use super::{
    executor::{Executor, Progress},
    held,
    items::Batch,
    runner::Runner,
    turn::{Kind, MyTurn, Taken, Turns},
};
use crate::DbError;

/// Works until nothing can come any more.
pub(super) async fn serve<E: Executor>(runner: Arc<Runner<E>>, turns: Arc<Turns<E::Item, E::Outcome>>) {
    loop {
        let mut turn = turns.next().await;
        let (batch, kind, under_way) = match turn.take(runner.limits, || runner.meters()).await {
            Taken::Work(batch, kind, under_way) => (batch, kind, under_way),
            Taken::Claimed => continue,
            Taken::Closed => return,
        };
        let busy = runner.monitor.begin();
        if !turn.held.is_empty() {
            held::look_again(&mut turn.held, &runner, batch).await;
        } else if !batch.is_empty() && kind == Kind::Plain {
            finish_plain(&runner, batch, turn, &turns).await;
        } else if !batch.is_empty() {
            finish(&runner, batch, turn, &turns).await;
        }
        drop((under_way, busy));
    }
}

/// Does what one statement can do while the next batch begins, and then the rest as any batch. Until then nothing is sure to
/// have its locks, so items of the same keys wait as they do for a batch that writes.
async fn finish_plain<E: Executor>(
    runner: &Runner<E>,
    batch: Batch<E::Item, E::Outcome>,
    turn: MyTurn<E::Item, E::Outcome>,
    turns: &Turns<E::Item, E::Outcome>,
) {
    let writing = turn.committing.write();
    drop(turn);
    let began = Instant::now();
    let (rest, error) = runner.at_once(batch).await;
    if rest.is_empty() {
        runner.meters().commit.record(began.elapsed().as_secs_f64());
        return;
    }
    let mut turn = turns.claim().await;
    drop(writing);
    match error {
        Some(error @ DbError::LockTimeout(_)) => {
            held::sort_out(&mut turn.held, runner, rest, &error).await;
        }
        _ if turn.held.is_empty() => finish(runner, rest, turn, turns).await,
        _ => held::look_again(&mut turn.held, runner, rest).await,
    }
}

/// Runs the batch; if it fails for a reason that lies in an item, only the one at fault fails, and only what is held
/// up waits.
async fn finish<E: Executor>(
    runner: &Runner<E>,
    mut batch: Batch<E::Item, E::Outcome>,
    turn: MyTurn<E::Item, E::Outcome>,
    turns: &Turns<E::Item, E::Outcome>,
) {
    let began = Instant::now();
    let mut progress = Progress::passing(turn);
    let result = runner.attempt(&mut batch, &mut progress).await;
    runner.meters().commit.record(began.elapsed().as_secs_f64());
    let error = match result {
        Ok(outcomes) => return batch.answer(outcomes),
        Err(error) => error,
    };
    let turn = progress.into_turn();
    if let Some(batch) = runner.reject(batch, &error) {
        let mut turn = match turn {
            Some(turn) => turn,
            None => turns.claim().await,
        };
        held::sort_out(&mut turn.held, runner, batch, &error).await;
    }
}
