//! From variables to the configuration, with the rules that concern more than one of them.

use std::{net::IpAddr, sync::Arc};

use credits::Defaults;
use identity::wechat::WechatSettings;
use kernel::Credits;
use pg::Reach;
use secrecy::{ExposeSecret, SecretString};
use url::Url;
use usage::AnomalyRule;
use web::{
    Language,
    settings::{Cors, CorsOrigins},
};

use super::{
    files,
    loaded::{Config, Loaded, Purpose},
    problems::Problems,
    reader::Reader,
    secrets,
    sections::{
        Auth, Auth0, Chat, CreditRules, Database, DatabaseSource, Environment, Identification, Limits,
        Listen, Log, LogLevel, Mail, Metrics, PriceSeeds, RateLimits, SealingKeys, SupabaseKeys, TokenRules,
        UsageRules,
    },
    variable::About,
    variables::{self as v, LATER},
};

const CORES_UNKNOWN: usize = 2;

/// Reads everything, then says everything that is wrong.
pub(super) fn build(lookup: &dyn Fn(&str) -> Option<String>, purpose: Purpose) -> Result<Loaded, Problems> {
    let mut reader = Reader::new(lookup);
    let r = &mut reader;
    for about in [&v::ENVIRONMENT.about, &v::RUN_AS.about] {
        r.refuse_empty(about);
    }
    let environment = r.value(&v::ENVIRONMENT);
    let cores = std::thread::available_parallelism().map_or(CORES_UNKNOWN, std::num::NonZero::get);
    let listen = Listen {
        host: r.value(&v::HOST),
        port: r.value(&v::PORT),
        workers: r.value_or(&v::WORKERS, &cores.to_string()),
    };
    let data_dir = r.value(&v::DATA_DIR);
    let config = Config {
        app: identification(r, environment),
        listen,
        public_url: r.optional(&v::PUBLIC_URL),
        log: log(r),
        run_as: r.optional(&v::RUN_AS),
        database: database(r, cores),
        auth: auth(r, environment),
        tokens: token_rules(r),
        mail: mail(r, environment),
        wechat: wechat(r, environment),
        chat: chat(r),
        files: files::files(r, &data_dir),
        data_dir,
        credits: credit_rules(r, environment),
        usage: usage_rules(r),
        price_seeds: price_seeds(r),
        webhook_url: webhook_url(r, environment),
        cors: cors(r, environment),
        metrics: Metrics { enabled: r.value(&v::METRICS_ENABLED), token: r.optional(&v::METRICS_TOKEN) },
        limits: limits(r),
        rate_limits: rate_limits(r),
    };
    if !environment.is_development() {
        secrets::refuse_weak(r, &config);
    }
    if purpose == Purpose::Serving {
        keep_development_local(r, &config);
    }
    let mut notices = development_notice(&config);
    notices.extend(nameless_issuer(&config));
    notices.extend(secrets::unprotected_database(&config));
    notices.extend(readable_chat(&config));
    notices.extend(files::readable_files(&config));
    notices.extend(missing_features(&reader));
    Ok(Loaded { config, values: in_order(reader.finish()?), notices })
}

fn identification(r: &mut Reader<'_>, environment: Environment) -> Identification {
    Identification {
        environment,
        development_on_network: r.value(&v::DEVELOPMENT_ON_NETWORK),
        name: r.value(&v::APP_NAME),
        version: r.value_or(&v::APP_VERSION, env!("CARGO_PKG_VERSION")),
        default_language: r.optional(&v::DEFAULT_LANGUAGE).unwrap_or(Language::En),
    }
}

fn log(r: &mut Reader<'_>) -> Log {
    let level = r.value(&v::LOG_LEVEL);
    let level = if r.value(&v::DEBUG) { level.max(LogLevel::Debug) } else { level };
    Log { level, format: r.value(&v::LOG_FORMAT) }
}

fn database(r: &mut Reader<'_>, cores: usize) -> Database {
    let pool_size = r.value_or(&v::DATABASE_POOL_SIZE, &cores.saturating_mul(2).max(8).to_string());
    let (url, bin_dir) = (r.optional(&v::DATABASE_URL), r.optional(&v::PG_BIN_DIR));
    let source = match url {
        Some(url) => DatabaseSource::Remote { url },
        None => DatabaseSource::Embedded { bin_dir, search_path: r.raw("PATH") },
    };
    Database { source, pool_size }
}

