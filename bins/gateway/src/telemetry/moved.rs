//! Counters of the ledger's work for requests: each outcome is counted when it is first given.
//!
//! What nobody asked for (credit that expires, a scheduled grant that begins, the initial grant) is in the journal and its
//! events, not here.

use credits::{Applied, EntryKind, Refusal};
use flows::{LedgerOutcome, MeterRefusal, Replay, UsageOutcome, WholeCredits};
use kernel::Failure as _;

/// Credits moved since the start. Replies of the model are counted where they end (`flows::replies`).
#[derive(Debug, Default)]
pub struct Moved {
    consumed: WholeCredits,
    recharged: WholeCredits,
    granted: WholeCredits,
}

impl Moved {
    /// Counts what became of a request.
    pub fn count(&self, outcome: &LedgerOutcome) {
        match (outcome.replay, &outcome.result) {
            (Replay::ByKey, _) => replayed("key"),
            (Replay::First, Ok(applied)) if applied.replayed => replayed("reference"),
            (Replay::First, Ok(applied)) => self.count_moved(applied),
            (Replay::First, Err(refusal)) => {
                metrics::counter!("credits_refused_total", "code" => refusal.failure().code()).increment(1);
            }
        }
    }

    /// Counts what became of a usage record and its charge.
    pub fn count_metered(&self, outcome: &UsageOutcome) {
        match (outcome.replay, &outcome.result) {
            (Replay::ByKey, _) => replayed("key"),
            (Replay::First, Ok(recorded)) if recorded.replay == usage::Replay::ByEvent => replayed("event"),
            (Replay::First, Ok(recorded)) => {
                metrics::counter!("usage_records_total").increment(1);
                let record = &recorded.record;
                let taken = record.credits_charged.checked_sub(record.credits_uncollected);
                if let (Some(_), Some(taken)) = (record.charge, taken) {
                    metrics::counter!("credits_consumed_total").increment(self.consumed.add(taken));
                }
            }
            (Replay::First, Err(MeterRefusal::Usage(refusal))) => {
                metrics::counter!("usage_refused_total", "code" => refusal.code()).increment(1);
            }
            (Replay::First, Err(refusal)) => {
                metrics::counter!("credits_refused_total", "code" => refusal.failure().code()).increment(1);
            }
        }
    }

    /// Counts a reply for which there was not enough credit.
    pub fn count_refused_reply(refusal: &Refusal, replay: Replay) {
        match replay {
            Replay::ByKey => replayed("key"),
            Replay::First => {
                metrics::counter!("credits_refused_total", "code" => refusal.code()).increment(1)
            }
        }
    }

    fn count_moved(&self, applied: &Applied) {
        let Some(entry) = &applied.entry else {
            return;
        };
        let amount = entry.amount;
        match entry.kind {
            EntryKind::Consume | EntryKind::Capture => {
                metrics::counter!("credits_consumed_total").increment(self.consumed.add(amount));
            }
            EntryKind::Recharge => {
                metrics::counter!("credits_recharged_total").increment(self.recharged.add(amount));
            }
            EntryKind::Grant => {
                metrics::counter!("credits_granted_total").increment(self.granted.add(amount));
            }
            EntryKind::Refund
            | EntryKind::Expire
            | EntryKind::Adjust
            | EntryKind::Hold
            | EntryKind::Release => {}
        }
    }
}

fn replayed(by: &'static str) {
    metrics::counter!("credits_replays_total", "by" => by).increment(1);
}
