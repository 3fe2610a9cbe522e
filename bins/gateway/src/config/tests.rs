//! The table of variables as a whole: defaults, malformed values, rules over several variables, secrets.

mod chat;
mod development;
mod files;
mod malformed;
mod secrets;

use std::{collections::HashMap, time::Duration};

use kernel::Credits;
use secrecy::ExposeSecret as _;
use web::Language;

use super::{
    Config, CorsOrigins, DatabaseSource, Environment, Loaded, LogFormat, LogLevel, Origin, Purpose,
    SelfMetering, SelfRecharge, load, markdown,
    variable::Secrecy,
    variables::{GROUPS, LATER, OF_CLIENTS},
};

const LONG: &str = "71c4e09bd2f85a6307ce18f4a95db263";

fn read(pairs: &[(&str, &str)]) -> Result<Loaded, Vec<String>> {
    let map: HashMap<String, String> =
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    load(&|name| map.get(name).cloned(), Purpose::Serving).map_err(|problems| problems.lines().to_vec())
}

fn config(pairs: &[(&str, &str)]) -> Config {
    read(pairs).unwrap().config
}

fn problems(pairs: &[(&str, &str)]) -> Vec<String> {
    read(pairs).unwrap_err()
}

/// What production needs at least.
fn production<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut pairs = vec![("ENVIRONMENT", "production"), ("SUPABASE_JWT_SECRET", LONG)];
    pairs.extend_from_slice(more);
    pairs
}

