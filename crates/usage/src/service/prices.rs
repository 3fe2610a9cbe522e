//! Operations on prices (HTTP contract 4.8).

mod seed;

use std::collections::BTreeSet;

use diesel_async::AsyncPgConnection;
use kernel::{Actor, Clock, Page, Slice};
use pg::{DbError, Tx};

use crate::{
    NewPrice, Offer, PRICES_MAX, PriceFilter, PriceVersion, UsageRefusal,
    store::{
        price_book,
        prices::{self, Beginning},
    },
};

pub use seed::{Seeded, seed};

/// The versions that hold at an instant, ordered by provider, model, tier and step. A retired one is listed: it says that
/// there is no price.
///
/// A place in the list is the id of a version. Going on from there shows every key once, also while versions are put.
///
/// # Errors
/// [`DbError`].
pub async fn list(
    conn: &mut AsyncPgConnection,
    filter: &PriceFilter,
    page: &Page<i64>,
) -> Result<Slice<PriceVersion, i64>, DbError> {
    let versions = prices::list(conn, filter, page).await?;
    Ok(page.cut(versions, |version| version.price.id))
}

/// The version with this id.
///
/// # Errors
/// [`DbError`].
pub async fn find(conn: &mut AsyncPgConnection, id: i64) -> Result<Option<PriceVersion>, DbError> {
    Ok(prices::find(conn, &[id]).await?.into_iter().next())
}

/// Puts versions of prices, all or none. Each ends the version before it of the same key and step where it begins itself;
/// what was put for later stays.
///
/// Whoever puts prices waits for those who did before, and everyone sees the versions from the commit on. `now` is read
/// after that wait.
///
/// # Errors
/// [`DbError`]. Refusals, with the place in the list: [`UsageRefusal::PriceCount`] for none or too many,
/// [`UsageRefusal::PriceWithoutRates`], [`UsageRefusal::PriceInPast`], [`UsageRefusal::PriceTwice`] if two are of the same
/// key and step, [`UsageRefusal::PriceExists`] if a version begins at that very instant.
pub async fn put(
    tx: &mut Tx,
    clock: &dyn Clock,
    actor: Actor,
    new: &[NewPrice],
) -> Result<Result<Vec<PriceVersion>, UsageRefusal>, DbError> {
    if let Err(refusal) = check(new) {
        return Ok(Err(refusal));
    }
    price_book::lock(tx.conn()).await?;
    let now = clock.now();
    let beginnings: Vec<Beginning<'_>> =
        new.iter().map(|new| Beginning { new, valid_from: new.valid_from.unwrap_or(now) }).collect();
    if let Some(place) = beginnings.iter().position(|one| one.valid_from < now) {
        return Ok(Err(UsageRefusal::PriceInPast { place, earliest: now }));
    }
    if let Some(place) = prices::known(tx.conn(), &beginnings).await?.into_iter().next() {
        return Ok(Err(UsageRefusal::PriceExists { place }));
    }
    let ids = prices::insert(tx.conn(), now, actor.as_str(), &beginnings).await?;
    let mut versions = prices::find(tx.conn(), &ids).await?;
    DbError::expect_rows("read prices that were put", ids.len(), versions.len())?;
    // Ids are drawn rising, in the order of the list.
    versions.sort_unstable_by_key(|version| version.price.id);
    Ok(Ok(versions))
}

/// Refusals that need no look at the account.
fn check(new: &[NewPrice]) -> Result<(), UsageRefusal> {
    if new.is_empty() || new.len() > PRICES_MAX {
        return Err(UsageRefusal::PriceCount { limit: PRICES_MAX });
    }
    let mut steps = BTreeSet::new();
    for (place, price) in new.iter().enumerate() {
        if matches!(&price.offer, Offer::Rates(rates) if rates.is_empty()) {
            return Err(UsageRefusal::PriceWithoutRates { place });
        }
        if !steps.insert((&price.key, price.min_context)) {
            return Err(UsageRefusal::PriceTwice { place });
        }
    }
    Ok(())
}
