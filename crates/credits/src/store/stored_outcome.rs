//! The form in which a first outcome is kept for its repeats.
//!
//! It says everything that an answer shows, except the entry, which is kept where it is. Amounts are micro-credits and
//! instants are microseconds. `v` tells later versions of this program what they read.

use kernel::{Actor, CallerClass, Credits, FreeForm, UserId};
use pg::DbError;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    core::{Effect, Written},
    error::Refusal,
    model::{
        Applied, Balance, Entry, GrantStatus, GrantView, HoldView, Outcome, Replay, balance::BALANCE_MAX,
    },
    store::columns::parsed,
};

const VERSION: u8 = 1;

/// A first outcome.
#[derive(Debug, Serialize, Deserialize)]
pub struct StoredOutcome {
    v: u8,
    at: i64,
    entry_seq: Option<i64>,
    result: Said,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Said {
    Applied(Box<Done>),
    Refused(Refused),
}

#[derive(Debug, Serialize, Deserialize)]
struct Done {
    posted: i64,
    held: i64,
    lifetime_granted: i64,
    uncollected: i64,
    replayed: bool,
    hold: Option<StoredHold>,
    grant: Option<StoredGrant>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredHold {
    hold_id: Uuid,
    /// Absent from what earlier versions kept.
    #[serde(default)]
    made_by: Option<String>,
    requested: i64,
    amount: i64,
    captured: i64,
    released: i64,
    uncollected: i64,
    status: String,
    expires_at: i64,
    description: Option<String>,
    metadata: Box<RawValue>,
    created_at: i64,
    resolved_at: Option<i64>,
    entry_seq: i64,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredGrant {
    grant_id: i64,
    kind: String,
    paid: bool,
    amount: i64,
    remaining: i64,
    held: i64,
    priority: u8,
    effective_at: i64,
    expires_at: Option<i64>,
    status: String,
    reference_id: Option<String>,
    transaction_id: Option<Uuid>,
    description: Option<String>,
    metadata: Box<RawValue>,
    created_at: i64,
}

/// The refusals that are remembered.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Refused {
    InsufficientCredits {
        available: i64,
        required: i64,
        balance: i64,
        held: i64,
    },
    BudgetExceeded {
        period: String,
        limit: i64,
        spent: i64,
        held: i64,
        resets_at: Option<i64>,
    },
    BalanceLimit,
    ReferenceConflict {
        transaction_id: Uuid,
    },
    ReferenceTaken,
    HoldNotFound {
        hold_id: Uuid,
    },
    HoldNotOpen {
        hold_status: String,
        resolved_at: i64,
    },
    TransactionNotFound {
        transaction_id: Uuid,
    },
    RefundExceedsCharge {
        refundable: i64,
        charged: i64,
        refunded: i64,
    },
    Outside {
        reason: Box<RawValue>,
    },
}

impl StoredOutcome {
    /// What is kept of an outcome; `None` for a refusal that is not remembered.
    ///
    /// # Errors
    /// [`DbError::Inconsistent`] for what cannot be written.
    pub fn of(result: &Result<Effect, Refusal>, at: OffsetDateTime) -> Result<Option<Self>, DbError> {
        let (entry_seq, result) = match result {
            Err(refusal) => match Refused::of(refusal)? {
                Some(refused) => (None, Said::Refused(refused)),
                None => return Ok(None),
            },
            Ok(effect) => {
                let entry_seq = match &effect.entry {
                    Written::Nothing => None,
                    Written::Now(seq) => Some(*seq),
                    Written::Before(entry) => Some(entry.seq),
                };
                (entry_seq, Said::Applied(Box::new(Done::of(effect)?)))
            }
        };
        Ok(Some(Self {
            v: VERSION,
            at: micros(at)?,
            entry_seq,
            result,
        }))
    }

    /// The JSON text.
    ///
    /// # Errors
    /// [`DbError::Inconsistent`] for what cannot be written.
    pub fn to_json(&self) -> Result<String, DbError> {
        serde_json::to_string(self).map_err(unusable)
    }

    /// The outcome that was kept as `json`, with its entry, as a repeat answers it.
    ///
    /// # Errors
    /// [`DbError::Inconsistent`] for what this program did not write.
    pub fn read(json: &str, user_id: &UserId, entry: Option<Entry>) -> Result<Outcome, DbError> {
        let stored: Self = serde_json::from_str(json).map_err(unusable)?;
        if stored.v != VERSION {
            return Err(unusable(format!("version {}", stored.v)));
        }
        if stored.entry_seq != entry.as_ref().map(|entry| entry.seq) {
            return Err(unusable(format!("entry {:?} is not there", stored.entry_seq)));
        }
        let result = match stored.result {
            Said::Applied(done) => Ok(done.into_applied(user_id, entry)?),
            Said::Refused(refused) => Err(refused.into_refusal()?),
        };
        Ok(Outcome {
            result,
            at: instant(stored.at)?,
            replay: Replay::ByKey,
        })
    }
}

impl Done {
    fn of(effect: &Effect) -> Result<Self, DbError> {
        Ok(Self {
            posted: effect.balance.posted.micro(),
            held: effect.balance.held.micro(),
            lifetime_granted: effect.balance.lifetime_granted.micro(),
            uncollected: effect.uncollected.micro(),
            replayed: effect.replayed,
            hold: effect.hold.as_deref().map(StoredHold::of).transpose()?,
            grant: effect.grant.as_deref().map(StoredGrant::of).transpose()?,
        })
    }