#[test]
fn nothing_set_gives_the_documented_defaults() {
    let config = config(&[]);
    let cores = std::thread::available_parallelism().unwrap().get();
    assert_eq!(config.app.environment, Environment::Development);
    assert_eq!(config.app.name, "User Management Service");
    assert_eq!(config.app.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(config.app.default_language, Language::En);
    assert_eq!(config.listen.to_string(), "127.0.0.1:8100");
    assert_eq!(config.log.level, LogLevel::Info);
    assert_eq!(config.log.format, LogFormat::Auto);
    assert_eq!(config.data_dir.to_str(), Some("./data"));
    assert_eq!(config.database.pool_size, (2 * cores).max(8));
    assert!(matches!(config.database.source, DatabaseSource::Embedded { bin_dir: None, search_path: None }));
    assert!(config.auth.auth0.is_none());
    assert!(config.auth.supabase_keys.is_none());
    assert!(config.auth.supabase_secret.is_none());
    assert!(config.auth.api_keys.is_empty());
    assert!(config.auth.admin_user_ids.is_empty());
    assert_eq!(config.credits.initial, "1000".parse::<Credits>().unwrap());
    assert_eq!(config.credits.self_recharge, SelfRecharge::Allowed);
    assert_eq!(config.usage.self_metering, SelfMetering::Allowed);
    assert_eq!(config.credits.verify_every, Duration::from_hours(24));
    assert_eq!(config.cors.origins, CorsOrigins::List(vec!["http://localhost:3000".to_owned()]));
    assert!(config.cors.allow_credentials);
    assert!(config.metrics.enabled);
    assert!(config.metrics.token.is_none());
    assert_eq!(config.listen.workers, cores);
    assert_eq!(config.limits.shutdown_grace, Duration::from_secs(20));
    assert_eq!(config.limits.request_timeout, Duration::from_secs(30));
}

#[test]
fn every_variable_of_the_table_is_read_and_listed_in_its_order() {
    let listed: Vec<_> = GROUPS.iter().flat_map(|group| group.variables).map(|about| about.name).collect();
    let values = read(&[]).unwrap().values;
    assert_eq!(values.iter().map(|value| value.name).collect::<Vec<_>>(), listed);
    assert!(values.iter().all(|value| value.origin == Origin::Default));
}

#[test]
fn production_is_stricter_by_default() {
    let config = config(&production(&[]));
    assert_eq!(config.credits.self_recharge, SelfRecharge::Denied);
    assert_eq!(config.cors.origins, CorsOrigins::List(vec![]));
    assert_eq!(config.listen.host, "127.0.0.1");
}

#[test]
fn given_values_are_taken() {
    let config = config(&[
        ("DEVELOPMENT_ON_NETWORK", "true"),
        ("HOST", "::1"),
        ("PORT", "9000"),
        ("DEBUG", "true"),
        ("DEFAULT_LANGUAGE", "zh"),
        ("DATABASE_URL", "postgresql://app:pw@db.example.com/users?sslmode=require"),
        ("AUTH0_DOMAIN", "tenant.example.com"),
        ("AUTH0_AUDIENCE", "https://tenant.example.com/api/v2/"),
        ("SUPABASE_URL", "https://project.example.com/"),
        ("ADMIN_USER_IDS", "auth0|a, auth0|b,"),
        ("INITIAL_CREDITS", "2.5"),
        ("SELF_RECHARGE", "denied"),
        ("CREDIT_LOW_THRESHOLD", "0.25"),
        ("IDEMPOTENCY_DAYS", "30"),
        ("AUDIT_RETENTION_DAYS", "3650"),
        ("LEDGER_VERIFY_HOURS", "0"),
        ("USAGE_RETENTION_MONTHS", "2"),
        ("SELF_METERING", "denied"),
        ("USAGE_ANOMALY_FACTOR", "0"),
        ("SEED_CREDITS_PER_USD", "62.5"),
        ("CORS_ORIGINS", "https://App.example.com, http://localhost:5173"),
    ]);
    assert_eq!(config.log.level, LogLevel::Debug);
    assert_eq!(config.app.default_language, Language::Zh);
    assert!(
        matches!(config.database.source, DatabaseSource::Remote { url } if url.expose_secret().ends_with("require"))
    );
    assert_eq!(config.auth.issuers(None).len(), 2);
    let auth0 = config.auth.auth0.unwrap();
    assert_eq!(auth0.issuer, "https://tenant.example.com/");
    assert_eq!(auth0.audience, "https://tenant.example.com/api/v2/");
    assert_eq!(auth0.jwks_url.as_str(), "https://tenant.example.com/.well-known/jwks.json");
    let keys = config.auth.supabase_keys.unwrap();
    assert_eq!(keys.issuer, "https://project.example.com/auth/v1");
    assert_eq!(keys.jwks_url.as_str(), "https://project.example.com/auth/v1/.well-known/jwks.json");
    assert_eq!(config.auth.admin_user_ids.len(), 2);
    assert_eq!(config.usage.retention_months, 2);
    assert_eq!(config.usage.self_metering, SelfMetering::Denied);
    assert_eq!(config.usage.anomalies, None, "nobody looks");
    assert_eq!(config.credits.initial, Credits::from_micro(2_500_000));
    assert_eq!(config.credits.self_recharge, SelfRecharge::Denied);
    assert_eq!(config.credits.defaults.low_balance_at, Some(Credits::from_micro(250_000)));
    assert_eq!(config.limits.idempotency_kept, time::Duration::days(30));
    assert_eq!(config.limits.audit_kept, time::Duration::days(3650));
    assert_eq!(config.credits.verify_every, Duration::ZERO);
    let origins = ["https://app.example.com", "http://localhost:5173"].map(str::to_owned);
    assert_eq!(config.cors.origins, CorsOrigins::List(origins.to_vec()));
}

#[test]
fn trace_is_not_lowered_by_debug_and_auth0_can_be_overridden_without_a_domain() {
    let config = config(&[
        ("LOG_LEVEL", "trace"),
        ("DEBUG", "1"),
        ("AUTH0_AUDIENCE", "api"),
        ("AUTH0_ISSUER", "https://login.example.com/"),
        ("AUTH0_JWKS_URL", "http://127.0.0.1:9999/jwks.json"),
        ("HOST", "0.0.0.0"),
        ("DEVELOPMENT_ON_NETWORK", "true"),
    ]);
    assert_eq!(config.log.level, LogLevel::Trace);
    assert_eq!(config.auth.auth0.unwrap().issuer, "https://login.example.com/");
}

#[test]
fn a_shared_secret_alone_makes_one_issuer() {
    assert_eq!(config(&production(&[])).auth.issuers(None).len(), 1);
    assert_eq!(config(&[]).auth.issuers(None).len(), 0);
    let own = LONG.into();
    assert_eq!(config(&[]).auth.issuers(Some(&own)).len(), 1);
    let both = config(&[("SUPABASE_JWT_SECRET", "short")]).auth;
    assert_eq!(both.issuers(Some(&own)).len(), 1, "two secrets of one issuer");
}

#[test]
fn low_balances_are_told_by_default_and_not_at_zero() {
    let threshold =
        |variables: &[(&'static str, &'static str)]| config(variables).credits.defaults.low_balance_at;
    assert_eq!(threshold(&[]), Some(Credits::from_micro(100_000_000)));
    assert_eq!(threshold(&[("CREDIT_LOW_THRESHOLD", "0")]), None);
    assert_eq!(config(&[]).limits.idempotency_kept, time::Duration::WEEK);
    assert_eq!(config(&[]).limits.audit_kept, time::Duration::days(400));
}

#[test]
fn an_empty_value_counts_as_not_set() {
    let empty: Vec<_> = GROUPS
        .iter()
        .flat_map(|group| group.variables)
        .filter(|about| !["ENVIRONMENT", "RUN_AS"].contains(&about.name))
        .map(|about| (about.name, ""))
        .chain(LATER.iter().flat_map(|later| later.names).map(|name| (*name, "")))
        .collect();
    let loaded = read(&empty).unwrap();
    assert_eq!(loaded.config.listen.port, 8100);
    assert!(loaded.values.iter().all(|value| value.origin == Origin::Default));
    assert_eq!(loaded.notices, Vec::<String>::new());
}

#[test]
fn all_problems_are_told_at_once() {
    let lines = problems(&[
        ("PORT", "abc"),
        ("LOG_LEVEL", "loud"),
        ("DATABASE_URL", "nonsense"),
        ("AUTH0_DOMAIN", "https://tenant.example.com/"),
        ("CORS_ORIGINS", "*"),
        ("INITIAL_CREDITS", "0.0000001"),
    ]);
    let names: Vec<_> = lines.iter().filter_map(|line| line.split(':').next()).collect();
    let expected = [
        "PORT",
        "LOG_LEVEL",
        "DATABASE_URL",
        "AUTH0_DOMAIN",
        "AUTH0_AUDIENCE",
        "INITIAL_CREDITS",
        "CORS_ORIGINS",
    ];
    assert_eq!(names, expected);
}

#[test]
fn staging_and_production_need_a_verification_key() {
    for environment in ["staging", "production"] {
        let lines = problems(&[("ENVIRONMENT", environment)]);
        assert_eq!(lines.len(), 1);
        assert!(lines[0].starts_with(&format!("ENVIRONMENT: {environment} needs a key")), "{lines:?}");
        assert!(read(&[("ENVIRONMENT", environment), ("SUPABASE_JWT_SECRET", LONG)]).is_ok());
        assert!(read(&[("ENVIRONMENT", environment), ("SUPABASE_URL", "https://p.example.com")]).is_ok());
        let auth0 =
            [("ENVIRONMENT", environment), ("AUTH0_DOMAIN", "t.example.com"), ("AUTH0_AUDIENCE", "api")];
        assert!(read(&auth0).is_ok());
    }
}

#[test]
fn events_travel_encrypted_outside_development() {
    let plain = [("WEBHOOK_URL", "http://receiver.example.com/events")];
    assert!(read(&plain).unwrap().config.webhook_url.is_some());
    assert_eq!(
        problems(&production(&plain)),
        ["WEBHOOK_URL: is not https: events would be readable on their way"]
    );
    let long = format!("https://receiver.example.com/{}", "a".repeat(2_019));
    assert!(read(&production(&[("WEBHOOK_URL", &long)])).is_ok());
    let longer = format!("{long}a");
    assert!(problems(&[("WEBHOOK_URL", &longer)])[0].ends_with("has more than 2048 characters"));
}

#[test]
fn short_secrets_are_for_development_only() {
    assert!(read(&[("SUPABASE_JWT_SECRET", "short"), ("USER_SERVICE_API_KEY", "short")]).is_ok());
    let pairs = [
        ("ENVIRONMENT", "staging"),
        ("SUPABASE_JWT_SECRET", &LONG[1..]),
        ("USER_SERVICE_API_KEY", &LONG[1..]),
    ];
    assert_eq!(
        problems(&pairs),
        [
            "SUPABASE_JWT_SECRET: must have at least 32 bytes in staging",
            "USER_SERVICE_API_KEY: must have at least 32 bytes in staging"
        ]
    );
}

#[test]
fn proxies_are_addresses_and_networks() {
    let config = config(&[("TRUSTED_PROXIES", "10.0.0.0/8, 192.0.2.1,2001:db8::/32")]);
    let texts: Vec<String> = config.limits.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32"]);
}

#[test]
fn any_origin_and_credentials_exclude_each_other() {
    assert!(problems(&[("CORS_ORIGINS", "*")])[0].contains("CORS_ALLOW_CREDENTIALS=false"));
    let config = config(&[("CORS_ORIGINS", "*"), ("CORS_ALLOW_CREDENTIALS", "false")]);
    assert_eq!(config.cors.origins, CorsOrigins::Any);
}

#[test]
fn halves_of_a_token_issuer_are_refused() {
    let begins = |pairs: &[(&str, &str)], name: &str| {
        let lines = problems(pairs);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].starts_with(&format!("{name}: is not set")), "{lines:?}");
    };
    begins(&[("AUTH0_DOMAIN", "t.example.com")], "AUTH0_AUDIENCE");
    begins(&[("AUTH0_AUDIENCE", "api")], "AUTH0_DOMAIN");
    begins(&[("AUTH0_AUDIENCE", "api"), ("AUTH0_ISSUER", "https://t.example.com/")], "AUTH0_DOMAIN");
    begins(&[("SUPABASE_JWKS_URL", "https://p.example.com/jwks.json")], "SUPABASE_URL");
}

