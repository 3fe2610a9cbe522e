//! Taking a record back.

use kernel::Clock;
use pg::{DbError, Tx};

use super::recording::{correction_events, lock_to_write, look_up_events};
use crate::{Corrected, Correction, UsageRefusal, store};

/// Takes a record back, once, and records something else in its stead if that is wanted (HTTP contract 4.9).
///
/// The correction has the instant and the dimensions of the record and its figures negated, so every sum that had the
/// record has it no more. What was charged is given back by the caller, in the same transaction. A replacement that states
/// no time stands at the instant of the record, however long ago that is.
///
/// As [`crate::record`] it is called once a transaction, and not together with that.
///
/// # Errors
/// [`DbError`] when it failed: nothing of it may be committed; [`DbError::Contention`] as of [`crate::record`]. Refusals:
/// [`UsageRefusal::UsageRecordNotFound`], [`UsageRefusal::AlreadyCorrected`], [`UsageRefusal::TimestampOutOfRange`] and
/// [`UsageRefusal::ReservedEventId`] of the replacement, [`UsageRefusal::UsageConflict`] if the event id of the replacement
/// was recorded before.
pub async fn correct(
    tx: &mut Tx,
    clock: &dyn Clock,
    correction: &Correction,
) -> Result<Result<Corrected, UsageRefusal>, DbError> {
    let id = correction.record_id;
    lock_to_write(tx.conn()).await?;
    let Some(original) = store::records::find(tx.conn(), &correction.user_id, id).await? else {
        return Ok(Err(UsageRefusal::UsageRecordNotFound { id }));
    };
    let events = correction_events(id, correction.replacement.as_ref());
    let events = events.iter().map(|event| (&correction.user_id, event.as_str()));
    let mut recording = look_up_events(tx.conn(), clock, events, 2).await?;
    let negative = match recording.correct(&original, &correction.reason)? {
        Ok(draft) => recording.add(draft),
        Err(refusal) => return Ok(Err(refusal)),
    };
    let replacement = match &correction.replacement {
        None => None,
        Some(new) => match recording.replace(&original, new.clone())? {
            Ok(draft) => Some(recording.add(draft)),
            Err(refusal) => return Ok(Err(refusal)),
        },
    };
    recording.save(tx).await?;
    Ok(Ok(Corrected { original, correction: negative, replacement }))
}
