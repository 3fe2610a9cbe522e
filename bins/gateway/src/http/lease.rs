//! A value that is given up after a while, even if its holder waits for a client.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Mutex, MutexGuard},
    task::JoinHandle,
};

/// A value with a deadline.
pub(crate) struct Lease<T> {
    value: Arc<Mutex<Option<T>>>,
    deadline: JoinHandle<()>,
}

impl<T: Send + 'static> Lease<T> {
    /// Keeps a value for at most `time_max`.
    pub(crate) fn new(value: T, time_max: Duration) -> Self {
        let value = Arc::new(Mutex::new(Some(value)));
        let kept = Arc::clone(&value);
        let deadline = tokio::spawn(async move {
            tokio::time::sleep(time_max).await;
            drop(kept.lock().await.take());
        });
        Self { value, deadline }
    }

    /// The value, for one step; `None` after the deadline, or when it was taken. The deadline waits for the end of the step.
    pub(crate) async fn hold(&self) -> MutexGuard<'_, Option<T>> {
        self.value.lock().await
    }
}

impl<T> Drop for Lease<T> {
    fn drop(&mut self) {
        self.deadline.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_value_is_given_up_at_its_deadline_while_the_lease_is_held() {
        let value = Arc::new(());
        let lease = Lease::new(Arc::clone(&value), Duration::ZERO);
        let step = lease.hold().await;
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        assert!(step.is_some(), "in the middle of a step");
        drop(step);
        while lease.hold().await.is_some() {
            tokio::task::yield_now().await;
        }
        assert_eq!(Arc::strong_count(&value), 1);
    }

    #[tokio::test]
    async fn a_lease_that_is_dropped_gives_its_value_up_at_once() {
        let value = Arc::new(());
        let lease = Lease::new(Arc::clone(&value), Duration::from_secs(3_600));
        tokio::task::yield_now().await;
        assert!(lease.hold().await.is_some());
        drop(lease);
        while Arc::strong_count(&value) > 1 {
            tokio::task::yield_now().await;
        }
    }
}
