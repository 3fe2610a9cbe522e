//! What the service brings along is put once, and never over what somebody else put.

use diesel_async::SimpleAsyncConnection;
use futures_util::future::join_all;
use kernel::{Credits, Page};
use pg::{Pool, Tx};
use testkit::{TestDb, clock, instant};
use time::Duration;
use usage::{
    PriceFilter, PriceVersion, Prices,
    prices::{self, Seeded},
    rating::{Key, TokenClass},
};

use crate::support::{database, new_price, put_one};

const CREDITS_PER_USD: Credits = Credits::from_micro(500_000_000);

async fn seed(pool: &Pool) -> Seeded {
    let mut tx = Tx::begin(pool).await.unwrap();
    let seeded = prices::seed(&mut tx, &clock(), CREDITS_PER_USD).await.unwrap();
    tx.commit().await.unwrap();
    seeded
}

async fn listed(db: &TestDb, model: Option<&str>) -> Vec<PriceVersion> {
    let filter = PriceFilter { model_name: model.map(str::to_owned), at: instant() };
    let mut conn = db.pool().get().await.unwrap();
    prices::list(&mut conn, &filter, &Page::first(500)).await.unwrap().items
}

async fn charge(db: &TestDb, provider: &str, model: &str, days_ago: i64) -> Option<i64> {
    let conn = db.pool().get().await.unwrap();
    let book = Prices::new().book(&conn).await.unwrap();
    let key = Key { provider: provider.to_owned(), model: model.to_owned(), service_tier: String::new() };
    let price = book.find(&key, 0, instant() - Duration::days(days_ago))?;
    Some(price.rates[&TokenClass::Input].charge_pico)
}

const NOTHING: Seeded = Seeded { prices: 0, aliases: 0 };

#[tokio::test]
async fn well_known_models_have_a_price_from_the_beginning() {
    let db = database().await;
    let seeded = seed(db.pool()).await;
    assert!(seeded.prices > 90 && seeded.aliases > 90, "{seeded:?}");
    assert_eq!(listed(&db, None).await.len(), seeded.prices);
    // 2.50 dollars a million tokens, 500 credits a dollar.
    for (provider, model) in
        [("openai", "gpt-4o"), ("", "gpt-4o"), ("openai", "gpt-4o-2024-08-06"), ("", "gpt-4o-2024-08-06")]
    {
        assert_eq!(charge(&db, provider, model, 0).await, Some(1_250_000_000), "{provider} {model}");
        assert_eq!(charge(&db, provider, model, 35).await, Some(1_250_000_000), "the oldest event");
    }
    assert_eq!(charge(&db, "azure", "gpt-4o", 0).await, None, "no guess");
    assert_eq!(charge(&db, "openai", "gpt-4o-2024-12-31", 0).await, None, "no guess");
    let price = listed(&db, Some("gpt-4o")).await.remove(0);
    assert_eq!((price.actor.as_str(), price.valid_until), ("system", None));
    assert!(price.source.starts_with("https://") && price.source.contains(" as of 20"), "{}", price.source);
    assert_eq!(seed(db.pool()).await, NOTHING);
}

#[tokio::test]
async fn processes_that_start_together_put_everything_once() {
    let db = database().await;
    let pools = [db.second_pool(), db.second_pool(), db.second_pool()];
    let seeded = join_all(pools.iter().map(seed)).await;
    let first = seeded.iter().filter(|one| **one != NOTHING).count();
    assert_eq!(first, 1, "{seeded:?}");
}

#[tokio::test]
async fn what_an_administrator_put_is_neither_changed_nor_overshadowed() {
    let (db, clock) = (database().await, clock());
    put_one(&db, &clock, new_price("openai", "gpt-4o", 7)).await;
    // A price for all providers, and one of a step only.
    put_one(&db, &clock, new_price("", "gpt-4", 8)).await;
    let mut long = new_price("google", "gemini-2.5-pro", 9);
    long.min_context = 500_000;
    put_one(&db, &clock, long).await;
    seed(db.pool()).await;
    assert_eq!(charge(&db, "openai", "gpt-4o", 0).await, Some(7));
    assert_eq!(charge(&db, "", "gpt-4o-2024-08-06", 0).await, Some(7), "by its other name");
    assert_eq!(charge(&db, "openai", "gpt-4o", 1).await, None, "it had not begun");
    assert_eq!(charge(&db, "openai", "gpt-4", 0).await, Some(8));
    assert_eq!(charge(&db, "google", "gemini-2.5-pro", 0).await, None, "its step is not reached");
    assert_eq!(listed(&db, Some("gemini-2.5-pro")).await.len(), 1);

    // What was brought along and then changed stays changed.
    put_one(&db, &clock, new_price("openai", "o3", 10)).await;
    assert_eq!(seed(db.pool()).await, NOTHING);
    assert_eq!(charge(&db, "openai", "o3", 0).await, Some(10));
}

#[tokio::test]
async fn aliases_of_others_are_kept_and_never_make_a_chain() {
    let db = database().await;
    let mut conn = db.pool().get().await.unwrap();
    put_one(&db, &clock(), new_price("mine", "m", 7)).await;
    conn.batch_execute(
        "INSERT INTO usage.model_aliases VALUES ('', 'gpt-4o', 'mine', 'm', 'by hand', now()),
                                                ('openai', 'o3', 'mine', 'm', 'by hand', now())",
    )
    .await
    .unwrap();
    seed(db.pool()).await;
    assert_eq!(charge(&db, "", "gpt-4o", 0).await, Some(7));
    // o3 has a price now, which goes before its alias; its other names would have made a chain.
    assert_eq!(charge(&db, "openai", "o3", 0).await, Some(1_000_000_000));
    assert_eq!(charge(&db, "openai", "o3-2025-04-16", 0).await, None);
}

#[tokio::test]
async fn a_dollar_that_is_worth_nothing_is_a_mistake() {
    let db = database().await;
    let mut tx = Tx::begin(db.pool()).await.unwrap();
    let failed = prices::seed(&mut tx, &clock(), Credits::ZERO).await.unwrap_err();
    tx.rollback().await;
    assert!(failed.to_string().contains("a price of zero is a mistake"), "{failed}");
}
