//! Budgets on PostgreSQL: windows of real zones, what replacing keeps, and many at once.

use credits::{
    Action, Applied, BudgetPeriod, BudgetView, BudgetsRefused, Command, HoldMode, NewBudget, NewGrant,
    NewGrantKind, Payer, Refusal, UsageCharge, verify::chunk,
};
use diesel_async::SimpleAsyncConnection;
use futures_util::future::join_all;
use kernel::{Clock, Credits, Failure, Ids, Kind, ManualClock, RandomIds, SystemClock, UserId};
use pg::{Pool, Tx};
use time::{Duration, OffsetDateTime, macros::datetime};

use crate::support::{
    capture, command, consume, credits, database, done, hold, open, recharge, refund, release, run,
    transaction_id,
};

/// A limit of whole credits.
pub fn budget(period: BudgetPeriod, zone: &str, limit: i64) -> NewBudget {
    NewBudget { period, zone: zone.to_owned(), limit: credits(limit) }
}

pub async fn set(pool: &Pool, user: &UserId, new: &[NewBudget]) -> Result<(), BudgetsRefused> {
    let mut tx = Tx::begin(pool).await.unwrap();
    let set = credits::set_budgets(&mut tx, user, new).await.unwrap();
    tx.commit().await.unwrap();
    set
}

async fn view(pool: &Pool, clock: &dyn Clock, user: &UserId) -> Vec<BudgetView> {
    let mut conn = pool.get().await.unwrap();
    credits::budgets(&mut conn, clock, user).await.unwrap().unwrap()
}

/// What is spent of each budget, in whole credits.
async fn spent(pool: &Pool, clock: &dyn Clock, user: &UserId) -> Vec<i64> {
    let views = view(pool, clock, user).await;
    views.iter().map(|budget| budget.spent.micro() / 1_000_000).collect()
}

fn uncollected(user: &UserId, amount: Credits) -> Command {
    command(user, Action::ConsumeUncollected { amount, usage_record_id: None })
}

fn meter(user: &UserId, amount: Credits, from: Payer, usage_record_id: i64) -> Command {
    command(user, Action::Meter(UsageCharge { amount, from, usage_record_id }))
}

fn charged(applied: &Applied) -> Credits {
    applied.entry.as_ref().map_or(Credits::ZERO, |entry| entry.amount)
}

#[tokio::test]
async fn a_refusal_tells_the_figures() {
    let (db, clock, user) = (database().await, testkit::clock(), testkit::user("someone"));
    let pool = db.pool();
    done(pool, &clock, open(&user, credits(1000))).await;
    set(pool, &user, &[budget(BudgetPeriod::Day, "UTC", 10)]).await.unwrap();
    done(pool, &clock, consume(&user, credits(4))).await;
    let (_, held) = hold(&user, credits(5));
    done(pool, &clock, held).await;
    let too_much = consume(&user, credits(2));
    let refusal = run(pool, &clock, &[too_much]).await.remove(0).unwrap_err();
    assert!(refusal.is_remembered());
    assert_eq!(
        refusal,
        Refusal::BudgetExceeded {
            period: BudgetPeriod::Day,
            limit: credits(10),
            spent: credits(4),
            held: credits(5),
            resets_at: Some(datetime!(2026-01-16 00:00 UTC)),
        }
    );
    assert_eq!((refusal.code(), refusal.kind()), ("BudgetExceededException", Kind::Refused));
    let names: Vec<_> = refusal.details().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["period", "limit", "spent", "held", "resets_at"]);
    done(pool, &clock, consume(&user, credits(1))).await;

    clock.advance(Duration::days(1));
    done(pool, &clock, consume(&user, credits(10))).await;
    // More credit than there is, is refused as such.
    let short = run(pool, &clock, &[consume(&user, credits(2000))]).await.remove(0);
    assert!(matches!(short, Err(Refusal::InsufficientCredits { .. })));
    // The lifetime has no end to be told.
    set(pool, &user, &[budget(BudgetPeriod::Lifetime, "UTC", 15)]).await.unwrap();
    let refusal = run(pool, &clock, &[consume(&user, credits(1))]).await.remove(0).unwrap_err();
    assert_eq!(refusal.details().len(), 4);
}