fn auth(r: &mut Reader<'_>, environment: Environment) -> Auth {
    let auth = Auth {
        auth0: auth0(r),
        supabase_keys: supabase_keys(r),
        supabase_secret: r.optional(&v::SUPABASE_JWT_SECRET),
        api_keys: r.optional(&v::USER_SERVICE_API_KEY).unwrap_or_default(),
        sealing: sealing_keys(r),
        oidc: r.optional(&v::OIDC_ISSUERS).unwrap_or_default(),
        admin_user_ids: r.optional(&v::ADMIN_USER_IDS).unwrap_or_default(),
        link_verified_emails: r.value(&v::LINK_VERIFIED_EMAILS),
    };
    if !environment.is_development() {
        require_verification_key(r, environment);
    }
    auth
}

fn token_rules(r: &mut Reader<'_>) -> TokenRules {
    TokenRules {
        signing_key: r.optional(&v::TOKEN_SIGNING_KEY).map(Arc::new),
        access_ttl: r.value(&v::ACCESS_TOKEN_TTL_SECONDS),
        refresh_ttl: r.value(&v::REFRESH_TOKEN_TTL_DAYS),
    }
}

fn sealing_keys(r: &mut Reader<'_>) -> Option<SealingKeys> {
    let (current, previous) = (r.optional(&v::SECRETS_KEY), r.optional(&v::SECRETS_KEY_PREVIOUS));
    if !r.is_set(v::SECRETS_KEY.about.name) && r.is_set(v::SECRETS_KEY_PREVIOUS.about.name) {
        r.problem(
            &v::SECRETS_KEY.about,
            "is not set, but SECRETS_KEY_PREVIOUS is: nothing new could be sealed",
        );
    }
    Some(SealingKeys { current: current?, previous })
}

fn auth0(r: &mut Reader<'_>) -> Option<Auth0> {
    let domain = r.optional(&v::AUTH0_DOMAIN);
    let of_domain = |path: &str| domain.as_ref().map(|domain| format!("https://{domain}/{path}"));
    let audience = r.optional(&v::AUTH0_AUDIENCE);
    let issuer = r.optional_or(&v::AUTH0_ISSUER, of_domain("").as_deref());
    let jwks_url = r.optional_or(&v::AUTH0_JWKS_URL, of_domain(".well-known/jwks.json").as_deref());
    // Checked for their form, and not needed.
    let _client_id: Option<String> = r.optional(&v::AUTH0_CLIENT_ID);
    let _client_secret: Option<SecretString> = r.optional(&v::AUTH0_CLIENT_SECRET);

    let is_set = |about: &About| r.is_set(about.name);
    let overridden = is_set(&v::AUTH0_ISSUER.about) && is_set(&v::AUTH0_JWKS_URL.about);
    let has_issuer = is_set(&v::AUTH0_DOMAIN.about) || overridden;
    let has_audience = is_set(&v::AUTH0_AUDIENCE.about);
    let meant =
        has_issuer || has_audience || is_set(&v::AUTH0_ISSUER.about) || is_set(&v::AUTH0_JWKS_URL.about);
    if meant && !has_issuer {
        r.problem(
            &v::AUTH0_DOMAIN.about,
            "is not set, but other variables of Auth0 are (AUTH0_ISSUER and AUTH0_JWKS_URL together replace it)",
        );
    }
    if meant && !has_audience {
        r.problem(
            &v::AUTH0_AUDIENCE.about,
            "is not set, but other variables of Auth0 are: tokens for other services would be accepted",
        );
    }
    Some(Auth0 { issuer: issuer?, audience: audience?, jwks_url: jwks_url? })
}

fn supabase_keys(r: &mut Reader<'_>) -> Option<SupabaseKeys> {
    let project = r.optional(&v::SUPABASE_URL).as_ref().map(without_slash);
    let issuer = project.map(|project| format!("{project}/auth/v1"));
    let published = issuer.as_ref().map(|issuer| format!("{issuer}/.well-known/jwks.json"));
    let jwks_url = r.optional_or(&v::SUPABASE_JWKS_URL, published.as_deref());
    if r.is_set(v::SUPABASE_JWKS_URL.about.name) && !r.is_set(v::SUPABASE_URL.about.name) {
        r.problem(&v::SUPABASE_URL.about, "is not set, but SUPABASE_JWKS_URL is: the issuer is unknown");
    }
    Some(SupabaseKeys { issuer: issuer?, jwks_url: jwks_url? })
}

fn require_verification_key(r: &mut Reader<'_>, environment: Environment) {
    let keys = [
        v::AUTH0_DOMAIN.about,
        v::AUTH0_ISSUER.about,
        v::SUPABASE_URL.about,
        v::SUPABASE_JWT_SECRET.about,
        v::OIDC_ISSUERS.about,
        v::SECRETS_KEY.about,
    ];
    if !keys.iter().any(|about| r.is_set(about.name)) {
        r.problem(
            &v::ENVIRONMENT.about,
            &format!(
                "{environment} needs a key to verify tokens with: set AUTH0_DOMAIN and AUTH0_AUDIENCE, \
                 SUPABASE_URL, SUPABASE_JWT_SECRET, OIDC_ISSUERS, or SECRETS_KEY for accounts of its own"
            ),
        );
    }
}

