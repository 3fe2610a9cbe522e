//! The bound of a call, and the meaning of its error.

use std::time::Duration;

use tokio::time::timeout;

use crate::objects::fault::{Described, FaultCause, StorageError};

/// Without a key, an absent object is a fault.
pub(super) async fn limited<T>(
    time: Duration,
    described: &Described,
    doing: &str,
    key: &str,
    call: impl Future<Output = object_store::Result<T>>,
) -> Result<T, StorageError> {
    match timeout(time, call).await {
        Err(_) => Err(described.slow(doing).into()),
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => {
            let fault = described.diagnose(doing, &error);
            let is_absent = matches!(error, object_store::Error::NotFound { .. });
            // A bucket that is missing has the same status as an object that is, and another code.
            if is_absent && !key.is_empty() && fault.cause() == FaultCause::Endpoint {
                return Err(StorageError::NotFound { key: key.to_owned() });
            }
            Err(fault.into())
        }
    }
}
