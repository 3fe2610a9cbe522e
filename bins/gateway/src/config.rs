//! The configuration of the process: read once at the start, checked as a whole, then a plain value.
//!
//! Every variable is defined once, in `variables.rs`; reading, checking, `gateway check-config` and
//! `docs/configuration.md` all go by that table. This module and its children are the only place of the workspace that
//! reads the environment (I6). Source of names, defaults and rules: HTTP contract 14.

mod build;
mod document;
mod environment;
mod exposed_file;
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

use std::path::PathBuf;

pub use document::markdown;
pub use exposed_file::EnvFile;
pub use problems::Problems;
pub use reader::{Effective, Origin};
pub use sections::{
    Auth, Auth0, CreditRules, Database, DatabaseSource, Environment, Identification, Limits, Listen, Log,
    LogFormat, LogLevel, Metrics, PriceSeeds, RateLimits, RunAs, SelfMetering, SelfRecharge, SupabaseKeys,
    UsageRules,
};
pub use web::settings::{Cors, CorsOrigins};

/// Everything the process was told from outside. Secrets do not show in `Debug`.
#[derive(Debug, Clone)]
pub struct Config {
    /// What kind of installation this is, and how it names itself.
    pub app: Identification,
    /// Where it listens.
    pub listen: Listen,
    /// What it logs.
    pub log: Log,
    /// Folder of the private database; relative to the working directory.
    pub data_dir: PathBuf,
    /// The account to change to when started as root.
    pub run_as: Option<RunAs>,
    /// Where its data is.
    pub database: Database,
    /// Whom it believes.
    pub auth: Auth,
    /// What users get and may do with credits.
    pub credits: CreditRules,
    /// How usage records are looked after.
    pub usage: UsageRules,
    /// The prices that are put at the start, if they are wanted.
    pub price_seeds: Option<PriceSeeds>,
    /// Which web pages may call it.
    pub cors: Cors,
    /// Who may read its metrics.
    pub metrics: Metrics,
    /// Limits of time, memory and connections.
    pub limits: Limits,
    /// How much a caller may send.
    pub rate_limits: RateLimits,
}

/// A configuration, with what an operator may want to know about it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The value of every variable in the order of the documentation, secrets hidden.
    pub values: Vec<Effective>,
    /// Sentences for the log: variables that are set and do nothing in this version, and names that are nearly those of variables.
    pub notices: Vec<String>,
}

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

/// The use that a process makes of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Answers requests.
    Serving,
    /// Works on the database and answers nobody, so whose tokens would be accepted does not matter.
    Upkeep,
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