fn mail(r: &mut Reader<'_>, environment: Environment) -> Option<Mail> {
    let (server, from) = (r.optional(&v::SMTP_URL), r.optional(&v::MAIL_FROM));
    let link_base = r.optional(&v::MAIL_LINK_BASE);
    r.both_or_neither(&v::SMTP_URL.about, &v::MAIL_FROM.about);
    needs_sealing(r, environment, &v::SMTP_URL.about);
    Some(Mail { server: server?, from: from?, link_base })
}

fn wechat(r: &mut Reader<'_>, environment: Environment) -> Option<WechatSettings> {
    let (app_id, app_secret) = (r.optional(&v::WECHAT_APP_ID), r.optional(&v::WECHAT_APP_SECRET));
    let api_base = r.optional(&v::WECHAT_API_BASE);
    r.both_or_neither(&v::WECHAT_APP_ID.about, &v::WECHAT_APP_SECRET.about);
    needs_sealing(r, environment, &v::WECHAT_APP_ID.about);
    Some(WechatSettings { app_id: app_id?, app_secret: app_secret?, api_base: api_base? })
}

fn chat(r: &mut Reader<'_>) -> Option<Chat> {
    let (base_url, model) = (r.optional(&v::CHAT_BASE_URL), r.optional(&v::CHAT_MODEL));
    let (api_key, system_prompt) = (r.optional(&v::CHAT_API_KEY), r.optional(&v::CHAT_SYSTEM_PROMPT));
    let (max_tokens, history) = (r.value(&v::CHAT_MAX_TOKENS), r.value(&v::CHAT_HISTORY_MESSAGES));
    let (timeout, credits_per_token) =
        (r.value(&v::CHAT_TIMEOUT_SECONDS), r.value(&v::CHAT_CREDITS_PER_TOKEN));
    r.both_or_neither(&v::CHAT_BASE_URL.about, &v::CHAT_MODEL.about);
    Some(Chat {
        base_url: base_url?,
        api_key,
        model: model?,
        system_prompt,
        max_tokens,
        history,
        timeout,
        credits_per_token,
    })
}

/// Notes a problem if a variable is set that has no effect without own accounts. Development has a key of its own.
fn needs_sealing(r: &mut Reader<'_>, environment: Environment, about: &About) {
    if !environment.is_development() && r.is_set(about.name) && !r.is_set(v::SECRETS_KEY.about.name) {
        r.problem(
            &v::SECRETS_KEY.about,
            &format!("is not set, but {} is: it serves own accounts, which need the key", about.name),
        );
    }
}

fn credit_rules(r: &mut Reader<'_>, environment: Environment) -> CreditRules {
    let default = if environment.is_development() { "allowed" } else { "denied" };
    let low = r.value(&v::CREDIT_LOW_THRESHOLD);
    CreditRules {
        initial: r.value(&v::INITIAL_CREDITS),
        defaults: Defaults { low_balance_at: (low != Credits::ZERO).then_some(low) },
        self_recharge: r.value_or(&v::SELF_RECHARGE, default),
        verify_every: r.value(&v::LEDGER_VERIFY_HOURS),
    }
}

fn usage_rules(r: &mut Reader<'_>) -> UsageRules {
    let (factor, least) = (r.value(&v::USAGE_ANOMALY_FACTOR), r.value(&v::USAGE_ANOMALY_MIN_CREDITS));
    UsageRules {
        self_metering: r.value(&v::SELF_METERING),
        retention_months: r.value(&v::USAGE_RETENTION_MONTHS),
        anomalies: (factor > 0).then_some(AnomalyRule { factor, least }),
    }
}

fn price_seeds(r: &mut Reader<'_>) -> Option<PriceSeeds> {
    let (wanted, credits_per_usd) = (r.value(&v::SEED_PRICES), r.value(&v::SEED_CREDITS_PER_USD));
    wanted.then_some(PriceSeeds { credits_per_usd })
}

fn webhook_url(r: &mut Reader<'_>, environment: Environment) -> Option<Url> {
    let url = r.optional(&v::WEBHOOK_URL);
    if url.as_ref().is_some_and(|url| url.scheme() != "https") && !environment.is_development() {
        r.problem(&v::WEBHOOK_URL.about, "is not https: events would be readable on their way");
    }
    url
}

