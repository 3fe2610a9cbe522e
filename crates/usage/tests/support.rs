//! What the tests of this crate share.

use kernel::{Actor, Clock, Credits, Page, Slice, Start, TimePlace, UserId};
use pg::{DbError, Pool, Tx};
use testkit::TestDb;
use usage::{
    Charge, NewPrice, NewRecord, Next, Offer, Outcome, PriceVersion, Prices, Record, RecordFilter, Stats,
    UsageInput, UsageRefusal, prices,
    rating::{Key, Rate, TokenClass},
};

/// A database with the schema of this domain, audited when the test ends.
pub async fn database() -> TestDb {
    TestDb::create(&[usage::MIGRATIONS], &[usage::AUDITS]).await
}

/// An event of which nothing but the user is known.
pub fn event(user: &UserId) -> NewRecord {
    UsageInput::new(user.clone(), "ai_chat").complete()
}

/// Records in a transaction of its own.
pub async fn try_record(pool: &Pool, clock: &dyn Clock, new: &[NewRecord]) -> Result<Vec<Outcome>, DbError> {
    loop {
        let mut tx = Tx::begin(pool).await?;
        match usage::record(&mut tx, clock, new).await {
            // Another one recorded one of the events meanwhile: it is known now.
            Err(DbError::Contention(_)) => tx.rollback().await,
            outcomes => {
                let outcomes = outcomes?;
                tx.commit().await?;
                return Ok(outcomes);
            }
        }
    }
}

/// Records in a transaction of its own, which must succeed without a refusal.
pub async fn record(db: &TestDb, clock: &dyn Clock, new: &[NewRecord]) -> Vec<Record> {
    let outcomes = try_record(db.pool(), clock, new).await.unwrap();
    outcomes.into_iter().map(|outcome| outcome.unwrap().record).collect()
}

/// Records in a transaction of its own; odd amounts are charged, and the smaller half of them is collected. So a record is charged
/// where something is uncollected.
pub async fn record_charged(db: &TestDb, clock: &dyn Clock, new: &[NewRecord]) -> Vec<Record> {
    let mut tx = Tx::begin(db.pool()).await.unwrap();
    let none = std::iter::empty();
    let (mut recording, _) = usage::look_up(tx.conn(), clock, &Prices::new(), none, new.len()).await.unwrap();
    let mut stored = Vec::new();
    for one in new {
        let Ok(Next::New(draft)) = recording.next(one.clone()).unwrap() else { panic!("it is known") };
        let (id, micro) = (draft.record().id, draft.record().credits_charged.micro());
        let charge = Charge { transaction_id: uuid::Uuid::from_u128(id.unsigned_abs().into()), seq: id };
        let uncollected = Credits::from_micro((micro + 1) / 2);
        let draft = if micro % 2 == 0 { *draft } else { draft.charged(charge).uncollected(uncollected) };
        stored.push(recording.add(draft));
    }
    recording.save(&tx).await.unwrap();
    tx.commit().await.unwrap();
    stored
}

/// What was deducted for a record of [`record_charged`], or given back by its correction.
pub fn deducted(record: &Record) -> i64 {
    match record.credits_uncollected.micro() {
        0 => 0,
        uncollected => record.credits_charged.micro() - uncollected,
    }
}

/// One page of a list.
pub async fn page(
    db: &TestDb,
    user: &UserId,
    filter: &RecordFilter,
    page: &Page<TimePlace>,
) -> Slice<Record, TimePlace> {
    let mut conn = db.pool().get().await.unwrap();
    usage::list(&mut conn, user, filter, page).await.unwrap()
}

/// Everything a filter matches, read page by page.
pub async fn all(db: &TestDb, user: &UserId, filter: &RecordFilter, limit: i64) -> Vec<Record> {
    let mut found = Vec::new();
    let mut next = Page::first(limit);
    loop {
        let slice = page(db, user, filter, &next).await;
        let place = slice.next;
        if let (Some(place), Some(before)) = (&place, next.after()) {
            assert!((place.at, place.id) < (before.at, before.id), "the list does not go on");
        }
        found.extend(slice.items);
        match place {
            Some(place) => next = Page::new(limit, Start::After(place)).unwrap(),
            None => return found,
        }
    }
}