#[tokio::test]
async fn every_way_to_spend_stops_at_the_budget() {
    let (db, clock, user) = (database().await, testkit::clock(), testkit::user("someone"));
    let pool = db.pool();
    done(pool, &clock, open(&user, credits(1000))).await;
    set(pool, &user, &[budget(BudgetPeriod::Month, "UTC", 100)]).await.unwrap();
    let exceeded = |result: Result<Applied, Refusal>| matches!(result, Err(Refusal::BudgetExceeded { .. }));

    let (hold_id, held) = hold(&user, credits(60));
    done(pool, &clock, held).await;
    let refused = [
        consume(&user, credits(41)),
        hold(&user, credits(41)).1,
        meter(&user, credits(41), Payer::Available, 1),
    ];
    assert!(run(pool, &clock, &refused).await.into_iter().all(exceeded));
    let part = done(pool, &clock, uncollected(&user, credits(10))).await;
    assert_eq!((charged(&part), part.uncollected), (credits(10), Credits::ZERO));
    // The hold is charged in full, what is beyond it as far as the budget goes.
    let captured = done(pool, &clock, capture(&user, hold_id, Some(credits(95)))).await;
    assert_eq!((charged(&captured), captured.uncollected), (credits(90), credits(5)));
    let nothing = done(pool, &clock, meter(&user, credits(7), Payer::AsFarAsItGoes, 2)).await;
    assert_eq!((nothing.entry, nothing.uncollected), (None, credits(7)));
    let clamped = |amount| {
        let action = Action::Hold {
            hold_id: RandomIds.uuid(),
            amount,
            mode: HoldMode::Clamp,
            ttl: Duration::minutes(1),
        };
        command(&user, action)
    };
    assert!(exceeded(run(pool, &clock, &[clamped(credits(5))]).await.remove(0)));

    // A greater budget has room again; a clamped hold takes what there is of it, and its release gives it back.
    set(pool, &user, &[budget(BudgetPeriod::Month, "UTC", 130)]).await.unwrap();
    let clamped = done(pool, &clock, clamped(credits(50))).await.hold.unwrap();
    assert_eq!((clamped.requested, clamped.amount), (credits(50), credits(30)));
    assert_eq!(view(pool, &clock, &user).await[0].held, credits(30));
    assert!(exceeded(run(pool, &clock, &[consume(&user, credits(1))]).await.remove(0)));
    done(pool, &clock, release(&user, clamped.hold_id)).await;
    done(pool, &clock, consume(&user, credits(30))).await;
    // A correction is no spending.
    let correction = Action::Adjust {
        amount: credits(100),
        adjustment: credits::Adjustment::Down { grant_id: None },
        reason: "wrong".to_owned(),
    };
    done(pool, &clock, command(&user, correction)).await;
    assert_eq!(spent(pool, &clock, &user).await, [130]);
}

/// The window of a day in a zone, by its two boundaries: the last microsecond before each is in the window before.
async fn check_window(
    pool: &Pool,
    period: BudgetPeriod,
    zone: &str,
    begins: OffsetDateTime,
    ends: OffsetDateTime,
) {
    let user = testkit::user(&format!("user-{}", begins.unix_timestamp()));
    let instant = Duration::microseconds(1);
    let clock = ManualClock::at(begins - instant);
    done(pool, &clock, open(&user, credits(1000))).await;
    set(pool, &user, &[budget(period, zone, 10)]).await.unwrap();
    for at in [begins, ends] {
        assert_eq!(view(pool, &clock, &user).await[0].resets_at, Some(at), "{zone}");
        done(pool, &clock, consume(&user, credits(10))).await;
        clock.advance(at - instant - clock.now());
        let refused = run(pool, &clock, &[consume(&user, credits(1))]).await.remove(0);
        let resets =
            matches!(refused, Err(Refusal::BudgetExceeded { resets_at, .. }) if resets_at == Some(at));
        assert!(resets, "{zone}: {refused:?}");
        assert_eq!(spent(pool, &clock, &user).await, [10]);
        clock.advance(instant);
        assert_eq!(spent(pool, &clock, &user).await, [0]);
    }
    done(pool, &clock, consume(&user, credits(10))).await;
}

