//! Plan of a user.

/// The plan in force. Billing decides it; this domain only keeps it (HTTP contract 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Plan {
    /// The plan of new users.
    #[default]
    Free,
    /// The paid plan for individuals.
    Pro,
    /// The paid plan for companies.
    Enterprise,
}

impl Plan {
    /// All plans.
    pub const ALL: [Self; 3] = [Self::Free, Self::Pro, Self::Enterprise];

    /// The word that the API and the database use: `free`, `pro`, `enterprise`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Pro => "pro",
            Self::Enterprise => "enterprise",
        }
    }

    /// The plan of that name, if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|plan| plan.as_str() == name)
    }
}
