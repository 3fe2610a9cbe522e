//! Panics in the work of a request: counted, and answered as an error like others.
//!
//! The panic hook logs the message and the place. A panic ends the work it happened in and nothing beside it.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
};

use futures_util::FutureExt;

use super::{catalogue, error::ApiError};

/// The result of asynchronous work, or `after_panic`.
///
/// # Errors
/// What the work raises, or `after_panic`.
pub async fn isolate<T>(
    work: impl Future<Output = Result<T, ApiError>>,
    after_panic: impl FnOnce() -> ApiError,
) -> Result<T, ApiError> {
    let result = AssertUnwindSafe(work).catch_unwind().await;
    result.unwrap_or_else(|_panic| {
        count();
        Err(after_panic())
    })
}

/// The result of work that changes nothing outside the process, or 500 after a panic.
///
/// # Errors
/// What the work raises, or 500.
pub fn isolate_pure<T>(work: impl FnOnce() -> Result<T, ApiError>) -> Result<T, ApiError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_panic| {
        count();
        Err(ApiError::new(&catalogue::INTERNAL))
    })
}

fn count() {
    metrics::counter!("panics_total").increment(1);
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;

    #[test]
    fn a_panic_in_pure_work_is_an_error_of_its_own() {
        let error = isolate_pure::<()>(|| panic!("planted by a test")).unwrap_err();
        assert_eq!(error.code(), "InternalServerException");
        assert_eq!(isolate_pure(|| Ok(5)).unwrap(), 5);
    }

    #[tokio::test]
    async fn a_panic_in_one_of_several_works_leaves_the_others_alone() {
        let work = async |item: u32| {
            tokio::task::yield_now().await;
            assert!(item != 1, "planted by a test");
            Ok(item)
        };
        let all = (0..3).map(|item| isolate(work(item), ApiError::outcome_unknown));
        let results: Vec<_> =
            join_all(all).await.into_iter().map(|result| result.map_err(|error| error.code())).collect();
        assert_eq!(results, [Ok(0), Err("OutcomeUnknownException"), Ok(2)]);
    }
}