#[test]
fn keys_are_fetched_over_plain_http_from_this_machine_only() {
    for url in [
        "http://localhost:9/jwks",
        "http://127.0.0.1/jwks",
        "http://[::1]:9/jwks",
        "https://k.example.com/jwks",
    ] {
        assert!(
            read(&[("SUPABASE_URL", "https://p.example.com"), ("SUPABASE_JWKS_URL", url)]).is_ok(),
            "{url}"
        );
    }
    let lines = problems(&[("SUPABASE_URL", "http://p.example.com")]);
    assert!(
        lines[0].starts_with("SUPABASE_JWKS_URL: its default") && lines[0].contains("plain http"),
        "{lines:?}"
    );
}

#[test]
fn secrets_show_neither_in_debug_nor_among_the_values() {
    let secrets: Vec<_> = GROUPS
        .iter()
        .flat_map(|group| group.variables)
        .filter(|about| about.secrecy == Secrecy::Hidden)
        .map(|about| (about.name, secret_of(about.name)))
        .chain([(
            "DATABASE_URL",
            "postgresql://app:hunter2@db.example.com/users?password=hunter2".to_owned(),
        )])
        .chain([("REDIS_URL", "rediss://app:hunter2@redis.example.com/2".to_owned())])
        .chain([("MAIL_FROM", "accounts@example.com".to_owned()), ("WECHAT_APP_ID", "wx1".to_owned())])
        .chain([("ENVIRONMENT", "production".to_owned()), ("S3_BUCKET", "files".to_owned())])
        .collect();
    assert_eq!(secrets.len(), 18);
    let pairs: Vec<_> = secrets.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let loaded = read(&pairs).unwrap();
    for secret in ["hunter2", "MC4CAQAw"] {
        assert!(!format!("{loaded:?}").contains(secret));
    }
    let shown = |name| loaded.values.iter().find(|value| value.name == name).unwrap().text.clone().unwrap();
    assert_eq!(shown("METRICS_TOKEN"), "(hidden)");
    assert_eq!(shown("DATABASE_URL"), "postgresql://app:***@db.example.com/users");
    assert_eq!(shown("REDIS_URL"), "redis.example.com:6379 (database 2)");
}

