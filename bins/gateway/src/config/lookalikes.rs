//! Names in the environment that are nearly those of variables: a misspelt one is not read, and its default counts.

use super::variables::{GROUPS, LATER, OF_CLIENTS};

/// Most letters to change, add, leave out or exchange with a neighbour: one in a short name, two from this length on.
const LONG_NAME: usize = 8;
/// The likeness of a name with the same beginning that lacks a word (`USER_SERVICE_KEY`). Names that shells, containers and
/// orchestrators set (`HOSTNAME`, `USER_SERVICE_PORT`) are below it.
const LIKENESS_MIN: f64 = 0.95;

/// A sentence for each name that is not a variable and resembles one, in the order of the names.
pub(super) fn sentences(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let known: Vec<&str> = GROUPS
        .iter()
        .flat_map(|group| group.variables.iter().map(|about| about.name))
        .chain(LATER.iter().flat_map(|later| later.names.iter().copied()))
        .chain(OF_CLIENTS.iter().copied())
        .collect();
    let mut strangers: Vec<String> =
        names.into_iter().filter(|name| !known.contains(&name.as_str())).collect();
    strangers.sort_unstable();
    strangers.dedup();
    strangers
        .iter()
        .filter_map(|name| {
            let meant = known.iter().filter(|known| is_like(name, known));
            let nearest = meant.min_by_key(|known| strsim::osa_distance(name, known))?;
            Some(format!("{name} is set, and is not a variable of this service: is {nearest} meant?"))
        })
        .collect()
}

fn is_like(name: &str, known: &str) -> bool {
    let changes_max = if known.len() < LONG_NAME { 1 } else { 2 };
    strsim::osa_distance(name, known) <= changes_max || strsim::jaro_winkler(name, known) >= LIKENESS_MIN
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meant(name: &str) -> Option<String> {
        let mut sentences = sentences([name.to_owned()]);
        assert!(sentences.len() <= 1, "{sentences:?}");
        let sentence = sentences.pop()?;
        let (_, rest) = sentence.split_once("is not a variable of this service: is ")?;
        rest.strip_suffix(" meant?").map(str::to_owned)
    }

    #[test]
    fn misspelt_names_are_told_from_names_of_others() {
        for (name, variable) in [
            ("DATABSE_URL", "DATABASE_URL"),
            ("DATABASE_URI", "DATABASE_URL"),
            ("CORS_ORIGIN", "CORS_ORIGINS"),
            ("PG_BINDIR", "PG_BIN_DIR"),
            ("PROT", "PORT"),
            ("USER_SERVICE_KEY", "USER_SERVICE_API_KEY"),
            ("SUPABASE_JWT_SECERT", "SUPABASE_JWT_SECRET"),
            ("ADMIN_USER_ID", "ADMIN_USER_IDS"),
        ] {
            assert_eq!(meant(name).as_deref(), Some(variable), "{name}");
        }
        for name in [
            "PORT",
            "REDIS_URL",
            "USER_SERVICE_URL",
            "PATH",
            "HOME",
            "HOSTNAME",
            "HOSTTYPE",
            "HOST_IP",
            "LANG",
            "LANGUAGE",
            "LOGNAME",
            "PWD",
            "SHLVL",
            "USER",
            "TERM",
            "PGDATA",
            "PGPASSWORD",
            "POSTGRES_PASSWORD",
            "DATABASE_PASSWORD",
            "USER_SERVICE_PORT",
            "USER_SERVICE_SERVICE_HOST",
            "USER_SERVICE_PORT_8100_TCP_ADDR",
            "DEBUGINFOD_URLS",
            "SUPABASE_ANON_KEY",
            "S3_SECRET_KEY",
            "RUST_LOG",
            "SMTP_URL",
            "MONGO_URL",
        ] {
            assert_eq!(meant(name), None, "{name}");
        }
    }
}