/// Sums, which must fit.
pub async fn stats(db: &TestDb, user: &UserId, filter: &RecordFilter) -> Stats {
    let mut conn = db.pool().get().await.unwrap();
    usage::stats(&mut conn, user, filter).await.unwrap()
}

/// A record that is to be taken back, without a charge.
#[derive(Debug, Clone)]
pub struct Correction {
    pub user_id: UserId,
    pub record_id: i64,
    pub reason: String,
    pub replacement: Option<NewRecord>,
}

/// A record that was taken back.
#[derive(Debug, PartialEq)]
pub struct Corrected {
    pub original: Record,
    pub correction: Record,
    pub replacement: Option<Record>,
}

/// Takes a record back in a transaction of its own.
pub async fn correct(
    db: &TestDb,
    clock: &dyn Clock,
    correction: &Correction,
) -> Result<Corrected, UsageRefusal> {
    loop {
        let mut tx = Tx::begin(db.pool()).await.unwrap();
        match correct_once(&mut tx, clock, correction).await {
            Err(DbError::Contention(_)) => tx.rollback().await,
            outcome => {
                tx.commit().await.unwrap();
                return outcome.unwrap();
            }
        }
    }
}

async fn correct_once(
    tx: &mut Tx,
    clock: &dyn Clock,
    correction: &Correction,
) -> Result<Result<Corrected, UsageRefusal>, DbError> {
    let Correction { user_id, record_id: id, reason, replacement } = correction;
    usage::lock_to_write(tx.conn()).await?;
    let Some(original) = usage::find(tx.conn(), user_id, *id).await? else {
        return Ok(Err(UsageRefusal::UsageRecordNotFound { id: *id }));
    };
    let events = usage::correction_events(*id, replacement.as_ref());
    let events = events.iter().map(|event| (user_id, event.as_str()));
    let (mut recording, _) = usage::look_up(tx.conn(), clock, &Prices::new(), events, 2).await?;
    let negative = match recording.correct(&original, reason)? {
        Ok(draft) => recording.add(draft),
        Err(refusal) => return Ok(Err(refusal)),
    };
    let replacement = match replacement {
        None => None,
        Some(new) => match recording.replace(&original, new.clone())? {
            Ok(draft) => Some(recording.add(draft)),
            Err(refusal) => return Ok(Err(refusal)),
        },
    };
    recording.save(tx).await?;
    Ok(Ok(Corrected { original, correction: negative, replacement }))
}

/// A price that begins now: so many pico-credits a token, and ten times as many pico-dollars.
pub fn new_price(provider: &str, model: &str, charge_pico: i64) -> NewPrice {
    let rate = Rate { charge_pico, cost_pico: charge_pico * 10 };
    NewPrice {
        key: Key { provider: provider.to_owned(), model: model.to_owned(), service_tier: String::new() },
        min_context: 0,
        valid_from: None,
        offer: Offer::Rates([(TokenClass::Input, rate), (TokenClass::Output, rate)].into()),
        source: "a test".to_owned(),
    }
}

/// Puts prices in a transaction of its own.
pub async fn put(
    db: &TestDb,
    clock: &dyn Clock,
    new: &[NewPrice],
) -> Result<Vec<PriceVersion>, UsageRefusal> {
    let mut tx = Tx::begin(db.pool()).await.unwrap();
    let outcome = prices::put(&mut tx, clock, Actor::Admin, new).await.unwrap();
    tx.commit().await.unwrap();
    outcome
}

/// Puts one price, which must not be refused.
pub async fn put_one(db: &TestDb, clock: &dyn Clock, new: NewPrice) -> PriceVersion {
    put(db, clock, &[new]).await.unwrap().remove(0)
}
