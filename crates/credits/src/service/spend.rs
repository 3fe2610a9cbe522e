//! Plain charges, in one statement that commits by itself.

use std::collections::BTreeMap;

use kernel::{Clock, Credits, UserId};
use pg::{DbError, PgConnection};
use uuid::Uuid;

use super::inconsistent;
use crate::{
    core,
    model::{Action, Applied, Balance, Command, Entry, EntryKind, Outcome},
    store::spend::{self, Charge, Payer, Spent},
};

/// A command that may be done by [`spend`].
#[derive(Debug, Clone, Copy)]
pub struct PlainCharge<'a> {
    charge: Charge<'a>,
    acts: bool,
}

impl<'a> PlainCharge<'a> {
    /// A charge; `None` for other commands. `acts` says that the owner of the account acts, and must be allowed to.
    #[must_use]
    pub fn new(command: &'a Command, acts: bool) -> Option<Self> {
        core::check(&command.action).ok()?;
        let (amount, usage_record_id) = match command.action {
            Action::Consume { amount, usage_record_id }
            | Action::ConsumeUncollected { amount, usage_record_id } => (amount, usage_record_id),
            _ => return None,
        };
        let unplaced_id = core::transaction_id(0, command.nonce).ok()?;
        Some(Self { charge: Charge { command, amount, usage_record_id, unplaced_id }, acts })
    }
}

/// Books charges of accounts whose heads cover all their charges here, if nothing of such an account is due and it has no budget. The
/// outcome is that of [`execute`](super::execute()), in the order of the charges; `None` for a charge of which nothing was done.
///
/// `text` is made by [`spend_text`](crate::spend_text), and `edition` the value that its guard must have. No other statement may be
/// part of the transaction.
///
/// # Errors
/// [`DbError`] of the statement. [`DbError::Inconsistent`] when the answer is not that of the rules: it is committed.
pub async fn spend(
    conn: &PgConnection,
    clock: &dyn Clock,
    text: &'static str,
    edition: Uuid,
    charges: &[PlainCharge<'_>],
) -> Result<Vec<Option<Outcome>>, DbError> {
    let mut payers: BTreeMap<&UserId, (Payer<'_>, Vec<usize>)> = BTreeMap::new();
    for (place, PlainCharge { charge, acts }) in charges.iter().enumerate() {
        let user_id = &charge.command.user_id;
        let (payer, places) = payers
            .entry(user_id)
            .or_insert_with(|| (Payer { user_id, acts: false, charges: Vec::new() }, Vec::new()));
        payer.acts |= acts;
        payer.charges.push(*charge);
        places.push(place);
    }
    let (payers, places): (Vec<Payer<'_>>, Vec<Vec<usize>>) = payers.into_values().unzip();
    let mut spent: BTreeMap<i64, Spent> = BTreeMap::new();
    for row in spend::spend(conn, text, clock.pinned(), edition, &payers).await? {
        spent.insert(row.place, row);
    }
    let (mut outcomes, mut place) = (vec![None; charges.len()], 0_i64);
    for (payer, places) in payers.iter().zip(places) {
        let booked: Vec<Option<Spent>> = payer
            .charges
            .iter()
            .map(|_| {
                place = place.saturating_add(1);
                spent.remove(&place)
            })
            .collect();
        if booked.iter().all(Option::is_none) {
            continue;
        }
        for (outcome, place) in outcomes_of(payer, booked)?.into_iter().zip(places) {
            if let Some(slot) = outcomes.get_mut(place) {
                *slot = Some(outcome);
            }
        }
    }
    match spent.pop_first() {
        None => Ok(outcomes),
        Some((place, _)) => {
            Err(DbError::Inconsistent(format!("a charge {place} was booked that is not there")))
        }
    }
}

/// The outcomes of the charges of an account, newest last. They are what the rules say, from the figures of the account.
fn outcomes_of(payer: &Payer<'_>, booked: Vec<Option<Spent>>) -> Result<Vec<Outcome>, DbError> {
    let wrong = |why: &str| DbError::Inconsistent(format!("charges of {}: {why}", payer.user_id));
    let mut outcomes = Vec::with_capacity(booked.len());
    let mut after: Option<(Credits, i64)> = None;
    for (charge, spent) in payer.charges.iter().zip(booked).rev() {
        let spent = spent.ok_or_else(|| wrong("some were booked, others not"))?;
        let covers =
            spent.head_remaining > Credits::ZERO && spent.head_remaining <= spent.balance.available();
        if !covers || spent.next_due_at.is_some_and(|at| at <= spent.as_of) {
            return Err(wrong("the head did not cover them, or something was due"));
        }
        let (balance_after, seq) = after.unwrap_or((spent.balance.posted, spent.entry_seq));
        let balance_before = balance_after.checked_add(charge.amount).ok_or_else(|| wrong("too many"))?;
        after = Some((balance_before, seq.saturating_sub(1)));
        let command = charge.command;
        let transaction_id = core::transaction_id(seq, command.nonce).map_err(inconsistent)?;
        if transaction_id != spent.transaction_id {
            return Err(wrong("their transactions have other ids"));
        }
        let entry = Entry {
            id: spent.id,
            transaction_id,
            user_id: payer.user_id.clone(),
            seq,
            kind: EntryKind::Consume,
            amount: charge.amount,
            balance_before,
            balance_after,
            usage_record_id: charge.usage_record_id,
            reference_id: None,
            hold_id: None,
            description: command.description.clone(),
            metadata: spent.metadata,
            actor: command.actor,
            created_at: spent.as_of,
        };
        let applied = Applied {
            entry: Some(entry),
            balance: Balance { posted: balance_after, ..spent.balance },
            hold: None,
            grant: None,
            uncollected: Credits::ZERO,
            replayed: false,
        };
        outcomes.push(Outcome { result: Ok(applied), at: spent.as_of });
    }
    outcomes.reverse();
    Ok(outcomes)
}
