//! Recording in one step.

use kernel::Clock;
use pg::{DbError, Tx};

use super::recording::{Next, look_up_events};
use crate::{NewRecord, Outcome, Recorded, Replay};

/// Records events and adds them to the roll-ups. Answers one outcome an event, in the order they were given.
///
/// The outcome is that of recording one by one: ids rise in the order of `new`, so that of events of one instant the later
/// one stands before the earlier one in a list. An event whose id was recorded before, also by an earlier one of `new`,
/// is answered with the first record if it says the same, and refused if it says something else. A refusal does not disturb
/// the others. The number of statements does not depend on the number of events.
///
/// A new record carries the callers' JSON as they wrote it; what is read back later is equal as JSON, but may order members
/// and write numbers differently.
///
/// Call it once a transaction, and after locks of the ledger: then transactions of any processes never deadlock. Two that
/// record the same event, or for the same user at the same time, wait for one another.
///
/// # Errors
/// [`DbError`] when the batch as a whole failed: nothing of it may be committed. [`DbError::Contention`] also when another
/// transaction recorded one of the events at the same time: tried again, it is answered with that record. A constraint is
/// violated only when `new` breaks what [`NewRecord`] promises.
pub async fn record(tx: &mut Tx, clock: &dyn Clock, new: &[NewRecord]) -> Result<Vec<Outcome>, DbError> {
    let events = new.iter().filter_map(|one| Some((&one.user_id, one.event.as_ref()?.id.as_str())));
    let mut recording = look_up_events(tx.conn(), clock, events, new.len()).await?;
    let mut outcomes = Vec::with_capacity(new.len());
    for one in new {
        outcomes.push(recording.next(one.clone())?.map(|next| match next {
            Next::Known(record) => Recorded { record: *record, replay: Replay::ByEvent },
            Next::New(draft) => Recorded { record: recording.add(*draft), replay: Replay::First },
        }));
    }
    recording.save(tx).await?;
    Ok(outcomes)
}
