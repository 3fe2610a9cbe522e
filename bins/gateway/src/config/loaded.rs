//! The configuration as a value.

use std::path::PathBuf;

use web::settings::Cors;

use super::{
    reader::Effective,
    sections::{
        Auth, CreditRules, Database, Identification, Limits, Listen, Log, Metrics, PriceSeeds, RateLimits,
        RunAs, UsageRules,
    },
};

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

/// The use that a process makes of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Answers requests.
    Serving,
    /// Works on the database and answers nobody, so whose tokens would be accepted does not matter.
    Upkeep,
}
