//! A usage record and its charge, decided together: neither is ever written without the other.
//!
//! Guarantees that a refused charge records nothing, that a known event or key charges nothing again, and that an unknown
//! price is never free. Reads usage (events, prices) and credits; both are written by the caller, in one transaction.

use std::{borrow::Cow, collections::BTreeMap};

use credits::{Action, Balance, Command, Deciding, Metering, Payer, Preview, Refusal};
use kernel::{Actor, CallerClass, FreeForm, IdempotencyKey, UserId};
use pg::DbError;
use time::OffsetDateTime;
use usage::{
    Charge, Draft, NewRecord, Next, Pricing, Record, Recording, UsageInput, UsageRefusal, rating::PriceBook,
};
use uuid::Uuid;

/// A usage record that is wanted.
#[derive(Debug, Clone)]
pub struct Metered {
    /// What was used.
    pub input: UsageInput,
    /// What pays for it; `None` records and deducts nothing.
    pub from: Option<Payer>,
    /// In which capacity the caller acts.
    pub actor: Actor,
    /// Identity of the charge, from [`kernel::Ids`].
    pub transaction_id: Uuid,
    /// The caller's identity of the request.
    pub idempotency: Option<IdempotencyKey>,
}

/// What became of a [`Metered`].
#[derive(Debug, Clone, PartialEq)]
pub struct Meterage {
    /// The record, or why there is none.
    pub result: Result<Recorded, MeterRefusal>,
    /// When that was decided. A repeat under the same key has the instant of the first answer.
    pub at: OffsetDateTime,
    /// Whether this answers a repeat under the same key.
    pub replay: credits::Replay,
}

/// A record that is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// The record.
    pub record: Record,
    /// Whether its event was recorded before.
    pub replay: usage::Replay,
    /// The account behind it; `None` where nothing was to be charged.
    pub balance: Option<Balance>,
}

