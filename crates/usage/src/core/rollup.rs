//! Additions of the records of one transaction to the roll-ups.

use std::{collections::BTreeMap, num::TryFromIntError};

use kernel::Credits;
use time::OffsetDateTime;

use super::slot_15m;
use crate::Record;

/// The row of a roll-up; in the order of its primary key, which is also the order in which rows are locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key<'a> {
    /// Empty in sums across users.
    pub(crate) user_id: &'a str,
    pub(crate) bucket: OffsetDateTime,
    pub(crate) event_type: &'a str,
    pub(crate) model: &'a str,
    pub(crate) provider: &'a str,
    pub(crate) tool: &'a str,
    pub(crate) part: i64,
}

/// Sums: exact ones, or such as fit into a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Added<N = i128> {
    pub(crate) records: N,
    pub(crate) tokens_used: N,
    pub(crate) prompt_tokens: N,
    pub(crate) completion_tokens: N,
    pub(crate) credits_charged: N,
    pub(crate) credits_deducted: N,
    pub(crate) cost_usd: N,
}

/// Sums by key, in the order of the keys.
pub(crate) type Sums<'a> = BTreeMap<Key<'a>, Added>;

/// Above this (100,000 credits, 100 dollars, 10^11 tokens) an event is summed apart. Up to it, 64 bits hold 92 million
/// events of one key in one quarter of an hour.
const ORDINARY_MAX: i64 = 100_000_000_000;
/// The ids of one block of large events: 4,096 of 10^15 stay below 2^63.
const BLOCK_BITS: u32 = 12;

/// The sums of records, by user; `returned` has what was deducted for the records that corrections take back, by the ids of
/// the corrections.
pub(crate) fn by_user<'a>(records: &'a [Record], returned: &BTreeMap<i64, Credits>) -> Sums<'a> {
    let mut sums = Sums::new();
    for record in records {
        let key = Key {
            user_id: record.user_id.as_str(),
            bucket: slot_15m::floor(record.occurred_at),
            event_type: &record.event_type,
            model: record.model_name.as_deref().unwrap_or_default(),
            provider: record.provider.as_deref().unwrap_or_default(),
            tool: record.tool_name.as_deref().unwrap_or_default(),
            part: part(record),
        };
        let returned = returned.get(&record.id).map_or(0, |amount| amount.micro());
        sums.entry(key).or_default().add(&Added {
            records: record.sign().into(),
            tokens_used: record.tokens_used.into(),
            prompt_tokens: record.prompt_tokens.into(),
            completion_tokens: record.completion_tokens.into(),
            credits_charged: record.credits_charged.micro().into(),
            credits_deducted: i128::from(record.credits_deducted().micro()).saturating_sub(returned.into()),
            cost_usd: record.cost_usd.nano().into(),
        });
    }
    sums
}

/// The same sums across users.
pub(crate) fn across_users<'a>(sums: &Sums<'a>) -> Sums<'a> {
    let mut all = Sums::new();
    for (key, added) in sums {
        let key = Key { user_id: "", ..*key };
        all.entry(key).or_default().add(added);
    }
    all
}

/// Row of a roll-up for a record, so that no row ever leaves 64 bits: see the migration that made them. A
/// correction belongs where the record is that it takes back.
fn part(record: &Record) -> i64 {
    let figures = [
        record.tokens_used,
        record.prompt_tokens,
        record.completion_tokens,
        record.credits_charged.micro(),
        record.cost_usd.nano(),
    ];
    if figures.iter().all(|figure| figure.saturating_abs() <= ORDINARY_MAX) {
        return 0;
    }
    let id = record.correction_of.unwrap_or(record.id);
    id.wrapping_shr(BLOCK_BITS).saturating_add(1)
}

impl Added {
    /// The sums in 64 bits. They fit as long as one transaction records fewer than 9,223 of the largest events of one key.
    pub(crate) fn fitted(&self) -> Result<Added<i64>, TryFromIntError> {
        Ok(Added {
            records: self.records.try_into()?,
            tokens_used: self.tokens_used.try_into()?,
            prompt_tokens: self.prompt_tokens.try_into()?,
            completion_tokens: self.completion_tokens.try_into()?,
            credits_charged: self.credits_charged.try_into()?,
            credits_deducted: self.credits_deducted.try_into()?,
            cost_usd: self.cost_usd.try_into()?,
        })
    }

    fn add(&mut self, other: &Self) {
        for (sum, more) in [
            (&mut self.records, other.records),
            (&mut self.tokens_used, other.tokens_used),
            (&mut self.prompt_tokens, other.prompt_tokens),
            (&mut self.completion_tokens, other.completion_tokens),
            (&mut self.credits_charged, other.credits_charged),
            (&mut self.credits_deducted, other.credits_deducted),
            (&mut self.cost_usd, other.cost_usd),
        ] {
            // 64-bit figures, of fewer records than memory holds: 128 bits are never filled.
            *sum = sum.saturating_add(more);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Charge, UsageInput};
    use time::macros::datetime;

    fn record(id: i64, micro: i64) -> Record {
        let input = UsageInput {
            credits_charged: Some(Credits::from_micro(micro)),
            ..UsageInput::new("a".parse().unwrap(), "ai_chat")
        };
        input.complete().stored(id, datetime!(2026-01-15 12:07 UTC))
    }

    fn charged(id: i64, micro: i64) -> Record {
        let charge = Some(Charge { transaction_id: uuid::Uuid::nil(), seq: 1 });
        Record { charge, credits_uncollected: Credits::from_micro(2), ..record(id, micro) }
    }

    #[test]
    fn only_what_a_charge_collected_is_deducted() {
        for (one, deducted) in [(record(1, 7), 0), (charged(1, 7), 5)] {
            let sums = by_user(std::slice::from_ref(&one), &BTreeMap::new());
            assert_eq!(sums.values().next().map(|sum| sum.credits_deducted), Some(deducted));
        }
    }

    #[test]
    fn a_correction_takes_its_record_out_of_the_same_row() {
        for micro in [7, ORDINARY_MAX, ORDINARY_MAX + 1] {
            let one = charged(5_000, micro);
            let both = [one.clone(), one.corrected(90_000, "wrong")];
            let sums = by_user(&both, &[(90_000, one.credits_deducted())].into());
            assert_eq!(sums.len(), 1);
            assert_eq!(sums.values().next(), Some(&Added::default()));
        }
    }

    #[test]
    fn large_events_are_summed_apart_in_blocks_of_ids() {
        let parts = [
            record(4_095, ORDINARY_MAX),
            record(4_095, ORDINARY_MAX + 1),
            record(4_096, Credits::MAX.micro()),
            record(8_191, Credits::MAX.micro()),
        ];
        assert_eq!(parts.each_ref().map(part), [0, 1, 2, 2]);
        let most = i128::from(Credits::MAX.micro()) << BLOCK_BITS;
        assert!(i64::try_from(most).is_ok());
    }

    #[test]
    fn sums_across_users_have_one_row_for_all() {
        let other = Record { user_id: "b".parse().unwrap(), ..record(2, 5) };
        let records = [record(1, 2), other];
        let sums = by_user(&records, &BTreeMap::new());
        let all = across_users(&sums);
        assert_eq!((sums.len(), all.len()), (2, 1));
        assert_eq!(all.values().next().map(|sum| sum.credits_charged), Some(7));
    }
}
