//! `gateway keys rotate`: replaces the key that signs the tokens of this service (HTTP contract 2).

use identity::signing_keys::{self, Rotated, Start};
use kernel::SystemClock;
use pg::{Access, Tx};
use time::format_description::well_known::Rfc3339;

use super::{failure::Failure, upkeep};
use crate::own_tokens;

/// Makes a new key, and prints its name and when it begins to sign.
pub(super) fn run(start: Start) -> Result<(), Failure> {
    upkeep::run(Access::ReadWrite, async |config, pool, _line| {
        let missing = pg::migrate::pending(pool, &[identity::MIGRATIONS]).await.map_err(Failure::Keys)?;
        if !missing.is_empty() {
            return Err(Failure::SchemaBehind { missing });
        }
        let clock = SystemClock;
        let secret = own_tokens::development_secret(config, pool, &clock).await.map_err(Failure::Keys)?;
        let sealer = own_tokens::sealer(config, secret.as_ref()).map_err(Failure::Sealing)?;
        let tokens = own_tokens::signing(config, sealer.ok_or(Failure::NoSecretsKey)?);
        let rotate = async |tx: &mut Tx| signing_keys::rotate(tx, &clock, tokens.keyring(), start).await;
        let Rotated { kid, signs_from } = Tx::run(pool, rotate).await.map_err(Failure::Keys)?;
        let signs_from = signs_from.format(&Rfc3339).unwrap_or_default();
        Ok(format!("key {kid} is published and signs from {signs_from} on"))
    })
}
