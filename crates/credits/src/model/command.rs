//! Requested changes of one account, and what becomes of them.

use kernel::{Actor, Credits, FreeForm, UserId};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::model::{Balance, Entry, NewGrantKind, PRIORITY_DEFAULT};

/// One requested change of one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Whose account.
    pub user_id: UserId,
    /// In which capacity the caller acts; kept with the entry.
    pub actor: Actor,
    /// Identity of the change, from [`kernel::Ids`]. A replay answers the transaction id of the first time instead.
    pub transaction_id: Uuid,
    /// Kept with the entry. Must not hold a NUL character.
    pub description: Option<String>,
    /// Kept with the entry.
    pub metadata: FreeForm,
    /// What to do.
    pub action: Action,
}

/// What a command does. Amounts are above zero and at most [`BALANCE_MAX`](crate::BALANCE_MAX).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Creates the account, with a grant of kind and reference `initial`. An account that exists is left as it is, and
    /// the answer is its initial grant with `replayed`.
    Open {
        /// The initial grant; zero for none.
        initial: Credits,
    },
    /// Gives credit.
    Grant(NewGrant),
    /// Books bought credit that never expires: a grant of kind `purchase`.
    Recharge {
        /// How much.
        amount: Credits,
        /// Identity of the payment, unique per user; the same amount again answers the first transaction.
        reference_id: Option<String>,
    },
    /// Spends credit in burn order, all or nothing.
    Consume {
        /// How much.
        amount: Credits,
        /// A note that is kept with the entry, not a link.
        usage_record_id: Option<i64>,
    },
    /// Books what is due and nothing else. Any later command would do the same, with the same result.
    ApplyDue,
}

/// Credit to give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewGrant {
    /// What it is given for.
    pub kind: NewGrantKind,
    /// How much.
    pub amount: Credits,
    /// Low burns first.
    pub priority: u8,
    /// From when it counts; `None` is now. An instant ahead schedules the grant.
    pub effective_at: Option<OffsetDateTime>,
    /// When what is left of it is lost; `None` is never. Must lie ahead, and behind `effective_at`.
    pub expires_at: Option<OffsetDateTime>,
    /// Identity of the gift, unique per user; the same kind and amount again answers the first transaction.
    pub reference_id: Option<String>,
}

/// What a command did, or had done before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The command's own newest entry. `None` where it wrote none: an account opened without a grant, a grant that is
    /// still scheduled, [`Action::ApplyDue`].
    pub entry: Option<Entry>,
    /// The account after the command.
    pub balance: Balance,
    /// The command had been applied before; nothing changed, and `entry` is that of the first time.
    pub replayed: bool,
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
        }
    }
}
