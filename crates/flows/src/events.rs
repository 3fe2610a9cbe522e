//! What the ledger did, as events for others: one for each change of posted, in the order of the journal.
//!
//! Pure; the flow that calls it writes the events in the transaction of their cause. Source: HTTP contract 10.

use credits::{Entry, EntryKind, LowCrossing, TransactionName};
use kernel::FreeForm;
use webhooks::NewEvent;

/// The events of these entries, and of the thresholds that they crossed.
#[must_use]
pub fn of_entries(entries: &[Entry], low: &[LowCrossing]) -> Vec<NewEvent> {
    let mut events: Vec<NewEvent> = Vec::with_capacity(entries.len());
    for entry in entries {
        events.extend(of_entry(entry));
        // A threshold is crossed by an entry: receivers hear of the charge first, then of the low balance.
        let crossed = low.iter().filter(|low| low.user_id == entry.user_id && low.seq == entry.seq);
        events.extend(crossed.map(|low| NewEvent {
            user_id: low.user_id.clone(),
            event_type: "credit_low",
            payload: FreeForm::stored(format!(
                r#"{{"balance_after":{},"threshold":{}}}"#,
                low.balance_after, low.threshold
            )),
            at: low.at,
        }));
    }
    events
}

fn of_entry(entry: &Entry) -> Option<NewEvent> {
    let event_type = match entry.kind {
        EntryKind::Consume | EntryKind::Capture => "credit_consumed",
        EntryKind::Recharge => "credit_recharged",
        EntryKind::Grant => "credit_granted",
        EntryKind::Refund => "credit_refunded",
        EntryKind::Expire => "credit_expired",
        EntryKind::Adjust => "credit_adjusted",
        EntryKind::Release => return of_release(entry),
        EntryKind::Hold => return None,
    };
    let description = serde_json::to_string(&entry.description).unwrap_or_else(|_| "null".to_owned());
    let payload = format!(
        r#"{{"amount":{},"balance_after":{},"transaction_id":"{}","description":{description}}}"#,
        entry.amount,
        entry.balance_after,
        TransactionName::Transaction(entry.transaction_id)
    );
    Some(NewEvent {
        user_id: entry.user_id.clone(),
        event_type,
        payload: FreeForm::stored(payload),
        at: entry.created_at,
    })
}

/// A hold that nobody resolved ended by itself; one that was released or captured is no news to its owner.
fn of_release(entry: &Entry) -> Option<NewEvent> {
    let hold_id = entry.hold_id.filter(|_| entry.actor == kernel::Actor::System)?;
    Some(NewEvent {
        user_id: entry.user_id.clone(),
        event_type: "hold_expired",
        payload: FreeForm::stored(format!(r#"{{"hold_id":"{hold_id}","amount":{}}}"#, entry.amount)),
        at: entry.created_at,
    })
}
