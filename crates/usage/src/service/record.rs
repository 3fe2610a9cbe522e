//! Recording.

use std::collections::{BTreeMap, BTreeSet};

use kernel::Clock;
use pg::{DbError, Tx};

use crate::{
    EventId, NewRecord, Outcome, Record, Recorded, Replay, UsageRefusal,
    core::batch::{Step, steps},
    store::{
        self,
        dedupe::{Claim, Known},
    },
};

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
/// [`DbError`] when the batch as a whole failed: nothing of it may be committed. A constraint is violated only when `new`
/// breaks what [`NewRecord`] promises.
pub async fn record(tx: &mut Tx, clock: &dyn Clock, new: &[NewRecord]) -> Result<Vec<Outcome>, DbError> {
    let now = clock.now();
    let steps = steps(now, new);
    let wanted = steps.iter().filter(|step| matches!(step, Step::Record { .. }));
    let count = wanted.count();
    let mut fresh: BTreeMap<usize, Record> = BTreeMap::new();
    if count > 0 {
        let mut ids = store::records::draw_ids(tx.conn(), count).await?.into_iter();
        for (place, (step, one)) in steps.iter().zip(new).enumerate() {
            if let Step::Record { occurred_at } = step
                && let Some(id) = ids.next()
            {
                fresh.insert(place, one.clone().stored(id, *occurred_at));
            }
        }
    }
    let known = claim(tx, new, &fresh).await?;
    fresh.retain(|place, _| !known.contains_key(place));
    let records: Vec<Record> = fresh.values().cloned().collect();
    store::write(tx, now, &records).await?;
    let answers = Answers { new, fresh, known };
    let outcomes = steps.into_iter().enumerate();
    outcomes
        .map(|(place, step)| match step {
            Step::Record { .. } => answers.at(place, place),
            Step::After(first) => answers.at(place, first),
            Step::Refuse(refusal) => Ok(Err(refusal)),
        })
        .collect()
}

/// Claims the event ids of what is to be recorded; answers what was recorded before, by place.
async fn claim(
    tx: &mut Tx,
    new: &[NewRecord],
    fresh: &BTreeMap<usize, Record>,
) -> Result<BTreeMap<usize, Known>, DbError> {
    let mut claims: Vec<(Claim<'_>, usize)> = fresh
        .iter()
        .filter_map(|(place, record)| {
            let event = new.get(*place)?.event.as_ref()?;
            Some((Claim::of(record, event), *place))
        })
        .collect();
    if claims.is_empty() {
        return Ok(BTreeMap::new());
    }
    claims.sort_unstable();
    let all: Vec<Claim<'_>> = claims.iter().map(|(claim, _)| *claim).collect();
    let claimed: BTreeSet<i64> = store::dedupe::claim(tx.conn(), &all).await?.into_iter().collect();
    claims.retain(|(claim, _)| !claimed.contains(&claim.record_id));
    if claims.is_empty() {
        return Ok(BTreeMap::new());
    }
    // A statement of its own: it sees what the one that waited for the claim could not.
    let lost: Vec<Claim<'_>> = claims.iter().map(|(claim, _)| *claim).collect();
    let known = store::dedupe::known(tx.conn(), &lost).await?;
    DbError::expect_rows("find events that were recorded", lost.len(), known.len())?;
    let places = known.into_iter().filter_map(|known| {
        let (_, place) = claims.get(known.place)?;
        Some((*place, known))
    });
    Ok(places.collect())
}

/// What was found and done, for answering.
struct Answers<'a> {
    new: &'a [NewRecord],
    fresh: BTreeMap<usize, Record>,
    known: BTreeMap<usize, Known>,
}

impl Answers<'_> {
    /// The outcome of the item at `place`, whose event was claimed by the one at `first`.
    fn at(&self, place: usize, first: usize) -> Result<Outcome, DbError> {
        let event = self.new.get(place).and_then(|one| one.event.as_ref());
        if let Some(known) = self.known.get(&first) {
            let same = event.is_some_and(|event| event.payload.as_slice() == known.payload);
            return Ok(replayed(same, &known.record, event));
        }
        let record = self
            .fresh
            .get(&first)
            .ok_or_else(|| DbError::Inconsistent(format!("usage record of item {first} is not there")))?;
        if place == first {
            return Ok(Ok(Recorded {
                record: record.clone(),
                replay: Replay::First,
            }));
        }
        let claimed = self.new.get(first).and_then(|one| one.event.as_ref());
        Ok(replayed(event == claimed, record, event))
    }
}

fn replayed(same: bool, record: &Record, event: Option<&EventId>) -> Outcome {
    if same {
        return Ok(Recorded {
            record: record.clone(),
            replay: Replay::ByEvent,
        });
    }
    Err(UsageRefusal::UsageConflict {
        event_id: event.map(|event| event.id.clone()).unwrap_or_default(),
    })
}

impl<'a> Claim<'a> {
    pub(crate) fn of(record: &'a Record, event: &'a EventId) -> Self {
        Self {
            user_id: &record.user_id,
            event_id: &event.id,
            payload: &event.payload,
            record_id: record.id,
            occurred_at: record.occurred_at,
        }
    }
}
