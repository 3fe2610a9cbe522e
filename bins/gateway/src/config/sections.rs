//! The parts of the configuration, one plain struct a concern.

use std::{fmt, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use chat::OpenAiSettings;
use files::objects::StorageSettings;
use identity::{
    Issuer, Role,
    mail::{Mailbox, SmtpServer},
    seal::SecretKey,
    signing_keys::SigningKey,
};
use ipnet::IpNet;
use kernel::{Credits, UserId};
use secrecy::SecretString;
use url::Url;
use web::{Language, rate_limit::RedisUrl};

/// Kind of the installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Environment {
    /// One developer's machine: conveniences are on.
    #[default]
    Development,
    /// Like production, with other data.
    Staging,
    /// Real users.
    Production,
}

impl Environment {
    /// Returns true if conveniences that would be dangerous elsewhere are on.
    #[must_use]
    pub fn is_development(self) -> bool {
        self == Self::Development
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Development => "development",
            Self::Staging => "staging",
            Self::Production => "production",
        })
    }
}

/// Kind and name of the installation.
#[derive(Debug, Clone)]
pub struct Identification {
    /// Kind of the installation.
    pub environment: Environment,
    /// True if development tokens are given to callers that are not on this machine.
    pub development_on_network: bool,
    /// Name shown in `/` and in OpenAPI.
    pub name: String,
    /// Version shown there; `/health` shows the constant version of the documented API.
    pub version: String,
    /// Language of `/api/v1` for a caller that asks for none.
    pub default_language: Language,
}

/// Where the service listens.
#[derive(Debug, Clone)]
pub struct Listen {
    /// An address or a host name of this machine.
    pub host: String,
    /// TCP port; 0 stands for a free one.
    pub port: u16,
    /// HTTP worker threads.
    pub workers: usize,
}

impl fmt::Display for Listen {
    /// `host:port` as it stands in a URL: an IPv6 address is bracketed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.parse() {
            Ok(address) => SocketAddr::new(address, self.port).fmt(f),
            Err(_) => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// Level and format of the log.
#[derive(Debug, Clone)]
pub struct Log {
    /// The least important level that is logged; `debug` at least when DEBUG is set.
    pub level: LogLevel,
    /// Format of a line.
    pub format: LogFormat,
}

/// Importance of a log line, the most important first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum LogLevel {
    /// Something failed that must not.
    Error,
    /// Something is off.
    Warn,
    /// Something happened.
    #[default]
    Info,
    /// Details for developers.
    Debug,
    /// Everything.
    Trace,
}

/// Format of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Readable in a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// Readable.
    Text,
    /// One JSON object a line.
    Json,
}

/// An account of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunAs {
    /// By its name; with its group and all further groups it is in.
    Name(String),
    /// By its number.
    Ids {
        /// Of the account.
        uid: u32,
        /// The one group of the process; none stands for the groups of the account.
        gid: Option<u32>,
    },
}

impl fmt::Display for RunAs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Ids { uid, gid: None } => write!(f, "{uid}"),
            Self::Ids { uid, gid: Some(gid) } => write!(f, "{uid}:{gid}"),
        }
    }
}

/// Where the data is.
#[derive(Debug, Clone)]
pub struct Database {
    /// The server.
    pub source: DatabaseSource,
    /// Most connections of this process.
    pub pool_size: usize,
}

/// The PostgreSQL server.
#[derive(Debug, Clone)]
pub enum DatabaseSource {
    /// One that runs already.
    Remote {
        /// `postgresql://user:password@host/database`.
        url: SecretString,
    },
    /// A private one in the data folder, started and stopped by this process.
    Embedded {
        /// Folder with `postgres` and `initdb`; none means to look for one.
        bin_dir: Option<PathBuf>,
        /// The value of PATH, searched for the binaries.
        search_path: Option<String>,
    },
}

