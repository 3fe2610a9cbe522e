//! Metering as a caller sees it who has no transaction of their own: in its own words, without a connection.

use std::future::Future;

use kernel::{CallError, Page, Slice, TimePlace, UserId};

use crate::{
    Corrected, Correction, Record, RecordFilter, Recorded, Series, SeriesQuery, Stats, Totals, UsageInput,
    UsageRefusal,
};

/// Reasons that there is no answer.
pub type MeterError = CallError<UsageRefusal>;

/// The calls of metering. What is recorded is durable when it is answered; nothing is charged.
pub trait Meter: Send + Sync {
    /// Records an event, rated by the price of its model where the charge is not stated. With an event id it may be repeated
    /// until it is answered.
    fn record(&self, input: UsageInput) -> impl Future<Output = Result<Recorded, MeterError>> + Send;

    /// Records events, each with its own outcome: some may be stored while others are not.
    fn record_all(
        &self,
        inputs: Vec<UsageInput>,
    ) -> impl Future<Output = Vec<Result<Recorded, MeterError>>> + Send;

    /// Takes a record back, once, and gives back what was charged for it.
    fn correct(&self, correction: Correction) -> impl Future<Output = Result<Corrected, MeterError>> + Send;

    /// The records of a user, newest first.
    fn list(
        &self,
        user: &UserId,
        filter: &RecordFilter,
        page: &Page<TimePlace>,
    ) -> impl Future<Output = Result<Slice<Record, TimePlace>, MeterError>> + Send;

    /// Sums of the records of a user.
    fn stats(
        &self,
        user: &UserId,
        filter: &RecordFilter,
    ) -> impl Future<Output = Result<Stats, MeterError>> + Send;

    /// The same over time.
    fn series(
        &self,
        user: &UserId,
        query: &SeriesQuery,
    ) -> impl Future<Output = Result<Series<Totals>, MeterError>> + Send;
}