/// A value that contains `hunter2`, in the form that the variable wants.
fn secret_of(name: &str) -> String {
    match name {
        "SECRETS_KEY" => "hunter2q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83A=".to_owned(),
        "SECRETS_KEY_PREVIOUS" => "hunter2WeJCrze8SNFZ4kKvN7xI0VniQq8q83vEjRqA=".to_owned(),
        // The key of RFC 8037, which has the word in no form.
        "TOKEN_SIGNING_KEY" => "-----BEGIN PRIVATE KEY-----\\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\\n-----END PRIVATE KEY-----".to_owned(),
        "SMTP_URL" => "smtps://me:hunter2@mail.example.com".to_owned(),
        _ => format!("hunter2-{name}-{LONG}"),
    }
}

#[test]
fn the_public_url_is_that_of_the_listener_unless_it_is_set() {
    assert_eq!(config(&[("PORT", "9000")]).public_url(), "http://127.0.0.1:9000");
    assert_eq!(config(&[("HOST", "::1")]).public_url(), "http://[::1]:8100");
    let set = |url| config(&[("PUBLIC_URL", url)]).public_url();
    assert_eq!(set("https://users.example.com/"), "https://users.example.com");
    assert_eq!(set("https://example.com/us"), "https://example.com/us");
    for url in ["users.example.com", "https://u:p@example.com", "https://example.com/?x=1"] {
        assert_eq!(problems(&[("PUBLIC_URL", url)]).len(), 1, "{url}");
    }
}

