//! The clock of the store, which a test can put wrong: `s3s` knows only the real one.

use time::{Duration, OffsetDateTime, PrimitiveDateTime, macros::format_description};

use super::call::S3Call;

/// Most that the time of a signed request may differ.
const SKEW_MAX: Duration = Duration::minutes(15);

/// A refusal by the clock: status and code as of AWS; none if the time is right.
pub(super) fn refusal(call: &S3Call, now: OffsetDateTime) -> Option<(u16, &'static str)> {
    let in_query = call.parameter("X-Amz-Date");
    let signed_at = instant(in_query.or_else(|| call.header("x-amz-date"))?)?;
    let age = now - signed_at;
    if in_query.is_none() {
        return (age.abs() > SKEW_MAX).then_some((403, "RequestTimeTooSkewed"));
    }
    let valid: i64 = call.parameter("X-Amz-Expires")?.parse().ok()?;
    let is_over = age > Duration::seconds(valid) || -age > SKEW_MAX;
    is_over.then_some((403, "AccessDenied"))
}

fn instant(text: &str) -> Option<OffsetDateTime> {
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    PrimitiveDateTime::parse(text, format).ok().map(PrimitiveDateTime::assume_utc)
}
