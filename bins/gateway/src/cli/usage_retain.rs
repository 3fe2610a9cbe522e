//! `gateway usage retain`: drops old months of usage records, beside a running gateway or without one.

use std::time::{Duration, Instant};

use kernel::SystemClock;
use pg::{Access, Pool};
use serde_json::json;
use usage::{OldMonth, Retained};

use super::{failure::Failure, ledger_verify::Form, terminal_line::TerminalLine, upkeep};

/// The work to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    /// Drop.
    Drop,
    /// Only tell what would be dropped.
    Tell,
}

impl Deed {
    fn access(self) -> Access {
        match self {
            Self::Drop => Access::ReadWrite,
            Self::Tell => Access::Read,
        }
    }
}

/// Drops, or tells what would be dropped, and prints the result.
pub(super) fn run(months: Option<u16>, deed: Deed, form: Form) -> Result<(), Failure> {
    upkeep::run(deed.access(), async |config, pool, line| {
        work(pool, months.unwrap_or(config.usage.retention_months), deed, form, line).await
    })
}

async fn work(
    pool: &Pool,
    months: u16,
    deed: Deed,
    form: Form,
    line: Option<&TerminalLine>,
) -> Result<String, Failure> {
    let missing = pg::migrate::pending(pool, &[usage::MIGRATIONS]).await.map_err(Failure::Usage)?;
    if !missing.is_empty() {
        return Err(Failure::SchemaBehind { missing });
    }
    let old = usage::old_months(pool, &SystemClock, months).await.map_err(Failure::Usage)?;
    if deed == Deed::Tell {
        return Ok(match form {
            Form::Text => would_drop(&old, months),
            Form::Json => would_drop_json(&old, months),
        });
    }
    let began = Instant::now();
    let done = usage::retain_telling(pool, &SystemClock, months, |so_far| {
        if let Some(line) = line {
            let (dropped, forgotten) = (so_far.dropped.len(), so_far.forgotten);
            line.show(&format!("{forgotten} event ids forgotten, {dropped} of {} months dropped", old.len()));
        }
    })
    .await
    .map_err(Failure::Usage)?;
    Ok(match form {
        Form::Text => dropped(&done, months, began.elapsed()),
        Form::Json => dropped_json(&done, months, began.elapsed()),
    })
}

fn would_drop(old: &[OldMonth], months: u16) -> String {
    if old.is_empty() {
        return nothing(months);
    }
    let mut text = format!("would drop, with their event ids ({months} months are kept beside this one):");
    for month in old {
        let records = month
            .records
            .map_or_else(|| "an unknown number of".to_owned(), |records| format!("about {records}"));
        text.push_str(&format!("\n  {}: {records} records, {} bytes", month.partition, month.bytes));
    }
    text
}

fn would_drop_json(old: &[OldMonth], months: u16) -> String {
    let old: Vec<_> = old
        .iter()
        .map(|month| json!({"partition": month.partition, "records_estimate": month.records, "bytes": month.bytes}))
        .collect();
    json!({"dry_run": true, "months": months, "would_drop": old}).to_string()
}

fn dropped(done: &Retained, months: u16, took: Duration) -> String {
    if done.dropped.is_empty() && done.forgotten == 0 {
        return nothing(months);
    }
    format!(
        "dropped {} in {:.1} s; {} event ids forgotten; statistics and series go on from roll-ups",
        done.dropped.join(", "),
        took.as_secs_f64(),
        done.forgotten
    )
}

fn dropped_json(done: &Retained, months: u16, took: Duration) -> String {
    json!({
        "dry_run": false,
        "months": months,
        "dropped": done.dropped,
        "event_ids_forgotten": done.forgotten,
        "duration_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
    })
    .to_string()
}

fn nothing(months: u16) -> String {
    format!("nothing is older than this month and the {months} before it")
}
