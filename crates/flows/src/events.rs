//! Events of the ledger: one for each change of posted, in the order of the journal.
//!
//! Pure; the flow that calls it writes the events in the transaction of their cause. Source: HTTP contract 10.

use credits::{Entry, EntryKind, LowCrossing, TransactionName};
use webhooks::{BalanceChange, EventKind, ExpiredHold, LowBalance, NewEvent, Wanted};

/// The events of these entries, and of the thresholds that they crossed; none if none are wanted.
#[must_use]
pub fn of_entries(wanted: &Wanted, entries: &[Entry], low: &[LowCrossing]) -> Vec<NewEvent> {
    if wanted.is_empty() {
        return Vec::new();
    }
    let mut events: Vec<NewEvent> = Vec::with_capacity(entries.len());
    for entry in entries {
        let kind = kind(entry);
        events.extend(kind.map(|kind| NewEvent {
            user_id: entry.user_id.clone(),
            kind,
            at: entry.created_at,
        }));
        // A threshold is crossed by an entry: receivers get the event of the charge first, then that of the low balance.
        let crossed = low.iter().filter(|low| low.user_id == entry.user_id && low.seq == entry.seq);
        events.extend(crossed.map(|low| NewEvent {
            user_id: low.user_id.clone(),
            kind: EventKind::CreditLow(LowBalance {
                balance_after: low.balance_after,
                threshold: low.threshold,
            }),
            at: low.at,
        }));
    }
    events
}

fn kind(entry: &Entry) -> Option<EventKind> {
    let change = || BalanceChange {
        amount: entry.amount,
        balance_after: entry.balance_after,
        transaction_id: TransactionName::Transaction(entry.transaction_id).to_string(),
        description: entry.description.clone(),
    };
    match entry.kind {
        EntryKind::Consume | EntryKind::Capture => Some(EventKind::CreditConsumed(change())),
        EntryKind::Recharge => Some(EventKind::CreditRecharged(change())),
        EntryKind::Grant => Some(EventKind::CreditGranted(change())),
        EntryKind::Refund => Some(EventKind::CreditRefunded(change())),
        EntryKind::Expire => Some(EventKind::CreditExpired(change())),
        EntryKind::Adjust => Some(EventKind::CreditAdjusted(change())),
        // A hold that nobody ended expired; one that was released or captured is no news to its owner.
        EntryKind::Release if entry.actor == kernel::Actor::System => {
            let hold_id = entry.hold_id?;
            Some(EventKind::HoldExpired(ExpiredHold { hold_id, amount: entry.amount }))
        }
        EntryKind::Release | EntryKind::Hold => None,
    }
}
