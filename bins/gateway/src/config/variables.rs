//! The table of variables: each is defined here, once.
//!
//! A variable that is missing here is not read, and a test fails for one that is here and not read.

use std::{path::PathBuf, time::Duration};

use identity::{
    mail::{Mailbox, SmtpServer},
    seal::SecretKey,
    signing_keys::SigningKey,
};
use ipnet::IpNet;
use kernel::{Credits, UserId};
use secrecy::SecretString;
use url::Url;
use web::{Language, rate_limit::RedisUrl, settings::CorsOrigins};

use super::{
    parse,
    sections::{Environment, LogFormat, LogLevel, OidcIssuer, RunAs, SelfMetering, SelfRecharge},
    variable::{
        About,
        Fallback::{Computed, Nothing, Value},
        Group, Later,
        Secrecy::{Hidden, PasswordHidden, Shown},
        Variable,
    },
};

/// Most bytes of a file (HTTP contract 7).
const FILE_BYTES_MAX: u64 = 52_428_800;

macro_rules! variables {
    ($($title:literal { $($name:ident: $type:ty = $fallback:expr, $secrecy:expr, $parse:expr, $meaning:literal;)+ })+) => {
        $($(
            #[doc = $meaning]
            pub(super) const $name: Variable<$type> = Variable {
                about: About { name: stringify!($name), fallback: $fallback, secrecy: $secrecy, meaning: $meaning },
                parse: $parse,
            };
        )+)+
        /// All of them, in the order of the documentation.
        pub(super) const GROUPS: &[Group] = &[$(Group { title: $title, variables: &[$($name.about),+] }),+];
    };
}

