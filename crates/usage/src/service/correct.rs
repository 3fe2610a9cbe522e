//! Taking a record back.

use kernel::Clock;
use pg::{DbError, Tx};

use crate::{
    CORRECTION, Corrected, Correction, EventId, Record, UsageRefusal,
    core::{batch, fingerprint},
    store::{self, dedupe::Claim},
};

/// Takes a record back, once, and records something else in its stead if that is wanted (HTTP contract 4.9).
///
/// The correction has the instant and the dimensions of the record and its figures negated, so every sum that had the
/// record has it no more. What was charged is given back by the caller, in the same transaction. A replacement that states
/// no time stands at the instant of the record, however long ago that is.
///
/// As [`crate::record`] it is called once a transaction, and not together with that.
///
/// # Errors
/// [`DbError`] when it failed: nothing of it may be committed. Refusals: [`UsageRefusal::UsageRecordNotFound`],
/// [`UsageRefusal::AlreadyCorrected`], [`UsageRefusal::TimestampOutOfRange`] and [`UsageRefusal::ReservedEventId`] of the
/// replacement, [`UsageRefusal::UsageConflict`] if the event id of the replacement was recorded before.
pub async fn correct(
    tx: &mut Tx,
    clock: &dyn Clock,
    correction: &Correction,
) -> Result<Result<Corrected, UsageRefusal>, DbError> {
    let id = correction.record_id;
    let Some(original) = store::records::find(tx.conn(), &correction.user_id, id).await? else {
        return Ok(Err(UsageRefusal::UsageRecordNotFound { id }));
    };
    if original.correction_of.is_some() {
        return Ok(Err(UsageRefusal::AlreadyCorrected { id }));
    }
    let now = clock.now();
    let replaced_at = match &correction.replacement {
        None => original.occurred_at,
        Some(new) if new.occurred_at.is_none() => original.occurred_at,
        Some(new) => match batch::time_of(now, new) {
            Ok(at) => at,
            Err(refusal) => return Ok(Err(refusal)),
        },
    };
    let count = if correction.replacement.is_some() { 2 } else { 1 };
    let mut ids = store::records::draw_ids(tx.conn(), count).await?.into_iter();
    let mut next_id = || {
        let drawn = ids.next();
        drawn.ok_or_else(|| DbError::Inconsistent("too few ids were drawn".to_owned()))
    };
    let negative = original.corrected(next_id()?, &correction.reason);
    let replacement = match &correction.replacement {
        None => None,
        Some(new) => {
            let new = crate::NewRecord {
                user_id: correction.user_id.clone(),
                ..new.clone()
            };
            Some(new.stored(next_id()?, replaced_at))
        }
    };
    if let Err(refusal) = claim(tx, correction, &negative, replacement.as_ref()).await? {
        return Ok(Err(refusal));
    }
    let mut records = vec![negative.clone()];
    records.extend(replacement.clone());
    store::write(tx, now, &records).await?;
    Ok(Ok(Corrected {
        original,
        correction: negative,
        replacement,
    }))
}

/// Claims the one correction of the record, and the event id of the replacement; refused, it leaves no claim behind.
async fn claim(
    tx: &mut Tx,
    correction: &Correction,
    negative: &Record,
    replacement: Option<&Record>,
) -> Result<Result<(), UsageRefusal>, DbError> {
    let id = correction.record_id;
    let own = EventId {
        id: format!("{CORRECTION}{id}"),
        payload: fingerprint::hash(&[Some(correction.reason.clone())]),
    };
    let theirs = correction.replacement.as_ref().and_then(|new| new.event.as_ref());
    let mut claims = vec![Claim::of(negative, &own)];
    if let (Some(record), Some(event)) = (replacement, theirs) {
        if event.id.starts_with(CORRECTION) {
            return Ok(Err(UsageRefusal::ReservedEventId {
                event_id: event.id.clone(),
            }));
        }
        claims.push(Claim::of(record, event));
    }
    claims.sort_unstable();
    let claimed = store::dedupe::claim(tx.conn(), &claims).await?;
    if claimed.len() == claims.len() {
        return Ok(Ok(()));
    }
    let refusal = match theirs {
        Some(event) if claimed.contains(&negative.id) => UsageRefusal::UsageConflict {
            event_id: event.id.clone(),
        },
        _ => UsageRefusal::AlreadyCorrected { id },
    };
    claims.retain(|claim| claimed.contains(&claim.record_id));
    if !claims.is_empty() {
        store::dedupe::give_up(tx.conn(), &claims).await?;
    }
    Ok(Err(refusal))
}
