//! The tokens of this service: what seals and signs, made ready at each start.

use std::{sync::Arc, time::Duration};

use flows::jobs::{Job, Next};
use identity::{
    Issuer, OwnTokens, Validity, logins,
    seal::{SealError, Sealer, SecretKey},
    signing_keys,
};
use kernel::Clock;
use pg::{Attempts, DbError, Pool, Tx};
use secrecy::SecretString;

use crate::config::Config;

/// Pause between two looks for keys whose last token has expired.
const PRUNE_EVERY: Duration = Duration::from_hours(1);

/// The secret of development tokens, which exists in development only.
///
/// # Errors
/// [`DbError`] when the database cannot be asked.
pub async fn development_secret(
    config: &Config,
    pool: &Pool,
    clock: &dyn Clock,
) -> Result<Option<SecretString>, DbError> {
    if !config.app.environment.is_development() {
        return Ok(None);
    }
    let secret = pool.read(async |conn| identity::development_secret(conn, clock).await).await?;
    Ok(Some(secret))
}

/// Seals by SECRETS_KEY, in development without it by a key that belongs to the database (ADR 0024).
///
/// # Errors
/// [`SealError`] when the library refuses a key.
pub fn sealer(
    config: &Config,
    development_secret: Option<&SecretString>,
) -> Result<Option<Arc<Sealer>>, SealError> {
    let sealer = match (&config.auth.sealing, development_secret) {
        (Some(keys), _) => Sealer::new(&keys.current, keys.previous.as_slice())?,
        (None, Some(secret)) => Sealer::new(&SecretKey::of_development(secret), &[])?,
        (None, None) => return Ok(None),
    };
    Ok(Some(Arc::new(sealer)))
}

/// Signs the tokens of this configuration.
#[must_use]
pub fn signing(config: &Config, sealer: Arc<Sealer>) -> OwnTokens {
    let rules = &config.tokens;
    let validity = Validity { access: rules.access_ttl, refresh: rules.refresh_ttl };
    OwnTokens::new(sealer, &config.public_url(), validity)
}

/// Makes sure that a key signs, and that this process can open it; without a sealer there are no tokens.
///
/// # Errors
/// [`DbError`]; with the name of the variable when the key was sealed with another SECRETS_KEY.
pub async fn start(
    config: &Config,
    sealer: Option<Arc<Sealer>>,
    pool: &Pool,
    clock: &dyn Clock,
) -> Result<Option<OwnTokens>, DbError> {
    let Some(sealer) = sealer else {
        return Ok(None);
    };
    let tokens = signing(config, sealer);
    let imported = config.tokens.signing_key.as_deref();
    let mut attempts = Attempts::up_to(3);
    loop {
        let prepare = async |tx: &mut Tx| signing_keys::prepare(tx, clock, tokens.keyring(), imported).await;
        match Tx::run(pool, prepare).await {
            Err(error) if attempts.again(&error).await => {}
            result => return result.map(|()| Some(tokens)),
        }
    }
}

/// The row of the table of issuers.
#[must_use]
pub fn issuer(config: &Config, pool: &Pool, clock: &Arc<dyn Clock>) -> Issuer {
    Issuer::own(config.public_url(), pool.clone(), Arc::clone(clock))
}

/// Most logins of one commit.
const LOGINS_MAX: usize = 1_000;

/// The jobs that delete keys whose last token has expired, and logins that are over.
#[must_use]
pub fn jobs(pool: &Pool, clock: &Arc<dyn Clock>) -> [Job; 2] {
    [keys_job(pool, clock), logins_job(pool, clock)]
}

fn logins_job(pool: &Pool, clock: &Arc<dyn Clock>) -> Job {
    Job::new("prune_logins", PRUNE_EVERY, (pool.clone(), Arc::clone(clock)), |(pool, clock)| {
        Box::pin(async {
            let deleted = Tx::run(pool, async |tx| logins::prune(tx, &**clock, LOGINS_MAX).await).await?;
            Ok(if deleted < LOGINS_MAX { Next::Later } else { Next::AtOnce })
        })
    })
}

fn keys_job(pool: &Pool, clock: &Arc<dyn Clock>) -> Job {
    Job::new("prune_signing_keys", PRUNE_EVERY, (pool.clone(), Arc::clone(clock)), |(pool, clock)| {
        Box::pin(async {
            let deleted = Tx::run(pool, async |tx| signing_keys::prune(tx, &**clock).await).await?;
            if deleted > 0 {
                tracing::info!(keys.count = deleted, "old keys of own tokens were deleted");
            }
            Ok(Next::Later)
        })
    })
}