variables! {
    "The service" {
        APP_NAME: String = Value("User Management Service"), Shown, parse::line,
            "name shown in `/` and in OpenAPI";
        APP_VERSION: String = Computed("version of the package"), Shown, parse::line,
            "version shown there";
        ENVIRONMENT: Environment = Value("development"), Shown, parse::environment,
            "`development`, `staging` or `production`; set but empty is an error";
        DEVELOPMENT_ON_NETWORK: bool = Value("false"), Shown, parse::switch,
            "`true` lets development listen beyond loopback, use a remote database, and give tokens to all callers";
        HOST: String = Value("127.0.0.1"), Shown, parse::bind_host,
            "listening address; the default accepts callers on this machine only, `0.0.0.0` all IPv4 networks";
        PORT: u16 = Value("8100"), Shown, parse::port,
            "TCP port; 0 selects a free one, which is in the log";
        PUBLIC_URL: String = Computed("`http://HOST:PORT`"), Shown, parse::public_url,
            "address at which others reach the service; the issuer of its tokens, so the same for all processes";
        DEFAULT_LANGUAGE: Language = Value("en"), Shown, parse::language,
            "`en` or `zh`: language of `/api/v1` without `Accept-Language`; that of `/api/...` without `/v1` is `zh`";
        WORKERS: usize = Computed("number of cores"), Shown, |text| parse::count(text, 1, 1024),
            "HTTP worker threads, 1 to 1024";
        REQUEST_TIMEOUT_SECONDS: Duration = Value("30"), Shown, |text| parse::seconds(text, 1, 3600),
            "longer requests end with 503; 1 to 3600";
        SHUTDOWN_DELAY_SECONDS: Duration = Value("0"), Shown, |text| parse::seconds(text, 0, 3600),
            "after SIGTERM, time in which requests are accepted while `/readyz` answers 503 for load balancers; 0 to 3600";
        SHUTDOWN_GRACE_SECONDS: Duration = Value("20"), Shown, |text| parse::seconds(text, 0, 3600),
            "after SIGTERM, time for running requests to finish; 0 to 3600";
    }
    "Limits" {
        RATE_LIMIT_ENABLED: bool = Value("true"), Shown, parse::switch,
            "`false` disables the limits of the next seven variables";
        RATE_LIMIT_USER: u64 = Value("100"), Shown, parse::rate,
            "requests per user and second, 1 to 1000000; services have no limit, except keys with one of their own";
        RATE_LIMIT_USER_BURST: u64 = Value("200"), Shown, parse::rate,
            "requests per user at once after a pause, 1 to 1000000";
        RATE_LIMIT_ANONYMOUS: u64 = Value("20"), Shown, parse::rate,
            "requests without a valid credential per address and second, 1 to 1000000; IPv6 addresses count by /64";
        RATE_LIMIT_ANONYMOUS_BURST: u64 = Value("40"), Shown, parse::rate,
            "such requests per address at once after a pause, 1 to 1000000";
        RATE_LIMIT_LOGIN: u64 = Value("10"), Shown, parse::rate,
            "logins, registrations and resets of passwords per address, and per account, in a minute, 1 to 1000000";
        RATE_LIMIT_BYTES: u64 = Value("20971520"), Shown, |text| parse::bytes(text, 1024, 1 << 40),
            "bytes of request bodies per user and minute, 1024 to 1099511627776; services have no limit";
        RATE_LIMIT_BYTES_BURST: u64 = Value("67108864"), Shown, |text| parse::bytes(text, 1024, 1 << 40),
            "bytes of request bodies per user at once after a pause, 1024 to 1099511627776";
        REDIS_URL: RedisUrl = Nothing, PasswordHidden, parse::redis_url,
            "`redis://user:password@host:6379/0`, `rediss://` for TLS, or `redis+unix:///socket`: processes count these limits \
             together there; one whose Redis fails or is slower than 50 ms counts alone";
        BODY_BYTES_IN_FLIGHT: u64 = Value("268435456"), Shown, |text| parse::bytes(text, 1 << 24, 1 << 40),
            "maximum bytes of request bodies in memory, 16777216 to 1099511627776. Further requests get 503; a caller with a \
             quarter of it gets 429";
        CONNECTIONS_PER_ADDRESS: usize = Value("512"), Shown, |text| parse::count(text, 1, 1_000_000),
            "open connections per address, 1 to 1000000; IPv6 addresses count by /64";
        TRUSTED_PROXIES: Vec<IpNet> = Nothing, Shown, parse::networks,
            "comma list of addresses and networks, `10.0.0.0/8`, of proxies: their `X-Forwarded-For` names the client whose \
             requests are limited, and their connections have no limit";
    }
    "Logs and metrics" {
        LOG_LEVEL: LogLevel = Value("info"), Shown, parse::log_level,
            "`error`, `warn`, `info`, `debug` or `trace`; libraries are never below `warn`";
        DEBUG: bool = Value("false"), Shown, parse::switch,
            "`true` logs at level `debug` at least; never changes a response";
        LOG_FORMAT: LogFormat = Value("auto"), Shown, parse::log_format,
            "`text`, `json`, or `auto`: text in a terminal, JSON elsewhere";
        METRICS_ENABLED: bool = Value("true"), Shown, parse::switch,
            "`false` removes `/metrics`";
        METRICS_TOKEN: SecretString = Nothing, Hidden, parse::header_secret,
            "bearer token for `/metrics`, which outside development needs it (at least 16 characters) or a service key";
    }
    "Database" {
        DATABASE_URL: SecretString = Nothing, PasswordHidden, parse::database_url,
            "`postgresql://user:password@host/database`, or another form of psql (exceptions: deploy/README.md); of several \
             hosts the one that accepts writes, unless `target_session_attrs` is set; without it a private server runs under \
             DATA_DIR";
        DATA_DIR: PathBuf = Value("./data"), Shown, parse::path,
            "folder of the private server, or of a reference to it (deploy/README.md). Only the account of the process or \
             root may own and change it, and (outside development) the folders above it";
        RUN_AS: RunAs = Nothing, Shown, parse::run_as,
            "account of a process started as root: a name, `uid` or `uid:gid`; set but empty is an error";
        PG_BIN_DIR: PathBuf = Computed("looked for"), Shown, parse::path,
            "folder with `postgres` and `initdb`, version 15 or newer";
        DATABASE_POOL_SIZE: usize = Computed("2 x cores, at least 8"), Shown, parse::connections,
            "maximum database connections of the process, 5 to 1000; at most the CONNECTION LIMIT of the role";
    }
    "Tokens and keys" {
        AUTH0_DOMAIN: String = Nothing, Shown, parse::domain,
            "Auth0 tenant, `tenant.eu.auth0.com`; needs AUTH0_AUDIENCE";
        AUTH0_AUDIENCE: String = Nothing, Shown, parse::word,
            "identifier of this API at Auth0";
        AUTH0_ISSUER: String = Computed("`https://AUTH0_DOMAIN/`"), Shown, parse::issuer,
            "issuer of the tokens, compared exactly; for custom domains";
        AUTH0_JWKS_URL: Url = Computed("`https://AUTH0_DOMAIN/.well-known/jwks.json`"), Shown, parse::jwks_url,
            "address of the keys; plain http only on this machine";
        AUTH0_CLIENT_ID: String = Nothing, Shown, parse::word,
            "accepted and checked for its form, but not used";
        AUTH0_CLIENT_SECRET: SecretString = Nothing, Hidden, parse::header_secret,
            "accepted and checked for its form, but not used";
        SUPABASE_URL: Url = Nothing, Shown, parse::base_url,
            "Supabase project, `https://project.supabase.co`";
        SUPABASE_JWKS_URL: Url = Computed("`SUPABASE_URL/auth/v1/.well-known/jwks.json`"), Shown, parse::jwks_url,
            "address of the keys; plain http only on this machine";
        SUPABASE_JWT_SECRET: SecretString = Nothing, Hidden, parse::secret,
            "HS256 secret of the project; at least 32 bytes outside development";
        USER_SERVICE_API_KEY: Vec<SecretString> = Nothing, Hidden, parse::api_keys,
            "key of other services, which may act for any user and as an administrator; two keys, separated by a comma, \
             during a replacement; at least 32 characters outside development";
        SECRETS_KEY: SecretKey = Computed("development: a key that belongs to the database"), Hidden, parse::secret_key,
            "32 bytes in base64 (`openssl rand -base64 32`) that seal the secrets in the database. Whoever loses it loses \
             them: keep a copy apart from the copies of the database";
        SECRETS_KEY_PREVIOUS: SecretKey = Nothing, Hidden, parse::secret_key,
            "the key that SECRETS_KEY replaces: what it sealed can still be opened";
        OIDC_ISSUERS: Vec<OidcIssuer> = Nothing, Shown, parse::oidc_issuers,
            "comma list of further issuers, `prefix=issuer|audience`, for example `corp=https://login.example.com/|my-api`. Keys are \
             found by OpenID Connect Discovery; RS256 and ES256. Their users are `<prefix>|<sub>`";
        LINK_VERIFIED_EMAILS: bool = Value("false"), Shown, parse::switch,
            "`true` links a new login to the user who holds the e-mail address that its token vouches for; both ids then name \
             that user. Supabase vouches for every address: with it, only if the project confirms addresses. Administrators are \
             not linked";
        TOKEN_SIGNING_KEY: SigningKey = Computed("a random one"), Hidden, parse::signing_key,
            "private Ed25519 key in PKCS#8 PEM, `\\n` for line ends: the first key of own tokens. Afterwards the database \
             decides (`gateway keys rotate`)";
        ACCESS_TOKEN_TTL_SECONDS: time::Duration = Value("3600"), Shown, |text| parse::signed_seconds(text, 60, 86_400),
            "validity of an own access token, 60 to 86400";
        REFRESH_TOKEN_TTL_DAYS: time::Duration = Value("30"), Shown, |text| parse::days(text, 1, 365),
            "validity of a refresh token, from its last renewal on, 1 to 365";
        ADMIN_USER_IDS: Vec<UserId> = Nothing, Shown, parse::user_ids,
            "comma list of user ids with role admin, applied at each start and 5 minutes later, after older processes have \
             ended. Users who are not listed lose the role, unless they have it for another reason. If processes have \
             different lists, the last start counts";
        AUDIT_RETENTION_DAYS: time::Duration = Value("400"), Shown, |text| parse::days(text, 1, 3650),
            "days in which events of the audit log are kept, 1 to 3650";
    }
    "Accounts and mail" {
        SMTP_URL: SmtpServer = Nothing, Hidden, parse::smtp_server,
            "mail server, `smtps://user:password@mail.example.com` or `smtp://...` with STARTTLS, which is needed except towards \
             this machine or with `?tls=none`; needs MAIL_FROM";
        MAIL_FROM: Mailbox = Nothing, Shown, parse::mailbox,
            "sender of the mails, `accounts@example.com` or `Name <accounts@example.com>`";
        MAIL_LINK_BASE: Url = Computed("`PUBLIC_URL`"), Shown, parse::base_url,
            "page that mailed links lead to, with `?token=` appended: a token that begins with `confirm_` belongs to `POST \
             /api/auth/confirm-email`, one with `reset_` to `.../reset-password`";
        WECHAT_APP_ID: String = Nothing, Shown, parse::word,
            "id of the WeChat mini program whose users may log in; needs WECHAT_APP_SECRET";
        WECHAT_APP_SECRET: SecretString = Nothing, Hidden, parse::header_secret,
            "its secret";
        WECHAT_API_BASE: Url = Value("https://api.weixin.qq.com"), Shown, parse::api_base,
            "address of the WeChat API; plain http only on this machine";
    }
    "Replies of a model" {
        CHAT_BASE_URL: Url = Nothing, Shown, parse::base_url,
            "OpenAI-compatible server, such as `https://api.openai.com/v1`; needs CHAT_MODEL. Plain http sends conversations and the \
             key readable: for this machine and private networks";
        CHAT_API_KEY: SecretString = Nothing, Hidden, parse::header_secret,
            "its key, if it needs one";
        CHAT_MODEL: String = Nothing, Shown, parse::word,
            "name of the model, for the server and for its price";
        CHAT_SYSTEM_PROMPT: String = Nothing, Shown, parse::prompt,
            "instructions in front of every conversation, at most 32768 bytes; `\\n` for line ends";
        CHAT_MAX_TOKENS: u32 = Value("1024"), Shown, |text| parse::tokens(text, 1, 131_072),
            "most tokens of a reply, 1 to 131072";
        CHAT_HISTORY_MESSAGES: u32 = Value("50"), Shown, |text| parse::tokens(text, 0, 1_000),
            "most earlier messages that the model gets, 0 to 1000";
        CHAT_TIMEOUT_SECONDS: Duration = Value("60"), Shown, |text| parse::seconds(text, 1, 3600),
            "longest pause in the answer of the server, 1 to 3600";
        CHAT_CREDITS_PER_TOKEN: Credits = Value("1"), Shown, parse::credits_above_zero,
            "charge of a token of prompt or reply, where the model has no price; above 0";
    }
    "Files" {
        S3_BUCKET: String = Nothing, Shown, parse::bucket,
            "bucket of an S3-compatible store for the files of users; without it they are in the folder `files` of DATA_DIR. Its \
             lifecycle must abort incomplete multipart uploads after some days";
        S3_REGION: String = Value("us-east-1"), Shown, parse::word,
            "region of the bucket; a part of every signature";
        S3_ENDPOINT: Url = Computed("AWS"), Shown, parse::storage_endpoint,
            "address of another store, `https://s3.example.com`, without a path. Plain http sends files readable: for this machine \
             and private networks. `HTTPS_PROXY` and `NO_PROXY` of the environment count, except towards this machine";
        S3_PUBLIC_ENDPOINT: Url = Computed("`S3_ENDPOINT`"), Shown, parse::storage_endpoint,
            "address at which clients reach the store, in the links that they get";
        S3_ACCESS_KEY_ID: SecretString = Nothing, Hidden, parse::header_secret,
            "key that may list the bucket, and read, write and delete its objects; needs S3_SECRET_ACCESS_KEY. Without it the role of \
             a machine of AWS counts";
        S3_SECRET_ACCESS_KEY: SecretString = Nothing, Hidden, parse::header_secret,
            "its secret";
        S3_PATH_STYLE: bool = Computed("`true` with S3_ENDPOINT, else `false`"), Shown, parse::switch,
            "`true` for `https://host/bucket`, `false` for `https://bucket.host`";
        FILE_MAX_BYTES: u64 = Value("52428800"), Shown, |text| parse::bytes(text, 1, FILE_BYTES_MAX),
            "most bytes of a file, 1 to 52428800";
        FILE_QUOTA_BYTES: u64 = Value("1073741824"), Shown, |text| parse::bytes(text, 0, 1 << 50),
            "most bytes of all files of a user, 0 to 1125899906842624";
        FILE_QUOTA_FILES: u32 = Value("10000"), Shown, |text| parse::tokens(text, 0, 10_000_000),
            "most files of a user, 0 to 10000000";
    }
    "Credits" {
        INITIAL_CREDITS: Credits = Value("1000"), Shown, parse::credits,
            "grant for a new user, at most 6 decimals; 0 means none";
        CREDIT_LOW_THRESHOLD: Credits = Value("100"), Shown, parse::credits,
            "balance at which a `credit_low` event is stored; 0 means none";
        IDEMPOTENCY_DAYS: time::Duration = Value("7"), Shown, |text| parse::days(text, 1, 3650),
            "days in which a repeat with the same `Idempotency-Key` returns the full first answer, 1 to 3650; a later repeat \
             has no effect either";
        SELF_RECHARGE: SelfRecharge = Computed("`allowed` in development, else `denied`"), Shown, parse::self_recharge,
            "`allowed` or `denied`: recharges by users of their own account. Allow it only if credits have no value: users \
             could also take the `reference_id` of a payment before it is booked, so that the booking is refused";
        LEDGER_VERIFY_HOURS: Duration = Value("24"), Shown, |text| parse::hours(text, 0, 8760),
            "hours between audits of the ledger, whose results are metrics; 0 means none; up to 8760";
    }
    "Usage" {
        SELF_METERING: SelfMetering = Value("allowed"), Shown, parse::self_metering,
            "`allowed` or `denied`: usage records by users for themselves; services and administrators may always";
        USAGE_RETENTION_MONTHS: u16 = Value("13"), Shown, |text| parse::months(text, usage::MONTHS_MIN, 1200),
            "months of usage records that `gateway usage retain` keeps besides the current month, 2 to 1200";
        USAGE_ANOMALY_FACTOR: u32 = Value("10"), Shown, |text| parse::factor(text, 1_000_000),
            "multiple of the usual amount of an hour above which a `usage_anomaly` event is stored; 0 means none, up to \
             1000000";
        USAGE_ANOMALY_MIN_CREDITS: Credits = Value("100"), Shown, parse::credits,
            "minimum spending in an hour for that event";
    }
    "Prices" {
        SEED_PRICES: bool = Value("true"), Shown, parse::switch,
            "`true` sets the public price of known models without a price at the start; prices from the API never change";
        SEED_CREDITS_PER_USD: Credits = Value("500"), Shown, parse::credits_above_zero,
            "credits per dollar in these prices, above 0; existing prices do not change";
    }
    "Events" {
        WEBHOOK_URL: Url = Nothing, Shown, parse::webhook_url,
            "receiver of all events: `https`, in development also `http`. While it is set, events are stored; of several processes the last one to start decides; this version \
             delivers none yet";
    }
    "Browsers" {
        CORS_ORIGINS: CorsOrigins = Computed("development: `http://localhost:3000`; else none"), Shown, parse::origins,
            "comma list of origins whose pages may call the service, or `*`";
        CORS_ALLOW_CREDENTIALS: bool = Value("true"), Shown, parse::switch,
            "`true` allows credentials from browsers; must be `false` with `*`";
    }
}

/// Read by the clients of this service; may stand in the same file.
pub(super) const OF_CLIENTS: &[&str] = &["USER_SERVICE_URL"];

/// Names of the contract whose features are not built yet: accepted, and pointed out at the start.
pub(super) const LATER: &[Later] = &[
    Later {
        feature: "payments with Stripe",
        names: &[
            "STRIPE_SECRET_KEY",
            "STRIPE_WEBHOOK_SECRET",
            "STRIPE_PRO_PRICE_ID",
            "STRIPE_ENTERPRISE_PRICE_ID",
            "STRIPE_API_BASE",
            "PAYMENT_CURRENCIES",
            "CHECKOUT_SUCCESS_URL",
            "CHECKOUT_CANCEL_URL",
        ],
    },
    Later { feature: "credits from plans and payments", names: &["CREDITS_PER_USD", "PLAN_CREDITS_EXPIRE"] },
    Later { feature: "outgoing webhooks", names: &["WEBHOOK_SECRET", "WEBHOOK_ALLOW_PRIVATE"] },
];
