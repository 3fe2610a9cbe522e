//! `gateway ledger verify`: audits every account and all usage while the service works, and says what has drifted.

mod outcome;
mod progress;

use std::time::{Duration, Instant};

use flows::verify::{self, Verification};
use pg::{Access, DbError, Pool};

use super::{Failure, output, prepare, runtime, signals::Signals};
use crate::{
    config::{Config, Log, LogLevel, Purpose},
    database::Database,
    telemetry,
};
use outcome::Outcome;
use progress::Progress;

/// How often the database may go away in the middle: the gateway whose server it is may stop or start again.
const VISITS_MAX: u32 = 4;
/// Until the next visit, so that a gateway that starts its server again is not forestalled.
const VISIT_PAUSE: Duration = Duration::from_secs(2);

/// How the result is told.
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
    telemetry::init_logs(&Log {
        level: loaded.config.log.level.min(LogLevel::Warn),
        ..loaded.config.log
    });
    let outcome = runtime()?.block_on(audit(&loaded.config))?;
    output::print(&match form {
        Form::Text => outcome.text(),
        Form::Json => outcome.json(),
    })?;
    outcome.verdict()
}

async fn audit(config: &Config) -> Result<Outcome, Failure> {
    let mut signals = Signals::receive()?;
    let mut verification = Verification::default();
    let mut progress = Progress::on_terminal();
    let (mut visits, mut took) = (0, Duration::ZERO);
    loop {
        visits += 1;
        let database = tokio::select! {
            biased;
            stop = signals.next() => return Err(Failure::Interrupted(stop.name())),
            visited = Database::visit(config, Access::Read) => visited?,
        };
        let began = Instant::now();
        let walked = tokio::select! {
            biased;
            stop = signals.next() => Err(Failure::Interrupted(stop.name())),
            walked = walk(&database.pool, &mut verification, &mut progress) => walked,
        };
        // Without the start of a server, which says nothing about the ledger.
        took += began.elapsed();
        if let Some(progress) = &progress {
            progress.clear();
        }
        let closed = database.close().await;
        match walked {
            Err(Failure::Ledger(error)) if went_away(&error) && visits < VISITS_MAX => {
                tracing::warn!(error = %pg::pool::chain(&error), "the database went away, the audit goes on shortly");
                tokio::time::sleep(VISIT_PAUSE).await;
            }
            walked => {
                walked?;
                closed?;
                return Ok(Outcome::new(verification.report(), took));
            }
        }
    }
}

/// Goes on where the verification is, to the end.
async fn walk(
    pool: &Pool,
    verification: &mut Verification,
    progress: &mut Option<Progress>,
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
