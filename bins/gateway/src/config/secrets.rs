//! The secrets of the configuration as a whole: strong outside development, and each for one purpose (HTTP contract 14).
//!
//! A problem names the variable and the reason, never the value.

use pg::Reach;
use secrecy::{ExposeSecret as _, SecretString};

use super::{
    DatabaseSource,
    loaded::Config,
    reader::Reader,
    sections::Environment,
    variable::{About, Secrecy},
    variables::{self as v, GROUPS},
    weak_secrets::weakness,
};

/// Shortest HS256 secret and bootstrap key, in bytes.
const KEY_BYTES_MIN: usize = 32;
/// Shortest token that opens `/metrics`, in bytes.
const METRICS_BYTES_MIN: usize = 16;

/// Notes each secret that is weak. If none is, each that two variables share: a weak one has to be replaced anyway.
pub(super) fn refuse_weak(r: &mut Reader<'_>, config: &Config) {
    let (auth, environment) = (&config.auth, config.app.environment);
    let judged: [(&About, usize, Vec<&SecretString>); 3] = [
        (&v::SUPABASE_JWT_SECRET.about, KEY_BYTES_MIN, auth.supabase_secret.iter().collect()),
        (&v::USER_SERVICE_API_KEY.about, KEY_BYTES_MIN, auth.api_keys.iter().collect()),
        (&v::METRICS_TOKEN.about, METRICS_BYTES_MIN, config.metrics.token.iter().collect()),
    ];
    let mut is_any_weak = false;
    for about in [&v::SECRETS_KEY.about, &v::SECRETS_KEY_PREVIOUS.about] {
        // Judged as it is written, like the others; its length was judged when it was read.
        if let Some(reason) = r.raw(about.name).as_deref().and_then(weakness) {
            is_any_weak = true;
            r.problem(about, reason);
        }
    }
    for (about, bytes_min, secrets) in judged {
        for reason in weaknesses(environment, bytes_min, &secrets) {
            is_any_weak = true;
            r.problem(about, &reason);
        }
    }
    if !is_any_weak {
        refuse_shared(r);
    }
}

/// A sentence for the log if what is said to the database can be read on the way.
pub(super) fn unprotected_database(config: &Config) -> Option<String> {
    let DatabaseSource::Remote { url } = &config.database.source else {
        return None;
    };
    let text = "DATABASE_URL turns TLS off or lets the server refuse it (sslmode), and names another machine: what is said to the \
                database can be read and changed on the way, unless the network between is yours alone";
    (pg::reach(url.expose_secret()) == Reach::Unprotected).then(|| text.to_owned())
}

/// Problems of the secrets of a variable.
fn weaknesses(environment: Environment, bytes_min: usize, secrets: &[&SecretString]) -> Vec<String> {
    let mut reasons = Vec::new();
    for (place, secret) in secrets.iter().map(|secret| secret.expose_secret()).enumerate() {
        let which = match (secrets.len(), place) {
            (1, _) => "",
            (_, 0) => "the first key ",
            _ => "the second key ",
        };
        if secret.len() < bytes_min {
            reasons.push(format!("{which}must have at least {bytes_min} bytes in {environment}"));
        } else if let Some(reason) = weakness(secret) {
            reasons.push(format!("{which}{reason}"));
        }
    }
    reasons
}

/// Notes each secret that two variables share: who is given the one, such as a reader of metrics, would hold the other too.
fn refuse_shared(r: &mut Reader<'_>) {
    let mut seen: Vec<(&About, String)> = Vec::new();
    for about in GROUPS.iter().flat_map(|group| group.variables) {
        for value in secrets_in(about, &r.raw(about.name).unwrap_or_default()) {
            let twin = seen.iter().find(|(other, earlier)| other.name != about.name && *earlier == value);
            if let Some((other, _)) = twin {
                let part = |about: &About| match about.secrecy {
                    Secrecy::PasswordHidden => "the password in ",
                    Secrecy::Shown | Secrecy::Hidden => "",
                };
                let this = if part(about).is_empty() { "" } else { "its password " };
                let that = part(other);
                let what =
                    format!("{this}is the same as {that}{}: use a secret for one purpose only", other.name);
                r.problem(about, &what);
            }
            seen.push((about, value));
        }
    }
}

/// The secrets in the value of a variable.
fn secrets_in(about: &About, text: &str) -> Vec<String> {
    match about.secrecy {
        Secrecy::Shown => Vec::new(),
        // A comma separates the keys of those variables that take two.
        Secrecy::Hidden => {
            let values = text.split(',').map(str::trim).filter(|value| !value.is_empty());
            values.map(str::to_owned).collect()
        }
        Secrecy::PasswordHidden => {
            let url = pg::DatabaseUrl::parse(text).ok();
            let password = url.and_then(|url| url.password().map(str::to_owned));
            password.into_iter().collect()
        }
    }
}
