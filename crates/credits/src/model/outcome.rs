//! Outcomes of commands.

use kernel::{Credits, UserId};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    error::Refusal,
    model::{Balance, Entry, GrantView, HoldView},
};

/// Effect of a command, now or before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The entry that says what the command did. `None` where there is none: an account opened without a grant, a grant
    /// that is still scheduled, a capture or an uncollected charge of nothing, [`Action::ApplyDue`](crate::Action::ApplyDue).
    pub entry: Option<Entry>,
    /// The account after the command.
    pub balance: Balance,
    /// The hold that was made or resolved.
    pub hold: Option<HoldView>,
    /// The grant that was given. Refunds name none: they may return to several.
    pub grant: Option<GrantView>,
    /// Part of a charge that nothing was left to pay for.
    pub uncollected: Credits,
    /// The reference had been used before; nothing changed, and `entry` is that of the first time.
    pub replayed: bool,
}

/// The answer to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Its effect, or the reason for the refusal.
    pub result: Result<Applied, Refusal>,
    /// Time of the decision, by the clock of the account.
    pub at: OffsetDateTime,
}

/// Results of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Executed {
    /// The outcomes of the commands, in their order.
    pub outcomes: Vec<Outcome>,
    /// Every new entry, that of due items included: by account, and in the order of `seq`. Each change of a balance is
    /// one; a `release` by [`Actor::System`](kernel::Actor::System) is a hold that expired.
    pub entries: Vec<Entry>,
    /// Balances that fell to their threshold, in the order of `entries`.
    pub low: Vec<LowCrossing>,
}

/// A balance that was above its threshold and is no longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LowCrossing {
    /// The user.
    pub user_id: UserId,
    /// By which transaction.
    pub transaction_id: Uuid,
    /// By which entry.
    pub seq: i64,
    /// The balance that is left.
    pub balance_after: Credits,
    /// The threshold that was reached.
    pub threshold: Credits,
    /// When.
    pub at: OffsetDateTime,
}

impl LowCrossing {
    /// The crossing that this entry made, if it made one. The next one needs a rise above the threshold first.
    #[must_use]
    pub fn new(entry: &Entry, threshold: Credits) -> Option<Self> {
        let crosses = entry.balance_before > threshold && entry.balance_after <= threshold;
        crosses.then(|| Self {
            user_id: entry.user_id.clone(),
            transaction_id: entry.transaction_id,
            seq: entry.seq,
            balance_after: entry.balance_after,
            threshold,
            at: entry.created_at,
        })
    }
}
