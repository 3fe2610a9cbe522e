//! Prices are put as versions that end one another, all or none, and are never edited.

use kernel::{Actor, Page, Slice, Start};
use pg::{DbError, Tx};
use testkit::{TestDb, clock, instant};
use time::{Duration, OffsetDateTime};
use usage::{
    NewPrice, Offer, PRICES_MAX, PriceFilter, PriceVersion, UsageRefusal, prices,
    rating::{Rate, TokenClass},
};

use crate::support::{database, new_price, put, put_one};

async fn listed(db: &TestDb, filter: &PriceFilter, page: &Page<i64>) -> Slice<PriceVersion, i64> {
    let mut conn = db.pool().get().await.unwrap();
    prices::list(&mut conn, filter, page).await.unwrap()
}

async fn at(db: &TestDb, at: OffsetDateTime) -> Vec<PriceVersion> {
    let filter = PriceFilter { model_name: None, at };
    listed(db, &filter, &Page::first(500)).await.items
}

fn named(provider: &str, model: &str, tier: &str, min_context: i64) -> NewPrice {
    let mut price = new_price(provider, model, 1);
    price.key.service_tier = tier.to_owned();
    price.min_context = min_context;
    price
}

#[tokio::test]
async fn a_version_begins_now_and_ends_the_one_before() {
    let (db, clock) = (database().await, clock());
    let first = put_one(&db, &clock, new_price("openai", "gpt-4", 1)).await;
    assert_eq!((first.price.valid_from, first.valid_until), (instant(), None));
    assert_eq!((first.actor.as_str(), first.source.as_str()), ("admin", "a test"));
    let rate = Rate { charge_pico: 1, cost_pico: 10 };
    assert_eq!(first.price.rates[&TokenClass::Input], rate);
    assert_eq!(first.price.rates.len(), 2);

    clock.advance(Duration::HOUR);
    let second = put_one(&db, &clock, new_price("openai", "gpt-4", 2)).await;
    assert_eq!(second.price.valid_from, instant() + Duration::HOUR);
    let mut conn = db.pool().get().await.unwrap();
    let found = prices::find(&mut conn, first.price.id).await.unwrap().unwrap();
    let ended = PriceVersion { valid_until: Some(instant() + Duration::HOUR), ..first };
    assert_eq!(found, ended, "nothing else of it changed");
    assert_eq!(prices::find(&mut conn, 99_999).await.unwrap(), None);
    assert_eq!(at(&db, instant() - Duration::microseconds(1)).await, []);
    let before = instant() + Duration::HOUR - Duration::microseconds(1);
    assert_eq!(at(&db, before).await, [found]);
    assert_eq!(at(&db, instant() + Duration::HOUR).await, [second]);
}

#[tokio::test]
async fn a_version_may_be_put_between_two_others_and_end_a_price() {
    let (db, clock) = (database().await, clock());
    let beginning = |pico, hours| NewPrice {
        valid_from: Some(instant() + Duration::hours(hours)),
        ..new_price("openai", "gpt-4", pico)
    };
    put_one(&db, &clock, beginning(1, 0)).await;
    let retired = NewPrice { offer: Offer::Retired, ..beginning(0, 10) };
    let last = put_one(&db, &clock, retired).await;
    assert!(last.price.is_retired && last.price.rates.is_empty());
    let between = put_one(&db, &clock, beginning(2, 5)).await;
    assert_eq!(between.valid_until, Some(instant() + Duration::hours(10)));
    let held = at(&db, instant()).await;
    assert_eq!(held[0].valid_until, Some(instant() + Duration::hours(5)));
    assert_eq!(at(&db, instant() + Duration::hours(5)).await, [between]);
    assert_eq!(at(&db, instant() + Duration::hours(10)).await, [last]);
}

#[tokio::test]
async fn what_cannot_be_put_is_refused_and_nothing_is_changed() {
    let (db, clock) = (database().await, clock());
    put_one(&db, &clock, new_price("openai", "known", 1)).await;
    let before = at(&db, instant() + Duration::days(9)).await;
    let good = new_price("openai", "good", 1);
    let past = NewPrice {
        valid_from: Some(instant() - Duration::microseconds(1)),
        ..new_price("openai", "past", 1)
    };
    let mute = NewPrice { offer: Offer::Rates([].into()), ..new_price("openai", "mute", 1) };
    let later =
        |model| NewPrice { valid_from: Some(instant() + Duration::DAY), ..new_price("openai", model, 1) };
    let limit = PRICES_MAX;
    let many: Vec<_> = (0..=PRICES_MAX).map(|n| new_price("openai", &format!("m{n}"), 1)).collect();
    for (new, refusal) in [
        (vec![], UsageRefusal::PriceCount { limit }),
        (many.clone(), UsageRefusal::PriceCount { limit }),
        (vec![good.clone(), mute], UsageRefusal::PriceWithoutRates { place: 1 }),
        (vec![good.clone(), past], UsageRefusal::PriceInPast { place: 1, earliest: instant() }),
        (vec![good.clone(), later("x"), later("good")], UsageRefusal::PriceTwice { place: 2 }),
        (vec![good.clone(), new_price("openai", "known", 2)], UsageRefusal::PriceExists { place: 1 }),
    ] {
        assert_eq!(put(&db, &clock, &new).await, Err(refusal));
        assert_eq!(at(&db, instant() + Duration::days(9)).await, before);
    }
    assert_eq!(put(&db, &clock, &many[1..]).await.unwrap().len(), PRICES_MAX);
}

