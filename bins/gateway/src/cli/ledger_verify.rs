//! `gateway ledger verify`: audits every account and all usage while the service works, and says what has drifted.

mod outcome;
mod progress;

use std::time::{Duration, Instant};

use flows::verify::{self, Verification};
use pg::{Access, DbError, Pool};

use super::{failure::Failure, output, prepare::prepare, runtime::runtime, signals::Signals};
use crate::{
    config::{Config, Log, LogLevel, Purpose},
    database::{Database, DatabaseError},
    telemetry,
};
use outcome::Outcome;
use progress::Progress;

/// Visits in a row in which nothing could be audited: the gateway whose server it is may stop or start again, or another server
/// may take over.
const VISITS_IN_VAIN_MAX: u32 = 4;
/// Until the next visit, so that a gateway that starts its server again is not forestalled. Twice as long after each visit in
/// vain.
const VISIT_PAUSE: Duration = Duration::from_secs(2);

/// Form of the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Sentences.
    Text,
    /// One JSON object.
    Json,
}

/// Audits, tells the result on stdout, and fails with [`Failure::Drifted`] if anything is wrong.
pub(super) fn run(form: Form) -> Result<(), Failure> {
    let (loaded, _account) = prepare(Purpose::Upkeep)?;
    // Who reads the result does not want to read how a server started.
    telemetry::init_logs(&Log { level: loaded.config.log.level.min(LogLevel::Warn), ..loaded.config.log });
    let outcome = runtime()?.block_on(audit(&loaded.config))?;
    output::print(&match form {
        Form::Text => outcome.text(),
        Form::Json => outcome.json(),
    })
    .map_err(Failure::Output)?;
    outcome.verdict()
}

async fn audit(config: &Config) -> Result<Outcome, Failure> {
    let mut signals = Signals::receive()?;
    let mut verification = Verification::default();
    let mut progress = Progress::on_terminal();
    let (mut in_vain, mut took) = (0, Duration::ZERO);
    loop {
        let visited = tokio::select! {
            biased;
            stop = signals.next() => return Err(Failure::Interrupted(stop.name())),
            visited = Database::visit(config, Access::Read) => visited,
        };
        let mut has_advanced = false;
        let walked = match visited {
            Ok(database) => {
                let began = Instant::now();
                let walking = walk(&database.pool, &mut verification, &mut progress, &mut has_advanced);
                let walked = tokio::select! {
                    biased;
                    stop = signals.next() => Err(Failure::Interrupted(stop.name())),
                    walked = walking => walked,
                };
                // Without the start of a server, which says nothing about the ledger.
                took += began.elapsed();
                if let Some(progress) = &progress {
                    progress.clear();
                }
                let closed = database.close().await;
                if walked.is_ok() {
                    closed?;
                }
                walked
            }
            // A server that was there before may still be on its way back.
            Err(DatabaseError::Use { source, .. }) if !took.is_zero() => Err(Failure::Ledger(source)),
            Err(error) => return Err(error.into()),
        };
        in_vain = if has_advanced { 0 } else { in_vain + 1 };
        match walked {
            Err(Failure::Ledger(error)) if went_away(&error) && in_vain < VISITS_IN_VAIN_MAX => {
                tracing::warn!(error = %pg::pool::chain(&error), "the database went away, the audit goes on shortly");
                tokio::select! {
                    biased;
                    stop = signals.next() => return Err(Failure::Interrupted(stop.name())),
                    () = tokio::time::sleep(VISIT_PAUSE * 2_u32.pow(in_vain)) => {}
                }
            }
            walked => return walked.map(|()| Outcome::new(verification.report(), took)),
        }
    }
}

/// Goes on where the verification is, to the end.
async fn walk(
    pool: &Pool,
    verification: &mut Verification,
    progress: &mut Option<Progress>,
    has_advanced: &mut bool,
) -> Result<(), Failure> {
    let missing = pg::migrate::pending(pool, &[credits::MIGRATIONS, usage::MIGRATIONS])
        .await
        .map_err(Failure::Ledger)?;
    if !missing.is_empty() {
        return Err(Failure::SchemaBehind { missing });
    }
    if let Some(progress) = progress {
        progress.expect(verify::expected(pool).await.map_err(Failure::Ledger)?);
    }
    loop {
        let more = verification.advance(pool).await.map_err(Failure::Ledger)?;
        *has_advanced = true;
        if let Some(progress) = progress {
            progress.show(verification.stage(), &verification.report());
        }
        if !more {
            return Ok(());
        }
    }
}

/// The audit only reads, so what was lost can simply be asked again.
fn went_away(error: &DbError) -> bool {
    error.is_transient() || matches!(error, DbError::OutcomeUnknown(_))
}