#[tokio::test]
async fn windows_are_the_days_and_months_of_their_zones() {
    let db = database().await;
    use BudgetPeriod::{Day, Month};
    for (period, zone, begins, ends) in [
        // 23 and 25 hours.
        (Day, "Europe/Berlin", datetime!(2026-03-28 23:00 UTC), datetime!(2026-03-29 22:00 UTC)),
        (Day, "Europe/Berlin", datetime!(2026-10-24 22:00 UTC), datetime!(2026-10-25 23:00 UTC)),
        (Day, "Asia/Shanghai", datetime!(2026-02-28 16:00 UTC), datetime!(2026-03-01 16:00 UTC)),
        (Day, "UTC", datetime!(2026-02-28 00:00 UTC), datetime!(2026-03-01 00:00 UTC)),
        // Midnight comes twice: the day begins with the first.
        (Day, "America/Havana", datetime!(2026-11-01 04:00 UTC), datetime!(2026-11-02 05:00 UTC)),
        // Midnight does not come at all.
        (Day, "America/Havana", datetime!(2026-03-08 05:00 UTC), datetime!(2026-03-09 04:00 UTC)),
        // A minute of the next day came before an hour of this one.
        (Day, "America/St_Johns", datetime!(2010-11-07 02:30 UTC), datetime!(2010-11-08 03:30 UTC)),
        (Month, "Europe/Berlin", datetime!(2026-02-28 23:00 UTC), datetime!(2026-03-31 22:00 UTC)),
        (Month, "Europe/Berlin", datetime!(2026-09-30 22:00 UTC), datetime!(2026-10-31 23:00 UTC)),
        (Month, "Asia/Shanghai", datetime!(2025-12-31 16:00 UTC), datetime!(2026-01-31 16:00 UTC)),
    ] {
        check_window(db.pool(), period, zone, begins, ends).await;
    }
}

#[tokio::test]
async fn replacing_a_budget_forgets_nothing_that_was_spent() {
    let clock = ManualClock::at(datetime!(2026-01-31 08:00 UTC));
    let (db, user) = (database().await, testkit::user("someone"));
    let pool = db.pool();
    let gift = NewGrant {
        expires_at: Some(datetime!(2026-02-01 06:00 UTC)),
        ..NewGrant::new(NewGrantKind::Promo, credits(40))
    };
    done(pool, &clock, open(&user, credits(1000))).await;
    done(pool, &clock, command(&user, Action::Grant(gift))).await;
    let old = consume(&user, credits(10));
    let (hold_id, held) = hold(&user, credits(9));
    run(pool, &clock, &[old.clone(), held, capture(&user, hold_id, None)]).await;
    clock.advance(Duration::days(1)); // the gift ends
    let young = consume(&user, credits(20));
    let (open_hold, held) = hold(&user, credits(3));
    let commands = [
        young.clone(),
        recharge(&user, credits(500), None),
        refund(&user, transaction_id(3, &old), Some(credits(2))), // of another day and month
        refund(&user, transaction_id(7, &young), Some(credits(5))),
        held,
        consume(&user, credits(1)),
    ];
    assert!(run(pool, &clock, &commands).await.iter().all(Result::is_ok));
    let all = |zone, limit| BudgetPeriod::ALL.map(|period| budget(period, zone, limit));
    // In Honolulu it is still January.
    for (zone, expected) in [("UTC", [16, 16, 33]), ("Pacific/Honolulu", [16, 33, 33])] {
        set(pool, &user, &all(zone, 100)).await.unwrap();
        assert_eq!(spent(pool, &clock, &user).await, expected, "{zone}");
        set(pool, &user, &[]).await.unwrap();
        assert_eq!(view(pool, &clock, &user).await, []);
    }
    // What is refunded counts where its charge did; what comes due is no spending; a hold counts when it is charged.
    set(pool, &user, &all("UTC", 100)).await.unwrap();
    let commands = [
        refund(&user, transaction_id(3, &old), None),
        refund(&user, transaction_id(7, &young), Some(credits(1))),
        capture(&user, open_hold, None),
    ];
    assert!(run(pool, &clock, &commands).await.iter().all(Result::is_ok));
    assert_eq!(spent(pool, &clock, &user).await, [18, 18, 27]);
    // An account that nobody has touched for long: its window is that of today, without a charge.
    clock.advance(Duration::days(40));
    set(pool, &user, &all("UTC", 20)).await.unwrap();
    assert_eq!(spent(pool, &clock, &user).await, [0, 0, 27]);
    done(pool, &clock, open(&testkit::user("new"), Credits::ZERO)).await;
    set(pool, &testkit::user("new"), &all("UTC", 1)).await.unwrap();
    assert_eq!(spent(pool, &clock, &testkit::user("new")).await, [0, 0, 0]);
}