#[test]
fn own_accounts_alone_are_enough_outside_development() {
    let key = secret_of("SECRETS_KEY").replace("hunter2", "kUnter7");
    let pairs = [("ENVIRONMENT", "production"), ("SECRETS_KEY", key.as_str())];
    let loaded = read(&pairs).unwrap();
    assert!(loaded.notices[0].starts_with("PUBLIC_URL is not set"), "{:?}", loaded.notices);
    let mut pairs = pairs.to_vec();
    pairs.push(("PUBLIC_URL", "https://users.example.com"));
    assert_eq!(read(&pairs).unwrap().notices, Vec::<String>::new());
    assert!(problems(&[("ENVIRONMENT", "production")])[0].contains("SECRETS_KEY"));
}

#[test]
fn variables_of_missing_features_are_pointed_out() {
    let loaded = read(&[("WEBHOOK_SECRET", "hunter2"), ("STRIPE_SECRET_KEY", "sk_hunter2")]).unwrap();
    assert_eq!(
        loaded.notices,
        [
            "STRIPE_SECRET_KEY is set, but this version does not have payments with Stripe yet",
            "WEBHOOK_SECRET is set, but this version does not have outgoing webhooks yet"
        ]
    );
}

#[test]
fn the_document_names_every_variable() {
    let text = markdown();
    for about in GROUPS.iter().flat_map(|group| group.variables) {
        assert!(text.contains(&format!("\n| {} | ", about.name)), "{}", about.name);
    }
    for name in LATER.iter().flat_map(|later| later.names).chain(OF_CLIENTS) {
        assert!(text.contains(name), "{name}");
    }
    for line in text.lines().filter(|line| line.starts_with('|')) {
        let columns = line.replace("\\|", "").matches('|').count();
        assert!(columns == 3 || columns == 4, "{line}");
    }
}
