//! Refusals of the domains and of the database, on their way to the client.

use kernel::{Detail, Failure, IdempotencyKey, UserId};
use pg::{DbError, Rejected, pool::chain};
use web::fault::{Fault, Step};

pub use web::ApiError;

use super::catalogue;

/// The errors of this service.
pub trait Errors: Sized {
    /// The refusal of a domain, with its code and facts. Faults of ours are logged here, once, with their causes.
    fn from_failure(failure: &dyn Failure) -> Self;

    /// 404 for a user that was never ensured.
    fn user_not_found(user_id: &UserId) -> Self;

    /// 503 for a feature that the configuration lacks.
    fn not_configured(provider: &str) -> Self;

    /// The item that a committer did not do; with a key, what is blocked may be the first request of that key.
    fn of_rejected(rejected: Rejected, key: Option<&IdempotencyKey>) -> Self;
}

/// Turns an error of the database into an answer.
pub trait Answered<E> {
    /// The answer to an error.
    fn answered(error: E) -> Self;
}

impl Errors for ApiError {
    fn from_failure(failure: &dyn Failure) -> Self {
        let error = Self::of_failure(catalogue::find(failure.code()), failure);
        if failure.code() != catalogue::PRICE_NOT_FOUND.code {
            return error;
        }
        error.with_faults(vec![Fault {
            kind: "price_not_found",
            loc: vec![Step::from("body"), Step::from("model_name")],
            msg: failure.to_string(),
            input: None,
        }])
    }

    fn user_not_found(user_id: &UserId) -> Self {
        Self::new(&catalogue::USER_NOT_FOUND).detail("user_id", Detail::Text(user_id.to_string()))
    }

    fn not_configured(provider: &str) -> Self {
        Self::new(&catalogue::PROVIDER_NOT_CONFIGURED).detail("provider", Detail::Text(provider.to_owned()))
    }

    fn of_rejected(rejected: Rejected, key: Option<&IdempotencyKey>) -> Self {
        match (key, rejected) {
            (Some(key), Rejected::Blocked) => Self::in_progress(key),
            (_, rejected) => Self::answered(rejected),
        }
    }
}

impl Answered<DbError> for ApiError {
    fn answered(error: DbError) -> Self {
        match &error {
            DbError::OutcomeUnknown(_) => {
                tracing::error!(error = %chain(&error), "the outcome of a commit is unknown");
                Self::outcome_unknown()
            }
            error if error.is_unavailable() => {
                tracing::warn!(error = %chain(error), "the database is not available");
                Self::unavailable()
            }
            error => {
                tracing::error!(error = %chain(error), "a database operation failed");
                Self::new(&catalogue::INTERNAL)
            }
        }
    }
}

impl Answered<Rejected> for ApiError {
    /// The committer logged the cause already.
    fn answered(rejected: Rejected) -> Self {
        match rejected {
            Rejected::Full | Rejected::Unavailable | Rejected::Blocked => Self::unavailable(),
            Rejected::OutcomeUnknown => Self::outcome_unknown(),
            Rejected::Failed => Self::new(&catalogue::INTERNAL),
        }
    }
}