/// Accepted tokens and keys (HTTP contract 1.3).
#[derive(Debug, Clone, Default)]
pub struct Auth {
    /// RS256 tokens of an Auth0 tenant.
    pub auth0: Option<Auth0>,
    /// ES256 and RS256 tokens of a Supabase project.
    pub supabase_keys: Option<SupabaseKeys>,
    /// HS256 secret shared with Supabase.
    pub supabase_secret: Option<SecretString>,
    /// Bootstrap keys with the scopes service and admin: none, one, or two while one replaces the other.
    pub api_keys: Vec<SecretString>,
    /// Keys that seal the secrets in the database; without them development derives one.
    pub sealing: Option<SealingKeys>,
    /// Further issuers.
    pub oidc: Vec<OidcIssuer>,
    /// The users with role admin, as of each start.
    pub admin_user_ids: Vec<UserId>,
    /// Links a new id to the user who holds the address that its token vouches for.
    pub link_verified_emails: bool,
}

impl Auth {
    /// The role of a user who signs up.
    #[must_use]
    pub fn role_of(&self, user_id: &UserId) -> Role {
        if self.admin_user_ids.contains(user_id) { Role::Admin } else { Role::User }
    }

    /// The table of issuers whose tokens are believed: Auth0, the Supabase project, and `supabase` for tokens that are
    /// signed with the shared secret or, in development, with the secret of development tokens.
    #[must_use]
    pub fn issuers(&self, development_secret: Option<&SecretString>) -> Vec<Issuer> {
        let mut issuers = Vec::new();
        if let Some(auth0) = &self.auth0 {
            issuers.push(Issuer::auth0(&auth0.issuer, &auth0.audience, auth0.jwks_url.clone()));
        }
        if let Some(keys) = &self.supabase_keys {
            let secret = self.supabase_secret.clone();
            issuers.push(Issuer::supabase_project(&keys.issuer, keys.jwks_url.clone(), secret));
        }
        let mut secrets = self.supabase_secret.iter().chain(development_secret).cloned();
        if let Some(first) = secrets.next() {
            issuers.push(secrets.fold(Issuer::supabase_legacy(first), Issuer::with_secret));
        }
        // Their form was checked when they were read.
        issuers.extend(self.oidc.iter().filter_map(|OidcIssuer { prefix, issuer, audience }| {
            Issuer::oidc(prefix, issuer, audience).ok()
        }));
        issuers
    }
}

/// Tokens of this service (HTTP contract 14).
#[derive(Debug, Clone)]
pub struct TokenRules {
    /// The first key that signs; afterwards the database decides.
    pub signing_key: Option<Arc<SigningKey>>,
    /// Validity of an access token.
    pub access_ttl: time::Duration,
    /// Validity of a refresh token.
    pub refresh_ttl: time::Duration,
}

/// Keys that seal the secrets in the database (HTTP contract 14).
#[derive(Debug, Clone)]
pub struct SealingKeys {
    /// Seals and opens.
    pub current: SecretKey,
    /// Opens only.
    pub previous: Option<SecretKey>,
}

/// An issuer whose keys are found by discovery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcIssuer {
    /// Beginning of the ids of its users, before the `|`.
    pub prefix: String,
    /// Exact `iss`.
    pub issuer: String,
    /// Must be contained in `aud`.
    pub audience: String,
}

/// Requirements of an Auth0 token.
#[derive(Debug, Clone)]
pub struct Auth0 {
    /// Exact `iss`.
    pub issuer: String,
    /// Must be contained in `aud`.
    pub audience: String,
    /// Where the keys are published; https, or http towards loopback.
    pub jwks_url: Url,
}

/// Requirements of a Supabase token that is signed with a published key.
#[derive(Debug, Clone)]
pub struct SupabaseKeys {
    /// Exact `iss`: `{SUPABASE_URL}/auth/v1`. Also accepted in HS256 tokens.
    pub issuer: String,
    /// Where the keys are published; https, or http towards loopback.
    pub jwks_url: Url,
}

/// Mails of the service (HTTP contract 14).
#[derive(Debug, Clone)]
pub struct Mail {
    /// The server.
    pub server: SmtpServer,
    /// The sender.
    pub from: Mailbox,
    /// The page that links lead to; none for the address of the service.
    pub link_base: Option<Url>,
}

