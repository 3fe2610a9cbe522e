//! This service, as the HTTP mechanism of [`web`] sees it.

use std::{io, net::TcpListener, num::NonZeroU32, sync::Arc};

use actix_web::{HttpRequest, dev::Server};
use kernel::{Clock, Ids, Principal};
use web::{AddressBudget, ApiError, Language, Service, Settings, Traffic, catalogue::Entry};

use super::{
    access,
    call::{Caller, Facts},
    catalogue,
    route::Access,
    routes::served,
};
use crate::app::App;

/// A server on `listener` that answers the routes that the configuration serves.
///
/// # Errors
/// The error of listening.
pub fn server(app: Arc<App>, listener: TcpListener) -> io::Result<Server> {
    let routes = served(&app.config).collect();
    web::server(app, routes, listener)
}

impl Service for App {
    type Access = Access;
    type Facts = Facts;

    const CATALOGUE: &'static [&'static Entry] = &catalogue::CATALOGUE;
    const CLOSED_QUERIES: &'static str = "/api/v1/";

    fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    fn ids(&self) -> &dyn Ids {
        &*self.ids
    }

    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    async fn authenticate(&self, credential: &str, budget: &AddressBudget<'_>) -> Result<Caller, ApiError> {
        access::authenticate(self, credential, budget).await
    }

    async fn authorize(
        &self,
        access: Access,
        caller: Caller,
        request: &HttpRequest,
    ) -> Result<Caller, ApiError> {
        access::authorize(self, access, caller, request).await
    }

    async fn admit(&self, access: Access, request: &HttpRequest) -> Result<(), ApiError> {
        match access {
            Access::Metrics => access::admit_to_metrics(self, request).await,
            _ => Ok(()),
        }
    }

    fn requests_per_second(&self, caller: &Caller) -> Option<NonZeroU32> {
        caller.facts.requests_per_second
    }

    async fn after_failure(&self, caller: &Caller, error: ApiError) -> ApiError {
        access::after_failure(self, caller, error).await
    }

    fn after_success(&self, caller: &Caller, operation: &str) -> Result<(), ApiError> {
        if caller.facts.status.is_due() {
            tracing::error!(operation, "a route looked at nobody's status");
            return Err(ApiError::new(&catalogue::INTERNAL));
        }
        if let Some(user_id) = caller.principal.as_ref().and_then(Principal::user_id) {
            self.uses.users.note(self.clock.now(), user_id);
        }
        Ok(())
    }

    fn is_for_this_machine(&self, access: Access) -> bool {
        access == Access::Development && !self.config.app.development_on_network
    }

    fn default_language(&self, path: &str) -> Language {
        if is_chat(path) { Language::Zh } else { self.config.app.default_language }
    }

    fn detail_language(&self, path: &str, language: Language) -> Language {
        if is_chat(path) { language } else { Language::En }
    }
}

/// The routes of the chat backend, which speak Chinese by default, `detail` included (HTTP contract 1.7).
fn is_chat(path: &str) -> bool {
    path.starts_with("/api/") && !path.starts_with("/api/v1/")
}
