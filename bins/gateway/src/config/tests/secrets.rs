//! Secrets outside development, and the two keys of a rotation.

use secrecy::ExposeSecret as _;

use super::{LONG, config, problems, production, read};

const OTHER: &str = "9c56cc51b374c3ba189210d5b6d4bf57";
const THIRD: &str = "2f1f0a9c2b7d4e8863a5d1c0f4b79e12";

#[test]
fn weak_and_published_secrets_are_refused_outside_development() {
    let same = "x".repeat(32);
    let demo = "super-secret-jwt-token-with-at-least-32-characters-long";
    for environment in ["staging", "production"] {
        for name in ["SUPABASE_JWT_SECRET", "USER_SERVICE_API_KEY", "METRICS_TOKEN"] {
            for (value, reason) in [
                (same.as_str(), "has few different characters"),
                (demo, "is printed in public documentation"),
                ("your-api-key-here-your-api-key-here", "is printed in public documentation"),
                ("sb_publishable_0123456789abcdefghij", "is a token or a publishable key"),
            ] {
                let pairs =
                    [("ENVIRONMENT", environment), ("SUPABASE_URL", "https://p.example.com"), (name, value)];
                let lines = problems(&pairs);
                assert_eq!(lines.len(), 1, "{lines:?}");
                assert!(
                    lines[0].starts_with(&format!("{name}: {reason}")) && !lines[0].contains(value),
                    "{lines:?}"
                );
                assert!(read(&[(name, value)]).is_ok(), "development takes it");
            }
        }
    }
}

#[test]
fn a_short_metrics_token_is_refused_outside_development() {
    let lines = problems(&production(&[("METRICS_TOKEN", &OTHER[..15])]));
    assert_eq!(lines, ["METRICS_TOKEN: must have at least 16 bytes in production"]);
    assert!(read(&production(&[("METRICS_TOKEN", &OTHER[..16])])).is_ok());
    assert!(read(&[("METRICS_TOKEN", "short")]).is_ok());
}

#[test]
fn one_secret_does_not_serve_two_purposes() {
    let both = format!("{OTHER},{LONG}");
    for (name, value, twin) in [
        ("USER_SERVICE_API_KEY", LONG, "SUPABASE_JWT_SECRET"),
        ("USER_SERVICE_API_KEY", both.as_str(), "SUPABASE_JWT_SECRET"),
        ("AUTH0_CLIENT_SECRET", LONG, "SUPABASE_JWT_SECRET"),
        ("METRICS_TOKEN", LONG, "SUPABASE_JWT_SECRET"),
    ] {
        let lines = problems(&production(&[(name, value)]));
        assert_eq!(lines.len(), 1, "{lines:?}");
        // The one that comes later in the table is named.
        assert!(
            lines[0].contains("is the same as") && lines[0].contains(name) && lines[0].contains(twin),
            "{lines:?}"
        );
        assert!(!lines[0].contains(LONG), "{lines:?}");
    }
    let lines = problems(&production(&[("METRICS_TOKEN", OTHER), ("USER_SERVICE_API_KEY", OTHER)]));
    assert_eq!(
        lines,
        ["USER_SERVICE_API_KEY: is the same as METRICS_TOKEN: use a secret for one purpose only"]
    );
}

#[test]
fn the_password_of_the_database_is_no_other_secret() {
    // `9` as %39: the password counts, not how it is written.
    let encoded = format!("postgresql://u:%39{}@db.example.com/users", &OTHER[1..]);
    let listed = format!("host=db.example.com user=u dbname=users password={OTHER}");
    for url in [encoded, listed] {
        let with = |name, value| {
            [("DATABASE_URL", url.as_str()), ("SUPABASE_URL", "https://p.example.com"), (name, value)]
        };
        let both = format!("{THIRD},{OTHER}");
        for (name, value) in [
            ("SUPABASE_JWT_SECRET", OTHER),
            ("METRICS_TOKEN", OTHER),
            ("USER_SERVICE_API_KEY", both.as_str()),
        ] {
            let mut pairs = with(name, value).to_vec();
            pairs.push(("ENVIRONMENT", "production"));
            // The one that comes later in the table is named first.
            let lines = [
                format!(
                    "{name}: is the same as the password in DATABASE_URL: use a secret for one purpose only"
                ),
                format!(
                    "DATABASE_URL: its password is the same as {name}: use a secret for one purpose only"
                ),
            ];
            let found = problems(&pairs);
            assert!(found.len() == 1 && lines.contains(&found[0]), "{found:?}");
        }
        let mut pairs = with("METRICS_TOKEN", THIRD).to_vec();
        pairs.push(("ENVIRONMENT", "production"));
        assert!(read(&pairs).is_ok());
    }
}

