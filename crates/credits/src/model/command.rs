//! Requested changes of one account.

use kernel::{Actor, CallerClass, Credits, FreeForm, UserId};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::model::{HoldMode, NewGrantKind, PRIORITY_DEFAULT};

/// One requested change of one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Owner of the account.
    pub user_id: UserId,
    /// In which capacity the caller acts; kept with the entry.
    pub actor: Actor,
    /// The class of the caller, to which holds belong. `actor` does not always show it: an administrator on
    /// their own account is of the class of users.
    pub caller: CallerClass,
    /// Random bits from [`kernel::Ids`]. They become part of the transaction id, which is known when the command is applied.
    pub nonce: Uuid,
    /// Kept with the entry. Must not hold a NUL character.
    pub description: Option<String>,
    /// Kept with the entry.
    pub metadata: FreeForm,
    /// The action.
    pub action: Action,
}

/// Action of a command. Amounts are above zero and at most [`BALANCE_MAX`](crate::BALANCE_MAX).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Creates the account, with a grant of kind `initial`. An account that exists is left as it is, and
    /// the answer is its initial grant with `replayed`.
    Open {
        /// The initial grant; zero for none.
        initial: Credits,
    },
    /// Gives credit.
    Grant(NewGrant),
    /// Books bought credit that never expires: a grant of kind `purchase`.
    Recharge {
        /// The amount.
        amount: Credits,
        /// Identity of the payment, unique per user; the same amount again answers the first transaction.
        reference_id: Option<String>,
        /// Among whom the reference is unique.
        scope: ReferenceScope,
    },
    /// Spends credit in burn order, all or nothing.
    Consume {
        /// The amount.
        amount: Credits,
        /// A note that is kept with the entry, not a link.
        usage_record_id: Option<i64>,
    },
    /// Spends what is available, up to `amount`, and reports the rest as uncollected: for work that is done already.
    ConsumeUncollected {
        /// Price of the work.
        amount: Credits,
        /// A note that is kept with the entry, not a link.
        usage_record_id: Option<i64>,
    },
    /// Sets credit aside in burn order, for a charge to come.
    Hold {
        /// Identity of the hold, from [`kernel::Ids`]. The same id twice fails the batch.
        hold_id: Uuid,
        /// The amount.
        amount: Credits,
        /// Behaviour if less is available.
        mode: HoldMode,
        /// Life, from [`HOLD_TTL_MIN`](crate::HOLD_TTL_MIN) to [`HOLD_TTL_MAX`](crate::HOLD_TTL_MAX).
        ttl: Duration,
    },
    /// Charges a hold, once, and frees the rest. What exceeds the hold is taken from what is available; what that cannot
    /// pay is reported as uncollected.
    Capture {
        /// Id of the hold.
        hold_id: Uuid,
        /// The amount; `None` is the whole hold, zero charges nothing.
        amount: Option<Credits>,
        /// A note that is kept with the entry, not a link.
        usage_record_id: Option<i64>,
    },
    /// Charges a usage record that is written in the same transaction.
    Meter(UsageCharge),
    /// Gives up a hold.
    Release {
        /// Id of the hold.
        hold_id: Uuid,
    },
    /// Gives back a charge, wholly or in part, to the grants it came from; where such a grant has ended, as a new grant
    /// that lives for [`REFUND_LIFE`](crate::REFUND_LIFE).
    Refund {
        /// The charge: a consume or a capture.
        transaction_id: Uuid,
        /// The amount; `None` is all that was not given back before.
        amount: Option<Credits>,
        /// Why; kept in the metadata, with the charge.
        reason: String,
    },
    /// Corrects the balance.
    Adjust {
        /// The amount.
        amount: Credits,
        /// The direction.
        adjustment: Adjustment,
        /// Why; kept in the metadata.
        reason: String,
    },
    /// Makes all scheduled grants count now, for an account that is closed.
    BookScheduled,
    /// Books what is due and nothing else. Any later command would do the same, with the same result.
    ApplyDue,
}

/// The charge of a usage record. The entry it makes is linked with the record: there is never a second one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsageCharge {
    /// The amount. Zero makes no entry.
    pub amount: Credits,
    /// The source of the charge.
    pub from: Payer,
    /// The record.
    pub usage_record_id: i64,
}

/// Source of the charge of a usage record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payer {
    /// The available credit, all or nothing, as by [`Action::Consume`].
    Available,
    /// The available credit, as far as it goes, as by [`Action::ConsumeUncollected`].
    AsFarAsItGoes,
    /// A hold, as by [`Action::Capture`].
    Hold(Uuid),
}

impl Payer {
    /// The hold.
    #[must_use]
    pub fn hold_id(self) -> Option<Uuid> {
        match self {
            Self::Hold(hold_id) => Some(hold_id),
            Self::Available | Self::AsFarAsItGoes => None,
        }
    }
}

/// Credit to give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewGrant {
    /// Its kind.
    pub kind: NewGrantKind,
    /// The amount.
    pub amount: Credits,
    /// Low burns first.
    pub priority: u8,
    /// From when it counts; `None` is now. An instant ahead schedules the grant.
    pub effective_at: Option<OffsetDateTime>,
    /// When what is left of it is lost; `None` is never. Must lie ahead, and behind `effective_at`.
    pub expires_at: Option<OffsetDateTime>,
    /// Identity of the gift, unique per user; the same kind and amount again answers the first transaction.
    pub reference_id: Option<String>,
    /// Among whom the reference is unique.
    pub scope: ReferenceScope,
}

/// Among whom the reference of a payment or gift is unique.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ReferenceScope {
    /// Among those of the user.
    #[default]
    User,
    /// Among those of all users: one payment credits one user. What users gave themselves does not count, and a claimed
    /// reference may still be used for others in the scope of a user. Says nothing without a reference.
    Global,
}

/// Direction of a correction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Adjustment {
    /// By a new grant of kind `adjustment` that never ends. It counts as granted.
    Up,
    /// In burn order or from one grant, never more than is available there.
    Down {
        /// The grant to take it from; `None` is burn order.
        grant_id: Option<i64>,
    },
}

impl NewGrant {
    /// Credit that counts from now, never expires, and has the default priority and no reference.
    #[must_use]
    pub fn new(kind: NewGrantKind, amount: Credits) -> Self {
        Self {
            kind,
            amount,
            priority: PRIORITY_DEFAULT,
            effective_at: None,
            expires_at: None,
            reference_id: None,
            scope: ReferenceScope::User,
        }
    }
}

impl Action {
    /// The reference of the credit that this gives, and among whom it is to be unique.
    #[must_use]
    pub fn reference(&self) -> Option<(&str, ReferenceScope)> {
        let (reference, scope) = match self {
            Self::Grant(new) => (&new.reference_id, new.scope),
            Self::Recharge { reference_id, scope, .. } => (reference_id, *scope),
            _ => return None,
        };
        Some((reference.as_deref()?, scope))
    }

    /// The reference that this is to be unique by among all users.
    #[must_use]
    pub fn global_reference(&self) -> Option<&str> {
        let (reference, scope) = self.reference()?;
        (scope == ReferenceScope::Global).then_some(reference)
    }
}
