//! Pages end before they hold too many bytes, and the next one goes on there.

use credits::{Action, Command, GrantFilter, HoldFilter, NewGrant, NewGrantKind, TransactionFilter};
use diesel_async::SimpleAsyncConnection;
use kernel::{Credits, FreeForm, Page, Slice, Start, page::PAGE_BYTES_MAX};

use crate::support::{command, consume, credits, database, hold, open, run};

/// What a row of these tests carries: 18 such rows fit into one page.
const LARGE_BYTES: i64 = 220_000;

fn large(command: Command) -> Command {
    let text = "x".repeat(usize::try_from(LARGE_BYTES).unwrap());
    Command { metadata: FreeForm::object(&format!(r#"{{"text": "{text}"}}"#)).unwrap(), ..command }
}

/// All items of a list, page by page, with the number on each page.
async fn read<T, P: Clone>(next: impl AsyncFn(Page<P>) -> Slice<T, P>) -> (Vec<T>, Vec<usize>) {
    let (mut items, mut sizes, mut start) = (Vec::new(), Vec::new(), Start::Offset(0));
    loop {
        let slice = next(Page::new(500, start).unwrap()).await;
        sizes.push(slice.items.len());
        items.extend(slice.items);
        match slice.next {
            Some(place) => start = Start::After(place),
            None => return (items, sizes),
        }
    }
}

#[tokio::test]
async fn large_entries_grants_and_holds_come_in_several_pages_without_gap_or_repeat() {
    assert_eq!(PAGE_BYTES_MAX / LARGE_BYTES, 19, "as many as fit into a page, with their names");
    let (db, clock, user) = (database().await, testkit::clock(), testkit::user("someone"));
    run(db.pool(), &clock, &[open(&user, credits(1_000))]).await;
    let mut commands = Vec::new();
    for _ in 0..24 {
        let gift = NewGrant::new(NewGrantKind::Promo, credits(1));
        commands.push(large(command(&user, Action::Grant(gift))));
        commands.push(large(hold(&user, credits(1)).1));
        commands.push(large(consume(&user, credits(1))));
        commands.push(consume(&user, Credits::from_micro(1)));
    }
    let done = run(db.pool(), &clock, &commands).await;
    assert!(done.iter().all(Result::is_ok));

    let filter = TransactionFilter::default();
    let (entries, pages) = read(async |page| {
        let mut conn = db.pool().get().await.unwrap();
        credits::transactions(&mut conn, &user, &filter, &page).await.unwrap()
    })
    .await;
    let seqs: Vec<i64> = entries.iter().map(|entry| entry.seq).collect();
    assert_eq!(seqs.len(), 1 + 24 * 3);
    assert!(seqs.is_sorted_by(|one, two| one > two));
    assert_eq!(pages, [29, 29, 15]);
    let (grants, pages) = read(async |page| {
        let mut conn = db.pool().get().await.unwrap();
        let open = GrantFilter::Open;
        credits::grants(&mut conn, &clock, &user, open, &page).await.unwrap()
    })
    .await;
    assert_eq!((grants.len(), pages), (25, vec![20, 5]));
    let (holds, pages) = read(async |page| {
        let mut conn = db.pool().get().await.unwrap();
        let all = HoldFilter::All;
        credits::holds(&mut conn, &clock, &user, all, &page).await.unwrap()
    })
    .await;
    assert_eq!((holds.len(), pages), (24, vec![19, 5]));
}

#[tokio::test]
async fn an_entry_larger_than_a_page_comes_alone() {
    let (mut db, clock, user) = (database().await, testkit::clock(), testkit::user("someone"));
    db.forgo_audits();
    run(db.pool(), &clock, &[open(&user, credits(10)), consume(&user, credits(1))]).await;
    // No request makes such a row, but nothing in the table forbids it.
    let mut conn = db.connect().await;
    conn.batch_execute(
        "INSERT INTO credits.entries (user_id, seq, transaction_id, type, amount, balance_before, balance_after, \
         held_after, description, actor, created_at, booked_at) SELECT user_id, 3, gen_random_uuid(), type, amount, \
         balance_after, balance_after - amount, 0, repeat('x', 5000000), actor, created_at, booked_at \
         FROM credits.entries WHERE seq = 2; UPDATE credits.accounts SET entry_seq = 3",
    )
    .await
    .unwrap();
    let filter = TransactionFilter::default();
    let (entries, pages) = read(async |page| {
        let mut conn = db.pool().get().await.unwrap();
        credits::transactions(&mut conn, &user, &filter, &page).await.unwrap()
    })
    .await;
    assert_eq!(entries.len(), 3);
    assert_eq!(pages, [1, 2]);
}