#[test]
fn a_key_may_be_replaced_while_both_are_accepted() {
    let keys = |value: &str| {
        let auth = config(&production(&[("USER_SERVICE_API_KEY", value)])).auth;
        let exposed = auth.api_keys.iter().map(|key| key.expose_secret().to_owned());
        exposed.collect::<Vec<_>>()
    };
    assert_eq!(keys(OTHER), [OTHER]);
    assert_eq!(keys(&format!("{OTHER},{THIRD}")), [OTHER, THIRD]);
    assert_eq!(keys(&format!("{OTHER}, {THIRD}")), [OTHER, THIRD]);
}

#[test]
fn malformed_lists_of_keys_are_refused_in_every_environment() {
    for (value, reason) in [
        (format!("{OTHER},"), "the value has an empty key beside a comma"),
        (format!(",{OTHER}"), "the value has an empty key beside a comma"),
        (",".to_owned(), "the value has an empty key beside a comma"),
        (format!("{OTHER},{OTHER}"), "the value holds the same key twice"),
        (format!("{OTHER},{THIRD},{THIRD}x"), "the value holds more than two keys"),
        (format!("{OTHER},hunter 2"), "the value may hold visible ASCII characters only"),
    ] {
        let lines = problems(&[("USER_SERVICE_API_KEY", &value)]);
        assert_eq!(lines, [format!("USER_SERVICE_API_KEY: {reason}")]);
    }
}

#[test]
fn each_key_is_judged() {
    let short = &OTHER[1..];
    for (value, line) in [
        (format!("{short},{THIRD}"), "the first key must have at least 32 bytes in production"),
        (format!("{THIRD},{short}"), "the second key must have at least 32 bytes in production"),
        (
            format!("{THIRD},{}", "ab".repeat(16)),
            "the second key has few different characters, or repeats or counts them: make one with openssl rand -hex 32",
        ),
    ] {
        let lines = problems(&production(&[("USER_SERVICE_API_KEY", &value)]));
        assert_eq!(lines, [format!("USER_SERVICE_API_KEY: {line}")]);
    }
}

#[test]
fn keys_that_seal_are_32_random_bytes() {
    let (key, older) =
        ("q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJE=", "Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5MHdlcnR5dWlvcGE=");
    assert!(config(&production(&[])).auth.sealing.is_none());
    let both = [("SECRETS_KEY", key), ("SECRETS_KEY_PREVIOUS", older)];
    let loaded = read(&production(&both)).unwrap();
    assert!(loaded.config.auth.sealing.unwrap().previous.is_some());
    assert!(loaded.values.iter().all(|value| value.text.as_deref().is_none_or(|text| !text.contains(key))));
    assert_eq!(
        problems(&[("SECRETS_KEY_PREVIOUS", older)]),
        ["SECRETS_KEY: is not set, but SECRETS_KEY_PREVIOUS is: nothing new could be sealed"]
    );
    assert_eq!(
        problems(&[("SECRETS_KEY", OTHER)]),
        ["SECRETS_KEY: the value is not 32 bytes in base64: make one with openssl rand -base64 32"]
    );
    let zeros = format!("{}=", "A".repeat(43));
    let lines = problems(&production(&[("SECRETS_KEY", &zeros)]));
    assert!(
        lines.len() == 1 && lines[0].starts_with("SECRETS_KEY: has few different characters"),
        "{lines:?}"
    );
    assert!(read(&[("SECRETS_KEY", &zeros)]).is_ok(), "development takes it");
    let lines = problems(&production(&[("SECRETS_KEY", key), ("SECRETS_KEY_PREVIOUS", key)]));
    assert!(lines.len() == 1 && lines[0].contains("is the same as"), "{lines:?}");
}

#[test]
fn a_database_on_another_machine_without_tls_is_pointed_out_and_not_refused() {
    let notices = |url: &str| read(&production(&[("DATABASE_URL", url)])).unwrap().notices;
    for mode in ["disable", "allow", "prefer"] {
        let url = format!("postgresql://u:hunter2@db.example.com/users?sslmode={mode}");
        let lines = notices(&url);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(
            lines[0].starts_with("DATABASE_URL turns TLS off") && !lines[0].contains("hunter2"),
            "{lines:?}"
        );
    }
    for url in [
        "postgresql://u:p@db.example.com/users",
        "postgresql://u:p@db.example.com/users?sslmode=verify-full",
        "postgresql://u:p@127.0.0.1/users?sslmode=disable",
    ] {
        assert_eq!(notices(url), Vec::<String>::new(), "{url}");
    }
}