    fn into_applied(self, user_id: &UserId, entry: Option<Entry>) -> Result<Applied, DbError> {
        // Earlier versions let everybody end every hold; mostly its maker did.
        let maker = match entry.as_ref().map(|entry| entry.actor) {
            Some(Actor::User) => CallerClass::User,
            _ => CallerClass::Service,
        };
        Ok(Applied {
            entry,
            balance: Balance {
                posted: Credits::from_micro(self.posted),
                held: Credits::from_micro(self.held),
                lifetime_granted: Credits::from_micro(self.lifetime_granted),
            },
            hold: self.hold.map(|hold| hold.into_view(user_id, maker)).transpose()?,
            grant: self.grant.map(StoredGrant::into_view).transpose()?,
            uncollected: Credits::from_micro(self.uncollected),
            usage_record_id: None,
            replayed: self.replayed,
        })
    }
}

impl StoredHold {
    fn of(hold: &HoldView) -> Result<Self, DbError> {
        Ok(Self {
            hold_id: hold.hold_id,
            made_by: Some(hold.made_by.as_str().to_owned()),
            requested: hold.requested.micro(),
            amount: hold.amount.micro(),
            captured: hold.captured.micro(),
            released: hold.released.micro(),
            uncollected: hold.uncollected.micro(),
            status: hold.status.as_str().to_owned(),
            expires_at: micros(hold.expires_at)?,
            description: hold.description.clone(),
            metadata: raw(&hold.metadata)?,
            created_at: micros(hold.created_at)?,
            resolved_at: hold.resolved_at.map(micros).transpose()?,
            entry_seq: hold.entry_seq,
        })
    }

    fn into_view(self, user_id: &UserId, maker: CallerClass) -> Result<HoldView, DbError> {
        let made_by = self.made_by.as_deref().map(parsed).transpose()?;
        Ok(HoldView {
            hold_id: self.hold_id,
            user_id: user_id.clone(),
            made_by: made_by.unwrap_or(maker),
            requested: Credits::from_micro(self.requested),
            amount: Credits::from_micro(self.amount),
            captured: Credits::from_micro(self.captured),
            released: Credits::from_micro(self.released),
            uncollected: Credits::from_micro(self.uncollected),
            status: parsed(&self.status)?,
            expires_at: instant(self.expires_at)?,
            description: self.description,
            metadata: FreeForm::stored(self.metadata.get().to_owned()),
            created_at: instant(self.created_at)?,
            resolved_at: self.resolved_at.map(instant).transpose()?,
            entry_seq: self.entry_seq,
        })
    }
}

impl StoredGrant {
    fn of(grant: &GrantView) -> Result<Self, DbError> {
        Ok(Self {
            grant_id: grant.grant_id,
            kind: grant.kind.as_str().to_owned(),
            paid: grant.paid,
            amount: grant.amount.micro(),
            remaining: grant.remaining.micro(),
            held: grant.held.micro(),
            priority: grant.priority,
            effective_at: micros(grant.effective_at)?,
            expires_at: grant.expires_at.map(micros).transpose()?,
            status: grant.status.as_str().to_owned(),
            reference_id: grant.reference_id.clone(),
            transaction_id: grant.transaction_id,
            description: grant.description.clone(),
            metadata: raw(&grant.metadata)?,
            created_at: micros(grant.created_at)?,
        })
    }

