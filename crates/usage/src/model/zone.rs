//! Time zones by their names.

use std::{collections::BTreeSet, sync::Arc};

use crate::UsageRefusal;

/// A time zone that the database knows, by its IANA name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone(Arc<str>);

/// The time zones that the database knows. Read them once: PostgreSQL opens a file for each.
#[derive(Debug, Clone, Default)]
pub struct Zones(Arc<BTreeSet<String>>);

impl Zone {
    /// Coordinated universal time.
    #[must_use]
    pub fn utc() -> Self {
        Self("UTC".into())
    }

    /// Its name, for example `Europe/Berlin`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl Zones {
    /// Those of `names` that are names of places or of UTC: not the machine's own zone, and no second copies.
    pub(crate) fn new(names: impl Iterator<Item = String>) -> Self {
        let foreign = |name: &String| {
            ["posix/", "right/"].iter().any(|folder| name.starts_with(folder))
                || ["localtime", "posixrules", "Factory"].contains(&name.as_str())
        };
        Self(Arc::new(names.filter(|name| !foreign(name)).collect()))
    }

    /// The zone of this name. Spelling counts, also capitals: PostgreSQL itself takes far more than names of zones, for
    /// example `FOO+3`, and never complains.
    ///
    /// # Errors
    /// [`UsageRefusal::InvalidTimeZone`] if there is none.
    pub fn find(&self, name: &str) -> Result<Zone, UsageRefusal> {
        if self.0.contains(name) {
            Ok(Zone(name.into()))
        } else {
            Err(UsageRefusal::InvalidTimeZone { zone: name.to_owned() })
        }
    }
}