#[tokio::test]
async fn impossible_budgets_are_refused() {
    let (db, clock, user) = (database().await, testkit::clock(), testkit::user("someone"));
    let pool = db.pool();
    let day = |zone| budget(BudgetPeriod::Day, zone, 1);
    let nobody = set(pool, &user, &[day("UTC")]).await;
    assert_eq!(nobody, Err(BudgetsRefused::NoAccount));
    let mut conn = pool.get().await.unwrap();
    assert_eq!(credits::budgets(&mut conn, &clock, &user).await.unwrap(), None);
    drop(conn);
    done(pool, &clock, open(&user, credits(10))).await;
    for zone in ["", "FOO+3", "Europe/Bielefeld", "utc ", "posix/UTC", "localtime", "europe/berlin"] {
        let unknown = BudgetsRefused::UnknownZone { zone: zone.to_owned() };
        assert_eq!(set(pool, &user, &[day("UTC"), budget(BudgetPeriod::Month, zone, 1)]).await, Err(unknown));
    }
    let period = BudgetPeriod::Day;
    let twice = set(pool, &user, &[day("UTC"), day("Asia/Shanghai")]).await;
    assert_eq!(twice, Err(BudgetsRefused::Repeated { period }));
    for limit in [-1, credits::BALANCE_MAX.micro() + 1] {
        let limit = Credits::from_micro(limit);
        let impossible = NewBudget { limit, ..day("UTC") };
        assert_eq!(set(pool, &user, &[impossible]).await, Err(BudgetsRefused::InvalidLimit { limit }));
    }
    assert_eq!(view(pool, &clock, &user).await, []);
}

/// L19. Two pools stand for two processes.
#[tokio::test(flavor = "multi_thread")]
async fn parallel_charges_never_exceed_a_budget() {
    let (db, user) = (database().await, testkit::user("busy"));
    let pools = [db.pool_of(10), db.pool_of(10)];
    done(&pools[0], &SystemClock, open(&user, credits(1000))).await;
    let budgets =
        [budget(BudgetPeriod::Month, "Europe/Berlin", 100), budget(BudgetPeriod::Lifetime, "UTC", 100)];
    set(&pools[0], &user, &budgets).await.unwrap();
    let tasks = (0..60_i64).map(|number| {
        let (pool, user) = (pools[usize::from(number % 2 == 0)].clone(), user.clone());
        tokio::spawn(async move {
            let command = match number % 5 {
                0 => consume(&user, credits(3)),
                1 => meter(&user, credits(4), Payer::Available, number),
                2 => meter(&user, credits(5), Payer::AsFarAsItGoes, number),
                _ => {
                    let (hold_id, held) = hold(&user, credits(2));
                    return match run(&pool, &SystemClock, &[held]).await.remove(0) {
                        Ok(_) => run(&pool, &SystemClock, &[capture(&user, hold_id, Some(credits(6)))])
                            .await
                            .remove(0),
                        refused => refused,
                    };
                }
            };
            run(&pool, &SystemClock, &[command]).await.remove(0)
        })
    });
    let outcomes: Vec<_> = join_all(tasks).await.into_iter().map(Result::unwrap).collect();
    let mut taken = 0;
    for outcome in &outcomes {
        match outcome {
            Ok(applied) => taken += charged(applied).micro(),
            Err(refusal) => assert!(matches!(refusal, Refusal::BudgetExceeded { .. }), "{refusal}"),
        }
    }
    let views = view(&pools[1], &SystemClock, &user).await;
    assert!(views.iter().all(|budget| budget.spent.micro() == taken && budget.held.is_zero()));
    // All that was asked for is 60 * 3 to 6: the least of it that was refused would not have gone in.
    assert!((credits(99).micro()..=credits(100).micro()).contains(&taken), "{taken}");
}

#[tokio::test]
async fn damaged_budgets_are_found() {
    let (db, clock, user) = (database().await, testkit::clock(), testkit::user("someone"));
    done(db.pool(), &clock, open(&user, credits(10))).await;
    set(db.pool(), &user, &[budget(BudgetPeriod::Day, "UTC", 5)]).await.unwrap();
    done(db.pool(), &clock, consume(&user, credits(2))).await;
    let mut conn = db.connect().await;
    for (damage, rule) in [
        ("UPDATE credits.budgets SET spent = spent - 1", "what a budget says"),
        ("UPDATE credits.accounts SET budgeted = false", "knows whether"),
    ] {
        assert_eq!(chunk(db.pool(), None, 10).await.unwrap().violations, []);
        conn.batch_execute(damage).await.unwrap();
        let violations = chunk(db.pool(), None, 10).await.unwrap().violations;
        assert!(violations.len() == 1 && violations[0].rule.contains(rule), "{violations:?}");
        conn.batch_execute(
            "UPDATE credits.budgets SET spent = 2000000; UPDATE credits.accounts SET budgeted = true",
        )
        .await
        .unwrap();
    }
}
