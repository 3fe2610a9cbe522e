//! Settings of the caller: folder of the data, name of the database, durability.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::Error;
use crate::server_log::TAIL_BYTES_MAX;

/// Program and place of the start.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The folder this server belongs to; made if missing, and locked while the server runs.
    pub data_dir: PathBuf,
    /// Folder with `postgres` and `initdb`; `None` looks for one.
    pub bin_dir: Option<PathBuf>,
    /// The value of `PATH`, searched for `pg_config` and `postgres`. The crate reads no environment itself.
    pub path: Option<OsString>,
    /// Where the cluster goes if the process is root and the unprivileged account cannot enter `data_dir`.
    pub fallback_dir: PathBuf,
    /// The database, made at the first start and owned by `role`.
    pub database: String,
    /// The ordinary role, made at the first start: it may log in and nothing else.
    pub role: String,
    /// True if committed data must survive a crash of the machine.
    pub durability: Durability,
    /// Connections the server accepts, the three reserved for the superuser included.
    pub max_connections: u16,
    /// Size of `postgres.log` at which it begins anew, and largest size of `postgres.log.1`. It is checked every second.
    pub log_bytes_max: u64,
    /// Further server settings (`name`, `value`); they win over those of this crate.
    pub server_settings: Vec<(String, String)>,
}

/// True if committed data must survive a crash of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Every commit is on disk before it is answered.
    Durable,
    /// Nothing is ever flushed to disk. Data survives the kill of the server, not a crash of the machine; for
    /// tests only.
    Disposable,
}

impl Settings {
    /// A durable server in `data_dir`, database and role `app`, 100 connections.
    pub fn new(data_dir: impl Into<PathBuf>) -> Settings {
        Settings {
            data_dir: data_dir.into(),
            bin_dir: None,
            path: None,
            fallback_dir: PathBuf::from("/var/lib/user-service"),
            database: "app".to_owned(),
            role: "app".to_owned(),
            durability: Durability::Durable,
            max_connections: 100,
            log_bytes_max: 10 * 1024 * 1024,
            server_settings: Vec::new(),
        }
    }

    /// Refuses what PostgreSQL would refuse later and less clearly.
    pub(crate) fn check(&self) -> Result<(), Error> {
        check_name("role", &self.role)?;
        check_name("database", &self.database)?;
        let refuse = |name, reason| Err(Error::InvalidSetting { name, reason });
        if self.role == "postgres"
            || self.role == "public"
            || self.role == "none"
            || self.role.starts_with("pg_")
        {
            return refuse("role", "is a name PostgreSQL keeps for itself");
        }
        if ["postgres", "template0", "template1"].contains(&self.database.as_str()) {
            return refuse("database", "is a name PostgreSQL keeps for itself");
        }
        if self.max_connections < 5 {
            return refuse("max_connections", "must be at least 5, three are reserved for the superuser");
        }
        if self.log_bytes_max < TAIL_BYTES_MAX {
            return refuse("log_bytes_max", "must be at least 16384: errors quote as much");
        }
        let is_name = |name: &str| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.')
        };
        if !self.server_settings.iter().all(|(name, value)| is_name(name) && !value.contains('\0')) {
            return refuse("server_settings", "has a name that is none of a server setting");
        }
        Ok(())
    }
}

fn check_name(name: &'static str, value: &str) -> Result<(), Error> {
    let refuse = |reason| Err(Error::InvalidSetting { name, reason });
    if value.is_empty() || value.len() > 63 {
        return refuse("must have 1 to 63 bytes");
    }
    // The single-user server takes a line for a statement, so a line break would end it early.
    if value.chars().any(char::is_control) {
        return refuse("must have no control characters");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_accepted_and_reserved_names_are_not() {
        let good = Settings::new("/data");
        good.check().unwrap();
        for role in ["", "postgres", "pg_reader", "two\nlines", &"x".repeat(64)] {
            let bad = Settings { role: role.to_owned(), ..good.clone() };
            assert!(matches!(bad.check(), Err(Error::InvalidSetting { name: "role", .. })), "{role:?}");
        }
        let bad = Settings { database: "template1".to_owned(), ..good.clone() };
        assert!(matches!(bad.check(), Err(Error::InvalidSetting { name: "database", .. })));
        let bad = Settings { log_bytes_max: 0, ..good.clone() };
        assert!(matches!(bad.check(), Err(Error::InvalidSetting { name: "log_bytes_max", .. })));
        let bad = Settings { server_settings: vec![("a=b -c x".to_owned(), String::new())], ..good };
        assert!(matches!(bad.check(), Err(Error::InvalidSetting { name: "server_settings", .. })));
    }
}