/// The model that replies to messages (HTTP contract 9.1).
#[derive(Debug, Clone)]
pub struct Chat {
    /// Address of the server, without `/chat/completions`.
    pub base_url: Url,
    /// Its key.
    pub api_key: Option<SecretString>,
    /// Name of the model.
    pub model: String,
    /// Instructions in front of every conversation.
    pub system_prompt: Option<String>,
    /// Most tokens of a reply.
    pub max_tokens: u32,
    /// Most earlier messages that the model gets.
    pub history: u32,
    /// Longest pause in an answer of the server.
    pub timeout: Duration,
    /// Charge of a token, where the model has no price; above zero.
    pub credits_per_token: Credits,
}

impl Chat {
    /// The server, for its client.
    #[must_use]
    pub fn upstream(&self) -> OpenAiSettings {
        OpenAiSettings {
            base_url: self.base_url.clone(),
            api_key: self.api_key.clone(),
            timeout: self.timeout,
        }
    }
}

/// Files of users (HTTP contract 7).
#[derive(Debug, Clone)]
pub struct Files {
    /// Where they are.
    pub storage: StorageSettings,
    /// Most bytes of a file.
    pub max_bytes: u64,
    /// Most bytes of all files of a user.
    pub quota_bytes: u64,
    /// Most files of a user.
    pub quota_files: u32,
}

/// Credits of users, and their rights.
#[derive(Debug, Clone)]
pub struct CreditRules {
    /// Grant for a new user; zero means none.
    pub initial: Credits,
    /// Defaults for accounts without settings of their own.
    pub defaults: credits::Defaults,
    /// True if users may recharge their own account.
    pub self_recharge: SelfRecharge,
    /// Pause between audits of the ledger in the background; zero means none.
    pub verify_every: Duration,
}

/// Permission of users to recharge their own account; services and admins always may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SelfRecharge {
    /// They may.
    Allowed,
    /// They may not.
    #[default]
    Denied,
}

/// Permission of users to record usage for themselves; services and administrators always may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SelfMetering {
    /// They may.
    #[default]
    Allowed,
    /// They may not.
    Denied,
}

/// Upkeep of usage records.
#[derive(Debug, Clone)]
pub struct UsageRules {
    /// True if users may record usage for themselves.
    pub self_metering: SelfMetering,
    /// Months that are kept beside the present one.
    pub retention_months: u16,
    /// When the spending of a user is odd; `None` means that nobody looks.
    pub anomalies: Option<usage::AnomalyRule>,
}

/// The prices that this version brings along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PriceSeeds {
    /// Credits per dollar of the provider, above zero.
    pub credits_per_usd: Credits,
}

/// Readers of the metrics (HTTP contract 13).
#[derive(Debug, Clone)]
pub struct Metrics {
    /// True if `/metrics` exists.
    pub enabled: bool,
    /// Bearer token for it; without one, outside development, a service key is needed.
    pub token: Option<SecretString>,
}

/// Limits of time, memory and connections.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Time that requests are still taken after the process was asked to stop, while `/readyz` answers 503.
    pub shutdown_delay: Duration,
    /// Time that running requests may take to finish when the process is asked to stop.
    pub shutdown_grace: Duration,
    /// Time that a request may take.
    pub request_timeout: Duration,
    /// Time that the first outcome of an idempotency key is kept.
    pub idempotency_kept: time::Duration,
    /// Time that events of the audit log are kept.
    pub audit_kept: time::Duration,
    /// Bytes of request bodies held in memory at once.
    pub body_bytes_in_flight: u64,
    /// Open connections of one address.
    pub connections_per_address: usize,
    /// Proxies: their connections are not counted by address, and their `X-Forwarded-For` names the client.
    pub trusted_proxies: Vec<IpNet>,
}

/// Rates of callers (HTTP contract 1.12). A burst is what may come at once after a pause.
#[derive(Debug, Clone)]
pub struct RateLimits {
    /// Requests of a user in a second.
    pub user_per_second: u64,
    /// Requests of a user at once.
    pub user_burst: u64,
    /// Requests of an address without a valid credential in a second.
    pub anonymous_per_second: u64,
    /// Such requests at once.
    pub anonymous_burst: u64,
    /// Logins of an address, and of an account, in a minute and at once.
    pub logins_per_minute: u64,
    /// Bytes of request bodies of a user in a minute.
    pub bytes_per_minute: u64,
    /// Bytes of request bodies of a user at once.
    pub bytes_burst: u64,
    /// The server through which processes count together.
    pub redis: Option<RedisUrl>,
}
