//! The budget of a client's address, class `anonymous`, for a credential that is not known to be valid (HTTP contract 1.4).

use std::cell::Cell;

use actix_web::{HttpMessage as _, HttpRequest};
use kernel::Clock;

use super::{
    client_address::client_address,
    error::ApiError,
    expect::Continued,
    rate_limit::{BodyBytes, Counted, Level, RateLimits},
    settings::Settings,
};

/// The budget of the address of a request.
///
/// Work that anybody can cause by an invented credential is charged to it, or at least judged by it, before it is done.
pub struct AddressBudget<'a> {
    request: &'a HttpRequest,
    settings: &'a Settings,
    limits: &'a RateLimits,
    clock: &'a dyn Clock,
    level: Cell<Option<Level>>,
    is_charged: Cell<bool>,
}

impl<'a> AddressBudget<'a> {
    /// The budget of the address of a request.
    #[must_use]
    pub fn new(
        request: &'a HttpRequest,
        settings: &'a Settings,
        limits: &'a RateLimits,
        clock: &'a dyn Clock,
    ) -> Self {
        Self { request, settings, limits, clock, level: Cell::default(), is_charged: Cell::default() }
    }

    /// Charges one request, once for each request.
    ///
    /// # Errors
    /// 429 if nothing is left.
    pub async fn charge(&self) -> Result<(), ApiError> {
        if self.is_charged.get() {
            return Ok(());
        }
        let requests = uncounted(self.request);
        let levels = self.limits.take(self.caller(), requests, BodyBytes::None, self.clock).await?;
        self.level.set(levels.requests);
        self.is_charged.set(true);
        Ok(())
    }

    /// Makes sure that something is left; takes nothing.
    ///
    /// # Errors
    /// 429 if nothing is left.
    pub async fn check(&self) -> Result<(), ApiError> {
        Ok(self.limits.check(self.caller(), self.clock).await?)
    }

    /// The rest after a charge.
    pub(super) fn level(&self) -> Option<Level> {
        self.level.get()
    }

    fn caller(&self) -> Counted<'static> {
        Counted::Anonymous(client_address(self.request, &self.settings.trusted_proxies))
    }
}

/// Number of requests to count: none for one whose head was judged before, and so counted.
pub(super) fn uncounted(request: &HttpRequest) -> u64 {
    if request.extensions().contains::<Continued>() { 0 } else { 1 }
}
