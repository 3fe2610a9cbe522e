//! Putting the prices that the service brings along.

use kernel::{Clock, Credits};
use pg::{DbError, Tx};
use time::{Duration, OffsetDateTime};

use crate::{
    NewPrice,
    core::seeds::{Alias, Seeds},
    store::{
        aliases, price_book,
        prices::{self, Beginning},
    },
};

/// Time from the beginning of a price to the time when it is added: as far back as an event may lie, so that none comes before the
/// prices. Nobody's price is changed by that, because there was none.
const BEGINS_BEFORE: Duration = Duration::days(35);

/// Author, in the words of the table.
const SYSTEM: &str = "system";

/// The stored price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seeded {
    /// Prices, steps counted.
    pub prices: usize,
    /// Aliases.
    pub aliases: usize,
}

/// Puts those of the prices and aliases of this version that are new to the database; `credits_per_usd` is what a dollar
/// of a provider costs the user.
///
/// A step of a model is new if it has no version, and if nobody else has put any price of that model, for its provider or
/// for all: what an administrator put is neither changed nor overshadowed. An alias is new if the name has none. Called
/// again, by any number of processes, it changes nothing more; if there is nothing to put, it writes nothing.
///
/// # Errors
/// [`DbError`]; [`DbError::Inconsistent`] if `credits_per_usd` makes no usable rates.
pub async fn seed(tx: &mut Tx, clock: &dyn Clock, credits_per_usd: Credits) -> Result<Seeded, DbError> {
    let seeds = Seeds::read(credits_per_usd)
        .map_err(|fault| DbError::Inconsistent(format!("prices that are brought along: {fault}")))?;
    let is_new = !prices::unpriced(tx.conn(), SYSTEM, &seeds.prices).await?.is_empty()
        || !aliases::unknown(tx.conn(), &seeds.aliases).await?.is_empty();
    if !is_new {
        return Ok(Seeded::default());
    }
    // What another process put meanwhile is known once this one has the lock.
    price_book::lock(tx.conn()).await?;
    let now = clock.now();
    Ok(Seeded {
        prices: seed_prices(tx, now, &seeds.prices).await?,
        aliases: seed_aliases(tx, now, &seeds.aliases).await?,
    })
}

async fn seed_prices(tx: &mut Tx, now: OffsetDateTime, seeds: &[NewPrice]) -> Result<usize, DbError> {
    let places = prices::unpriced(tx.conn(), SYSTEM, seeds).await?;
    let valid_from = now.checked_sub(BEGINS_BEFORE).unwrap_or(now);
    let pick = |place: usize| seeds.get(place).map(|new| Beginning { new, valid_from });
    let new: Vec<Beginning<'_>> = places.into_iter().filter_map(pick).collect();
    if !new.is_empty() {
        prices::insert(tx.conn(), now, SYSTEM, &new).await?;
    }
    Ok(new.len())
}

/// After the prices, because an alias leads to a model that has one.
async fn seed_aliases(tx: &mut Tx, now: OffsetDateTime, seeds: &[Alias]) -> Result<usize, DbError> {
    let places = aliases::unknown(tx.conn(), seeds).await?;
    let new: Vec<&Alias> = places.into_iter().filter_map(|place| seeds.get(place)).collect();
    if !new.is_empty() {
        aliases::insert(tx.conn(), now, &new).await?;
    }
    Ok(new.len())
}
