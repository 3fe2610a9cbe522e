//! The audit by ranges of accounts, and pages of grants.

use credits::{
    Action, GrantFilter, GrantPlace, NewGrant, NewGrantKind,
    verify::{self, Chunk, Verification, chunk},
};
use diesel_async::SimpleAsyncConnection;
use kernel::{Clock, Page, Start, UserId};
use pg::Pool;
use time::Duration;

use crate::support::{command, consume, credits, database, done, hold, open, run};

async fn all_chunks(pool: &Pool, limit: i64) -> Vec<Chunk> {
    let (mut chunks, mut after) = (Vec::new(), None::<UserId>);
    loop {
        let found = chunk(pool, after.as_ref(), limit).await.unwrap();
        after = found.last_user.clone();
        chunks.push(found);
        if after.is_none() {
            return chunks;
        }
    }
}

#[tokio::test]
async fn every_account_is_audited_once_and_damage_is_named() {
    let (mut db, clock) = (database().await, testkit::clock());
    assert_eq!(
        all_chunks(db.pool(), 2).await,
        [Chunk { accounts: 0, entries: 0, last_user: None, violations: vec![] }]
    );
    for number in 0..5 {
        let user = testkit::user(&format!("user-{number}"));
        run(
            db.pool(),
            &clock,
            &[open(&user, credits(10)), consume(&user, credits(1)), hold(&user, credits(2)).1],
        )
        .await;
    }
    for (limit, sizes) in [(2, vec![2, 2, 1]), (5, vec![5, 0]), (1_000, vec![5])] {
        let chunks = all_chunks(db.pool(), limit).await;
        assert_eq!(chunks.iter().map(|chunk| chunk.accounts).collect::<Vec<_>>(), sizes);
        assert_eq!(chunks.iter().map(|chunk| chunk.entries).sum::<u64>(), 15);
        assert!(chunks.iter().all(|chunk| chunk.violations.is_empty()), "{chunks:?}");
    }

    db.forgo_audits();
    db.run_as_superuser(
            "ALTER TABLE credits.entries DISABLE TRIGGER USER; \
             UPDATE credits.entries SET created_at = created_at - interval '1 s' WHERE user_id = 'user-3' AND seq = 2; \
             ALTER TABLE credits.entries ENABLE TRIGGER USER",
        ).await;
    let chunks = all_chunks(db.pool(), 2).await;
    let found: Vec<_> = chunks.iter().flat_map(|chunk| &chunk.violations).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        (found[0].rule, found[0].user_id.as_str(), found[0].seq),
        ("credits L2: each entry continues the one before", "user-3", Some(2))
    );
    assert!(found[0].detail.contains("2026-01-15"), "{}", found[0].detail);

    assert_eq!(verify::accounts(db.pool()).await.unwrap(), 5);
    let mut verification = Verification::default();
    assert!(!verification.advance(db.pool()).await.unwrap());
    let report = verification.report();
    assert_eq!((report.accounts, report.entries, report.found), (5, 15, 1));
    assert!(!report.is_clean());
    let told = report.violations[0].to_string();
    let begin = "account user-3, entry 2, credits L2: each entry continues the one before: entry 2";
    assert!(told.starts_with(begin), "{told}");
}

#[tokio::test]
async fn accounts_with_many_entries_come_in_smaller_chunks() {
    let mut db = database().await;
    db.forgo_audits();
    let conn = db.pool().get().await;
    conn.unwrap()
        .batch_execute(
            "INSERT INTO credits.accounts (user_id, entry_seq, as_of, created_at) \
             SELECT 'user-' || n, CASE n WHEN 2 THEN 150000 WHEN 3 THEN 60000 WHEN 5 THEN 9000000000000000000 ELSE -7 END, \
             now(), now() FROM generate_series(1, 6) AS n",
        )
        .await
        .unwrap();
    let chunks = all_chunks(db.pool(), 1_000).await;
    let sizes: Vec<_> = chunks.iter().map(|chunk| chunk.accounts).collect();
    assert_eq!(sizes, [3, 2, 1], "an account is never split, and none is left out");
    let found: u64 = chunks.iter().map(|chunk| chunk.violations.len() as u64).sum();
    let mut verification = Verification::default();
    while verification.advance(db.pool()).await.unwrap() {}
    assert_eq!((verification.report().accounts, verification.report().found), (6, found));
}

#[tokio::test]
async fn entries_without_an_account_are_found_too() {
    let (mut db, clock, user) = (database().await, testkit::clock(), testkit::user("a"));
    db.forgo_audits();
    done(db.pool(), &clock, open(&user, credits(10))).await;
    db.run_as_superuser("INSERT INTO credits.entry_grants VALUES ('~', 1, 1, 5, 0)").await;
    let chunks = all_chunks(db.pool(), 1).await;
    let found: Vec<_> = chunks.iter().flat_map(|chunk| &chunk.violations).collect();
    assert!(found.iter().all(|violation| violation.user_id == "~"));
    assert_eq!(found.len(), 2, "{found:?}");
}

#[tokio::test]
async fn grants_are_paged_in_burn_order() {
    let (db, clock, user) = (database().await, testkit::clock(), testkit::user("rich"));
    done(db.pool(), &clock, open(&user, credits(1))).await; // grant 1
    let ends = |days| Some(clock.now() + Duration::days(days));
    for (priority, expires_at, kind) in [
        (100, None, NewGrantKind::Purchase),    // 2
        (100, ends(9), NewGrantKind::Promo),    // 3
        (1, None, NewGrantKind::Promo),         // 4
        (100, ends(3), NewGrantKind::Plan),     // 5
        (100, ends(3), NewGrantKind::Purchase), // 6
        (200, ends(1), NewGrantKind::Promo),    // 7
    ] {
        let new = NewGrant { priority, expires_at, ..NewGrant::new(kind, credits(1)) };
        done(db.pool(), &clock, command(&user, Action::Grant(new))).await;
    }
    let order = [4, 5, 6, 3, 1, 2, 7];
    let mut conn = db.connect().await;
    for limit in 1..8 {
        let (mut seen, mut start) = (Vec::new(), Start::Offset(0));
        loop {
            let page = Page::new(limit, start).unwrap();
            let slice = credits::grants(&mut conn, &clock, &user, GrantFilter::Open, &page).await.unwrap();
            seen.extend(slice.items.iter().map(|grant| grant.grant_id));
            let Some(place) = slice.next else { break };
            let text = place.to_string();
            start = Start::After(text.parse::<GrantPlace>().unwrap());
        }
        assert_eq!(seen, order);
    }
    done(db.pool(), &clock, consume(&user, credits(2))).await;
    clock.advance(Duration::days(3));
    let mut listed = async |filter| -> Vec<i64> {
        let slice = credits::grants(&mut conn, &clock, &user, filter, &Page::first(50)).await;
        slice.unwrap().items.iter().map(|grant| grant.grant_id).collect()
    };
    assert_eq!(listed(GrantFilter::Open).await, [3, 1, 2]);
    assert_eq!(listed(GrantFilter::Used).await, [4]);
    assert_eq!(listed(GrantFilter::Expired).await, [5, 6, 7]);
    assert_eq!(listed(GrantFilter::All).await, order);
}