    fn into_view(self) -> Result<GrantView, DbError> {
        let status = GrantStatus::ALL
            .into_iter()
            .find(|status| status.as_str() == self.status)
            .ok_or_else(|| unusable(format!("status {} of a grant", self.status)))?;
        Ok(GrantView {
            grant_id: self.grant_id,
            kind: parsed(&self.kind)?,
            paid: self.paid,
            amount: Credits::from_micro(self.amount),
            remaining: Credits::from_micro(self.remaining),
            held: Credits::from_micro(self.held),
            priority: self.priority,
            effective_at: instant(self.effective_at)?,
            expires_at: self.expires_at.map(instant).transpose()?,
            status,
            reference_id: self.reference_id,
            transaction_id: self.transaction_id,
            description: self.description,
            metadata: FreeForm::stored(self.metadata.get().to_owned()),
            created_at: instant(self.created_at)?,
        })
    }
}

impl Refused {
    fn of(refusal: &Refusal) -> Result<Option<Self>, DbError> {
        Ok(Some(match refusal {
            Refusal::InsufficientCredits {
                available,
                required,
                balance,
                held,
            } => Self::InsufficientCredits {
                available: available.micro(),
                required: required.micro(),
                balance: balance.micro(),
                held: held.micro(),
            },
            Refusal::BudgetExceeded {
                period,
                limit,
                spent,
                held,
                resets_at,
            } => Self::BudgetExceeded {
                period: period.as_str().to_owned(),
                limit: limit.micro(),
                spent: spent.micro(),
                held: held.micro(),
                resets_at: resets_at.map(micros).transpose()?,
            },
            Refusal::BalanceLimit { .. } => Self::BalanceLimit,
            Refusal::ReferenceConflict { transaction_id } => Self::ReferenceConflict {
                transaction_id: *transaction_id,
            },
            Refusal::ReferenceTaken => Self::ReferenceTaken,
            Refusal::HoldNotFound { hold_id } => Self::HoldNotFound { hold_id: *hold_id },
            Refusal::HoldNotOpen {
                hold_status,
                resolved_at,
            } => Self::HoldNotOpen {
                hold_status: hold_status.as_str().to_owned(),
                resolved_at: micros(*resolved_at)?,
            },
            Refusal::TransactionNotFound { transaction_id } => Self::TransactionNotFound {
                transaction_id: *transaction_id,
            },
            Refusal::RefundExceedsCharge {
                refundable,
                charged,
                refunded,
            } => Self::RefundExceedsCharge {
                refundable: refundable.micro(),
                charged: charged.micro(),
                refunded: refunded.micro(),
            },
            Refusal::Outside { reason } => Self::Outside { reason: raw(reason)? },
            Refusal::UserNotFound { .. }
            | Refusal::ReservedReference
            | Refusal::HoldOfService { .. }
            | Refusal::InvalidAmount { .. }
            | Refusal::InvalidPeriod(_)
            | Refusal::MissingReason
            | Refusal::TooManyHolds { .. }
            | Refusal::IdempotencyConflict { .. } => return Ok(None),
        }))
    }

    fn into_refusal(self) -> Result<Refusal, DbError> {
        Ok(match self {
            Self::InsufficientCredits {
                available,
                required,
                balance,
                held,
            } => Refusal::InsufficientCredits {
                available: Credits::from_micro(available),
                required: Credits::from_micro(required),
                balance: Credits::from_micro(balance),
                held: Credits::from_micro(held),
            },
            Self::BudgetExceeded {
                period,
                limit,
                spent,
                held,
                resets_at,
            } => Refusal::BudgetExceeded {
                period: parsed(&period)?,
                limit: Credits::from_micro(limit),
                spent: Credits::from_micro(spent),
                held: Credits::from_micro(held),
                resets_at: resets_at.map(instant).transpose()?,
            },
            Self::BalanceLimit => Refusal::BalanceLimit { limit: BALANCE_MAX },
            Self::ReferenceConflict { transaction_id } => Refusal::ReferenceConflict { transaction_id },
            Self::ReferenceTaken => Refusal::ReferenceTaken,
            Self::HoldNotFound { hold_id } => Refusal::HoldNotFound { hold_id },
            Self::HoldNotOpen {
                hold_status,
                resolved_at,
            } => Refusal::HoldNotOpen {
                hold_status: parsed(&hold_status)?,
                resolved_at: instant(resolved_at)?,
            },
            Self::TransactionNotFound { transaction_id } => Refusal::TransactionNotFound { transaction_id },
            Self::RefundExceedsCharge {
                refundable,
                charged,
                refunded,
            } => Refusal::RefundExceedsCharge {
                refundable: Credits::from_micro(refundable),
                charged: Credits::from_micro(charged),
                refunded: Credits::from_micro(refunded),
            },
            Self::Outside { reason } => Refusal::Outside {
                reason: FreeForm::stored(reason.get().to_owned()),
            },
        })
    }
}

fn micros(at: OffsetDateTime) -> Result<i64, DbError> {
    at.unix_timestamp_nanos()
        .checked_div(1_000)
        .and_then(|micros| i64::try_from(micros).ok())
        .ok_or_else(|| unusable(format!("instant {at}")))
}

fn instant(micros: i64) -> Result<OffsetDateTime, DbError> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros).saturating_mul(1_000)).map_err(unusable)
}

fn raw(metadata: &FreeForm) -> Result<Box<RawValue>, DbError> {
    RawValue::from_string(metadata.as_json().to_owned()).map_err(unusable)
}

fn unusable(what: impl std::fmt::Display) -> DbError {
    DbError::Inconsistent(format!("the outcome of an idempotency key: {what}"))
}
