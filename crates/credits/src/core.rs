//! The rules of the ledger: a state, a command and an instant make effects or a refusal.
//!
//! Pure and deterministic: no I/O, no clock, no randomness. Every amount is checked; what the rules exclude and happens
//! anyway is a [`Fault`], which aborts the whole batch instead of being booked.

mod adjust;
pub mod budget;
pub mod burn;
mod consume;
pub mod due;
pub mod effect;
pub mod entry;
pub mod fault;
mod give;
pub mod grant;
pub mod hold;
mod holding;
mod journal;
pub mod refund;
pub mod state;
mod transaction_id;
mod view;

use kernel::{Credits, FreeForm};
use time::OffsetDateTime;

pub use budget::{Budget, Window};
use effect::Done;
pub use effect::Effect;
pub use entry::{Charge, EntryRef, JournalEntry, Line};
use fault::next;
pub use fault::{Fault, Stop};
use give::Offer;
pub use grant::{Grant, Known, Notes};
pub use hold::Hold;
use holding::HoldRequest;
use journal::{EntryContext, Usage};
pub use refund::REFUND_LIFE;
pub use state::{Account, AccountState, AccountStatus, Claim, Head};
pub use transaction_id::{place, transaction_id};
pub use view::{settled, view};

use crate::{
    error::Refusal,
    model::{
        Action, Command, GrantKind, NewGrant, Payer, TransactionName, UsageCharge, balance::BALANCE_MAX,
    },
};

/// The reference of the grant that comes with an account: unique per user, so there cannot be two. No caller can send it
/// ([`Refusal::ReservedReference`]), and answers do not show it.
pub const INITIAL_REFERENCE: &str = "\u{1}initial";

/// The reference of such a grant in accounts of earlier versions. Callers may send it, and find it in use there.
pub const FORMER_INITIAL_REFERENCE: &str = "initial";

/// Applies what is due by `now`, then the command.
///
/// `now` is raised to the account's own time. After a refusal the state is as it was, but for what was due.
///
/// # Errors
/// [`Stop::Refused`] with the decided no; [`Stop::Broken`] when the state breaks the rules: it must not be saved.
pub fn apply(state: &mut AccountState, command: &Command, now: OffsetDateTime) -> Result<Effect, Stop> {
    check(&command.action)?;
    if state.status == AccountStatus::Fresh && !matches!(command.action, Action::Open { .. }) {
        return Err(Refusal::UserNotFound { user_id: state.user_id.clone() }.into());
    }
    let now = now.max(state.account.as_of);
    budget::check(state.budgets(), now)?;
    due::apply(state, now)?;
    state.account.as_of = now;
    let metadata = noted(command);
    let context = EntryContext {
        transaction_id: transaction_id(next(state.account.entry_seq)?, command.nonce)?,
        actor: command.actor,
        caller: command.caller,
        description: command.description.as_deref(),
        metadata: &metadata,
        created_at: now,
        booked_at: now,
    };
    let done = act(state, &command.action, context)?;
    // What the command itself made due (the rest of a hold on an expired grant) goes in the same step.
    due::settle(state, now)?;
    let grant = done.grant.and_then(|id| state.show_grant(id)).map(Box::new);
    let first = match &done.entry {
        EntryRef::Now(seq) => {
            let written = state.journal().iter().rfind(|entry| entry.seq == *seq);
            written.map(|entry| entry.transaction_id)
        }
        EntryRef::Nothing => grant.as_ref().and_then(|grant| grant.transaction_id),
        EntryRef::Before(entry) => Some(entry.transaction_id),
    };
    Ok(Effect {
        transaction_id: first.unwrap_or(context.transaction_id),
        entry: done.entry,
        balance: state.account.balance(),
        hold: done.hold.and_then(|id| state.show_hold(id)).map(Box::new),
        grant,
        uncollected: done.uncollected,
        replayed: done.replayed,
    })
}

