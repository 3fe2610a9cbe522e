//! How sums over time are asked for (HTTP contract 4.5 and 4.6).

use serde_json::json;
use time::{Date, OffsetDateTime};
use usage::{Dimension, Selection, SeriesQuery, Unit, UsageRefusal, Zone, Zones};

use super::{
    read_selection,
    series_body::{BUCKETS, Fill, Metric, Shape},
};
use crate::http::{
    call::Call,
    doc::Doc,
    error::ApiError,
    fault::{Fault, Problem},
    fields::{
        Fields, Source, Value,
        dates::{Days, End},
        parse,
        time::day,
        words::words,
    },
};

/// Buckets of an answer whose beginning was not named.
const BUCKETS_BACK: u16 = 30;
/// Most dimensions of one series.
const DIMENSIONS_MAX: usize = 2;
const UTC: &str = "UTC";

/// The words of one route.
pub struct Words {
    /// What a series can be split by.
    pub dimensions: &'static [(&'static str, Dimension)],
    /// What points can tell.
    pub metrics: &'static [(&'static str, Metric)],
}

/// What was asked for.
pub struct Asked {
    start: Option<OffsetDateTime>,
    end: OffsetDateTime,
    zone: Zone,
    only: Selection,
    /// What shapes the answer.
    pub shape: Shape,
}

/// What a request with `tz` needs to know of clocks.
#[derive(Default)]
pub struct Clocks {
    zones: Zones,
    /// Where the days of `start_date` and `end_date` begin and end.
    pub days: Days,
}

/// The zones to choose from, asked of the database once in the life of the process, and where the dates of this request begin
/// in its zone. Nothing is asked for UTC.
///
/// # Errors
/// 503 when the database cannot be asked.
pub async fn clocks(call: &Call) -> Result<Clocks, ApiError> {
    let Some(name) = call.fields.query_text("tz").filter(|name| *name != UTC) else {
        return Ok(Clocks::default());
    };
    let zones = call.app.zones.get_or_try_init(async || call.app.lists.read(usage::zones).await);
    let zones = zones.await?.clone();
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
    let beginnings = read.await?;
    Ok(Days::new(wanted.into_iter().zip(beginnings)))
}

/// The time zone of a request, UTC if it names none.
pub fn zone(fields: &mut Fields, clocks: &Clocks) -> Zone {
    let read = |value: Value<'_>| {
        let name = parse::text(0, 255)(value)?;
        if name == UTC {
            return Ok(Zone::utc());
        }
        clocks.zones.find(&name).map_err(|refusal| Problem::value(&refusal.to_string()))
    };
    fields.optional(Source::Query, "tz", read).unwrap_or_else(Zone::utc)
}

/// Reads a request.
pub fn read(fields: &mut Fields, clocks: &Clocks, now: OffsetDateTime, known: &Words) -> Asked {
    let dates = fields.dates(&clocks.days);
    let end = dates.end.map_or(now, End::exclusive);
    if dates.end.is_none() && dates.start.is_some_and(|start| start > end) {
        fields.fault("query", "start_date", Problem::value("start_date is after end_date, which is now"));
    }
    let unit = fields.optional(Source::Query, "bucket", parse::one_of(BUCKETS));
    let zone = zone(fields, clocks);
    let group_by = fields.optional(Source::Query, "group_by", words(known.dimensions, DIMENSIONS_MAX));
    let metrics = fields.optional(Source::Query, "metrics", words(known.metrics, known.metrics.len()));
    let fill =
        fields.optional(Source::Query, "fill", parse::one_of(&[("zero", Fill::Zero), ("none", Fill::None)]));
    Asked {
        start: dates.start,
        end,
        only: Selection::from(&read_selection(fields)),
        shape: Shape {
            unit: unit.unwrap_or(Unit::Day),
            tz: zone.name().to_owned(),
            group_by: group_by.unwrap_or_default(),
            metrics: metrics
                .filter(|metrics| !metrics.is_empty())
                .unwrap_or_else(|| known.metrics.iter().map(|(_, metric)| *metric).collect()),
            fill: fill.unwrap_or(Fill::Zero),
        },
        zone,
    }
}

impl Asked {
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

/// The parameters, described.
pub fn described(doc: Doc, known: &Words) -> Doc {
    let names = |of: Vec<&'static str>| of.join(", ");
    let dimensions = names(known.dimensions.iter().map(|(name, _)| *name).collect());
    let metrics = names(known.metrics.iter().map(|(name, _)| *name).collect());
    let buckets: Vec<_> = BUCKETS.iter().map(|(name, _)| *name).collect();
    let instant = || json!({"type": "string", "format": "date-time"});
    let windowed = zoned(doc)
        .query(
            "bucket",
            "Length of a bucket. Days follow the zone's clocks, weeks begin on Monday.",
            json!({"type": "string", "enum": buckets, "default": "1d"}),
            json!("1d"),
        )
        .query(
            "start_date",
            "From this instant on, inclusive; a bare date is its midnight in `tz`; by default so that there are 30 buckets, the last \
             of them that of `end_date`.",
            instant(),
            serde_json::Value::Null,
        )
        .query(
            "end_date",
            "Up to this instant, which is not part of it; a bare date is that whole day in `tz`, included; now by default.",
            instant(),
            serde_json::Value::Null,
        );
    super::selected(windowed)
        .query(
            "group_by",
            "At most two, separated by commas: a series for each combination of values that occurs.",
            json!({"type": "string", "description": dimensions}),
            json!("model"),
        )
        .query(
            "metrics",
            "What points tell, separated by commas; all by default.",
            json!({"type": "string", "description": metrics}),
            serde_json::Value::Null,
        )
        .query(
            "fill",
            "`zero`: points are contiguous; `none`: buckets in which all that is asked is zero have none.",
            json!({"type": "string", "enum": ["zero", "none"], "default": "zero"}),
            json!("zero"),
        )
}

/// The parameter `tz`, described.
pub fn zoned(doc: Doc) -> Doc {
    doc.query(
        "tz",
        "IANA name of the time zone whose clocks the buckets follow.",
        json!({"type": "string", "default": "UTC"}),
        json!("Asia/Shanghai"),
    )
}
