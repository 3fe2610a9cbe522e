//! Each kind of malformed value, and the line an operator reads about it.

use super::{problems, production, read};

const LINES: &[(&str, &str, &str)] = &[
    ("PORT", "abc", "PORT: \"abc\" is not a port (0 to 65535)"),
    ("PORT", "65536", "PORT: \"65536\" is not a port (0 to 65535)"),
    ("PORT", "+80", "PORT: \"+80\" is not a port (0 to 65535)"),
    ("PORT", " 80", "PORT: \" 80\" begins or ends with white space"),
    (
        "RATE_LIMIT_BYTES",
        "20MB",
        "RATE_LIMIT_BYTES: \"20MB\" is not a number of bytes (1024 to 1099511627776)",
    ),
    (
        "REDIS_URL",
        "http://app:hunter2@redis.example.com",
        "REDIS_URL: the value is not a URL of Redis: redis://[user:password@]host[:port][/number], rediss:// for TLS, or \
         redis+unix:///socket",
    ),
    ("RATE_LIMIT_LOGIN", "0", "RATE_LIMIT_LOGIN: \"0\" is not a number of requests (1 to 1000000)"),
    (
        "BODY_BYTES_IN_FLIGHT",
        "1024",
        "BODY_BYTES_IN_FLIGHT: \"1024\" is not a number of bytes (16777216 to 1099511627776)",
    ),
    (
        "TRUSTED_PROXIES",
        "10.0.0.0/8,proxy",
        "TRUSTED_PROXIES: \"10.0.0.0/8,proxy\" has an item that is neither an address nor a network: \"proxy\"",
    ),
    (
        "OIDC_ISSUERS",
        "corp=https://login.example.com/",
        "OIDC_ISSUERS: \"corp=https://login.example.com/\" has an item that is not prefix=issuer|audience: \
         \"corp=https://login.example.com/\"",
    ),
    (
        "OIDC_ISSUERS",
        "Corp=https://login.example.com/|api",
        "OIDC_ISSUERS: \"Corp=https://login.example.com/|api\" has a prefix that is not 1 to 32 of a-z, 0-9, \".\", \"_\", \"-\": \
         \"Corp\"",
    ),
    (
        "OIDC_ISSUERS",
        "email=https://login.example.com/|api",
        "OIDC_ISSUERS: \"email=https://login.example.com/|api\" has a prefix that belongs to another issuer: \"email\"",
    ),
    (
        "OIDC_ISSUERS",
        "a=https://x.example.com|b,a=https://y.example.com|b",
        "OIDC_ISSUERS: \"a=https://x.example.com|b,a=https://y.example.com|b\" has the prefix \"a\" twice",
    ),
    (
        "OIDC_ISSUERS",
        "a=http://x.example.com|b",
        "OIDC_ISSUERS: \"a=http://x.example.com|b\" has an issuer that is plain http, which is allowed towards this machine \
         only: use https: \"http://x.example.com\"",
    ),
    (
        "OIDC_ISSUERS",
        "a=https://x.example.com|",
        "OIDC_ISSUERS: \"a=https://x.example.com|\" has an audience that is empty or has a space: \"\"",
    ),
    ("HOST", "1.2.3", "HOST: \"1.2.3\" is not an address or a host name such as 127.0.0.1, ::1 or localhost"),
    ("ENVIRONMENT", "prod", "ENVIRONMENT: \"prod\" is not one of development, staging, production"),
    ("RUN_AS", "www data", "RUN_AS: \"www data\" is not an account: write a name, uid or uid:gid"),
    ("RUN_AS", "1000:", "RUN_AS: \"1000:\" is not an account: write a name, uid or uid:gid"),
    ("APP_NAME", "a\nb", "APP_NAME: \"a\\nb\" has control characters"),
    ("APP_VERSION", "1\u{fffd}", "APP_VERSION: \"1\u{fffd}\" is not UTF-8 text"),
    ("DEBUG", "maybe", "DEBUG: \"maybe\" is neither true nor false"),
    ("LOG_LEVEL", "loud", "LOG_LEVEL: \"loud\" is not one of error, warn, info, debug, trace"),
    ("LOG_FORMAT", "xml", "LOG_FORMAT: \"xml\" is not one of auto, text, json"),
    ("DEFAULT_LANGUAGE", "fr", "DEFAULT_LANGUAGE: \"fr\" is not one of en, zh"),
    ("WEBHOOK_URL", "receiver", "WEBHOOK_URL: \"receiver\" is not an http or https URL"),
    (
        "WEBHOOK_URL",
        "https://u:p@x.example.com/",
        "WEBHOOK_URL: \"https://u:p@x.example.com/\" has a user name or password in it",
    ),
    ("SUPABASE_URL", "ftp://x", "SUPABASE_URL: \"ftp://x\" is not an http or https URL"),
    (
        "SUPABASE_URL",
        "https://x.example.com/?a=b",
        "SUPABASE_URL: \"https://x.example.com/?a=b\" has a query or a fragment, and paths are appended to it",
    ),
    (
        "DATABASE_POOL_SIZE",
        "4",
        "DATABASE_POOL_SIZE: \"4\" is not a whole number from 5 to 1000: writes, reads, logins, lists and housekeeping need a \
         connection each",
    ),
    ("WORKERS", "-1", "WORKERS: \"-1\" is not a whole number from 1 to 1024"),
    ("REQUEST_TIMEOUT_SECONDS", "0", "REQUEST_TIMEOUT_SECONDS: \"0\" is not a number of seconds (1 to 3600)"),
    ("SHUTDOWN_DELAY_SECONDS", "-1", "SHUTDOWN_DELAY_SECONDS: \"-1\" is not a number of seconds (0 to 3600)"),
    (
        "SHUTDOWN_GRACE_SECONDS",
        "1.5",
        "SHUTDOWN_GRACE_SECONDS: \"1.5\" is not a number of seconds (0 to 3600)",
    ),
    ("INITIAL_CREDITS", "-1", "INITIAL_CREDITS: \"-1\" is not an amount of credits: below zero"),
    (
        "CREDIT_LOW_THRESHOLD",
        "low",
        "CREDIT_LOW_THRESHOLD: \"low\" is not an amount of credits: not a decimal number",
    ),
    ("AUDIT_RETENTION_DAYS", "0", "AUDIT_RETENTION_DAYS: \"0\" is not a number of days (1 to 3650)"),
    ("IDEMPOTENCY_DAYS", "0", "IDEMPOTENCY_DAYS: \"0\" is not a number of days (1 to 3650)"),
    ("SELF_RECHARGE", "perhaps", "SELF_RECHARGE: \"perhaps\" is not one of allowed, denied"),
    ("SEED_PRICES", "some", "SEED_PRICES: \"some\" is neither true nor false"),
    ("SEED_CREDITS_PER_USD", "0.0", "SEED_CREDITS_PER_USD: \"0.0\" is not an amount of credits above 0"),
    ("METRICS_ENABLED", "2", "METRICS_ENABLED: \"2\" is neither true nor false"),
    (
        "ADMIN_USER_IDS",
        "auth0|a,b c",
        "ADMIN_USER_IDS: \"auth0|a,b c\" is not a list of user ids: user id holds a character that is not allowed",
    ),
    (
        "CORS_ORIGINS",
        "https://a.example.com/",
        "CORS_ORIGINS: \"https://a.example.com/\" is not a list of origins such as https://app.example.com \
             (no path, no slash at the end)",
    ),
];

