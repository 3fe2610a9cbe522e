//! One event for each hour of a user in which they spend far more than usual.

use flows::usage_anomalies::run;
use kernel::{Clock as _, Credits, ManualClock, UserId};
use testkit::TestDb;
use time::{Duration, macros::datetime};
use usage::{ANOMALY_HOURS_MIN, AnomalyRule, UsageInput};
use webhooks::Event;

use crate::database;

/// Ten times the usual, and ten credits.
fn rule() -> AnomalyRule {
    AnomalyRule { factor: 10, least: "10".parse().unwrap() }
}

/// Charges a user `hours` before the clock.
async fn spend(db: &TestDb, clock: &ManualClock, user: &UserId, hours: i64, credits: &str) {
    let at = clock.now() - Duration::hours(hours);
    let input = UsageInput {
        occurred_at: Some(at),
        credits_charged: Some(credits.parse::<Credits>().unwrap()),
        ..UsageInput::new(user.clone(), "ai_chat")
    };
    let mut tx = pg::Tx::begin(db.pool()).await.unwrap();
    let outcomes = usage::record(&mut tx, clock, &[input.complete()]).await.unwrap();
    assert!(outcomes.iter().all(Result::is_ok));
    tx.commit().await.unwrap();
}

/// A user with these hourly charges, one a day, the newest a day ago.
async fn with_history(db: &TestDb, clock: &ManualClock, name: &str, charges: &[&str]) -> UserId {
    let user = testkit::user(name);
    for (day, credits) in (1..).zip(charges) {
        // Within the 7 days, whatever their number.
        spend(db, clock, &user, day * 20, credits).await;
    }
    user
}

async fn events(db: &TestDb, user: &UserId) -> Vec<Event> {
    let mut conn = db.pool().get().await.unwrap();
    webhooks::newest(&mut conn, user, 10).await.unwrap()
}

#[tokio::test]
async fn a_spike_is_events_once_an_hour_whoever_looks() {
    let (db, clock) = (database().await, testkit::clock());
    clock.advance(Duration::minutes(40));
    // The median is 2, although the mean is far more.
    let user = with_history(&db, &clock, "a", &["1", "2", "90", "2", "3"]).await;
    spend(&db, &clock, &user, 0, "20").await;
    assert_eq!(run(db.pool(), &clock, rule()).await.unwrap(), 0, "ten times is not more than ten times");
    spend(&db, &clock, &user, 0, "0.000001").await;
    let (one, two) = (db.second_pool(), db.second_pool());
    let looks = (0..6).map(|n| run(if n % 2 == 0 { &one } else { &two }, &clock, rule()));
    let noted: usize = futures_util::future::join_all(looks).await.into_iter().map(Result::unwrap).sum();
    assert_eq!(noted, 1);
    let found = events(&db, &user).await;
    assert_eq!((found.len(), found[0].event_type.as_str(), found[0].at), (1, "usage_anomaly", clock.now()));
    let payload = found[0].payload.as_json();
    for member in [
        r#""hour": "2026-01-15T12:00:00.000000Z""#,
        r#""spent": 20.000001"#,
        r#""usual": 2.0"#,
        r#""factor": 10"#,
    ] {
        assert!(payload.contains(member), "{payload}");
    }
    // More in the same hour is no news; in the next one it is, and until its end it is looked at.
    spend(&db, &clock, &user, 0, "500").await;
    assert_eq!(run(db.pool(), &clock, rule()).await.unwrap(), 0);
    clock.advance(Duration::hours(1));
    spend(&db, &clock, &user, 0, "500").await;
    clock.advance(Duration::minutes(50));
    assert_eq!(run(db.pool(), &clock, rule()).await.unwrap(), 1, "the hour has just ended");
    clock.advance(Duration::hours(2));
    assert_eq!(run(db.pool(), &clock, rule()).await.unwrap(), 0);
    assert_eq!(events(&db, &user).await.len(), 2);
}

#[tokio::test]
async fn small_sums_short_histories_and_steady_users_are_no_news() {
    let (db, clock) = (database().await, testkit::clock());
    let small = with_history(&db, &clock, "small", &["0.001"; 5]).await;
    spend(&db, &clock, &small, 0, "9.999999").await;
    let few = vec!["1"; usize::try_from(ANOMALY_HOURS_MIN).unwrap() - 1];
    let new = with_history(&db, &clock, "new", &few).await;
    spend(&db, &clock, &new, 0, "5000").await;
    let steady = with_history(&db, &clock, "steady", &["800"; 6]).await;
    spend(&db, &clock, &steady, 0, "900").await;
    // What happened more than a week ago is no history, and hours without spending are none.
    let away = testkit::user("away");
    for hours in [169, 170, 171, 172, 173, 24] {
        spend(&db, &clock, &away, hours, "1").await;
    }
    for hours in 30..40 {
        spend(&db, &clock, &away, hours, "0").await;
    }
    spend(&db, &clock, &away, 0, "5000").await;
    let stranger = testkit::user("stranger");
    spend(&db, &clock, &stranger, 0, "5000").await;
    assert_eq!(run(db.pool(), &clock, rule()).await.unwrap(), 0);
    // One hour more, and the new one is known.
    spend(&db, &clock, &new, 100, "1").await;
    assert_eq!(run(db.pool(), &clock, rule()).await.unwrap(), 1);
    assert_eq!(events(&db, &new).await.len(), 1);
    for user in [small, steady, away, stranger] {
        assert_eq!(events(&db, &user).await, [], "{user}");
    }
}

#[tokio::test]
async fn many_spikes_come_in_several_commits_and_what_is_old_is_forgotten() {
    let (db, clock) = (database().await, testkit::clock());
    let mut inputs = Vec::new();
    for n in 0..450 {
        for hours in [0, 5, 6, 7, 8, 9] {
            inputs.push(
                UsageInput {
                    occurred_at: Some(clock.now() - Duration::hours(hours)),
                    credits_charged: Some(if hours == 0 { "100" } else { "1" }.parse().unwrap()),
                    ..UsageInput::new(testkit::user(&format!("u{n}")), "ai_chat")
                }
                .complete(),
            );
        }
    }
    let mut tx = pg::Tx::begin(db.pool()).await.unwrap();
    usage::record(&mut tx, &clock, &inputs).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(run(db.pool(), &clock, rule()).await.unwrap(), 450);
    assert_eq!(run(db.pool(), &clock, rule()).await.unwrap(), 0);
    let mut conn = db.pool().get().await.unwrap();
    let hour = usage::hour_of(clock.now());
    assert_eq!(usage::spenders(&mut conn, hour, rule(), 1_000).await.unwrap(), []);
    clock.advance(Duration::days(36));
    assert_eq!(run(db.pool(), &clock, rule()).await.unwrap(), 0);
    assert_eq!(usage::spenders(&mut conn, hour, rule(), 1_000).await.unwrap().len(), 450);
}

#[test]
fn hours_are_those_of_utc() {
    assert_eq!(usage::hour_of(datetime!(2026-01-15 5:59:59.999999 +5:45)), datetime!(2026-01-15 0:00 UTC));
    assert_eq!(usage::hour_of(datetime!(1969-12-31 23:30 UTC)), datetime!(1969-12-31 23:00 UTC));
}
