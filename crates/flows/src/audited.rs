//! Events of the audit log about changes of the ledger, written in the transaction of the change (HTTP contract 3.6).

use credits::{Action as CommandAction, Command, Entry, Preview, TransactionName};
use identity::audit::{Action, AuditActor, AuditEvent, AuditOrigin};
use kernel::{Credits, UserId};
use serde::Serialize;
use time::OffsetDateTime;
use uuid::Uuid;

/// The caller of a change that is audited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audited {
    /// Its actor.
    pub actor: AuditActor,
    /// The request.
    pub origin: AuditOrigin,
}

/// An event about a command that was decided. Its amount may be known only when the entries are.
#[derive(Debug)]
pub(crate) struct LedgerEvent {
    event: AuditEvent,
    transaction_id: Uuid,
    amount: Option<Credits>,
    reference_id: Option<String>,
}

/// Details of an event.
#[derive(Debug, Serialize)]
struct Facts {
    transaction_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    amount: Option<Credits>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference_id: Option<String>,
}

impl Audited {
    /// The event about a command; `None` if it changed nothing now, or is none that is audited.
    pub(crate) fn command(&self, command: &Command, preview: &Preview) -> Option<LedgerEvent> {
        let effect = preview.result.as_ref().ok().filter(|effect| !effect.replayed)?;
        let (action, amount, reference_id) = match &command.action {
            CommandAction::Recharge { amount, reference_id, .. } => {
                (Action::CreditsRecharged, Some(*amount), reference_id.clone())
            }
            CommandAction::Grant(new) => (Action::CreditsGranted, Some(new.amount), new.reference_id.clone()),
            CommandAction::Refund { amount, .. } => (Action::CreditsRefunded, *amount, None),
            _ => return None,
        };
        let event = self.event(preview.at, action, &command.user_id);
        Some(LedgerEvent { event, transaction_id: effect.transaction_id, amount, reference_id })
    }

    /// The event about the refund of a usage record that is taken back.
    pub(crate) fn refund(&self, at: OffsetDateTime, user_id: &UserId, transaction_id: Uuid) -> LedgerEvent {
        let event = self.event(at, Action::CreditsRefunded, user_id);
        LedgerEvent { event, transaction_id, amount: None, reference_id: None }
    }

    fn event(&self, at: OffsetDateTime, action: Action, user_id: &UserId) -> AuditEvent {
        AuditEvent::new(at, self.actor.clone(), action, self.origin.clone()).of_user(user_id.clone())
    }
}

impl LedgerEvent {
    /// The event with its details. `entries` are those that are written with it.
    pub(crate) fn known(self, entries: &[Entry]) -> AuditEvent {
        let Self { event, transaction_id, amount, reference_id } = self;
        let is_its = |entry: &&Entry| {
            entry.transaction_id == transaction_id && event.user_id.as_ref() == Some(&entry.user_id)
        };
        let amount = amount.or_else(|| entries.iter().find(is_its).map(|entry| entry.amount));
        let transaction_id = TransactionName::Transaction(transaction_id).to_string();
        event.with(&Facts { transaction_id, amount, reference_id })
    }
}
