//! Development is for one machine, unless someone decided otherwise.

use std::collections::HashMap;

use super::{LONG, config, problems, production, read};
use crate::config::{Environment, Purpose, load};

const REMOTE: &str = "postgresql://app:pw@db.example.com/users";

#[test]
fn an_environment_that_is_set_but_empty_is_an_error() {
    let lines = problems(&[("ENVIRONMENT", "")]);
    assert_eq!(lines, ["ENVIRONMENT: is set but empty: give it a value, or unset it"]);
    assert_eq!(config(&[]).app.environment, Environment::Development);
}

#[test]
fn development_listens_on_loopback_only() {
    for host in ["127.0.0.1", "127.1.2.3", "::1", "localhost", "::ffff:127.0.0.1"] {
        assert!(read(&[("HOST", host)]).is_ok(), "{host}");
    }
    for host in ["0.0.0.0", "::", "10.0.0.1", "box.example.com", "localhost.example.com"] {
        let lines = problems(&[("HOST", host)]);
        assert_eq!(lines.len(), 1, "{host}: {lines:?}");
        assert!(
            lines[0].starts_with("HOST: is not a loopback address")
                && lines[0].contains("DEVELOPMENT_ON_NETWORK=true"),
            "{lines:?}"
        );
        let decided = [("HOST", host), ("DEVELOPMENT_ON_NETWORK", "true")];
        let loaded = read(&decided).unwrap();
        assert!(loaded.config.app.development_on_network);
        assert!(
            loaded.notices[0].starts_with("DEVELOPMENT_ON_NETWORK=true: everyone"),
            "{:?}",
            loaded.notices
        );
        assert!(read(&production(&[("HOST", host)])).is_ok());
    }
}

#[test]
fn development_uses_a_database_on_this_machine_only() {
    for url in [
        "postgresql://u@%2Frun%2Fpostgresql/db",
        "postgresql://u:p@localhost:5433/db",
        "postgresql://u:p@[::1]/db",
    ] {
        assert!(read(&[("DATABASE_URL", url)]).is_ok(), "{url}");
    }
    let lines = problems(&[("DATABASE_URL", REMOTE)]);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].starts_with("DATABASE_URL: names another machine, and this is development"),
        "{lines:?}"
    );
    assert!(!lines[0].contains("pw"), "{lines:?}");
    assert!(read(&[("DATABASE_URL", REMOTE), ("DEVELOPMENT_ON_NETWORK", "true")]).is_ok());
    let production = production(&[("DATABASE_URL", REMOTE)]);
    assert_eq!(read(&production).unwrap().notices, Vec::<String>::new());
}

#[test]
fn a_command_that_answers_nobody_may_use_any_database() {
    let pairs = HashMap::from([("DATABASE_URL", REMOTE), ("SUPABASE_JWT_SECRET", LONG)]);
    let lookup = |name: &str| pairs.get(name).map(|value| (*value).to_owned());
    assert!(load(&lookup, Purpose::Upkeep).is_ok());
    assert!(load(&lookup, Purpose::Serving).is_err());
}
