//! Queries for sums over time (HTTP contract 4.5 and 4.6).

use kernel::CallerClass;
use serde_json::json;
use time::{Date, OffsetDateTime};
use usage::{Dimension, RecordFilter, Selection, SeriesQuery, Unit, UsageRefusal, Zone, Zones};
use web::input;

use super::{
    filter::{CLASSES, SelectionInput},
    series_body::{BUCKETS, Fill, Metric, Shape},
};
use crate::http::{
    call::Call,
    error::{Answered as _, ApiError, Errors as _},
    fault::{Fault, Problem},
    fields::{
        Fields, Value,
        dates::{Dates, Days, End},
        parser::{Parse, parser},
        time::{Moment, day, moment},
        words::words,
    },
    parse,
};

/// Buckets of an answer whose beginning was not named.
const BUCKETS_BACK: u16 = 30;
/// Most dimensions of one series.
const DIMENSIONS_MAX: usize = 2;
const UTC: &str = "UTC";

/// The words of one route.
pub struct Words {
    /// Dimensions by which a series can be split.
    pub dimensions: &'static [(&'static str, Dimension)],
    /// Values that points can have.
    pub metrics: &'static [(&'static str, Metric)],
}

/// Context of reading a series.
pub struct SeriesContext {
    clocks: Clocks,
    now: OffsetDateTime,
    words: &'static Words,
}

impl SeriesContext {
    /// The context of a call.
    ///
    /// # Errors
    /// 503 when the database cannot be asked.
    pub async fn new(call: &Call, words: &'static Words) -> Result<Self, ApiError> {
        Ok(Self { clocks: clocks(call).await?, now: call.now, words })
    }

    /// The context of the documentation.
    #[must_use]
    pub fn documented(words: &'static Words) -> Self {
        Self { clocks: Clocks::default(), now: OffsetDateTime::UNIX_EPOCH, words }
    }
}

input! {
    /// Parameters of sums over time.
    pub struct SeriesInput for context: SeriesContext {
        /// From this instant on, inclusive; a bare date is its midnight in `tz`; by default so that there are 30 buckets, the last of
        /// them that of `end_date`.
        start_date: Option<Moment> = optional(Query, moment());
        /// Up to this instant, which is not part of it; a bare date is that whole day in `tz`, included; now by default.
        end_date: Option<Moment> = optional(Query, moment()), check(|fields| {
            let dates = fields.window(start_date, end_date, &context.clocks.days);
            check_start(fields, &dates, context.now);
        });
        /// Length of a bucket. Days follow the zone's clocks, weeks begin on Monday.
        bucket: Option<Unit> = optional(Query, parse::one_of(BUCKETS)), default("1d"), example("1d");
        /// IANA name of the time zone whose clocks the buckets follow.
        tz: Option<Zone> = optional(Query, zone(&context.clocks)), default("UTC"), example("Asia/Shanghai");
        /// At most two, separated by commas: a series for each combination of values that occurs.
        group_by: Option<Vec<Dimension>> =
            optional(Query, words(context.words.dimensions, DIMENSIONS_MAX)), example("model");
        /// Metrics of the points, separated by commas; all by default.
        metrics: Option<Vec<Metric>> = optional(Query, words(context.words.metrics, context.words.metrics.len()));
        /// `zero`: points are contiguous; `none`: buckets in which all that is asked is zero have none.
        fill: Option<Fill> = optional(Query, parse::one_of(FILLS)), default("zero"), example("zero");
        /// Filter of the records.
        selection: SelectionInput = flat(SelectionInput, &());
    }
}

const FILLS: &[(&str, Fill)] = &[("zero", Fill::Zero), ("none", Fill::None)];

input! {
    /// Period of all usage.
    pub struct SummaryInput for context: SeriesContext {
        /// Time window.
        dates: Dates = flat(Dates, &context.clocks.days), check(|fields| {
            if let Some(dates) = &dates {
                check_start(fields, dates, context.now);
            }
        });
        /// IANA name of the time zone whose clocks the buckets follow.
        tz: Option<Zone> = optional(Query, zone(&context.clocks)), default("UTC"), example("Asia/Shanghai");
        /// Only records by callers of this class; records without a class, made before it was stored, are left out. Sums with this
        /// filter read the records of the window, as far back as they are kept.
        recorded_by: Option<CallerClass> = optional(Query, parse::one_of(CLASSES));
    }
}

/// A window without an end ends now.
fn check_start(fields: &mut Fields, dates: &Dates, now: OffsetDateTime) {
    if dates.end.is_none() && dates.start.is_some_and(|start| start > now) {
        fields.fault("query", "start_date", Problem::value("start_date is after end_date, which is now"));
    }
}

