//! The configuration as a value.

use std::path::PathBuf;

use identity::wechat::WechatSettings;
use url::Url;
use web::settings::Cors;

use super::{
    reader::Effective,
    sections::{
        Auth, Chat, CreditRules, Database, Files, Identification, Limits, Listen, Log, Mail, Metrics,
        PriceSeeds, RateLimits, RunAs, TokenRules, UsageRules,
    },
};

/// All settings of the process. Secrets do not show in `Debug`.
#[derive(Debug, Clone)]
pub struct Config {
    /// Environment, name and version of the installation.
    pub app: Identification,
    /// Address and port.
    pub listen: Listen,
    /// Address at which others reach it, if that is not where it listens.
    pub public_url: Option<String>,
    /// Level and format of the log.
    pub log: Log,
    /// Folder of the private database; relative to the working directory.
    pub data_dir: PathBuf,
    /// The account to change to when started as root.
    pub run_as: Option<RunAs>,
    /// The database.
    pub database: Database,
    /// Issuers of tokens, and keys.
    pub auth: Auth,
    /// Tokens of this service.
    pub tokens: TokenRules,
    /// The server that sends mails.
    pub mail: Option<Mail>,
    /// The mini program whose users may log in.
    pub wechat: Option<WechatSettings>,
    /// The model that replies to messages.
    pub chat: Option<Chat>,
    /// Storage and limits of files.
    pub files: Files,
    /// Rules for credits.
    pub credits: CreditRules,
    /// Rules for usage records.
    pub usage: UsageRules,
    /// The prices that are put at the start, if they are wanted.
    pub price_seeds: Option<PriceSeeds>,
    /// The receiver of all events.
    pub webhook_url: Option<Url>,
    /// Origins of web pages that may call it.
    pub cors: Cors,
    /// Access to the metrics.
    pub metrics: Metrics,
    /// Limits of time, memory and connections.
    pub limits: Limits,
    /// Limits on request bodies per caller.
    pub rate_limits: Option<RateLimits>,
}

impl Config {
    /// Address at which others reach the service, without a slash at the end (`PUBLIC_URL`).
    #[must_use]
    pub fn public_url(&self) -> String {
        self.public_url.clone().unwrap_or_else(|| format!("http://{}", self.listen))
    }
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
