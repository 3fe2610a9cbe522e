//! The configuration of the process: read once at the start, checked as a whole, then a plain value.
//!
//! Every variable is defined once, in `variables.rs`; reading, checking, `gateway check-config` and
//! `docs/configuration.md` all go by that table. This module and its children are the only place of the workspace that
//! reads the environment (I6). Source of names, defaults and rules: HTTP contract 14.

mod build;
mod document;
mod environment;
mod exposed_file;
mod files;
mod loaded;
mod lookalikes;
mod parse;
mod problems;
mod reader;
mod secrets;
mod sections;
mod variable;
mod variables;
mod weak_secrets;

#[cfg(test)]
mod tests;

pub use document::markdown;
pub use exposed_file::EnvFile;
pub use loaded::{Config, Loaded, Purpose};
pub use problems::Problems;
pub use reader::{Effective, Origin};
pub use sections::{
    Auth, Auth0, Chat, CreditRules, Database, DatabaseSource, Environment, Files, Identification, Limits,
    Listen, Log, LogFormat, LogLevel, Metrics, PriceSeeds, RateLimits, RunAs, SealingKeys, SelfMetering,
    SelfRecharge, SupabaseKeys, TokenRules, UsageRules,
};
pub use web::settings::{Cors, CorsOrigins};

impl Config {
    /// The configuration that these variables make; no environment, file or clock is touched.
    ///
    /// An empty value counts as not set, except where that would be dangerous: see `docs/configuration.md`.
    ///
    /// # Errors
    /// [`Problems`]: all that are wrong, not the first.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Problems> {
        load(&lookup, Purpose::Serving).map(|loaded| loaded.config)
    }
}

/// The configuration that these variables make, with its effective values.
///
/// # Errors
/// [`Problems`]: all that are wrong, not the first.
pub fn load(lookup: &dyn Fn(&str) -> Option<String>, purpose: Purpose) -> Result<Loaded, Problems> {
    build::build(lookup, purpose)
}

/// The configuration of this process: its environment, and `.env` in the working directory for what is not in it.
///
/// # Errors
/// [`Problems`]: all that are wrong, a malformed `.env` included.
pub fn from_environment(purpose: Purpose) -> Result<Loaded, Problems> {
    let environment = environment::read()?;
    let lookalikes = lookalikes::sentences(environment.names());
    match load(&|name| environment.get(name), purpose) {
        Ok(mut loaded) => {
            loaded.notices.extend(lookalikes);
            Ok(loaded)
        }
        // What is missing may be what was misspelt.
        Err(problems) => Err(problems.with(lookalikes)),
    }
}