/// The amount asked for.
pub struct Asked {
    start: Option<OffsetDateTime>,
    end: OffsetDateTime,
    zone: Zone,
    only: Selection,
    /// Parameters of the answer.
    pub shape: Shape,
}

/// Time zones for requests with `tz`.
#[derive(Default)]
struct Clocks {
    zones: Zones,
    /// Where the days of `start_date` and `end_date` begin and end.
    days: Days,
}

/// The zones to choose from, asked of the database once in the life of the process, and where the dates of this request begin
/// in its zone. Nothing is asked for UTC.
///
/// # Errors
/// 503 when the database cannot be asked.
async fn clocks(call: &Call) -> Result<Clocks, ApiError> {
    let Some(name) = call.fields.query_text("tz").filter(|name| *name != UTC) else {
        return Ok(Clocks::default());
    };
    let zones = call.app.zones.get_or_try_init(async || call.app.lists.read(usage::zones).await);
    let zones = zones.await.map_err(ApiError::answered)?.clone();
    let days = match zones.find(name) {
        Ok(zone) => days(call, &zone).await?,
        // Refused when the request is read.
        Err(_) => Days::default(),
    };
    Ok(Clocks { zones, days })
}

/// The beginnings of the days that a window of dates in this zone needs.
async fn days(call: &Call, zone: &Zone) -> Result<Days, ApiError> {
    let date = |name| call.fields.query_text(name).and_then(day);
    let wanted = [date("start_date"), date("end_date").and_then(Date::next_day)];
    let wanted: Vec<Date> = wanted.into_iter().flatten().collect();
    if wanted.is_empty() {
        return Ok(Days::default());
    }
    let read = call.app.pool.read(async |conn| usage::beginnings_of_days(conn, zone, &wanted).await);
    let beginnings = read.await.map_err(ApiError::answered)?;
    Ok(Days::new(wanted.into_iter().zip(beginnings)))
}

/// A time zone.
fn zone(clocks: &Clocks) -> impl Parse<Output = Zone> {
    parser(
        || json!({"type": "string", "maxLength": 255}),
        |value: Value<'_>| {
            let name = parse::text(0, 255).parse(value)?;
            if name == UTC {
                return Ok(Zone::utc());
            }
            clocks.zones.find(&name).map_err(|refusal| Problem::value(&refusal.to_string()))
        },
    )
}

impl Asked {
    /// The query with its defaults filled in.
    #[must_use]
    pub fn new(input: SeriesInput, context: &SeriesContext) -> Self {
        let dates = Dates::new(input.start_date, input.end_date, &context.clocks.days);
        let zone = input.tz.unwrap_or_else(Zone::utc);
        let metrics = input.metrics.filter(|metrics| !metrics.is_empty());
        Self {
            start: dates.start,
            end: dates.end.map_or(context.now, End::exclusive),
            only: Selection::from(&RecordFilter::from(input.selection)),
            shape: Shape {
                unit: input.bucket.unwrap_or(Unit::Day),
                tz: zone.name().to_owned(),
                group_by: input.group_by.unwrap_or_default(),
                metrics: metrics
                    .unwrap_or_else(|| context.words.metrics.iter().map(|(_, metric)| *metric).collect()),
                fill: input.fill.unwrap_or(Fill::Zero),
            },
            zone,
        }
    }

    /// The question for the database, with a beginning if none was named.
    ///
    /// # Errors
    /// 503 when the database cannot be asked.
    pub async fn query(&self, conn: &mut pg::PgConnection) -> Result<SeriesQuery, pg::DbError> {
        let start = match self.start {
            Some(start) => start,
            None => usage::buckets_back(conn, self.shape.unit, &self.zone, self.end, BUCKETS_BACK).await?,
        };
        Ok(SeriesQuery {
            start,
            end: self.end,
            unit: self.shape.unit,
            zone: self.zone.clone(),
            group_by: self.shape.group_by.iter().copied().collect(),
            only: self.only.clone(),
        })
    }
}

/// A series that is too large is a fault of its parameters.
pub fn refused(refusal: &UsageRefusal) -> ApiError {
    too_many(refusal, "bucket")
}

/// A window with too many days is a fault of its beginning.
pub fn too_long(refusal: &UsageRefusal) -> ApiError {
    too_many(refusal, "start_date")
}

fn too_many(refusal: &UsageRefusal, field: &str) -> ApiError {
    match refusal {
        UsageRefusal::TooManyPoints { .. } => {
            let problem = Problem::value(&refusal.to_string());
            ApiError::faults(vec![Fault::field("query", field, problem, None)])
        }
        other => ApiError::from_failure(other),
    }
}