fn limits(r: &mut Reader<'_>) -> Limits {
    Limits {
        shutdown_delay: r.value(&v::SHUTDOWN_DELAY_SECONDS),
        shutdown_grace: r.value(&v::SHUTDOWN_GRACE_SECONDS),
        request_timeout: r.value(&v::REQUEST_TIMEOUT_SECONDS),
        idempotency_kept: r.value(&v::IDEMPOTENCY_DAYS),
        audit_kept: r.value(&v::AUDIT_RETENTION_DAYS),
        body_bytes_in_flight: r.value(&v::BODY_BYTES_IN_FLIGHT),
        connections_per_address: r.value(&v::CONNECTIONS_PER_ADDRESS),
        trusted_proxies: r.optional(&v::TRUSTED_PROXIES).unwrap_or_default(),
    }
}

fn rate_limits(r: &mut Reader<'_>) -> Option<RateLimits> {
    let rates = RateLimits {
        user_per_second: r.value(&v::RATE_LIMIT_USER),
        user_burst: r.value(&v::RATE_LIMIT_USER_BURST),
        anonymous_per_second: r.value(&v::RATE_LIMIT_ANONYMOUS),
        anonymous_burst: r.value(&v::RATE_LIMIT_ANONYMOUS_BURST),
        logins_per_minute: r.value(&v::RATE_LIMIT_LOGIN),
        bytes_per_minute: r.value(&v::RATE_LIMIT_BYTES),
        bytes_burst: r.value(&v::RATE_LIMIT_BYTES_BURST),
        redis: r.optional(&v::REDIS_URL),
    };
    r.value(&v::RATE_LIMIT_ENABLED).then_some(rates)
}

fn cors(r: &mut Reader<'_>, environment: Environment) -> Cors {
    let default = environment.is_development().then_some("http://localhost:3000");
    let cors = Cors {
        origins: r.optional_or(&v::CORS_ORIGINS, default).unwrap_or_default(),
        allow_credentials: r.value(&v::CORS_ALLOW_CREDENTIALS),
    };
    if cors.origins == CorsOrigins::Any && cors.allow_credentials {
        r.problem(
            &v::CORS_ORIGINS.about,
            "\"*\" needs CORS_ALLOW_CREDENTIALS=false: any page could act for a logged-in user",
        );
    }
    cors
}

/// Development hands out tokens to everyone who reaches it, so that needs a decision (HTTP contract 14).
fn keep_development_local(r: &mut Reader<'_>, config: &Config) {
    if !config.app.environment.is_development() || config.app.development_on_network {
        return;
    }
    let remedy = "set ENVIRONMENT to staging or production, or DEVELOPMENT_ON_NETWORK=true to give tokens to everyone who \
                  reaches the service";
    if !is_loopback(&config.listen.host) {
        r.problem(&v::HOST.about, &format!("is not a loopback address, and this is development: {remedy}"));
    }
    if let DatabaseSource::Remote { url } = &config.database.source
        && pg::reach(url.expose_secret()) != Reach::ThisMachine
    {
        r.problem(
            &v::DATABASE_URL.about,
            &format!("names another machine, and this is development: {remedy}"),
        );
    }
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

fn development_notice(config: &Config) -> Vec<String> {
    let is_open = config.app.environment.is_development() && config.app.development_on_network;
    let text = "DEVELOPMENT_ON_NETWORK=true: everyone who reaches this service gets a token for any user; never do this with \
                data of real users";
    is_open.then(|| text.to_owned()).into_iter().collect()
}

/// A sentence for the log if conversations go to another machine in clear, as they may in a private network.
fn readable_chat(config: &Config) -> Option<String> {
    let base_url = &config.chat.as_ref()?.base_url;
    let is_readable = base_url.scheme() != "https" && !identity::is_loopback(base_url);
    let text =
        "CHAT_BASE_URL is plain http to another machine: conversations and the key are readable on their way";
    (is_readable && !config.app.environment.is_development()).then(|| text.to_owned())
}

/// A sentence for the log if the issuer of own tokens is where this process listens, which may differ between processes.
fn nameless_issuer(config: &Config) -> Option<String> {
    let is_issuer = !config.app.environment.is_development() && config.auth.sealing.is_some();
    let text = || {
        format!(
            "PUBLIC_URL is not set: the issuer of own tokens is {}, which processes that listen elsewhere refuse",
            config.public_url()
        )
    };
    (is_issuer && config.public_url.is_none()).then(text)
}

fn missing_features(r: &Reader<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    for later in LATER {
        for name in later.names.iter().filter(|name| r.is_set(name)) {
            lines.push(format!("{name} is set, but this version does not have {} yet", later.feature));
        }
    }
    lines
}

/// The order in which variables are read is nobody's business.
fn in_order(mut values: Vec<super::reader::Effective>) -> Vec<super::reader::Effective> {
    let names: Vec<&str> =
        v::GROUPS.iter().flat_map(|group| group.variables).map(|about| about.name).collect();
    values.sort_by_key(|value| names.iter().position(|name| *name == value.name));
    values
}

fn without_slash(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}
