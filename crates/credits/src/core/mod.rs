//! The rules of the ledger: a state, a command and an instant make effects or a refusal.
//!
//! Pure and deterministic: no I/O, no clock, no randomness. Every amount is checked; what the rules exclude and happens
//! anyway is a [`Fault`], which aborts the whole batch instead of being booked.

pub mod burn;
mod consume;
pub mod due;
pub mod fault;
mod give;
mod journal;
pub mod state;
mod view;

use kernel::{Actor, Credits};
use time::OffsetDateTime;
use uuid::Uuid;

pub use fault::{Fault, Stop};
pub use journal::{JournalEntry, Line};
pub use state::{Account, AccountState, Grant, Known, Standing};
pub use view::view;

use crate::{
    error::Refusal,
    model::{Action, Balance, Command, Entry, GrantKind, PRIORITY_DEFAULT, balance::BALANCE_MAX},
};

/// The reference of the grant that comes with an account: unique per user, so there cannot be two.
pub const INITIAL_REFERENCE: &str = "initial";

/// What a command did to the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// The command's own newest entry.
    pub entry: Written,
    /// The account afterwards.
    pub balance: Balance,
    /// The command had been applied before.
    pub replayed: bool,
}

/// Where the entry of a command is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// There is none.
    Nothing,
    /// In the journal of the state, under this `seq`.
    Now(i64),
    /// It had been stored before the state was loaded.
    Before(Box<Entry>),
}

/// On whose behalf an entry is written, and when it takes effect.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cause<'a> {
    transaction_id: Uuid,
    actor: Actor,
    /// `None` for due items.
    command: Option<&'a Command>,
    created_at: OffsetDateTime,
    booked_at: OffsetDateTime,
}

/// Applies what is due by `now`, then the command.
///
/// `now` is raised to the account's own time. After a refusal the state is as it was, but for what was due.
///
/// # Errors
/// [`Stop::Refused`] with the decided no; [`Stop::Broken`] when the state breaks the rules: it must not be saved.
pub fn apply(state: &mut AccountState, command: &Command, now: OffsetDateTime) -> Result<Effect, Stop> {
    check(&command.action)?;
    if state.standing == Standing::Fresh && !matches!(command.action, Action::Open { .. }) {
        return Err(Refusal::UserNotFound {
            user_id: state.user_id.clone(),
        }
        .into());
    }
    let now = now.max(state.account.as_of);
    due::apply(state, now)?;
    state.account.as_of = now;
    let cause = Cause::of(command, now);
    let (entry, replayed) = act(state, &command.action, cause)?;
    // What the command itself made due (the rest of a hold on an expired grant) goes in the same step.
    due::settle(state, now)?;
    Ok(Effect {
        entry,
        balance: state.account.balance(),
        replayed,
    })
}

/// Refuses what no state could allow. Nothing is applied then, not even due items.
///
/// # Errors
/// [`Refusal::InvalidAmount`].
pub fn check(action: &Action) -> Result<(), Refusal> {
    let (amount, least) = match action {
        Action::Open { initial } => (*initial, Credits::ZERO),
        Action::Grant(grant) => (grant.amount, Credits::from_micro(1)),
        Action::Recharge { amount, .. } | Action::Consume { amount, .. } => (*amount, Credits::from_micro(1)),
        Action::ApplyDue => return Ok(()),
    };
    if (least..=BALANCE_MAX).contains(&amount) {
        Ok(())
    } else {
        Err(Refusal::InvalidAmount {
            amount,
            limit: BALANCE_MAX,
        })
    }
}

impl<'a> Cause<'a> {
    fn of(command: &'a Command, now: OffsetDateTime) -> Self {
        Self {
            transaction_id: command.transaction_id,
            actor: command.actor,
            command: Some(command),
            created_at: now,
            booked_at: now,
        }
    }
}

/// The entry, and whether it is a replay.
fn act(state: &mut AccountState, action: &Action, cause: Cause<'_>) -> Result<(Written, bool), Stop> {
    match action {
        Action::Open { initial } => open(state, *initial, cause),
        Action::Grant(new) => give::give(state, give::Offer::of(new), cause),
        Action::Recharge { amount, reference_id } => {
            let offer = give::Offer {
                kind: GrantKind::Purchase,
                amount: *amount,
                priority: PRIORITY_DEFAULT,
                effective_at: None,
                expires_at: None,
                reference_id: reference_id.as_deref(),
            };
            give::give(state, offer, cause)
        }
        Action::Consume {
            amount,
            usage_record_id,
        } => {
            let seq = consume::consume(state, *amount, *usage_record_id, cause)?;
            Ok((Written::Now(seq), false))
        }
        Action::ApplyDue => Ok((Written::Nothing, false)),
    }
}

fn open(state: &mut AccountState, initial: Credits, cause: Cause<'_>) -> Result<(Written, bool), Stop> {
    if state.standing == Standing::Open {
        let written = match state.references.get(INITIAL_REFERENCE) {
            Some(known) if known.kind == GrantKind::Initial => state.entry_of(known)?,
            _ => Written::Nothing,
        };
        return Ok((written, true));
    }
    state.standing = Standing::Open;
    if initial.is_zero() {
        return Ok((Written::Nothing, false));
    }
    let offer = give::Offer {
        kind: GrantKind::Initial,
        amount: initial,
        priority: PRIORITY_DEFAULT,
        effective_at: None,
        expires_at: None,
        reference_id: Some(INITIAL_REFERENCE),
    };
    give::give(state, offer, cause)
}
