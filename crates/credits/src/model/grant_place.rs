//! Where a grant stands in the burn order: what a cursor remembers.

use std::{fmt, str::FromStr};

use kernel::{CursorError, TimePlace};
use time::OffsetDateTime;

use crate::model::GrantView;

/// The place of a grant in the burn order of its account. Made of what never changes, so a page can go on from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GrantPlace {
    /// Low burns first.
    pub priority: u8,
    /// End of the grant: sooner burns first, without end last.
    pub expires_at: Option<OffsetDateTime>,
    /// Given before bought.
    pub paid: bool,
    /// Older first.
    pub effective_at: OffsetDateTime,
    /// Counted per account.
    pub grant_id: i64,
}

impl GrantPlace {
    /// Where this grant stands.
    #[must_use]
    pub fn from_grant(grant: &GrantView) -> Self {
        Self {
            priority: grant.priority,
            expires_at: grant.expires_at,
            paid: grant.paid,
            effective_at: grant.effective_at,
            grant_id: grant.grant_id,
        }
    }
}

impl fmt::Display for GrantPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.priority)?;
        match self.expires_at {
            Some(end) => write!(f, "{}", end.unix_timestamp_nanos())?,
            None => f.write_str("never")?,
        }
        let (paid, begin) = (u8::from(self.paid), self.effective_at.unix_timestamp_nanos());
        write!(f, ":{paid}:{begin}:{}", self.grant_id)
    }
}

impl FromStr for GrantPlace {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let mut parts = text.split(':');
        let mut part = || parts.next().ok_or(CursorError);
        let priority = part()?.parse().map_err(|_| CursorError)?;
        let expires_at = match part()? {
            "never" => None,
            nanos => Some(TimePlace::instant(nanos)?),
        };
        let paid = match part()? {
            "0" => false,
            "1" => true,
            _ => return Err(CursorError),
        };
        let effective_at = TimePlace::instant(part()?)?;
        let grant_id = part()?.parse().map_err(|_| CursorError)?;
        if parts.next().is_some() {
            return Err(CursorError);
        }
        Ok(Self { priority, expires_at, paid, effective_at, grant_id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn a_place_survives_its_text() {
        for expires_at in [None, Some(datetime!(2026-02-01 0:00:00.000001 UTC))] {
            for paid in [false, true] {
                let place = GrantPlace {
                    priority: 255,
                    expires_at,
                    paid,
                    effective_at: datetime!(1970-01-01 0:00 UTC),
                    grant_id: i64::MAX,
                };
                assert_eq!(place.to_string().parse(), Ok(place));
            }
        }
        for bad in ["", "1", "1:never:2:0:1", "1:never:0:x:1", "1:never:0:0:1:2"] {
            assert_eq!(bad.parse::<GrantPlace>(), Err(CursorError), "{bad}");
        }
        // Instants that the database cannot hold.
        let ancient = datetime!(-9999-01-01 0:00 UTC).unix_timestamp_nanos();
        for bad in [format!("1:{ancient}:0:0:1"), format!("1:never:0:{ancient}:1")] {
            assert_eq!(bad.parse::<GrantPlace>(), Err(CursorError), "{bad}");
        }
    }
}