#[tokio::test]
async fn other_tiers_steps_and_providers_are_other_prices() {
    let (db, clock) = (database().await, clock());
    let new = [
        named("", "gpt-4", "", 0),
        named("openai", "gpt-4", "", 0),
        named("openai", "gpt-4", "", 200_000),
        named("openai", "gpt-4", "batch", 0),
    ];
    let put = put(&db, &clock, &new).await.unwrap();
    let keys: Vec<_> = put.iter().map(|one| (one.price.key.clone(), one.price.min_context)).collect();
    let asked: Vec<_> = new.iter().map(|one| (one.key.clone(), one.min_context)).collect();
    assert_eq!(keys, asked, "answered in the order of the request");
    assert_eq!(at(&db, instant()).await, put, "the order of the list is that of keys and steps");
}

#[tokio::test]
async fn pages_show_every_key_once_while_versions_are_put() {
    let (db, clock) = (database().await, clock());
    let new: Vec<_> = (0..5).map(|n| new_price("p", &format!("m{n}"), 1)).collect();
    put(&db, &clock, &new).await.unwrap();
    let filter = PriceFilter { model_name: None, at: instant() + Duration::DAY };
    let (mut seen, mut page) = (Vec::new(), Page::first(2));
    loop {
        let slice = listed(&db, &filter, &page).await;
        seen.extend(slice.items.into_iter().map(|one| one.price.key.model));
        clock.advance(Duration::SECOND);
        put(&db, &clock, &new).await.unwrap();
        match slice.next {
            Some(place) => page = Page::new(2, Start::After(place)).unwrap(),
            None => break,
        }
    }
    assert_eq!(seen, ["m0", "m1", "m2", "m3", "m4"]);
    let one = PriceFilter { model_name: Some("m3".to_owned()), ..filter.clone() };
    assert_eq!(listed(&db, &one, &Page::first(50)).await.items.len(), 1);
    let skipped = listed(&db, &filter, &Page::new(50, Start::Offset(4)).unwrap()).await;
    assert_eq!((skipped.items.len(), skipped.next), (1, None));
}

#[tokio::test]
async fn puts_at_once_take_turns() {
    let (db, clock) = (database().await, clock());
    let mut first = Tx::begin(db.pool()).await.unwrap();
    let new = [new_price("openai", "gpt-4", 1)];
    prices::put(&mut first, &clock, Actor::Admin, &new).await.unwrap().unwrap();
    let (pool, other_clock) = (db.second_pool(), clock.clone());
    let second = tokio::spawn(async move {
        let mut tx = Tx::begin(&pool).await?;
        let outcome = prices::put(&mut tx, &other_clock, Actor::Admin, &new).await?;
        tx.commit().await?;
        Ok::<_, DbError>(outcome)
    });
    db.wait_for_waiting(1).await;
    first.commit().await.unwrap();
    assert_eq!(
        second.await.unwrap().unwrap(),
        Err(UsageRefusal::PriceExists { place: 0 }),
        "the second saw what the first had put"
    );
}

#[tokio::test]
async fn versions_and_rates_are_written_once() {
    use diesel_async::SimpleAsyncConnection;
    let (db, clock) = (database().await, clock());
    put_one(&db, &clock, new_price("openai", "gpt-4", 1)).await;
    let mut conn = db.pool().get().await.unwrap();
    for sql in [
        "UPDATE usage.prices SET valid_from = now()",
        "DELETE FROM usage.prices",
        "TRUNCATE usage.prices CASCADE",
        "UPDATE usage.price_rates SET charge_pico = 0",
        "DELETE FROM usage.price_rates",
        "TRUNCATE usage.price_rates",
    ] {
        let refused = conn.batch_execute(sql).await.unwrap_err();
        assert!(refused.to_string().contains("append-only"), "{sql}: {refused}");
    }
}

#[tokio::test]
async fn an_alias_never_leads_to_an_alias() {
    use diesel_async::SimpleAsyncConnection;
    let db = database().await;
    let mut conn = db.pool().get().await.unwrap();
    let alias = |from: &str, to: &str| {
        format!("INSERT INTO usage.model_aliases VALUES ('', '{from}', 'openai', '{to}', 'test', now());")
    };
    let clock = clock();
    put(&db, &clock, &[new_price("openai", "c", 1), new_price("", "a", 1)]).await.unwrap();
    conn.batch_execute(&alias("b", "c")).await.unwrap();
    let chain = "INSERT INTO usage.model_aliases VALUES ('', 'x', '', 'b', 'test', now())";
    let refused = conn.batch_execute(chain).await.unwrap_err();
    assert!(refused.to_string().contains("leads to an alias"), "{refused}");
    let turned = "UPDATE usage.model_aliases SET to_provider = '', to_model = 'b' WHERE model = 'b'";
    assert!(conn.batch_execute(turned).await.is_err());
}
