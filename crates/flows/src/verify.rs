//! The audit of the books of all domains while they work: the ledger by ranges of accounts, then usage by ranges of users and
//! of time. Each range is a snapshot of its own; a rule across domains takes one snapshot of both.

mod charges;

use std::fmt;

use pg::{DbError, Pool, audit::Drift};
use time::OffsetDateTime;

use self::charges::Charges;
use crate::audits::CHARGED_RULE;

/// A walk through everything, range by range.
#[derive(Debug, Clone, Default)]
pub struct Verification {
    stage: Stage,
    ledger: credits::verify::Verification,
    usage: usage::verify::Verification,
    charges: Charges,
}

/// The part that is audited now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stage {
    /// The rules of the ledger.
    #[default]
    Ledger,
    /// The rules of usage.
    Usage,
    /// That usage and ledger tell the same charges.
    Charges,
    /// Nothing more.
    Done,
}

/// Findings of a [`Verification`] so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Accounts that were checked.
    pub accounts: u64,
    /// Entries of the ledger that were checked.
    pub entries: u64,
    /// Records of usage that were checked.
    pub records: u64,
    /// Number of violations found. Each rule reports at most 20 of a range, so there may be more.
    pub found: u64,
    /// The first of them: those of the ledger by account and entry, then those of usage by user and quarter, then
    /// those of charges by user and entry.
    pub violations: Vec<Violation>,
}

/// Something that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The rule, for example `credits L2: each entry continues the one before`.
    pub rule: &'static str,
    /// The user; absent for sums across users.
    pub user_id: Option<String>,
    /// The entry of the ledger, if it is about one.
    pub seq: Option<i64>,
    /// The quarter of an hour of usage, if it is about one.
    pub at: Option<OffsetDateTime>,
    /// Description of the violation, with amounts in credits.
    pub detail: String,
    /// The whole sentence.
    told: String,
}

impl Verification {
    /// Checks the next range and answers whether there are more. After a failure it may be called again, with another pool
    /// to the same database too, and goes on where it was.
    ///
    /// # Errors
    /// [`DbError`] when the database cannot be read; that is not a violation.
    pub async fn advance(&mut self, pool: &Pool) -> Result<bool, DbError> {
        let (more, next) = match self.stage {
            Stage::Ledger => (self.ledger.advance(pool).await?, Stage::Usage),
            Stage::Usage => (self.usage.advance(pool).await?, Stage::Charges),
            Stage::Charges => (self.charges.advance(pool).await?, Stage::Done),
            Stage::Done => return Ok(false),
        };
        if !more {
            self.stage = next;
        }
        Ok(self.stage != Stage::Done)
    }

    /// The part that is audited now.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// The findings so far.
    #[must_use]
    pub fn report(&self) -> Report {
        let (ledger, usage) = (self.ledger.report(), self.usage.report());
        let of_ledger = ledger.violations.iter().map(Violation::from);
        let of_usage = usage.violations.iter().map(Violation::from);
        Report {
            accounts: ledger.accounts,
            entries: ledger.entries,
            records: usage.records,
            found: ledger.found.saturating_add(usage.found).saturating_add(self.charges.found),
            violations: of_ledger
                .chain(of_usage)
                .chain(self.charges.violations.iter().map(Violation::from))
                .collect(),
        }
    }
}

impl Report {
    /// Returns true if no rule is broken.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.found == 0
    }
}

/// Number of rows to audit, about.
///
/// # Errors
/// [`DbError`] when the database cannot be read.
pub async fn expected(pool: &Pool) -> Result<Report, DbError> {
    Ok(Report {
        accounts: credits::verify::accounts(pool).await?,
        records: usage::verify::records(pool).await?,
        ..Report::default()
    })
}

impl From<&credits::verify::Violation> for Violation {
    fn from(of: &credits::verify::Violation) -> Self {
        Self {
            rule: of.rule,
            user_id: Some(of.user_id.clone()),
            seq: of.seq,
            at: None,
            detail: of.detail.clone(),
            told: of.to_string(),
        }
    }
}

impl From<&usage::verify::Violation> for Violation {
    fn from(of: &usage::verify::Violation) -> Self {
        Self {
            rule: of.rule,
            user_id: of.user_id.clone(),
            seq: None,
            at: of.at,
            detail: of.detail.clone(),
            told: of.to_string(),
        }
    }
}

/// A charge that usage and ledger show differently.
impl From<&Drift> for Violation {
    fn from(of: &Drift) -> Self {
        Self {
            rule: CHARGED_RULE,
            told: format!("account {}, {CHARGED_RULE}: {}", of.subject, of.detail),
            user_id: Some(of.subject.clone()),
            seq: of.seq,
            at: None,
            detail: of.detail.clone(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.told)
    }
}
