//! A reply that this process produces, as its readers see it.

use std::sync::Arc;

use sessions::ReplyName;
use tokio::sync::{Notify, watch};

/// A reply that runs here.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) name: ReplyName,
    state: watch::Sender<State>,
    cancelled: Notify,
    stopped: Notify,
}

/// The state of a reply that runs here.
#[derive(Debug, Default)]
pub(super) struct State {
    /// The upstream accepted it, and its answer begins.
    pub(super) begun: bool,
    /// The text so far.
    pub(super) text: String,
    /// It is not produced here any more; the database has its end.
    pub(super) over: bool,
}

impl Live {
    pub(super) fn new(name: ReplyName) -> Arc<Self> {
        let (state, _) = watch::channel(State::default());
        Arc::new(Self { name, state, cancelled: Notify::new(), stopped: Notify::new() })
    }

    pub(super) fn watch(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    pub(super) fn note_begun(&self) {
        self.state.send_modify(|state| state.begun = true);
    }

    pub(super) fn append(&self, text: &str) {
        self.state.send_modify(|state| state.text.push_str(text));
    }

    pub(super) fn note_over(&self) {
        self.state.send_modify(|state| state.over = true);
    }

    /// Asks the work to end because a caller wants it.
    pub(super) fn cancel(&self) {
        self.cancelled.notify_one();
    }

    pub(super) async fn cancelled(&self) {
        self.cancelled.notified().await;
    }

    /// Asks the work to end because the process does.
    pub(super) fn stop(&self) {
        self.stopped.notify_one();
    }

    pub(super) async fn stopped(&self) {
        self.stopped.notified().await;
    }

    /// Waits until it is not produced here any more.
    pub(super) async fn ended(&self) {
        // It fails when the sender is gone, which is here.
        let mut state = self.watch();
        let _over = state.wait_for(|state| state.over).await;
    }
}
