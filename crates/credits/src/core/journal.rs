//! The one place where figures change: together with the entry that says so.

use kernel::{Actor, CallerClass, Credits, FreeForm};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    core::{
        AccountState, Fault, JournalEntry, Line,
        fault::{minus, negative, next, plus},
    },
    model::{EntryKind, balance::BALANCE_MAX},
};

/// On whose behalf an entry is written, and when it takes effect.
#[derive(Debug, Clone, Copy)]
pub(super) struct EntryContext<'a> {
    pub transaction_id: Uuid,
    pub actor: Actor,
    pub caller: CallerClass,
    /// `None` for due items.
    pub description: Option<&'a str>,
    pub metadata: &'a FreeForm,
    pub created_at: OffsetDateTime,
    pub booked_at: OffsetDateTime,
}

/// Parts that differ from entry to entry; the rest comes from the cause and the state.
#[derive(Debug)]
pub(super) struct Draft {
    pub kind: EntryKind,
    pub amount: Credits,
    pub lines: Vec<Line>,
    pub hold_id: Option<Uuid>,
    pub usage: Usage,
    pub reference_id: Option<String>,
    pub refunds_seq: Option<i64>,
}

/// Reference of an entry to a usage record.
#[derive(Debug, Clone, Copy)]
pub(super) enum Usage {
    /// As a note of the caller, if he made one.
    Noted(Option<i64>),
    /// As the record that it charges, written in the same transaction.
    Charged(i64),
}

impl Draft {
    pub(super) fn new(kind: EntryKind, amount: Credits, lines: Vec<Line>) -> Self {
        Self {
            kind,
            amount,
            lines,
            hold_id: None,
            usage: Usage::Noted(None),
            reference_id: None,
            refunds_seq: None,
        }
    }
}

/// Adds to the line of a grant: an entry has at most one for each.
pub(super) fn add_line(
    lines: &mut Vec<Line>,
    grant_id: i64,
    delta: Credits,
    held_delta: Credits,
) -> Result<(), Fault> {
    match lines.iter_mut().find(|line| line.grant_id == grant_id) {
        Some(line) => {
            line.delta = plus(line.delta, delta)?;
            line.held_delta = plus(line.held_delta, held_delta)?;
        }
        None => lines.push(Line { grant_id, delta, held_delta }),
    }
    Ok(())
}

/// Applies the lines to the grants and their sums to the account, and adds the entry. Answers its `seq`.
pub(super) fn write(state: &mut AccountState, draft: Draft, context: EntryContext<'_>) -> Result<i64, Fault> {
    let balance_before = state.account.posted;
    let (mut posted, mut held) = (balance_before, state.account.held);
    for line in &draft.lines {
        let grant = state.grant_mut(line.grant_id)?;
        grant.remaining = plus(grant.remaining, line.delta)?;
        grant.held = plus(grant.held, line.held_delta)?;
        let sound =
            Credits::ZERO <= grant.held && grant.held <= grant.remaining && grant.remaining <= grant.amount;
        if !sound {
            return Err(Fault::new(format!(
                "grant {} would have {} of {}",
                grant.id, grant.remaining, grant.amount
            )));
        }
        posted = plus(posted, line.delta)?;
        held = plus(held, line.held_delta)?;
    }
    check_figures(&draft, balance_before, posted, held)?;
    let seq = next(state.account.entry_seq)?;
    let (usage_record_id, metered) = match draft.usage {
        Usage::Noted(id) => (id, false),
        Usage::Charged(id) => (Some(id), true),
    };
    (state.account.posted, state.account.held, state.account.entry_seq) = (posted, held, seq);
    state.add_entry(JournalEntry {
        seq,
        transaction_id: context.transaction_id,
        kind: draft.kind,
        amount: draft.amount,
        balance_before,
        balance_after: posted,
        held_after: held,
        hold_id: draft.hold_id,
        usage_record_id,
        reference_id: draft.reference_id,
        refunds_seq: draft.refunds_seq,
        metered,
        description: context.description.map(str::to_owned),
        metadata: context.metadata.clone(),
        actor: context.actor,
        created_at: context.created_at,
        booked_at: context.booked_at,
        lines: draft.lines,
    });
    Ok(seq)
}

/// The same rules as the constraints of the tables: they are the last line of defence, not the first.
fn check_figures(draft: &Draft, before: Credits, after: Credits, held: Credits) -> Result<(), Fault> {
    let moved = minus(after, before)?;
    let sound = match draft.kind {
        EntryKind::Grant | EntryKind::Recharge | EntryKind::Refund => moved == draft.amount,
        EntryKind::Consume | EntryKind::Capture | EntryKind::Expire => moved == negative(draft.amount)?,
        EntryKind::Hold | EntryKind::Release => moved.is_zero(),
        EntryKind::Adjust => moved == draft.amount || moved == negative(draft.amount)?,
    };
    let bounds = Credits::ZERO <= held && held <= after && after <= BALANCE_MAX;
    if sound && bounds && draft.amount > Credits::ZERO {
        return Ok(());
    }
    Err(Fault::new(format!("{} of {} would move {before} to {after}, held {held}", draft.kind, draft.amount)))
}