#[test]
fn a_malformed_value_is_one_line_with_the_name_and_the_reason() {
    for (name, value, line) in LINES {
        assert_eq!(problems(&[(name, value)]), [*line]);
    }
}

#[test]
fn a_mail_server_needs_a_sender_and_a_mini_program_its_secret() {
    let sender = ("MAIL_FROM", "Accounts <accounts@example.com>");
    for (pairs, line) in [
        (
            vec![("SMTP_URL", "smtp://me:hunter2@mail.example.com?tls=none"), sender],
            "SMTP_URL: the value has a password, which would be sent in clear with tls=none",
        ),
        (
            vec![("SMTP_URL", "smtps://mail.example.com"), ("MAIL_FROM", "nobody")],
            "MAIL_FROM: \"nobody\" is not an e-mail address, or a name with one in angle brackets",
        ),
        (vec![("SMTP_URL", "smtps://mail.example.com")], "MAIL_FROM: is not set, but SMTP_URL is"),
        (vec![sender], "SMTP_URL: is not set, but MAIL_FROM is"),
        (vec![("WECHAT_APP_ID", "wx1")], "WECHAT_APP_SECRET: is not set, but WECHAT_APP_ID is"),
        (
            vec![("WECHAT_API_BASE", "http://api.example.com")],
            "WECHAT_API_BASE: \"http://api.example.com\" is plain http, which is allowed towards this machine only: use https",
        ),
    ] {
        assert_eq!(problems(&pairs), [line]);
    }
}

/// Without the key there would silently be no mail and no login.
#[test]
fn mail_and_wechat_need_the_key_that_seals_outside_development() {
    let sender = ("MAIL_FROM", "Accounts <accounts@example.com>");
    let mail = vec![("SMTP_URL", "smtps://mail.example.com"), sender];
    let wechat = vec![("WECHAT_APP_ID", "wx1"), ("WECHAT_APP_SECRET", "d1c0ffee5a1tf00dba5e")];
    for pairs in [mail, wechat] {
        let name = pairs[0].0;
        assert!(read(&pairs).is_ok(), "development has a key");
        let line =
            format!("SECRETS_KEY: is not set, but {name} is: it serves own accounts, which need the key");
        assert_eq!(problems(&production(&pairs)), [line]);
        let key = ("SECRETS_KEY", "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJE=");
        assert!(read(&production(&[pairs, vec![key]].concat())).is_ok());
    }
}

#[test]
fn a_malformed_secret_is_not_repeated() {
    let cases = [
        (
            "DATABASE_URL",
            "mysql://u:hunter2@h/d",
            "the value is not a URL such as postgresql://user:password@host/database",
        ),
        ("METRICS_TOKEN", "hunter2 ü", "the value may hold visible ASCII characters only"),
        ("USER_SERVICE_API_KEY", "hunter2 x", "the value may hold visible ASCII characters only"),
        ("AUTH0_CLIENT_SECRET", "hunter2\tx", "the value may hold visible ASCII characters only"),
        ("SUPABASE_JWT_SECRET", "hunter2\n", "the value begins or ends with white space"),
    ];
    for (name, value, reason) in cases {
        assert_eq!(problems(&[(name, value)]), [format!("{name}: {reason}")]);
    }
}