/// Refuses what no state could allow. Nothing is applied then, not even due items.
///
/// # Errors
/// [`Refusal::InvalidAmount`], [`Refusal::InvalidPeriod`] of a hold, [`Refusal::MissingReason`],
/// [`Refusal::ReservedReference`].
pub fn check(action: &Action) -> Result<(), Refusal> {
    let (amount, least) = match action {
        Action::Open { initial } => (*initial, Credits::ZERO),
        Action::Capture { amount, .. } => (amount.unwrap_or(Credits::ZERO), Credits::ZERO),
        Action::Meter(metering) => (metering.amount, Credits::ZERO),
        Action::Grant(grant) => (grant.amount, MICRO),
        Action::Refund { amount, .. } => (amount.unwrap_or(MICRO), MICRO),
        Action::Recharge { amount, .. }
        | Action::Consume { amount, .. }
        | Action::ConsumeUncollected { amount, .. }
        | Action::Hold { amount, .. }
        | Action::Adjust { amount, .. } => (*amount, MICRO),
        Action::Release { .. } | Action::BookScheduled | Action::ApplyDue => return Ok(()),
    };
    if !(least..=BALANCE_MAX).contains(&amount) {
        let limit = BALANCE_MAX;
        return Err(Refusal::InvalidAmount { amount, limit });
    }
    match action {
        Action::Hold { ttl, .. } => holding::check_ttl(*ttl),
        Action::Refund { reason, .. } | Action::Adjust { reason, .. } if reason.trim().is_empty() => {
            Err(Refusal::MissingReason)
        }
        Action::Grant(NewGrant { reference_id, .. }) | Action::Recharge { reference_id, .. }
            if reference_id.as_deref() == Some(INITIAL_REFERENCE) =>
        {
            Err(Refusal::ReservedReference)
        }
        _ => Ok(()),
    }
}

/// The least amount there is.
const MICRO: Credits = Credits::from_micro(1);

/// Metadata of the entries of a command: those of the caller, and the reason of a refund or correction.
fn noted(command: &Command) -> FreeForm {
    match &command.action {
        Action::Refund { transaction_id, reason, .. } => {
            let of = TransactionName::Transaction(*transaction_id).to_string();
            command.metadata.with_texts([("refund_of", of.as_str()), ("reason", reason)])
        }
        Action::Adjust { reason, .. } => command.metadata.with_texts([("reason", reason.as_str())]),
        _ => command.metadata.clone(),
    }
}

fn act(state: &mut AccountState, action: &Action, context: EntryContext<'_>) -> Result<Done, Stop> {
    match *action {
        Action::Open { initial } => open(state, initial, context),
        Action::Grant(ref new) => give::give(state, Offer::new(new), context),
        Action::Recharge { amount, ref reference_id, scope } => {
            let lasting = Offer::lasting(GrantKind::Purchase, amount, reference_id.as_deref());
            give::give(state, Offer { scope, ..lasting }, context)
        }
        Action::Consume { amount, usage_record_id } => {
            consume::consume(state, amount, Usage::Noted(usage_record_id), context)
        }
        Action::ConsumeUncollected { amount, usage_record_id } => {
            consume::consume_uncollected(state, amount, Usage::Noted(usage_record_id), context)
        }
        Action::Hold { hold_id, amount, mode, ttl } => {
            let request = HoldRequest { hold_id, amount, mode, ttl };
            holding::place(state, request, context)
        }
        Action::Capture { hold_id, amount, usage_record_id } => {
            holding::capture(state, hold_id, amount, Usage::Noted(usage_record_id), context)
        }
        Action::Meter(metering) => meter(state, metering, context),
        Action::Release { hold_id } => holding::release(state, hold_id, context),
        Action::Refund { transaction_id, amount, .. } => {
            refund::refund(state, transaction_id, amount, context)
        }
        Action::Adjust { amount, adjustment, .. } => adjust::adjust(state, amount, adjustment, context),
        Action::BookScheduled => {
            due::book_scheduled(state, context.created_at)?;
            Ok(Done::nothing())
        }
        Action::ApplyDue => Ok(Done::nothing()),
    }
}

fn meter(state: &mut AccountState, metering: UsageCharge, context: EntryContext<'_>) -> Result<Done, Stop> {
    let UsageCharge { amount, from, usage_record_id } = metering;
    let usage = Usage::Charged(usage_record_id);
    match from {
        Payer::Hold(hold_id) => holding::capture(state, hold_id, Some(amount), usage, context),
        _ if amount.is_zero() => Ok(Done::nothing()),
        Payer::Available => consume::consume(state, amount, usage, context),
        Payer::AsFarAsItGoes => consume::consume_uncollected(state, amount, usage, context),
    }
}

fn open(state: &mut AccountState, initial: Credits, context: EntryContext<'_>) -> Result<Done, Stop> {
    if state.status == AccountStatus::Open {
        let initial = [INITIAL_REFERENCE, FORMER_INITIAL_REFERENCE]
            .into_iter()
            .filter_map(|reference| state.references.get(reference))
            .find(|known| known.grant.kind == GrantKind::Initial);
        let (entry, grant) = match initial {
            Some(known) => (state.entry_of(known)?, Some(known.grant.id)),
            None => (EntryRef::Nothing, None),
        };
        return Ok(Done { entry, grant, replayed: true, ..Done::nothing() });
    }
    state.status = AccountStatus::Open;
    if initial.is_zero() {
        return Ok(Done::nothing());
    }
    give::give(state, Offer::lasting(GrantKind::Initial, initial, Some(INITIAL_REFERENCE)), context)
}