/// Why nothing was recorded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MeterRefusal {
    /// The record is refused.
    #[error(transparent)]
    Usage(#[from] UsageRefusal),
    /// Its charge is refused.
    #[error(transparent)]
    Ledger(#[from] Refusal),
}

impl Metered {
    /// Whether the ledger takes part: something may be charged, or a key is to be remembered.
    #[must_use]
    pub fn involves_ledger(&self) -> bool {
        self.from.is_some() || self.idempotency.is_some()
    }

    /// A command that names everything the ledger has to lock and read for this, if it takes part.
    pub(crate) fn wanted(&self) -> Option<Command> {
        let metering = Metering {
            amount: kernel::Credits::ZERO,
            from: self.from.unwrap_or(Payer::Available),
            usage_record_id: 0,
        };
        self.involves_ledger().then(|| self.command(self.actor, Action::Meter(metering)))
    }

    /// The class of the caller.
    fn caller(&self) -> CallerClass {
        self.input.recorded_by
    }

    /// A known event that was only recorded cannot be charged by sending it again: that is another event.
    fn agrees(&self, next: Next) -> Result<Next, UsageRefusal> {
        match &next {
            Next::Known(record)
                if self.from.is_some()
                    && record.charge.is_none()
                    && record.credits_charged > record.credits_uncollected =>
            {
                Err(UsageRefusal::UsageConflict { event_id: self.input.event_id.clone().unwrap_or_default() })
            }
            _ => Ok(next),
        }
    }

    fn command(&self, actor: Actor, action: Action) -> Command {
        Command {
            user_id: self.input.user_id.clone(),
            actor,
            caller: self.caller(),
            transaction_id: self.transaction_id,
            description: Some(self.input.event_type.clone()),
            metadata: FreeForm::empty(),
            idempotency: self.idempotency.clone(),
            action,
        }
    }
}

/// What was decided of a [`Metered`], before it is saved.
#[derive(Debug)]
pub(crate) enum Decision {
    /// Without the ledger.
    Alone(Result<(Record, usage::Replay), UsageRefusal>),
    /// As the next outcome of the ledger says. If that is no refusal and no repeat, this is the record.
    WithLedger(Option<(Record, usage::Replay)>),
}

/// Decides what waits together, in its order.
pub(crate) struct Desk<'a, 'b> {
    /// The ledger, if any of what waits involves it.
    pub(crate) ledger: Option<&'b mut Deciding<'a>>,
    pub(crate) recording: &'b mut Recording,
    pub(crate) book: &'b PriceBook,
    /// In which capacity the next one is asked for.
    pub(crate) actor: Actor,
}

impl Desk<'_, '_> {
    /// Decides the next one.
    pub(crate) fn decide(&mut self, metered: &Metered) -> Result<Decision, DbError> {
        let Some(ledger) = self.ledger.as_deref_mut().filter(|_| metered.involves_ledger()) else {
            return self.decide_alone(metered).map(Decision::Alone);
        };
        let user_id = &metered.input.user_id;
        if let Some(key) = &metered.idempotency
            && ledger.knows(user_id, key, metered.caller())
        {
            // Nothing is done: the first outcome is answered, or the conflict.
            ledger
                .apply(Cow::Owned(metered.command(self.actor, Action::Acknowledge { usage_record_id: 0 })))?;
            return Ok(Decision::WithLedger(None));
        }
        let next = match self.next(metered)?.and_then(|next| metered.agrees(next)) {
            Ok(next) => next,
            Err(refusal) => {
                let reason = metered.idempotency.as_ref().and_then(|_| remembered(&refusal));
                let Some(reason) = reason else {
                    return Ok(Decision::Alone(Err(refusal)));
                };
                let refusal = Box::new(Refusal::Outside { reason });
                self.apply(metered, Action::Refuse { refusal })?;
                return Ok(Decision::WithLedger(None));
            }
        };
        match next {
            Next::Known(record) => {
                let usage_record_id = record.id;
                self.apply(metered, Action::Acknowledge { usage_record_id })?;
                Ok(Decision::WithLedger(Some((*record, usage::Replay::ByEvent))))
            }
            Next::New(draft) => self.charge(metered, *draft).map(Decision::WithLedger),
        }
    }

    fn decide_alone(
        &mut self,
        metered: &Metered,
    ) -> Result<Result<(Record, usage::Replay), UsageRefusal>, DbError> {
        Ok(self.next(metered)?.map(|next| match next {
            Next::Known(record) => (*record, usage::Replay::ByEvent),
            Next::New(draft) => (self.recording.add(*draft), usage::Replay::First),
        }))
    }

    /// The event, priced. A charge that nobody can tell is refused.
    fn next(&mut self, metered: &Metered) -> Result<Result<Next, UsageRefusal>, DbError> {
        let input = &metered.input;
        if let Some(event_id) = &input.event_id
            && self.recording.may_know(&input.user_id, event_id, input.recorded_by)
        {
            let new = input.clone().complete();
            if self.recording.known(&new).is_some() {
                // Its price does not matter any more.
                return self.recording.next(new);
            }
        }
        let new = match metered.input.clone().priced(self.book, self.recording.now()) {
            Ok(new) => new,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let unknown = metered.from.and_then(|_| price_not_found(&new));
        let next = self.recording.next(new)?;
        Ok(match (next, unknown) {
            (Ok(Next::New(_)), Some(refusal)) => Err(refusal),
            (next, _) => next,
        })
    }

    fn charge(
        &mut self,
        metered: &Metered,
        draft: Draft,
    ) -> Result<Option<(Record, usage::Replay)>, DbError> {
        let amount = match metered.from {
            Some(_) => draft.record().credits_charged,
            None => kernel::Credits::ZERO,
        };
        let metering = Metering {
            amount,
            from: metered.from.unwrap_or(Payer::Available),
            usage_record_id: draft.record().id,
        };
        let draft = match self.apply(metered, Action::Meter(metering))? {
            Preview::Refused(_) | Preview::Repeat => return Ok(None),
            Preview::Applied { seq: None, uncollected } => draft.uncollected(uncollected),
            Preview::Applied { seq: Some(seq), uncollected } => {
                let transaction_id = metered.transaction_id;
                let charge = Charge { transaction_id, seq };
                draft.charged(charge).uncollected(uncollected)
            }
        };
        Ok(Some((self.recording.add(draft), usage::Replay::First)))
    }

    fn apply(&mut self, metered: &Metered, action: Action) -> Result<Preview, DbError> {
        match self.ledger.as_deref_mut() {
            Some(ledger) => ledger.apply(Cow::Owned(metered.command(self.actor, action))),
            None => Err(DbError::Inconsistent("a charge without its ledger".to_owned())),
        }
    }
}

/// What is known once everything is saved.
pub(crate) struct Settled {
    /// When the events were recorded.
    pub(crate) now: OffsetDateTime,
    /// Records as the database has them, for answers under a key: those are the same for good.
    pub(crate) stored: BTreeMap<(UserId, i64), Record>,
}

impl Settled {
    /// The answer, with the outcome of the ledger if it took part.
    pub(crate) fn answer(
        &self,
        metered: &Metered,
        decision: Decision,
        outcome: Option<credits::Outcome>,
    ) -> Result<Meterage, DbError> {
        let local = match decision {
            Decision::Alone(result) => {
                let recorded = |(record, replay)| Recorded { record, replay, balance: None };
                return Ok(Meterage {
                    result: result.map(recorded).map_err(MeterRefusal::Usage),
                    at: self.now,
                    replay: credits::Replay::First,
                });
            }
            Decision::WithLedger(local) => local,
        };
        let outcome =
            outcome.ok_or_else(|| DbError::Inconsistent("a charge without its outcome".to_owned()))?;
        let result = match outcome.result {
            Err(Refusal::Outside { reason }) => Err(MeterRefusal::Usage(recalled(&reason)?)),
            Err(refusal) => Err(MeterRefusal::Ledger(refusal)),
            Ok(applied) => {
                let id = applied.usage_record_id.unwrap_or_default();
                let stored = self.stored.get(&(metered.input.user_id.clone(), id)).cloned();
                // A repeat has no record of its own; the one it asks for may have been dropped with its month.
                let local = local.filter(|_| outcome.replay == credits::Replay::First);
                match stored.or(local.map(|(record, _)| record)) {
                    None => Err(UsageRefusal::UsageRecordNotFound { id }.into()),
                    Some(record) => Ok(Recorded {
                        record,
                        replay: match applied.replayed {
                            true => usage::Replay::ByEvent,
                            false => usage::Replay::First,
                        },
                        balance: metered.from.map(|_| applied.balance),
                    }),
                }
            }
        };
        Ok(Meterage { result, at: outcome.at, replay: outcome.replay })
    }
}

/// The record that the answer to a keyed request shows, and its instant if that is known.
pub(crate) fn shown_under_key<'a>(
    metered: &'a Metered,
    decision: &Decision,
    outcome: &credits::Outcome,
) -> Option<(&'a UserId, i64, Option<OffsetDateTime>)> {
    metered.idempotency.as_ref()?;
    let applied = outcome.result.as_ref().ok()?;
    let id = applied.usage_record_id?;
    let at = match decision {
        Decision::WithLedger(Some((record, _))) if record.id == id => Some(record.occurred_at),
        _ => None,
    };
    Some((&metered.input.user_id, id, at))
}

const CONFLICT: &str = "usage_conflict";
const NO_PRICE: &str = "price_not_found";
const NO_RECORD: &str = "usage_record_not_found";
const CORRECTED: &str = "already_corrected";

/// What the ledger keeps of a refusal that depended on what is stored (HTTP contract 1.11).
pub(crate) fn remembered(refusal: &UsageRefusal) -> Option<FreeForm> {
    match refusal {
        UsageRefusal::UsageConflict { event_id } => {
            Some(FreeForm::of_texts([("refusal", CONFLICT), ("event_id", event_id)]))
        }
        UsageRefusal::PriceNotFound { provider, model_name, token_class } => {
            let class = token_class.map(|class| class.to_string());
            let said = [
                ("provider", provider.as_deref()),
                ("model_name", model_name.as_deref()),
                ("token_class", class.as_deref()),
            ];
            let said = said.into_iter().filter_map(|(name, text)| text.map(|text| (name, text)));
            Some(FreeForm::of_texts([("refusal", NO_PRICE)].into_iter().chain(said)))
        }
        UsageRefusal::UsageRecordNotFound { id } => Some(of_record(NO_RECORD, *id)),
        UsageRefusal::AlreadyCorrected { id } => Some(of_record(CORRECTED, *id)),
        _ => None,
    }
}

fn of_record(what: &str, id: i64) -> FreeForm {
    FreeForm::of_texts([("refusal", what), ("id", &id.to_string())])
}

/// The refusal that was remembered so.
pub(crate) fn recalled(reason: &FreeForm) -> Result<UsageRefusal, DbError> {
    let unusable = || DbError::Inconsistent(format!("a remembered refusal: {}", reason.as_json()));
    let mut said: BTreeMap<String, String> =
        serde_json::from_str(reason.as_json()).map_err(|_| unusable())?;
    let id = |said: &BTreeMap<String, String>| -> Result<i64, DbError> {
        let id = said.get("id").and_then(|id| id.parse().ok());
        id.ok_or_else(unusable)
    };
    match said.remove("refusal").as_deref() {
        Some(NO_RECORD) => Ok(UsageRefusal::UsageRecordNotFound { id: id(&said)? }),
        Some(CORRECTED) => Ok(UsageRefusal::AlreadyCorrected { id: id(&said)? }),
        Some(CONFLICT) => {
            Ok(UsageRefusal::UsageConflict { event_id: said.remove("event_id").ok_or_else(unusable)? })
        }
        Some(NO_PRICE) => Ok(UsageRefusal::PriceNotFound {
            provider: said.remove("provider"),
            model_name: said.remove("model_name"),
            token_class: match said.remove("token_class") {
                Some(class) => Some(class.parse().map_err(|_| unusable())?),
                None => None,
            },
        }),
        _ => Err(unusable()),
    }
}

/// Why the charge of an event cannot be told.
pub(crate) fn price_not_found(new: &NewRecord) -> Option<UsageRefusal> {
    match new.pricing {
        Pricing::Stated | Pricing::Rated { .. } => None,
        Pricing::Unrated { token_class } => Some(UsageRefusal::PriceNotFound {
            provider: new.provider.clone(),
            model_name: new.model_name.clone(),
            token_class,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_recalled() {
        for refusal in [
            UsageRefusal::UsageConflict { event_id: "e \"1\"".to_owned() },
            UsageRefusal::PriceNotFound {
                provider: None,
                model_name: Some("gpt-4".to_owned()),
                token_class: Some(usage::rating::TokenClass::CacheRead),
            },
            UsageRefusal::UsageRecordNotFound { id: 7 },
            UsageRefusal::AlreadyCorrected { id: i64::MAX },
        ] {
            let reason = remembered(&refusal).unwrap();
            assert_eq!(recalled(&reason).unwrap(), refusal);
        }
        assert_eq!(remembered(&UsageRefusal::PartExceedsWhole), None);
        assert!(recalled(&FreeForm::empty()).is_err());
    }
}
